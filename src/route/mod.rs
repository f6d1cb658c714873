//! Where packets go, and what is sent back about those that go nowhere.

pub mod cut;
pub mod destination;
pub mod report;
pub mod reset;
