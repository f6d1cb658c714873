//! A host that always has a datagram to send, and needs no answer.

use crate::base::time::Moment;
use crate::kernel::egress::GATEWAY_MAC;
use crate::sim::cast::NONSENSE_NETWORK;
use crate::sim::frame::{finish, frame};
use crate::sim::host::Host;
use crate::sim::oracle::ledger::Ledger;
use crate::sim::prng::Prng;
use crate::xen::DomainId;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// The port that it sends to.
pub const PORT: u16 = 9;

/// A host that sends frames of one size to an address that tells who sent them: see [`sender`].
pub struct Greedy {
    frame: Vec<u8>,
    from: Moment,
    until: Moment,
    now: Moment,
}

/// Where the greedy host of `domain` sends to.
pub fn target(domain: DomainId) -> Ipv4Addr {
    Ipv4Addr::new(NONSENSE_NETWORK[0], NONSENSE_NETWORK[1], NONSENSE_NETWORK[2], domain.0 as u8)
}

/// Whose greedy host sent a frame, if any did.
pub fn sender(frame: &[u8]) -> Option<DomainId> {
    let to = frame.get(30..34)?;
    (to.get(..3) == Some(&NONSENSE_NETWORK[..])).then_some(DomainId((*to.get(3)?).into()))
}

impl Greedy {
    /// A host of `domain` that sends frames of `bytes` bytes between two moments.
    pub fn new(
        domain: DomainId,
        mac: [u8; 6],
        address: Ipv4Addr,
        bytes: usize,
        (from, until): (Moment, Moment),
    ) -> Self {
        let payload = bytes.max(60) - 14 - 28;
        let (total, length) = ((payload as u16 + 28).to_be_bytes(), (payload as u16 + 8).to_be_bytes());
        let mut packet = alloc::vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 17, 0, 0];
        packet.extend(address.octets());
        packet.extend(target(domain).octets());
        packet.extend([0x13, 0x88, 0, PORT as u8, length[0], length[1], 0, 0]);
        packet.resize(28 + payload, 0x67);
        finish(&mut packet);
        Self { frame: frame(GATEWAY_MAC.0, mac, &packet), from, until, now: Moment::default() }
    }
}

impl Host for Greedy {
    fn receive(&mut self, _: Vec<u8>) {}

    fn poll(&mut self, now: Moment, _: &mut Ledger, _: &mut Prng) {
        self.now = now;
    }

    fn transmit(&mut self) -> Option<Vec<u8>> {
        (self.from..self.until).contains(&self.now).then(|| self.frame.clone())
    }

    fn deadline(&mut self, now: Moment) -> Option<Moment> {
        (now < self.from).then_some(self.from)
    }
}
