//! Who a packet comes from or goes to: a client slot, or the uplink.

/// A client vif's slot: a small number, dense from zero, given when the vif appears and free again when it is gone.
///
/// Inside the engine the same type stands for the number of a client's account, which is another one: see
/// `engine/clients.rs`. Tables of what clients hold are indexed by accounts, not by slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientSlot(pub u8);

/// Most client vifs at once. xenstored grants 100 watches (the smaller of its two implementations): one each,
/// and some are ours.
pub const MAX_CLIENTS: usize = 90;

/// One side of the firewall that packets enter and leave by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The network behind the backend domain of our netfront.
    Uplink,
    /// The client on that slot; inside the engine, the client of that number.
    Client(ClientSlot),
}
