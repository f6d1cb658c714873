//! The control plane over a xenstored in memory, one look at a time.

use super::*;
use crate::base::time::UnixSeconds;
use crate::config::command_line::CommandLine;
use crate::config::rule_config::RuleConfig;
use crate::store::fake::{FakeRing, FakeXenstored};
use crate::vif::event::{ClientEvent, UplinkEvent, VifEvent};
use crate::vif::lifecycle::RETRY_AFTER;
use crate::xen::copy::CopyBatch;
use crate::xen::event::RemotePort;
use crate::xen::grant::{Access, GrantedPage, Gref};
use crate::xen::page::Page;
use crate::xen::page_pool::PagePool;
use crate::xen::{DomainId, Holdings, MappedPage, Shutdown, XenError};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

const START: Moment = Moment::from_nanoseconds(1_000_000_000);

/// A hypervisor that grants nothing: vifs are found and do not connect.
struct NoXen {
    now: Moment,
    pages: PagePool,
}

const REFUSED: XenError = XenError(-1);

impl Xen for NoXen {
    fn now(&self) -> Moment {
        self.now
    }

    fn unix_time(&self, _: Moment) -> UnixSeconds {
        UnixSeconds(0)
    }

    fn entropy(&mut self) -> Option<[u8; 32]> {
        None
    }

    fn hypercalls(&self) -> u64 {
        0
    }

    fn pages(&mut self) -> &mut PagePool {
        &mut self.pages
    }

    fn grant(&mut self, _: DomainId, page: Page, _: Access, _: Range<usize>) -> Result<GrantedPage, Page> {
        Err(page)
    }

    fn end_grant(&mut self, granted: GrantedPage) -> Result<Page, GrantedPage> {
        Err(granted)
    }

    fn map(&mut self, _: DomainId, _: Gref) -> Result<MappedPage, XenError> {
        Err(REFUSED)
    }

    fn unmap(&mut self, _: MappedPage) -> Result<(), XenError> {
        Err(REFUSED)
    }

    fn copy(&mut self, _: &mut CopyBatch) {}

    fn allocate_port(&mut self, _: DomainId) -> Result<Port, XenError> {
        Err(REFUSED)
    }

    fn bind_port(&mut self, _: DomainId, _: RemotePort) -> Result<Port, XenError> {
        Err(REFUSED)
    }

    fn close_port(&mut self, _: Port) {}

    fn notify(&mut self, _: Port) {}

    fn send_notices(&mut self) {}

    fn take_pending(&mut self, _: Port) -> bool {
        false
    }

    fn wait(&mut self, _: &[Port], until: Option<Moment>) -> Moment {
        until.unwrap_or(self.now)
    }

    fn holdings(&self) -> Holdings {
        Holdings { grants: 0, mappings: 0, ports: 0 }
    }

    fn shutdown(&mut self, _: Shutdown) {}
}

struct Rig {
    daemon: FakeXenstored,
    control: ControlPlane<FakeRing>,
    xen: NoXen,
    vifs: Vifs,
    /// What the toolstack has asked for.
    requested: Vec<Request>,
}

impl Rig {
    /// A control plane that has seen all that was there at boot: nothing.
    fn new() -> Self {
        let daemon = FakeXenstored::default();
        let live = Live::boot(&CommandLine::default(), RuleConfig::None, 16 << 20);
        let control = {
            let store = Store::new(daemon.ring());
            let qubes = QubesConnection::find(&store, 16 << 20).unwrap();
            ControlPlane::new(store, Port(1), live, qubes).unwrap()
        };
        let xen = NoXen { now: START, pages: PagePool::with_capacity(0) };
        let mut rig = Self { daemon, control, xen, vifs: Vifs::default(), requested: Vec::new() };
        rig.settle();
        assert_eq!((rig.events(), rig.control.deadline(&rig.vifs)), (Vec::new(), None));
        rig
    }

    /// Looks as often as a turn does.
    fn look(&mut self) {
        let now = self.xen.now;
        while let StoreWork::Requested(request) = self.control.look(&mut self.xen, &mut self.vifs, now) {
            self.requested.push(request);
        }
    }

