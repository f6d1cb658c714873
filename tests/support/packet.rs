//! Packets for tests: made by etherparse, checked by etherparse and by plain sums.

use etherparse::{IpNumber, Ipv4Header, PacketBuilder, TcpHeader};
use ravelin::wire::packet::{Checksum, Offload, Original, Packet};
use std::net::Ipv4Addr;

/// An IP packet all in memory, of which the engine sees the first 576 bytes.
#[derive(Clone)]
pub struct TestPacket {
    pub bytes: Vec<u8>,
    pub offload: Offload,
    /// Noted when it is admitted.
    pub original: Option<Original>,
}

impl PartialEq for TestPacket {
    fn eq(&self, other: &TestPacket) -> bool {
        (&self.bytes, self.offload) == (&other.bytes, other.offload)
    }
}

impl Eq for TestPacket {}

impl std::fmt::Debug for TestPacket {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.bytes[..self.bytes.len().min(64)];
        write!(to, "TestPacket({} bytes: {shown:02x?})", self.bytes.len())
    }
}

impl Packet for TestPacket {
    fn header(&self) -> &[u8] {
        let visible = self.bytes.len().min(576);
        &self.bytes[..visible]
    }

    fn header_mut(&mut self) -> &mut [u8] {
        let visible = self.bytes.len().min(576);
        &mut self.bytes[..visible]
    }

    fn total_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn offload(&self) -> Offload {
        self.offload
    }

    fn original(&self) -> Option<Original> {
        self.original
    }

    fn set_offload(&mut self, offload: Offload) {
        self.offload = offload;
    }
}

/// TCP flags by letter: S, A, F, R, P, U, E, C.
pub fn flags(letters: &str) -> u8 {
    letters.bytes().map(|letter| 1 << b"FSRPAUEC".iter().position(|f| *f == letter).unwrap()).sum()
}

/// A UDP datagram with DF set, as Linux sends them.
pub fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> TestPacket {
    udp_with(from, to, b"query")
}

pub fn udp_with(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> TestPacket {
    let builder = PacketBuilder::ipv4(from.0.octets(), to.0.octets(), 64).udp(from.1, to.1);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    TestPacket::new(bytes).df()
}

/// A TCP segment without payload.
pub fn tcp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), letters: &str, sequence: u32, ack: u32) -> TestPacket {
    tcp_with(from, to, letters, sequence, ack, b"")
}

pub fn tcp_with(
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    letters: &str,
    sequence: u32,
    ack: u32,
    payload: &[u8],
) -> TestPacket {
    let mut header = TcpHeader::new(from.1, to.1, sequence, 8192);
    header.acknowledgment_number = ack;
    let builder = PacketBuilder::ipv4(from.0.octets(), to.0.octets(), 64).tcp_header(header);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    let mut packet = TestPacket::new(bytes).df();
    packet.bytes[33] = flags(letters);
    packet.fix_sums();
    packet
}

pub fn echo_request(from: Ipv4Addr, to: Ipv4Addr, ident: u16) -> TestPacket {
    echo(from, to, 8, ident, b"abcdefgh")
}

pub fn echo_reply(from: Ipv4Addr, to: Ipv4Addr, ident: u16) -> TestPacket {
    echo(from, to, 0, ident, b"abcdefgh")
}

pub fn echo(from: Ipv4Addr, to: Ipv4Addr, kind: u8, ident: u16, payload: &[u8]) -> TestPacket {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(ident.to_be_bytes());
    message.extend([0, 1]);
    message.extend(payload);
    icmp(from, to, &message)
}

/// An ICMP message with its checksum made right.
pub fn icmp(from: Ipv4Addr, to: Ipv4Addr, message: &[u8]) -> TestPacket {
    let mut packet = ip(from, to, 1, message);
    packet.fix_sums();
    packet
}

/// An ICMP error of `kind` and `code` that quotes the first `quoted` bytes of `about`.
pub fn icmp_error(
    from: Ipv4Addr,
    to: Ipv4Addr,
    kind: u8,
    code: u8,
    about: &TestPacket,
    quoted: usize,
) -> TestPacket {
    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend(&about.bytes[..quoted.min(about.bytes.len())]);
    icmp(from, to, &message)
}

/// A packet of any protocol with DF set.
pub fn ip(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> TestPacket {
    let length = u16::try_from(payload.len()).unwrap();
    let mut header = Ipv4Header::new(length, 64, IpNumber(protocol), from.octets(), to.octets()).unwrap();
    header.dont_fragment = true;
    header.header_checksum = header.calc_header_checksum();
    let mut bytes = Vec::new();
    header.write(&mut bytes).unwrap();
    bytes.extend(payload);
    TestPacket::new(bytes)
}

/// The ones' complement sum of RFC 1071, as plainly as it can be said.
pub fn plain_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum as u16
}

