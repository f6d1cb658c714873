//! The toolstack, as libxl behaves: attaches and detaches devices, destroys domains, ends the firewall; and
//! holds the kernel to libxl's deadlines.

use crate::base::time::Moment;
use crate::sim::cast::{KERNEL, TOOLSTACK, UPLINK};
use crate::sim::machine::Machine;
use crate::sim::machine::driver_action::DriverAction;
use crate::sim::machine::world::{NextRun, Peer};
use crate::sim::store::home;
use crate::xen::DomainId;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// How long libxl waits for a state, and again for a directory to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a number of changes is waited for.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// How soon libxl looks after a watch fired.
const GLANCE: Duration = Duration::from_millis(20);

/// Makes a client when it starts.
pub type MakePeer = Box<dyn Fn(&mut Machine) -> Box<dyn Peer>>;

/// A client to be made.
pub struct ClientPlan {
    /// Its domain, as long as it lives.
    pub domain: DomainId,
    /// Its Ethernet address, as text.
    pub mac: String,
    /// Its `ip` node.
    pub ip: String,
    /// The domain itself.
    pub peer: MakePeer,
}

/// Something to do.
pub enum Task {
    /// Attach the uplink.
    AttachUplink,
    /// Detach the uplink and wait until it is gone.
    DetachUplink,
    /// Start a client and attach its vif.
    Start(ClientPlan),
    /// Attach the vif of a running client again.
    Attach(DomainId),
    /// Detach a client's vif as `xl network-detach` does.
    Detach(DomainId),
    /// Remove both directories of a client's device without a word.
    Vanish(DomainId),
    /// Destroy a client as `xl destroy` does.
    Destroy(DomainId),
    /// Write `control/shutdown`.
    ShutDown,
    /// Remove the backend's directory only, as `xenstore-rm` does.
    RemoveBackend(DomainId),
    /// Tell a client's driver to do something.
    Command(DomainId, DriverAction),
    /// The firewall was paused for so long, as far as the clock tells.
    Pause(Duration),
    /// Give a living client a vif again if it has none, or only half a one.
    Repair(DomainId),
    /// A living client must be connected.
    Expect(DomainId),
}

/// When to do it.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Then, or as soon as what came before is done.
    At(Moment),
    /// When XenStore has changed so often since that moment, but not later than two seconds after it.
    AfterChanges(Moment, u64),
}

/// What it waits for.
enum ToolstackWait {
    /// The next task's time.
    Time,
    /// The backend directory to be in this state; then what follows.
    State(String, &'static str, AfterWait),
    /// The backend directory to be removed.
    Removal(String, AfterWait),
}

#[derive(Clone, Copy)]
enum AfterWait {
    Nothing,
    AwaitRemoval(DomainId),
    CleanUp(DomainId),
    Destroy(DomainId),
    CleanUpUplink,
}

/// The toolstack: one command after the other, as one who types them. There may be several.
pub struct Toolstack {
    tasks: VecDeque<(When, Task)>,
    /// Changes of XenStore at the moment from which on they count.
    counted_from: Option<u64>,
    waiting: ToolstackWait,
    deadline: Moment,
    spawned: Vec<Box<dyn Peer>>,
    addresses: Vec<(DomainId, String, String)>,
}

impl Toolstack {
    /// Does `tasks` in order, each not before its moment.
    pub fn new(tasks: impl IntoIterator<Item = (When, Task)>) -> Self {
        let (waiting, deadline) = (ToolstackWait::Time, Moment::default());
        Self {
            tasks: tasks.into_iter().collect(),
            counted_from: None,
            waiting,
            deadline,
            spawned: Vec::new(),
            addresses: Vec::new(),
        }
    }

    fn wait(&mut self, machine: &Machine, waiting: ToolstackWait) {
        self.waiting = waiting;
        self.deadline = machine.now + PATIENCE;
    }