    /// A look after each of the daemon's answers, more often than anything takes.
    fn settle(&mut self) {
        for _ in 0..100 {
            self.daemon.run();
            self.look();
        }
    }

    /// Time passes until something is due.
    fn wait(&mut self) -> Duration {
        let due = self.control.deadline(&self.vifs).expect("something is due");
        let waited = due.since(self.xen.now);
        self.xen.now = due;
        self.settle();
        waited
    }

    /// What happened, in short.
    fn events(&self) -> Vec<String> {
        let short = |event: &Event| match event {
            Event::Vif(VifEvent::Client(id, ClientEvent::Found(_))) => format!("{id} found"),
            Event::Vif(VifEvent::Uplink(UplinkEvent::Found { device, .. })) => {
                format!("uplink {device} found")
            }
            Event::Store(StoreEvent::Failed(error)) => error.to_string(),
            Event::Store(StoreEvent::Slow { waited, .. }) => format!("slow for {waited:?}"),
            other => format!("{other:?}"),
        };
        self.control.events.happened().iter().map(short).collect()
    }

    /// The toolstack makes the vif of domain 7.
    fn attach(&self) {
        for (key, value) in [
            ("frontend", "/local/domain/7/device/vif/0"),
            ("mac", "00:16:3e:00:00:07"),
            ("ip", "10.137.0.7"),
            ("online", "1"),
            ("state", "1"),
        ] {
            self.daemon.set(&format!("backend/vif/7/0/{key}"), value);
        }
        self.daemon.set("/local/domain/7/device/vif/0/state", "1");
    }

    /// Our own state in its directory.
    fn state(&self) -> Option<String> {
        self.daemon.get("backend/vif/7/0/state")
    }

    /// The toolstack makes our own device.
    fn attach_uplink(&self, device: u32) {
        let back = format!("/local/domain/2/backend/vif/1/{device}");
        self.daemon.set(&format!("{back}/state"), "1");
        for (key, value) in
            [("backend", back.as_str()), ("backend-id", "2"), ("mac", "00:16:3e:00:00:01"), ("state", "1")]
        {
            self.daemon.set(&format!("device/vif/{device}/{key}"), value);
        }
    }
}

#[test]
fn a_request_and_a_device_that_arrive_in_one_look_are_both_served() {
    // One of them is some replies ahead; the request's node can be emptied or not.
    for (ahead, refused) in (-9i32..9).flat_map(|ahead| [(ahead, 0), (ahead, usize::MAX)]) {
        let mut rig = Rig::new();
        rig.daemon.refuse("Write control/sysrq", "EACCES", refused);
        let ask = |rig: &Rig| rig.daemon.set("control/sysrq", "m");
        if ahead < 0 {
            ask(&rig)
        } else {
            rig.attach()
        }
        for _ in 0..ahead.unsigned_abs() {
            rig.look();
            rig.daemon.run();
        }
        if ahead < 0 {
            rig.attach()
        } else {
            ask(&rig)
        }
        rig.settle();
        assert_eq!(rig.requested, [Request::Balance], "{ahead} {refused}");
        assert_eq!(rig.state().as_deref(), Some("2"), "{ahead} {refused}: {:?}", rig.events());
    }
}

#[test]
fn a_xenstored_that_falls_silent_is_noticed_a_second_after_it_was_asked() {
    // What an event makes us ask at once, and what is asked only when everything else is done.
    for asked in ["backend/vif/7/0/state", "control/sysrq", "device/vif/0/state"] {
        let mut rig = Rig::new();
        rig.daemon.set(asked, "1");
        rig.daemon.run();
        rig.daemon.fall_silent();
        rig.look();
        assert_eq!(rig.wait(), Duration::from_secs(1), "{asked}");
        assert_eq!(rig.events(), ["slow for 1s"], "{asked}");
        // It is said once.
        assert_eq!(rig.control.deadline(&rig.vifs), None, "{asked}");
    }
}

