//! Reading packets: views of the headers that the firewall judges and changes.

pub mod arp;
pub mod ethernet;