    fn begin(&mut self, machine: &mut Machine, task: Task) {
        match task {
            Task::AttachUplink => {
                let front = format!("{}/device/vif/0", home(KERNEL));
                let back = format!("{}/backend/vif/{}/0", home(UPLINK), KERNEL.0);
                if machine.store.exists(&back) {
                    return;
                }
                let mac = "00:16:3e:00:00:01";
                make_device(machine, (KERNEL, &front), (UPLINK, &back), mac, "");
            }
            Task::DetachUplink => {
                let back = format!("{}/backend/vif/{}/0", home(UPLINK), KERNEL.0);
                let _ = machine.store.put(TOOLSTACK, &format!("{back}/online"), 0);
                let _ = machine.store.put(TOOLSTACK, &format!("{back}/state"), 5);
                self.wait(machine, ToolstackWait::State(back, "6", AfterWait::CleanUpUplink));
            }
            Task::Start(plan) => {
                machine.create(plan.domain);
                self.addresses.push((plan.domain, plan.mac, plan.ip));
                self.attach(machine, plan.domain);
                self.spawned.push((plan.peer)(machine));
            }
            Task::Attach(domain) => self.attach(machine, domain),
            Task::Detach(domain) => self.remove(machine, domain, AfterWait::AwaitRemoval(domain)),
            Task::Vanish(domain) => {
                let front = format!("{}/device/vif/0", home(domain));
                let _ = machine.store.remove(TOOLSTACK, &front);
                let _ = machine.store.remove(TOOLSTACK, &back_of(domain));
            }
            Task::Destroy(domain) => {
                let front = format!("{}/device/vif/0", home(domain));
                let _ = machine.store.remove(TOOLSTACK, &front);
                self.remove(machine, domain, AfterWait::Destroy(domain));
            }
            Task::ShutDown => {
                let _ =
                    machine.store.put(TOOLSTACK, &format!("{}/control/shutdown", home(KERNEL)), "poweroff");
            }
            Task::RemoveBackend(domain) => {
                let _ = machine.store.remove(TOOLSTACK, &back_of(domain));
            }
            Task::Command(domain, action) => {
                machine.commands.entry(domain).or_default().push_back(action);
                machine.woken.insert(domain);
            }
            Task::Pause(span) => machine.pass(span),
            Task::Repair(domain) => {
                let front = machine.store.exists(&format!("{}/device/vif/0/state", home(domain)));
                let back = machine.store.exists(&format!("{}/state", back_of(domain)));
                machine.contested.remove(&back_of(domain));
                if back && !front {
                    self.tasks.push_front((When::At(machine.now), Task::Attach(domain)));
                    self.remove(machine, domain, AfterWait::AwaitRemoval(domain));
                } else if !back {
                    let _ = machine.store.remove(TOOLSTACK, &format!("{}/device/vif/0", home(domain)));
                    self.attach(machine, domain);
                }
            }
            Task::Expect(domain) => {
                let state = |path: String| machine.store.text(TOOLSTACK, &format!("{path}/state"));
                let ends = (state(back_of(domain)), state(format!("{}/device/vif/0", home(domain))));
                if machine.domains.contains_key(&domain) && ends != ("4".into(), "4".into()) {
                    machine.violate("service", format!("domain {} is not connected: {ends:?}", domain.0));
                }
            }
        }
    }

    fn attach(&mut self, machine: &mut Machine, domain: DomainId) {
        let front = format!("{}/device/vif/0", home(domain));
        let back = back_of(domain);
        let known = self.addresses.iter().find(|(known, ..)| *known == domain).cloned();
        let Some((_, mac, ip)) = known.filter(|_| machine.domains.contains_key(&domain)) else { return };
        if machine.store.exists(&back) {
            return;
        }
        make_device(machine, (domain, &front), (KERNEL, &back), &mac, &ip);
        self.wait(machine, ToolstackWait::State(back, "2", AfterWait::Nothing));
    }

    /// The first half of a removal.
    fn remove(&mut self, machine: &mut Machine, domain: DomainId, then: AfterWait) {
        let back = back_of(domain);
        let state = machine.store.text(TOOLSTACK, &format!("{back}/state"));
        if state.is_empty() {
            return self.follow(machine, then);
        }
        let _ = machine.store.put(TOOLSTACK, &format!("{back}/online"), 0);
        if state != "6" {
            let _ = machine.store.put(TOOLSTACK, &format!("{back}/state"), 5);
        }
        self.wait(machine, ToolstackWait::State(back, "6", then));
    }

    fn follow(&mut self, machine: &mut Machine, then: AfterWait) {
        self.waiting = ToolstackWait::Time;
        match then {
            AfterWait::Nothing => {}
            AfterWait::AwaitRemoval(domain) => {
                self.wait(machine, ToolstackWait::Removal(back_of(domain), AfterWait::CleanUp(domain)));
            }
            AfterWait::CleanUp(domain) => {
                let _ = machine.store.remove(TOOLSTACK, &format!("{}/device/vif/0", home(domain)));
                machine.store.clean_up(&back_of(domain));
            }
            AfterWait::Destroy(domain) => {
                let _ = machine.store.remove(TOOLSTACK, &home(domain));
                machine.store.clean_up(&back_of(domain));
                machine.destroy(domain);
                machine.woken.insert(domain);
            }
            AfterWait::CleanUpUplink => {
                let _ = machine.store.remove(TOOLSTACK, &format!("{}/device/vif/0", home(KERNEL)));
                machine.store.clean_up(&format!("{}/backend/vif/{}/0", home(UPLINK), KERNEL.0));
            }
        }
    }

