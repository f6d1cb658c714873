//! Clients' vifs: every order of a few events, and random orders of many, with several vifs claiming one address.

use crate::vif::{Directory, Mishap, Vif};
use crate::{Dice, LONG, SHORT, START, milliseconds};
use ravelin::base::side::ClientSlot;
use ravelin::config::change::Ownership;
use ravelin::kernel::ownership::Owners;
use ravelin::vif::device_id::DeviceId;
use ravelin::vif::lifecycle::backend::BackendEvent;
use ravelin::vif::lifecycle::{BusState, Online, Rings};
use ravelin::xen::DomainId;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// What can happen to a vif.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// The frontend's state is this from now on, and the kernel looks.
    Frontend(BusState),
    /// The toolstack wants it to go: `online` 0, and state 5 unless it is closed.
    Detach,
    /// The toolstack wants it again.
    Wanted,
    /// The directory is removed.
    Removed,
    /// The directory is removed and made anew.
    MadeAnew,
    /// Six seconds pass.
    Time,
    /// The frontend breaks the protocol.
    Broke,
    /// The next action fails, this way.
    Mishap(u8),
}

fn all_happenings() -> Vec<Happening> {
    use Happening::*;
    let frontends = BusState::ALL.into_iter().map(Frontend);
    frontends
        .chain([Detach, Wanted, Removed, MadeAnew, Time, Broke, Mishap(0), Mishap(1), Mishap(2)])
        .collect()
}

fn apply(vif: &mut Vif, what: Happening, pending: &mut Mishap) {
    let mut once = || std::mem::replace(pending, Mishap::None);
    match what {
        Happening::Frontend(state) => vif.frontend = state,
        Happening::Detach => {
            if let Some(directory) = &mut vif.directory {
                directory.online = Online::No;
                if directory.state != BusState::Closed {
                    directory.state = BusState::Closing;
                }
            }
        }
        Happening::Wanted => {
            if let Some(directory) = &mut vif.directory {
                directory.online = Online::Yes;
            }
        }
        Happening::Removed => vif.directory = None,
        Happening::MadeAnew => {
            vif.directory = Some(Directory { state: BusState::Initialising, online: Online::Yes });
            vif.frontend = BusState::Initialising;
        }
        Happening::Time => vif.now = vif.now + milliseconds(6000),
        Happening::Broke => return vif.event(BackendEvent::Broke, &mut once),
        Happening::Mishap(kind) => {
            *pending = [Mishap::Refused, Mishap::AnswerLost, Mishap::BadRings][usize::from(kind)];
            return;
        }
    }
    vif.look(&mut once);
}

/// Our state, the toolstack's wish, the frontend's state, and what happened then.
type Combination = (BusState, Option<bool>, BusState, Happening);

fn every_order(vif: &Vif, pending: Mishap, depth: u32, all: &[Happening], seen: &mut BTreeSet<Combination>) {
    for &what in all {
        let (mut vif, mut pending) = (vif.clone(), pending);
        let online = vif.directory.map(|directory| directory.online == Online::Yes);
        seen.insert((vif.life.own(), online, vif.frontend, what));
        apply(&mut vif, what, &mut pending);
        if vif.life.is_forgotten() {
            continue;
        }
        if depth > 1 {
            every_order(&vif, pending, depth - 1, all, seen);
        } else {
            // Whatever happened, it can be used again and it can be detached.
            if vif.directory.is_some_and(|directory| directory.online == Online::Yes) {
                vif.clone().reconnect();
            }
            vif.detach();
        }
    }
}

#[test]
fn every_order_of_four_events_ends_well() {
    let all = all_happenings();
    let mut seen = BTreeSet::new();
    let mut fresh = Vif::new(START);
    fresh.look(&mut || Mishap::None);
    every_order(&fresh, Mishap::None, 4, &all, &mut seen);
    // A connected device, and a closed one, so that four more events follow those.
    let mut connected = fresh;
    connected.reconnect();
    every_order(&connected, Mishap::None, 3, &all, &mut seen);
    for (frontend, deeds) in [(BusState::Closing, 3), (BusState::Closed, 3)] {
        let mut vif = connected.clone();
        apply(&mut vif, Happening::Frontend(frontend), &mut Mishap::None);
        every_order(&vif, Mishap::None, deeds, &all, &mut seen);
    }
    let missing: Vec<_> = combinations(&all).filter(|combination| !seen.contains(combination)).collect();
    assert!(missing.is_empty(), "{} combinations were not seen, such as {:?}", missing.len(), missing[0]);
}

