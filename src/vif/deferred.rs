//! Pages of earlier connections that the uplink's backend has not let go yet.
//!
//! Ending a grant may fail as long as the other side maps the page or copies to it (XSA-396): the page then stays
//! granted and is nobody's. A backend that unmaps late, or a domain that is being destroyed, lets go within
//! moments; one that never does costs pages, so their number is limited: a connection ends when it is exceeded, and
//! none is made while it is.

use crate::base::time::Moment;
use crate::vif::netfront;
use crate::xen::Xen;
use crate::xen::grant::GrantedPage;
use alloc::vec::Vec;
use core::time::Duration;

/// Time between two attempts to end their grants.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// The pages, all of them still granted.
#[derive(Debug, Default)]
pub struct DeferredPages {
    pages: Vec<GrantedPage>,
    tried: Moment,
}

impl DeferredPages {
    /// Takes in pages whose grant could not be ended.
    pub fn extend(&mut self, pages: Vec<GrantedPage>) {
        self.pages.extend(pages);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Tries to end every grant; what succeeds goes back to the pool.
    pub fn retry(&mut self, xen: &mut impl Xen) {
        self.tried = xen.now();
        for granted in core::mem::take(&mut self.pages) {
            netfront::end(xen, granted, &mut self.pages);
        }
    }

    /// When to try again.
    pub fn deadline(&self) -> Option<Moment> {
        (!self.is_empty()).then(|| self.tried + RETRY_EVERY)
    }
}
