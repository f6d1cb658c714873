//! The entries of a vif's rings as they lie in memory, written anew after `xen/include/public/io/netif.h`.

/// `XEN_NETTXF_csum_blank`.
pub const TX_BLANK: u16 = 1;
/// `XEN_NETTXF_more_data` and `XEN_NETRXF_more_data`.
pub const MORE: u16 = 4;
/// `XEN_NETTXF_extra_info` and `XEN_NETRXF_extra_info`.
pub const EXTRA: u16 = 8;
/// `XEN_NETRXF_data_validated`.
pub const RX_VALIDATED: u16 = 1;
/// `XEN_NETRXF_csum_blank`.
pub const RX_BLANK: u16 = 2;

/// Bytes of a transmit entry, request or response.
pub const TX_BYTES: usize = 12;
/// Bytes of a receive entry, request or response.
pub const RX_BYTES: usize = 8;

/// Most slots of data of one packet (Linux: `XEN_NETIF_NR_SLOTS_MIN`).
pub const MOST_SLOTS: usize = 18;

fn half(entry: &[u8], at: usize) -> u16 {
    entry.get(at..at + 2).map_or(0, |two| u16::from_le_bytes([two[0], two[1]]))
}

fn word(entry: &[u8], at: usize) -> u32 {
    u32::from(half(entry, at)) | u32::from(half(entry, at + 2)) << 16
}

/// `struct netif_tx_request`.
#[derive(Clone, Copy, Debug)]
pub struct RawTxRequest {
    /// The page.
    pub reference: u32,
    /// Where in it the bytes begin.
    pub offset: usize,
    /// `XEN_NETTXF_*`.
    pub flags: u16,
    /// Repeated in the response.
    pub id: u16,
    /// Bytes: of the first slot those of the whole packet.
    pub bytes: usize,
}

impl RawTxRequest {
    /// What an entry says.
    pub fn read(entry: &[u8]) -> Self {
        let (offset, flags) = (half(entry, 4).into(), half(entry, 6));
        Self { reference: word(entry, 0), offset, flags, id: half(entry, 8), bytes: half(entry, 10).into() }
    }
}

/// A transmit response: of a slot, or, as Linux makes it, of an extra-info slot: the status alone, the rest is what was
/// there before.
pub fn tx_response(id: Option<u16>) -> [u8; TX_BYTES] {
    let mut entry = [0; TX_BYTES];
    match id {
        Some(id) => entry[..2].copy_from_slice(&id.to_le_bytes()),
        None => entry = [0xff, 0xff, 1, 0, 9, 9, 9, 9, 9, 9, 9, 9],
    }
    entry
}

/// `struct netif_rx_request`: id and page.
pub fn read_rx_request(entry: &[u8]) -> (u16, u32) {
    (half(entry, 0), word(entry, 4))
}

/// `struct netif_rx_response`: the last number is the bytes delivered.
pub fn rx_response(id: u16, offset: usize, flags: u16, bytes: usize) -> [u8; RX_BYTES] {
    let mut entry = [0; RX_BYTES];
    for (place, number) in entry.chunks_exact_mut(2).zip([id, offset as u16, flags, bytes as u16]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    entry
}

/// `struct netif_extra_info` of a TCP over IPv4 packet that is to be segmented.
pub fn gso_extra(segment_bytes: u16) -> [u8; RX_BYTES] {
    let [low, high] = segment_bytes.to_le_bytes();
    [1, 0, low, high, 1, 0, 0, 0]
}

/// Bytes per segment that an extra-info entry says, whatever its type.
pub fn segment_bytes_of(extra: &[u8]) -> u16 {
    half(extra, 2)
}

/// Whether an extra-info entry is the last one and [`gso_extra`]'s kind.
pub fn is_gso_extra(extra: &[u8]) -> bool {
    extra.get(..2) == Some(&[1, 0]) && extra.get(4) == Some(&1)
}