#[test]
fn whatever_xenstored_is_too_busy_for_is_asked_again_a_second_later_and_said_once() {
    type Act = fn(&Rig);
    type Done = fn(&Rig) -> bool;
    let client: (Act, Done) = (Rig::attach, |rig| rig.state().as_deref() == Some("2"));
    let uplink: (Act, Done) = (|rig| rig.attach_uplink(0), |rig| rig.vifs.uplink.is_some());
    let request: (Act, Done) =
        (|rig| rig.daemon.set("control/shutdown", "reboot"), |rig| !rig.requested.is_empty());
    for (asked, (act, done)) in [
        ("Read backend/vif/7/0/frontend", client),
        ("Read backend/vif/7/0/mac", client),
        ("Directory backend/vif/7/0", client),
        ("Watch /local/domain/7/device/vif/0/state", client),
        ("Directory device/vif", uplink),
        ("Read device/vif/0/mac", uplink),
        ("Read /local/domain/2/backend/vif/1/0/ip", uplink),
        ("Watch /local/domain/2/backend/vif/1/0/state", uplink),
        ("Read control/shutdown", request),
        ("TransactionStart", request),
        ("Write control/shutdown", request),
        ("TransactionEnd", request),
    ] {
        for error in ["EBUSY", "ENOSPC", "EIO"] {
            let mut rig = Rig::new();
            rig.daemon.refuse(asked, error, 2);
            act(&rig);
            rig.settle();
            let told = [StoreError::from_reply(error.as_bytes()).to_string()];
            assert_eq!((rig.events().as_slice(), done(&rig)), (&told[..], false), "{asked}: {error}");
            assert_eq!(rig.wait(), RETRY_AFTER, "{asked}: {error}");
            assert_eq!((rig.events().as_slice(), done(&rig)), (&told[..], false), "{asked}: {error}");
            assert_eq!(rig.wait(), RETRY_AFTER, "{asked}: {error}");
            assert!(done(&rig), "{asked}: {error}: {:?}", rig.events());
        }
    }
}

#[test]
fn a_device_that_cannot_be_looked_at_or_written_to_goes_on_a_second_later() {
    for asked in [
        "Read backend/vif/7/0/online",
        "Read /local/domain/7/device/vif/0/state",
        "TransactionStart",
        "Read backend/vif/7/0/hotplug-status",
        "Write backend/vif/7/0/state",
        "TransactionEnd",
    ] {
        let mut rig = Rig::new();
        rig.daemon.refuse(asked, "EBUSY", 1);
        rig.attach();
        rig.settle();
        assert_eq!(rig.state().as_deref(), Some("1"), "{asked}");
        assert_eq!(rig.wait(), RETRY_AFTER, "{asked}: {:?}", rig.events());
        assert_eq!(rig.state().as_deref(), Some("2"), "{asked}: {:?}", rig.events());
    }
    let mut rig = Rig::new();
    rig.daemon.refuse("Read /local/domain/2/backend/vif/1/0/online", "EBUSY", 1);
    rig.attach_uplink(0);
    rig.settle();
    assert_eq!(rig.wait(), RETRY_AFTER, "{:?}", rig.events());
    let looks = rig.daemon.asked().iter().filter(|asked| asked.ends_with("vif/1/0/online")).count();
    assert_eq!(looks, 2, "{:?}", rig.daemon.asked());
}

#[test]
fn a_request_that_cannot_be_acknowledged_is_obeyed_and_why_is_said() {
    let mut rig = Rig::new();
    rig.daemon.refuse("Write control/shutdown", "EACCES", usize::MAX);
    rig.daemon.set("control/shutdown", "poweroff");
    rig.settle();
    assert_eq!(rig.requested, [Request::End(Shutdown::PowerOff)]);
    assert_eq!(rig.events(), [StoreError::AccessDenied.to_string()]);
}

#[test]
fn the_second_device_is_the_uplink_while_the_first_cannot_be_read() {
    let mut rig = Rig::new();
    (0..2).for_each(|device| rig.attach_uplink(device));
    rig.daemon.refuse("Read device/vif/0/mac", "EIO", 1);
    rig.settle();
    assert_eq!(rig.vifs.uplink.as_ref().map(Uplink::device), Some(1), "{:?}", rig.events());
    assert_eq!(rig.events()[0], "uplink 1 found");
}
