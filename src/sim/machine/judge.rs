//! Where what happens on the machine is shown to its oracles, and what they object to is noted.

use super::Machine;
use super::grants::GrantUse;
use crate::sim::cast::{KERNEL, UPLINK};
use crate::sim::frame::{PlainPacket, is_arp};
use crate::sim::oracle::excuse::Excuse;
use crate::sim::oracle::grant_oracle;
use crate::xen::DomainId;
use crate::xen::grant::Access;
use crate::xen::host::HostFrame;
use crate::xen::page::PAGE_BYTES;
use alloc::format;
use alloc::string::String;
use core::ops::Range;

impl Machine {
    /// The kernel has granted a page to the uplink, to show it the bytes `shown`.
    pub fn uplink_is_granted(&mut self, frame: HostFrame, access: Access, shown: Range<usize>) {
        let Self { memory, exposure, .. } = self;
        for (oracle, what) in grant_oracle::objections(memory, exposure, frame, access, shown.clone()) {
            self.violate(oracle, what);
        }
        if access == Access::ReadOnly && shown == (0..PAGE_BYTES) {
            self.exposure.is_granted_whole(&self.memory, frame);
        }
    }

    /// The kernel has ended a grant.
    pub fn grant_is_ended(&mut self, reference: u32) {
        if self.ledger.grants.remove(&reference).is_none() {
            self.violate("grant-balance", format!("grant {reference} is ended that was not in force"));
        }
    }

    /// What honest peers complained of: asked whenever the kernel is about to sleep, and at the end.
    pub fn hear_complaints(&mut self) {
        for (oracle, what) in self.ledger.take_complaints() {
            self.violate(oracle, what);
        }
    }

    /// The first byte of the page of a grant to the uplink, outside `meant`, that the uplink may not see; `None` too
    /// when the grant is not in force.
    pub fn secret_behind(&self, reference: u32, meant: Range<usize>) -> Option<usize> {
        let frame = self.grant_page(UPLINK, KERNEL, reference, GrantUse::Read).ok()?;
        self.exposure.secret_in(&self.memory, frame, meant)
    }

    /// The uplink's backend has taken a packet out of the page of a grant.
    pub fn uplink_took(&mut self, reference: u32, packet: Range<usize>) {
        if let Ok(frame) = self.grant_page(UPLINK, KERNEL, reference, GrantUse::Read) {
            self.exposure.took(&self.memory, frame, packet);
        }
    }

    /// Objects to what the uplink's backend can see in the pages for small packets, while it has taken all that was sent.
    pub fn check_small_packets(&mut self) {
        if let Some((frame, at)) = self.exposure.stray(&self.memory) {
            self.violate("leak", format!("byte {at} of the page of frame {} was never sent", frame.0));
        }
    }

    /// The uplink's backend had access to a page until now.
    pub fn saw(&mut self, frame: HostFrame) {
        self.exposure.saw(&self.memory, frame);
    }

    /// A client puts a frame into its ring.
    pub fn client_sends(&mut self, client: DomainId, frame: &[u8]) {
        self.model.client_sends(client, frame, self.now);
    }

    /// The uplink's backend puts a frame into its ring.
    pub fn uplink_sends(&mut self, frame: &[u8]) {
        self.model.uplink_sends(frame, self.now);
    }

    /// The uplink's backend takes a frame from its ring.
    pub fn uplink_receives(&mut self, frame: &[u8]) {
        let packet = PlainPacket::of_frame(frame);
        let is_hostile = !self.ledger.uplink_is_honest;
        // It overwrites requests in its own ring: what it then takes for a packet need not be one.
        let judged = if is_hostile && !is_arp(frame) && packet.is_none() {
            Ok(Some(Excuse::HostileUplink))
        } else {
            self.model.judge_outward(frame, self.now)
        };
        let is_echo_reply = packet.is_some_and(|packet| packet.is_echo_reply());
        let excuse = (is_hostile && is_echo_reply).then_some(Excuse::HostileUplink);
        self.conclude("the uplink", judged, excuse);
    }

    /// A client takes a frame from its ring.
    pub fn client_receives(&mut self, client: DomainId, frame: &[u8]) {
        let judged = self.model.judge_inward(client, frame, self.now);
        let excuse = (!self.ledger.uplink_is_honest).then_some(Excuse::HostileUplink);
        self.conclude(&format!("domain {}", client.0), judged, excuse);
    }

    /// Counts a judgement of the model, and notes what it objects to, unless there is an excuse for that.
    fn conclude(&mut self, taker: &str, judged: Result<Option<Excuse>, String>, excuse: Option<Excuse>) {
        let excused = match judged {
            Ok(excused) => excused,
            Err(why) => {
                if excuse.is_none() {
                    self.violate("model", format!("to {taker}: {why}"));
                }
                excuse
            }
        };
        self.model.judgements.count(excused);
    }
}
