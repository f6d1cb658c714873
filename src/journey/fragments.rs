//! Fragments on their journey: the first is judged, the others follow it or wait for it.

use super::engine::{Engine, Parcel, Passage, Verdict};
use super::{Journey, Outlet};
use crate::client::Side;
use crate::counters::Drop;
use crate::flow::fragments::Arrival;
use crate::flow::share::Account;
use crate::flow::tick::Tick;
use crate::nat::rewrite::readdress;
use crate::packet::{Checksum, Datagram};
use crate::time::Moment;
use crate::wire::ipv4::Ipv4;

/// On whose account fragments from a side wait.
const fn account(from: Side) -> Account {
    match from {
        Side::Uplink => Account::UPLINK,
        Side::Client(slot) => Account::client(slot),
    }
}

/// Counts and hands back a packet that was given up.
fn reject<'a, D>(engine: &'a mut Engine, outlet: &'a mut impl Outlet<D>) -> impl FnMut(D, Drop) + 'a
where
    D: 'a,
{
    |packet, why| {
        engine.count_drop(why);
        outlet.discard(packet, why);
    }
}

impl<D: Datagram> Journey<D> {
    /// Takes a fragment that was screened. Its header is read again rather than handed over, so that those of whole
    /// packets stay in registers.
    #[inline(never)]
    pub(super) fn take_fragment(
        &mut self,
        now: Moment,
        from: Side,
        mut packet: D,
        outlet: &mut impl Outlet<D>,
    ) {
        let total = packet.total_bytes();
        let ip = match Ipv4::read(packet.header(), total) {
            Ok(ip) => ip,
            Err(fault) => return self.discard(packet, fault.into(), outlet),
        };
        let offload = packet.offload();
        if offload.checksum == Checksum::Blank || offload.gso.is_some() {
            return self.discard(packet, Drop::FragmentOffload, outlet);
        }
        let tick = Tick::at(now);
        let arrival = self.fragments.arrive(account(from), &ip, tick, &mut reject(&mut self.engine, outlet));
        match arrival {
            Arrival::Refuse(why) => self.discard(packet, why, outlet),
            Arrival::Wait(id) => self.fragments.hold(id, packet, ip, &mut reject(&mut self.engine, outlet)),
            Arrival::Follow(id, passage) => {
                self.follow(now, from, packet, ip, &passage, outlet);
                self.fragments.finish(id, tick);
            }
            Arrival::Judge(id) => {
                let parcel = &mut Parcel { header: packet.header(), ip, offload };
                let verdict = self.engine.judge_first_fragment(now, from, parcel);
                self.carry_out(from, packet, &ip, verdict, outlet);
                let Verdict::Forward(passage) = verdict else {
                    return self.fragments.settle(id, None, &mut reject(&mut self.engine, outlet));
                };
                self.fragments.settle(id, Some(passage), &mut reject(&mut self.engine, outlet));
                while let Some((held, ip)) = self.fragments.release(id) {
                    self.follow(now, from, held, ip, &passage, outlet);
                }
                self.fragments.finish(id, tick);
            }
        }
    }

    /// Sends a later fragment the way of the first.
    fn follow(
        &mut self,
        now: Moment,
        from: Side,
        mut packet: D,
        ip: Ipv4,
        passage: &Passage,
        outlet: &mut impl Outlet<D>,
    ) {
        let offload = packet.offload();
        let parcel = Parcel { header: packet.header(), ip, offload };
        let verdict = match self.engine.may_follow(now, from, passage, &parcel) {
            Ok(()) => {
                readdress(parcel.header, &ip, &passage.heading(&ip));
                Verdict::Forward(*passage)
            }
            Err(why) => Verdict::Discard(why),
        };
        self.carry_out(from, packet, &ip, verdict, outlet);
    }

    /// Gives up datagrams that were incomplete for too long.
    pub(super) fn expire_fragments(&mut self, now: Moment, outlet: &mut impl Outlet<D>) {
        self.fragments.expire(Tick::at(now), &mut reject(&mut self.engine, outlet));
    }
}
