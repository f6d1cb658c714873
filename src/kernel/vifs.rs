//! All vifs. The data plane uses their rings; the control plane leads their lives in XenStore.

use super::client_vifs::ClientVifs;
use crate::vif::netfront::Netfront;
use crate::vif::uplink::Uplink;

/// Every vif.
#[derive(Debug, Default)]
pub struct Vifs {
    /// Our vif on the uplink, while there is a device for it.
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
