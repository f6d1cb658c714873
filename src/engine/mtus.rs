//! The largest IP packet that each side takes: what the toolstack said of its vif, or the usual.

use super::settings::Settings;
use crate::base::side::{ClientSlot, Side};
use crate::wire::mtu::{LEAST, MOST};

/// Clients that can have a number.
const SLOTS: usize = 1 << u8::BITS;

/// The MTU of every side, in bytes of an IP packet.
#[derive(Clone, Debug)]
pub struct Mtus {
    uplink: u16,
    clients: [u16; SLOTS],
    /// None has ever been smaller.
    least: u16,
    /// The MTU of a client for which the toolstack set none.
    usual: u16,
}

impl Mtus {
    /// Those of `settings`.
    pub fn new(settings: &Settings) -> Mtus {
        let usual = settings.client_mtu.clamp(LEAST, MOST);
        let uplink = settings.uplink_mtu.clamp(LEAST, MOST);
        Mtus { uplink, clients: [usual; SLOTS], least: usual.min(uplink), usual }
    }

    /// The MTU of `side`.
    #[inline(always)]
    pub const fn of(&self, side: Side) -> u16 {
        match side {
            Side::Uplink => self.uplink,
            Side::Client(ClientSlot(slot)) => self.clients[slot as usize],
        }
    }

    /// Changes the MTU of `side`; one below [`LEAST`] or above [`MOST`] counts as that.
    pub const fn set(&mut self, side: Side, bytes: u16) {
        let place = match side {
            Side::Uplink => &mut self.uplink,
            Side::Client(ClientSlot(slot)) => &mut self.clients[slot as usize],
        };
        *place = match bytes {
            ..LEAST => LEAST,
            LEAST..=MOST => bytes,
            _ => MOST,
        };
        if *place < self.least {
            self.least = *place;
        }
    }

    /// What fits any side, whatever MTUs they have had.
    pub const fn least(&self) -> u16 {
        self.least
    }

    /// Gives the client of this number the usual MTU.
    pub const fn reset(&mut self, number: ClientSlot) {
        self.set(Side::Client(number), self.usual);
    }
}