impl TestPacket {
    pub fn new(bytes: Vec<u8>) -> TestPacket {
        TestPacket { bytes, offload: Offload::NONE, original: None }
    }

    pub fn u16_at(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    pub fn u32_at(&self, at: usize) -> u32 {
        u32::from(self.u16_at(at)) << 16 | u32::from(self.u16_at(at + 2))
    }

    pub fn put_u16(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }

    fn address_at(&self, at: usize) -> Ipv4Addr {
        Ipv4Addr::from(self.u32_at(at))
    }

    pub fn source(&self) -> Ipv4Addr {
        self.address_at(12)
    }

    pub fn destination(&self) -> Ipv4Addr {
        self.address_at(16)
    }

    pub fn protocol(&self) -> u8 {
        self.bytes[9]
    }

    pub fn ttl(&self) -> u8 {
        self.bytes[8]
    }

    pub fn ident(&self) -> u16 {
        self.u16_at(4)
    }

    pub fn header_bytes(&self) -> usize {
        usize::from(self.bytes[0] & 15) * 4
    }

    /// What follows the IP header.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.header_bytes()..]
    }

    pub fn source_port(&self) -> u16 {
        self.u16_at(self.header_bytes())
    }

    pub fn destination_port(&self) -> u16 {
        self.u16_at(self.header_bytes() + 2)
    }

    pub fn icmp_kind(&self) -> u8 {
        self.payload()[0]
    }

    pub fn icmp_code(&self) -> u8 {
        self.payload()[1]
    }

    pub fn icmp_ident(&self) -> u16 {
        self.u16_at(self.header_bytes() + 4)
    }

    /// Where it comes from, with port.
    pub fn from(&self) -> (Ipv4Addr, u16) {
        (self.source(), self.source_port())
    }

    /// Where it goes, with port.
    pub fn to(&self) -> (Ipv4Addr, u16) {
        (self.destination(), self.destination_port())
    }

    /// The packet an ICMP error quotes.
    pub fn quoted(&self) -> TestPacket {
        TestPacket::new(self.payload()[8..].to_vec())
    }

    /// The same with changed bytes and right sums.
    pub fn with(mut self, change: impl FnOnce(&mut [u8])) -> TestPacket {
        change(&mut self.bytes);
        self.fix_sums();
        self
    }

    /// The same with changed bytes and only the IP header's sum made right.
    pub fn with_wrong(mut self, change: impl FnOnce(&mut [u8])) -> TestPacket {
        change(&mut self.bytes);
        self.fix_ip_sum();
        self
    }

    pub fn df(self) -> TestPacket {
        self.with(|bytes| bytes[6] |= 0x40)
    }

    pub fn no_df(self) -> TestPacket {
        self.with(|bytes| bytes[6] &= !0x40)
    }

    pub fn ttl_of(self, ttl: u8) -> TestPacket {
        self.with(|bytes| bytes[8] = ttl)
    }

    pub fn tos(self, tos: u8) -> TestPacket {
        self.with(|bytes| bytes[1] = tos)
    }

    pub fn id(self, ident: u16) -> TestPacket {
        self.with(|bytes| bytes[4..6].copy_from_slice(&ident.to_be_bytes()))
    }

    /// The same with IP options put in (a multiple of four bytes).
    pub fn options(mut self, options: &[u8]) -> TestPacket {
        assert!(options.len().is_multiple_of(4));
        self.bytes.splice(20..20, options.iter().copied());
        self.bytes[0] += (options.len() / 4) as u8;
        let total = self.bytes.len() as u16;
        self.put_u16(2, total);
        self.fix_sums();
        self
    }

    /// Where the layer-4 checksum is, from the start of the packet.
    pub fn sum_at(&self) -> Option<usize> {
        let within = match self.protocol() {
            6 => 16,
            17 | 33 | 136 => 6,
            1 => 2,
            _ => return None,
        };
        Some(self.header_bytes() + within)
    }

    pub fn layer4_sum(&self) -> u16 {
        self.u16_at(self.sum_at().unwrap())
    }

    /// The sum of the pseudo-header, for protocols that have one.
    pub fn pseudo_sum(&self) -> u16 {
        if self.protocol() == 1 {
            return 0;
        }
        let mut pseudo = self.bytes[12..20].to_vec();
        pseudo.extend([0, self.protocol()]);
        pseudo.extend((self.payload().len() as u16).to_be_bytes());
        plain_sum(&pseudo)
    }