/// Every combination that can be: a device rests in one of four states, and a connected or closing one whose frontend
/// has started anew, or stopped, moves on at once.
fn combinations(all: &[Happening]) -> impl Iterator<Item = Combination> + '_ {
    use BusState::*;
    let rests = |own: BusState, online: bool, frontend: BusState| match (own, online) {
        (InitWait, true) => true,
        (Connected, _) => !matches!(frontend, Unknown | Initialising | Closing | Closed),
        (Closing, true) => !matches!(frontend, Unknown | Initialising | Connected | Closed),
        (Closing, false) => !matches!(frontend, Unknown | Initialising | Closed),
        (Closed, true) => !matches!(frontend, Initialising | Connected),
        (Closed, false) => true,
        _ => false,
    };
    let owns = [InitWait, Connected, Closing, Closed];
    owns.into_iter().flat_map(move |own| {
        [true, false].into_iter().flat_map(move |online| {
            BusState::ALL
                .into_iter()
                .filter(move |&frontend| rests(own, online, frontend))
                .flat_map(move |frontend| all.iter().map(move |&what| (own, Some(online), frontend, what)))
        })
    })
}

/// Who owns which address, as the engine was told, next to who should.
#[derive(Default)]
struct Book {
    owners: Owners,
    told: Vec<Ownership>,
    /// By address: who has it.
    has: Vec<(Ipv4Addr, ClientSlot)>,
}

impl Book {
    fn settle(&mut self) {
        for change in self.told.drain(..) {
            match change {
                Ownership::Gained(slot, address) => {
                    assert!(self.has.iter().all(|(other, _)| *other != address), "two owners of {address}");
                    assert!(self.has.iter().all(|(_, other)| *other != slot), "{slot:?} gains twice");
                    self.has.push((address, slot));
                }
                Ownership::Lost(slot) => {
                    let place = self.has.iter().position(|(_, other)| *other == slot);
                    self.has.swap_remove(place.expect("who loses had something"));
                }
            }
        }
    }
}

struct Place {
    vif: Vif,
    id: DeviceId,
    address: Ipv4Addr,
    connected: bool,
}

/// So many events at so many vifs that come and go and share three addresses.
fn random_orders(events: u64, seed: u64) {
    const VIFS: usize = 8;
    let mut dice = Dice(seed);
    let all = all_happenings();
    let mut now = START;
    let mut domain = 0;
    let mut book = Book::default();
    let mut places: Vec<Option<Place>> = (0..VIFS).map(|_| None).collect();
    for count in 0..events {
        let index = dice.below(VIFS as u64) as usize;
        let slot = ClientSlot(index as u8);
        now = now + milliseconds(dice.pick(&[0, 0, 1, 10, 100, 700, 6000]));
        let Some(place) = &mut places[index] else {
            domain = (domain + 1) % 0x7fef;
            let mut vif = Vif::new(now);
            vif.look(&mut || Mishap::None);
            let id = DeviceId { domain: DomainId(domain), device: 0 };
            let address = Ipv4Addr::new(10, 137, 0, dice.below(3) as u8);
            places[index] = Some(Place { vif, id, address, connected: false });
            continue;
        };
        let vif = &mut place.vif;
        vif.now = now;
        let mut pending = Mishap::of_chance(&mut dice, 100);
        match dice.below(20) {
            0 => apply(vif, dice.pick(&all), &mut pending),
            1 => vif.detach(),
            2 if vif.directory.is_some_and(|d| d.online == Online::Yes) => vif.reconnect(),
            // Mostly what frontends do, and only now and then the end.
            _ => {
                let state = dice.pick(&BusState::ALL);
                apply(vif, Happening::Frontend(state), &mut pending);
            }
        }
        now = now.max(vif.now);
        let connected = vif.life.rings() == Rings::Held;
        if connected && !place.connected {
            book.owners.claim(slot, place.id, place.address, &mut book.told);
        } else if !connected && place.connected {
            book.owners.withdraw(slot, &mut book.told);
        }
        place.connected = connected;
        if place.vif.life.is_forgotten() {
            places[index] = None;
        }
        book.settle();
        if count % 16 == 0 {
            check_owners(&places, &book);
        }
    }
}

/// Of the connected vifs with one address the newest has it, and nobody else has any.
fn check_owners(places: &[Option<Place>], book: &Book) {
    for (index, place) in places.iter().enumerate() {
        let Some(place) = place else {
            assert!(book.has.iter().all(|(_, slot)| usize::from(slot.0) != index), "a vif that is gone owns");
            continue;
        };
        let rivals =
            places.iter().flatten().filter(|rival| rival.connected && rival.address == place.address);
        let newest = rivals.map(|rival| rival.id).max();
        let has = book.has.contains(&(place.address, ClientSlot(index as u8)));
        assert_eq!(has, newest == Some(place.id), "{:?} and {}", place.id, place.address);
        assert_eq!(book.owners.owns(place.address), newest.is_some());
    }
}

#[test]
fn random_orders_of_many_events_break_nothing() {
    random_orders(SHORT, 1);
}

#[test]
#[ignore = "long: make lifecycle"]
fn random_orders_of_twelve_million_events_break_nothing() {
    random_orders(LONG, 2);
}
