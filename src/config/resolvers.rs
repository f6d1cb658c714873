//! Name servers, as they are configured.

use crate::config::command_line::MAX_RESOLVERS;
use arrayvec::ArrayVec;
use core::net::Ipv4Addr;

/// Name servers, none twice.
pub type Resolvers = ArrayVec<Ipv4Addr, MAX_RESOLVERS>;
