//! Fragments on their engine: the first is judged, the others follow it or wait for it.

use super::datapath::{Datapath, PacketView, Verdict};
use super::{Engine, Output};
use crate::base::bug::OrBug;
use crate::base::drop_reason::DropReason;
use crate::base::side::Side;
use crate::base::tick::Tick;
use crate::base::time::Moment;
use crate::flow::fragments::FragmentAction;
use crate::nat::rewrite::readdress;
use crate::nat::translation::Translation;
use crate::tables::share::Account;
use crate::wire::ipv4::Ipv4;
use crate::wire::packet::{Checksum, Packet};

/// On whose account fragments from a side wait.
const fn account(from: Side) -> Account {
    match from {
        Side::Uplink => Account::UPLINK,
        Side::Client(slot) => Account::client(slot),
    }
}

/// Counts and hands back a packet that was given up.
fn reject<'a, D>(engine: &'a mut Datapath, output: &'a mut impl Output<D>) -> impl FnMut(D, DropReason) + 'a
where
    D: 'a,
{
    |packet, why| {
        engine.count_drop(why);
        output.discard(packet, why);
    }
}

impl<D: Packet> Engine<D> {
    /// Takes a fragment that was screened. Its header is read again rather than handed over, so that those of whole
    /// packets stay in registers.
    #[inline(never)]
    pub(super) fn take_fragment(
        &mut self,
        now: Moment,
        from: Side,
        mut packet: D,
        output: &mut impl Output<D>,
    ) {
        let ip = match Ipv4::read(packet.header(), packet.total_bytes())
            .or_bug("a fragment cannot be read again")
        {
            Ok(ip) => ip,
            Err(fault) => return self.discard(packet, fault.into(), output),
        };
        let offload = packet.offload();
        if offload.checksum == Checksum::Blank || offload.gso.is_some() {
            return self.discard(packet, DropReason::FragmentOffload, output);
        }
        let tick = Tick::at(now);
        let arrival =
            self.fragments.arrive(account(from), &ip, tick, &mut reject(&mut self.datapath, output));
        match arrival {
            FragmentAction::Refuse(why) => self.discard(packet, why, output),
            FragmentAction::Wait(id) => {
                self.fragments.queue(id, packet, ip, &mut reject(&mut self.datapath, output))
            }
            FragmentAction::Follow(id, translation) => {
                self.follow(now, from, packet, ip, &translation, output);
                self.fragments.forget_if_complete(id, tick);
            }
            FragmentAction::Judge(id) => {
                let view = &mut PacketView { header: packet.header_mut(), ip, offload };
                let verdict = self.datapath.judge_first_fragment(now, from, view);
                self.carry_out_seldom(from, packet, &ip, verdict, output);
                let Verdict::Forward(translation) = verdict else {
                    return self.fragments.set_verdict(id, None, &mut reject(&mut self.datapath, output));
                };
                self.fragments.set_verdict(id, Some(translation), &mut reject(&mut self.datapath, output));
                while let Some((held, ip)) = self.fragments.release(id) {
                    self.follow(now, from, held, ip, &translation, output);
                }
                self.fragments.forget_if_complete(id, tick);
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
        translation: &Translation,
        output: &mut impl Output<D>,
    ) {
        let offload = packet.offload();
        let view = PacketView { header: packet.header_mut(), ip, offload };
        let verdict = match self.datapath.may_follow(now, from, translation, &view) {
            Ok(()) => {
                readdress(view.header, &ip, &translation.new_header(&ip));
                Verdict::Forward(*translation)
            }
            Err(why) => Verdict::Discard(why),
        };
        self.carry_out_seldom(from, packet, &ip, verdict, output);
    }

    /// Gives up datagrams that were incomplete for too long.
    pub(super) fn expire_fragments(&mut self, now: Moment, output: &mut impl Output<D>) {
        self.fragments.expire(Tick::at(now), &mut reject(&mut self.datapath, output));
    }
}