    /// The sum over pseudo-header, header and payload with the checksum field in it; 0xFFFF when right.
    pub fn verified_sum(&self) -> u16 {
        let mut all = self.pseudo_sum().to_be_bytes().to_vec();
        all.extend(self.payload());
        plain_sum(&all)
    }

    pub fn fix_ip_sum(&mut self) {
        let end = self.header_bytes();
        self.put_u16(10, 0);
        let sum = !plain_sum(&self.bytes[..end]);
        self.put_u16(10, sum);
    }

    pub fn fix_sums(&mut self) {
        self.fix_ip_sum();
        if let Some(at) = self.sum_at()
            && at + 2 <= self.bytes.len()
        {
            self.put_u16(at, 0);
            let sum = !self.verified_sum();
            self.put_u16(at, if sum == 0 && self.protocol() == 17 { 0xFFFF } else { sum });
        }
    }

    /// The same with its checksum left to the receiver, as a Xen guest sends it.
    pub fn blank(mut self) -> TestPacket {
        let at = self.sum_at().unwrap();
        let partial = self.pseudo_sum();
        self.put_u16(at, partial);
        self.offload.checksum = Checksum::Blank;
        self
    }

    /// Does what a receiver of a blank checksum does: sums from the layer-4 header, field included.
    pub fn complete(mut self) -> TestPacket {
        let at = self.sum_at().unwrap();
        let sum = !plain_sum(self.payload());
        self.put_u16(at, sum);
        self.offload.checksum = Checksum::Unverified;
        self
    }

    /// Checks both sums, and the whole with another parser.
    #[track_caller]
    pub fn assert_sums(&self) {
        assert_eq!(plain_sum(&self.bytes[..self.header_bytes()]), 0xFFFF, "IP header sum of {self:?}");
        assert_eq!(usize::from(self.u16_at(2)), self.bytes.len(), "total length of {self:?}");
        etherparse::SlicedPacket::from_ip(&self.bytes).unwrap();
        let whole = self.u16_at(6) & 0x3FFF == 0;
        if let Some(at) = self.sum_at()
            && whole
            && !(self.protocol() == 17 && self.u16_at(at) == 0)
        {
            assert_eq!(self.verified_sum(), 0xFFFF, "layer-4 sum of {self:?}");
        }
    }
}

impl TestPacket {
    /// The fragments of at most `mtu` bytes, in order.
    pub fn cut(&self, mtu: usize) -> Vec<TestPacket> {
        let room = (mtu - self.header_bytes()) / 8 * 8;
        let pieces = self.payload().chunks(room).count();
        let make = |(n, chunk): (usize, &[u8])| self.piece(n * room, chunk, n + 1 < pieces);
        self.payload().chunks(room).enumerate().map(make).collect()
    }

    /// A fragment of this packet with `payload` at `offset`, and more to follow or not.
    pub fn piece(&self, offset: usize, payload: &[u8], more: bool) -> TestPacket {
        let mut bytes = self.bytes[..self.header_bytes()].to_vec();
        bytes.extend(payload);
        let mut piece = TestPacket::new(bytes);
        let total = piece.bytes.len() as u16;
        piece.put_u16(2, total);
        piece.put_u16(6, (self.u16_at(6) & 0x4000) | if more { 0x2000 } else { 0 } | (offset / 8) as u16);
        piece.fix_ip_sum();
        piece
    }

    pub fn fragment_offset(&self) -> usize {
        usize::from(self.u16_at(6) & 0x1FFF) * 8
    }
}

/// Puts fragments together; they must be all there and have the same header otherwise.
#[track_caller]
pub fn reassemble(fragments: &[TestPacket]) -> TestPacket {
    let mut sorted = fragments.to_vec();
    sorted.sort_by_key(TestPacket::fragment_offset);
    let first = sorted[0].clone();
    let mut bytes = first.bytes[..first.header_bytes()].to_vec();
    for (n, fragment) in sorted.iter().enumerate() {
        assert_eq!(fragment.fragment_offset(), bytes.len() - first.header_bytes());
        assert_eq!(fragment.u16_at(6) & 0x2000 == 0, n + 1 == sorted.len());
        assert_eq!((fragment.ident(), fragment.source()), (first.ident(), first.source()));
        assert_eq!(fragment.destination(), first.destination());
        assert_eq!(plain_sum(&fragment.bytes[..fragment.header_bytes()]), 0xFFFF);
        bytes.extend(fragment.payload());
    }
    let mut whole = TestPacket::new(bytes);
    let total = whole.bytes.len() as u16;
    whole.put_u16(2, total);
    whole.put_u16(6, 0);
    whole.fix_ip_sum();
    whole
}
