//! The name of a client's network device.

use crate::xen::DomainId;
use core::fmt;

/// Names a backend device: the client's domain and the device's number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceId {
    /// The client.
    pub domain: DomainId,
    /// Its `devid`: 0 for the first network device.
    pub device: u32,
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vif{}.{}", self.domain.0, self.device)
    }
}
