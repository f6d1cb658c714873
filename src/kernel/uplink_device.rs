//! The uplink's life as the loop sees it: found, connected, gone; and ARP on it.

use super::client_vifs::{News, directory_or_empty};
use super::egress::EgressContext;
use super::turn::{Firewall, UPLINK};
use crate::client::Side;
use crate::prefix::Ipv4Prefix;
use crate::route::uplink_arp::{self, Heard, Refusal, Us};
use crate::store::{Job, Store, StoreError, StoreRing};
use crate::text::decimal;
use crate::time::Moment;
use crate::vif::drops::FrameDrop;
use crate::vif::frame::Frame;
use crate::vif::frontend_directory::{FrontendDirectory, USUAL_MTU};
use crate::vif::platform::Platform;
use crate::vif::uplink::{self, Change, Steps, Uplink};
use crate::wire::arp::Arp;
use crate::wire::ethernet::{HEADER_BYTES, Header, Mac};
use crate::xen::Xen;
use alloc::vec::Vec;
use core::task::Poll;

/// The network devices that there are, and the first that can be used, unless one is in use.
#[derive(Debug)]
pub(super) struct Listing {
    devices: Vec<u32>,
    found: Option<FrontendDirectory>,
}

impl Listing {
    /// Lists the devices; with [`Need::Uplink`] the first that can be used is taken.
    async fn read<R: StoreRing>(need: Need, store: Store<R>) -> Result<Self, StoreError> {
        let mut devices: Vec<u32> = directory_or_empty(&store, uplink::DEVICES)
            .await?
            .iter()
            .filter_map(|name| decimal(name))
            .collect();
        devices.sort_unstable();
        let candidates = match need {
            Need::Uplink => devices.as_slice(),
            Need::Names => &[],
        };
        for &device in candidates {
            match FrontendDirectory::discover(device, UPLINK, &store).await {
                Ok(directory) => return Ok(Self { devices, found: Some(directory) }),
                // It went away, or is still being made: another event will tell.
                Err(StoreError::NoEntry) => {}
                Err(error) if error.is_about_the_request() => {
                    log::error!("uplink: device {device} cannot be used: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self { devices, found: None })
    }
}

/// Why the devices are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// There is no uplink.
    Uplink,
    /// To say which are not used.
    Names,
}

impl<X: Xen, R: StoreRing + 'static> Firewall<X, R> {
    /// Ends the connection to a backend that broke the protocol.
    pub(super) fn break_uplink_off(&mut self) {
        let steps = self.with_uplink(|device, platform| device.break_off(platform));
        self.uplink_took_steps(steps);
    }

    /// Goes on with what replies and time allow.
    pub(super) fn advance_uplink(&mut self, news: News) {
        let now = self.now;
        if self.held.deadline().is_some_and(|due| due <= now) {
            self.held.retry(&mut self.xen);
        }
        if let Some(device) = self.egress.uplink.as_ref() {
            let due = match device.is_asking() {
                true => news == News::Some,
                false => device.deadline().is_some_and(|due| due <= now),
            };
            if due {
                let steps = self.with_uplink(|device, platform| device.advance(platform));
                self.uplink_took_steps(steps);
            }
        }
        self.find_uplink();
    }

    /// When [`Self::advance_uplink`] has something to do without a reply of XenStore.
    pub(super) fn uplink_deadline(&self) -> Option<Moment> {
        let device = self.egress.uplink.as_ref().and_then(Uplink::deadline);
        device.into_iter().chain(self.held.deadline()).min()
    }

    fn with_uplink(&mut self, act: impl FnOnce(&mut Uplink, &mut Platform<'_, X, R>) -> Steps) -> Steps {
        let Some(device) = self.egress.uplink.as_mut() else {
            return Steps { change: Change::None, error: None };
        };
        let Self { xen, store, now, attention, held, .. } = self;
        act(device, &mut Platform { xen, store, now: *now, attention, held })
    }

    /// Draws the conclusions from what the uplink did.
    fn uplink_took_steps(&mut self, steps: Steps) {
        match steps.change {
            Change::None => {}
            Change::Up => {
                log::info!("uplink: connected");
                let mtu = self.egress.uplink.as_ref().map_or(USUAL_MTU, Uplink::mtu);
                self.journey.set_mtu(Side::Uplink, mtu);
                self.settle_address();
                let now = self.xen.now();
                let mut context = EgressContext { egress: &mut self.egress, pages: self.xen.pages(), now };
                context.with_neighbours(|neighbours, output| neighbours.clear(output));
                context.announce_address();
            }
            Change::Down => log::warn!("uplink: disconnected"),
            Change::Gone => {
                log::warn!("uplink: the device was removed");
                self.egress.uplink = None;
                self.inquiries.devices_wanted = true;
            }
        }
        match steps.error {
            Some(error) if error.is_about_the_request() => log::error!("uplink: {error}"),
            failed => self.note(failed),
        }
    }

    /// Lists the network devices when that is wanted, takes the first as the uplink when there is none yet, and reports
    /// the others once each.
    fn find_uplink(&mut self) {
        loop {
            if self.inquiries.devices.is_none() && self.inquiries.devices_wanted {
                self.inquiries.devices_wanted = false;
                let need = if self.egress.uplink.is_none() { Need::Uplink } else { Need::Names };
                self.inquiries.devices = Some(Job::new(Listing::read(need, self.store.clone())));
            }
            let Some(Poll::Ready(listing)) = self.inquiries.devices.as_mut().map(Job::poll) else { return };
            self.inquiries.devices = None;
            match listing {
                Ok(listing) => self.take_listing(listing),
                Err(error) => self.note(Some(error)),
            }
        }
    }

    fn take_listing(&mut self, Listing { devices, found }: Listing) {
        if let Some(directory) = found {
            log::info!("uplink: device {}, our address there is {}", directory.device(), directory.mac());
            self.egress.uplink = Some(Uplink::new(directory, self.xen.now()));
            let steps = self.with_uplink(|device, platform| device.advance(platform));
            self.uplink_took_steps(steps);
        }
        let used = self.egress.uplink.as_ref().map(Uplink::device);
        self.unused_devices.retain(|device| devices.contains(device) && Some(*device) != used);
        for device in devices {
            if used.is_some() && Some(device) != used && !self.unused_devices.contains(&device) {
                log::warn!("uplink: device {device} is not used while there is another one");
                self.unused_devices.push(device);
            }
        }
    }

    /// Our address on the uplink is the one that the toolstack gave the device, or else the configured one. Flows
    /// go on if it is what it was.
    fn settle_address(&mut self) {
        let given = self.egress.uplink.as_ref().and_then(Uplink::address);
        let (Some(route), Some(configured)) = (self.egress.route.as_mut(), self.configured_address) else {
            return;
        };
        // The node lies in the backend's directory: what cannot be ours is not believed.
        let given = given.filter(|&given| {
            let unusable = given.is_unspecified() || given.is_multicast() || given.is_loopback();
            !unusable && !given.is_broadcast() && !self.egress.clients.owns(given)
        });
        let address =
            given.and_then(|given| Ipv4Prefix::new(given, configured.length())).unwrap_or(configured);
        if address != route.address {
            log::warn!("uplink: our address is {address} from now on; flows from {} end", route.address);
            route.address = address;
            self.journey.set_uplink_address(address.address());
        }
    }
}

/// ARP from the uplink: what it tells is taken in, questions for our address are answered.
pub(super) fn answer_arp(frame: Frame, mac: Mac, context: &mut EgressContext<'_>) {
    let header = Header::read(frame.head());
    let arp = Arp::read(frame.head().get(HEADER_BYTES..).unwrap_or_default());
    frame.release(context.pages);
    let (Some(header), Some(arp), Some(route)) = (header, arp, context.egress.route) else {
        return context.egress.drops.count(FrameDrop::ArpUnanswered);
    };
    let us = Us { address: route.address.address(), mac };
    let clients = &context.egress.clients;
    match uplink_arp::hear(&arp, header.destination, us, |address| clients.owns(address)) {
        Ok(Heard { claim, answer }) => {
            let now = context.now;
            if let Some(claim) = claim {
                context.with_neighbours(|neighbours, output| {
                    neighbours.learn(arp.sender, arp.sender_mac, claim, now, output);
                });
            }
            if let Some(answer) = answer {
                context.arp(&answer, answer.target_mac);
            }
        }
        Err(Refusal::NotForUs) => context.egress.drops.count(FrameDrop::NotForUs),
        Err(Refusal::Spoofed) => context.egress.drops.count(FrameDrop::SpoofedUplink),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::share::Account;
    use crate::kernel::egress::{Egress, UplinkRoute};
    use crate::route::neighbour::{Asked, Event, Output};
    use crate::wire::arp::Operation;
    use crate::xen::charge::Charge;
    use crate::xen::page::{PagePool, on_heap};
    use core::net::Ipv4Addr;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const MAC: Mac = Mac([6; 6]);
    const OLD: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const NEW: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn says(
        operation: Operation,
        sender_mac: Mac,
        target: Ipv4Addr,
        to: Mac,
        context: &mut EgressContext<'_>,
    ) {
        let arp = Arp { operation, sender_mac, sender: GATEWAY, target_mac: Mac([0; 6]), target };
        let page = context.pages.take(Charge::UPLINK).unwrap();
        let frame = Frame::with_bytes(page, &arp.frame(to), context.pages).unwrap();
        answer_arp(frame, MAC, context);
    }

    /// Sends a packet to the gateway, and says where it goes if it does.
    fn goes_to(context: &mut EgressContext<'_>) -> Option<Mac> {
        let page = context.pages.take(Charge::UPLINK).unwrap();
        let frame = Frame::with_packet(page, &[0x45; 40], context.pages).unwrap();
        let mut last = Last(None);
        context.egress.neighbours.resolve(GATEWAY, frame, context.now, &mut last);
        last.0
    }

    /// Where the last packet went.
    struct Last(Option<Mac>);

    impl Output<Frame> for Last {
        fn ask(&mut self, _: Ipv4Addr, _: Account) -> Asked {
            Asked::Yes
        }

        fn emit(&mut self, event: Event<Frame>) {
            if let Event::Send(mac, _) = event {
                self.0 = Some(mac);
            }
        }
    }

    /// Where packets for the gateway go after it answered as `OLD` and then said something else.
    fn gateway_is_at(operation: Operation, mac: Mac, target: Ipv4Addr, to: Mac) -> Option<Mac> {
        let address = Ipv4Prefix::new(OURS, 24).unwrap();
        let mut egress = Egress::new(Some(UplinkRoute { address, gateway: GATEWAY }));
        let mut pages = PagePool::with_capacity(32);
        (0..32).for_each(|_| pages.add(on_heap::page()));
        let now = Moment::from_nanoseconds(5_000_000_000);
        let mut context = EgressContext { egress: &mut egress, pages: &mut pages, now };
        assert_eq!(goes_to(&mut context), None);
        says(Operation::Reply, OLD, OURS, MAC, &mut context);
        says(operation, mac, target, to, &mut context);
        goes_to(&mut context)
    }

    #[test]
    fn a_8_an_announcement_moves_the_gateway() {
        assert_eq!(gateway_is_at(Operation::Request, NEW, GATEWAY, Mac::BROADCAST), Some(NEW));
    }

    #[test]
    fn a_8_an_unasked_reply_moves_the_gateway() {
        assert_eq!(gateway_is_at(Operation::Reply, NEW, GATEWAY, Mac::BROADCAST), Some(NEW));
    }

    #[test]
    fn a_8_a_question_of_the_gateway_s_moves_it() {
        assert_eq!(gateway_is_at(Operation::Request, NEW, OURS, Mac::BROADCAST), Some(NEW));
        let another = Ipv4Addr::new(10, 0, 0, 77);
        assert_eq!(gateway_is_at(Operation::Request, NEW, another, Mac::BROADCAST), Some(NEW));
    }

    #[test]
    fn a_8_what_no_gateway_says_does_not_move_it() {
        for mac in [MAC, Mac::BROADCAST, Mac([0; 6])] {
            assert_eq!(gateway_is_at(Operation::Reply, mac, OURS, MAC), Some(OLD));
        }
        assert_eq!(gateway_is_at(Operation::Reply, NEW, OURS, Mac([2; 6])), Some(OLD));
    }
}
