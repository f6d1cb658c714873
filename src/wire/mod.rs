//! Reading and writing packets: views of the headers that the firewall judges and changes.
#![forbid(unsafe_code)]

pub mod arp;
pub mod bytes;
pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod mtu;
pub mod packet;
pub mod tcp;
pub mod transport;
pub mod udp;
