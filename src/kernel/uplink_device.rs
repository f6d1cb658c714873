//! The uplink's life in XenStore: found, connected, gone.

use super::client_vifs::{News, directory_or_empty};
use super::control::{ControlPlane, UPLINK};
use super::vifs::Vifs;
use crate::base::text::decimal;
use crate::base::time::Moment;
use crate::config::Change;
use crate::store::{Job, Store, StoreError, StoreRing};
use crate::vif::frontend_directory;
use crate::vif::frontend_directory::{FrontendDirectory, USUAL_MTU};
use crate::vif::netfront::UplinkBroken;
use crate::vif::uplink::{LinkChange, Uplink, UplinkSteps};
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
        let mut devices: Vec<u32> = directory_or_empty(&store, frontend_directory::DEVICES)
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

/// The search for an uplink: our network devices are listed when they change.
#[derive(Debug, Default)]
pub(super) struct UplinkSearch {
    listing: Option<Job<Result<Listing, StoreError>>>,
    /// Devices came or went since they were last listed.
    stale: bool,
    /// Network devices beside the uplink that were reported as not used.
    unused: Vec<u32>,
}

impl UplinkSearch {
    /// Devices may have come or gone: they are to be listed again.
    pub(super) fn look_again(&mut self) {
        self.stale = true;
    }

    /// Whether [`Self::next`] has something to ask.
    pub(super) fn is_due(&self) -> bool {
        self.stale && self.listing.is_none()
    }

    /// The next listing, if XenStore has answered.
    fn next<R: StoreRing + 'static>(
        &mut self,
        store: &Store<R>,
        need: Need,
    ) -> Option<Result<Listing, StoreError>> {
        if self.is_due() {
            self.stale = false;
            self.listing = Some(Job::new(Listing::read(need, store.clone())));
        }
        let Poll::Ready(listing) = self.listing.as_mut()?.poll() else { return None };
        self.listing = None;
        Some(listing)
    }
}

impl<R: StoreRing + 'static> ControlPlane<R> {
    /// Ends the connection to a backend that broke the protocol.
    pub fn break_uplink_off<X: Xen>(&mut self, why: UplinkBroken, xen: &mut X, vifs: &mut Vifs, now: Moment) {
        log::error!("uplink: its backend broke the protocol ({why}): connection ended");
        let Some(device) = vifs.uplink.as_mut() else { return };
        let steps = device.break_off(&mut self.platform(xen, now));
        self.uplink_took_steps(steps, vifs);
    }

    /// Goes on with what replies and time allow.
    pub(super) fn advance_uplink<X: Xen>(&mut self, news: News, xen: &mut X, vifs: &mut Vifs, now: Moment) {
        if self.held.deadline().is_some_and(|due| due <= now) {
            self.held.retry(xen);
        }
        if let Some(device) = vifs.uplink.as_mut() {
            let due = match device.is_asking() {
                true => news == News::Some,
                false => device.deadline().is_some_and(|due| due <= now),
            };
            if due {
                let steps = device.advance(&mut self.platform(xen, now));
                self.uplink_took_steps(steps, vifs);
            }
        }
        self.find_uplink(xen, vifs, now);
    }

    /// Draws the conclusions from what the uplink did.
    fn uplink_took_steps(&mut self, steps: UplinkSteps, vifs: &mut Vifs) {
        match steps.change {
            LinkChange::None => {}
            LinkChange::Up => {
                log::info!("uplink: connected");
                self.take_device_address(vifs);
                let mtu = vifs.uplink.as_ref().map_or(USUAL_MTU, Uplink::mtu);
                self.changes.push(Change::UplinkConnected { mtu });
            }
            LinkChange::Down => log::warn!("uplink: disconnected"),
            LinkChange::Gone => {
                log::warn!("uplink: the device was removed");
                vifs.uplink = None;
                self.search.look_again();
            }
        }
        match steps.error {
            Some(error) if error.is_about_the_request() => log::error!("uplink: {error}"),
            failed => self.note(failed),
        }
    }

    /// Lists the network devices when that is wanted, takes the first as the uplink when there is none yet, and reports
    /// the others once each.
    fn find_uplink<X: Xen>(&mut self, xen: &mut X, vifs: &mut Vifs, now: Moment) {
        loop {
            let need = if vifs.uplink.is_none() { Need::Uplink } else { Need::Names };
            match self.search.next(&self.store, need) {
                None => return,
                Some(Ok(listing)) => self.take_listing(listing, xen, vifs, now),
                Some(Err(error)) => self.note(Some(error)),
            }
        }
    }

    fn take_listing<X: Xen>(
        &mut self,
        Listing { devices, found }: Listing,
        xen: &mut X,
        vifs: &mut Vifs,
        now: Moment,
    ) {
        if let Some(directory) = found {
            log::info!("uplink: device {}, our address there is {}", directory.device(), directory.mac());
            let device = vifs.uplink.insert(Uplink::new(directory, xen.now()));
            let steps = device.advance(&mut self.platform(xen, now));
            self.uplink_took_steps(steps, vifs);
        }
        let used = vifs.uplink.as_ref().map(Uplink::device);
        let unused = &mut self.search.unused;
        unused.retain(|device| devices.contains(device) && Some(*device) != used);
        for device in devices {
            if used.is_some() && Some(device) != used && !unused.contains(&device) {
                log::warn!("uplink: device {device} is not used while there is another one");
                unused.push(device);
            }
        }
    }

    /// Notes the address that the toolstack gave the device, if it did.
    fn take_device_address(&mut self, vifs: &Vifs) {
        let given = vifs.uplink.as_ref().and_then(Uplink::address);
        // The node lies in the backend's directory: what cannot be ours is not believed.
        let given = given.filter(|&given| {
            let unusable = given.is_unspecified() || given.is_multicast() || given.is_loopback();
            !unusable && !given.is_broadcast() && !vifs.clients.owns(given)
        });
        self.live.set_device_address(given, &mut self.changes);
    }
}
