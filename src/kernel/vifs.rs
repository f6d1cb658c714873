//! The vifs that there are: whoever moves packets uses their rings, whoever talks to XenStore leads their lives.

use super::client_vifs::ClientVifs;
use crate::vif::netfront::Netfront;
use crate::vif::uplink::Uplink;

/// Every vif.
#[derive(Debug, Default)]
pub struct Vifs {
    /// The way out, while there is a device for it.
    pub uplink: Option<Uplink>,
    /// The clients.
    pub clients: ClientVifs,
}

impl Vifs {
    /// The uplink's rings, while there are any.
    pub fn netfront(&mut self) -> Option<&mut Netfront> {
        self.uplink.as_mut().and_then(Uplink::netfront)
    }
}