    /// The kernel has not kept to what libxl expects; a hostile backend's directory is not its fault.
    fn accuse(&mut self, machine: &mut Machine, back: &str, what: String) {
        let then = match core::mem::replace(&mut self.waiting, ToolstackWait::Time) {
            ToolstackWait::State(_, _, then) | ToolstackWait::Removal(_, then) => then,
            ToolstackWait::Time => AfterWait::Nothing,
        };
        if machine.contested.contains(back) {
            // Somebody else was faster; the rest is done as far as it can be.
            let then = match then {
                AfterWait::AwaitRemoval(domain) => AfterWait::CleanUp(domain),
                other => other,
            };
            self.follow(machine, then);
        } else if machine.ledger.uplink_is_honest || back.starts_with(&home(KERNEL)) {
            machine.violate("libxl", what);
        } else {
            self.follow(machine, AfterWait::CleanUpUplink);
        }
    }

    /// Looks whether what it waits for has come; whether it has given up or gone on.
    fn look(&mut self, machine: &mut Machine) -> bool {
        let late = machine.now >= self.deadline;
        match &self.waiting {
            ToolstackWait::Time => true,
            ToolstackWait::State(back, wanted, then) => {
                let (back, wanted, then) = (back.clone(), *wanted, *then);
                let state = machine.store.text(TOOLSTACK, &format!("{back}/state"));
                if state == wanted {
                    self.follow(machine, then);
                } else if state.is_empty() {
                    self.accuse(
                        machine,
                        &back,
                        format!("{back} was removed before it was in state {wanted}"),
                    );
                } else if late {
                    self.accuse(
                        machine,
                        &back,
                        format!("{back} is in state {state} after 10 s, wanted {wanted}"),
                    );
                } else {
                    return false;
                }
                true
            }
            ToolstackWait::Removal(back, then) => {
                let (back, then) = (back.clone(), *then);
                if !machine.store.exists(&format!("{back}/state")) {
                    self.follow(machine, then);
                } else if late {
                    self.accuse(machine, &back, format!("{back} still exists 10 s after it was closed"));
                } else {
                    return false;
                }
                true
            }
        }
    }
}

/// The backend's directory of the uplink.
pub fn uplink_back() -> String {
    format!("{}/backend/vif/{}/0", home(UPLINK), KERNEL.0)
}

/// The backend's directory of a client's vif.
pub fn back_of(domain: DomainId) -> String {
    format!("{}/backend/vif/{}/0", home(KERNEL), domain.0)
}

/// Makes both directories of a device, as one transaction would.
fn make_device(machine: &mut Machine, front: (DomainId, &str), back: (DomainId, &str), mac: &str, ip: &str) {
    let (front_domain, front) = front;
    let (back_domain, back) = back;
    let text = |number: u16| format!("{number}");
    let (front_id, back_id) = (text(front_domain.0), text(back_domain.0));
    let back_keys = [
        ("", ""),
        ("/frontend", front),
        ("/frontend-id", &front_id),
        ("/online", "1"),
        ("/mac", mac),
        ("/ip", ip),
        ("/script", "/bin/true"),
        ("/bridge", "xenbr0"),
        ("/type", "vif"),
        ("/handle", "0"),
        ("/hotplug-status", ""),
        ("/state", "1"),
    ];
    let front_keys = [
        ("", ""),
        ("/backend", back),
        ("/backend-id", &back_id),
        ("/mac", mac),
        ("/handle", "0"),
        ("/state", "1"),
    ];
    for (key, value) in back_keys {
        machine.store.create_as(&format!("{back}{key}"), value, back_domain, &[front_domain]);
    }
    for (key, value) in front_keys {
        machine.store.create_as(&format!("{front}{key}"), value, front_domain, &[back_domain]);
    }
}

impl Peer for Toolstack {
    fn domain(&self) -> DomainId {
        TOOLSTACK
    }

    fn step(&mut self, machine: &mut Machine) -> NextRun {
        if !self.look(machine) {
            return NextRun::Until(machine.now + GLANCE);
        }
        // One wait may lead to the next.
        if !matches!(self.waiting, ToolstackWait::Time) {
            return NextRun::Again;
        }
        match self.tasks.front() {
            Some((When::At(due), _)) if *due > machine.now => return NextRun::Until(*due),
            Some((When::AfterChanges(since, _), _)) if *since > machine.now => return NextRun::Until(*since),
            Some((When::AfterChanges(since, count), _)) => {
                let from = *self.counted_from.get_or_insert(machine.store.changes);
                if machine.store.changes < from + count && machine.now < *since + IMPATIENCE {
                    return NextRun::Until(machine.now + Duration::from_micros(50));
                }
            }
            Some(_) => {}
            None => return NextRun::Asleep,
        }
        if let Some((_, task)) = self.tasks.pop_front() {
            self.begin(machine, task);
        }
        NextRun::Again
    }

    fn take_spawned(&mut self) -> Vec<Box<dyn Peer>> {
        core::mem::take(&mut self.spawned)
    }
}
