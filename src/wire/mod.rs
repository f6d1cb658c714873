//! Reading and writing packets: views of the headers that the firewall judges and changes.
#![forbid(unsafe_code)]

pub mod arp;
pub(crate) mod bytes;
pub mod checksum;
pub mod ethernet;
pub mod frame_view;
pub(crate) mod icmp;
pub mod ipv4;
pub(crate) mod mtu;
pub mod packet;
pub(crate) mod tcp;
pub(crate) mod transport;
pub(crate) mod udp;
