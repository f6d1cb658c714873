//! What a packet does.

use super::*;

impl Model {
    /// The ports of a packet as its near end sees them: (its own, the far one).
    pub(super) fn ports(sent: &Sent, from_near: bool) -> (u16, u16) {
        match (sent.load, from_near) {
            (Load::EchoRequest | Load::EchoReply, _) => (sent.source.1, 0),
            (_, true) => (sent.source.1, sent.destination.1),
            (_, false) => (sent.destination.1, sent.source.1),
        }
    }

    /// Finds a flow that is alive; one that is over is ended on the way.
    pub(super) fn find(&mut self, is_it: impl Fn(&Flow) -> bool) -> Option<usize> {
        let at = self.flows.iter().position(is_it)?;
        if self.flows[at].deadline < self.now {
            self.end(at);
            return None;
        }
        Some(at)
    }

    pub fn find_inside(
        &mut self,
        slot: Slot,
        protocol: u8,
        port: u16,
        far: (Ipv4Addr, u16),
    ) -> Option<usize> {
        self.find(|it| {
            (it.near, it.protocol, it.near_port, it.far, it.far_port) == (slot, protocol, port, far.0, far.1)
        })
    }

    pub fn find_outside(&mut self, protocol: u8, port: u16, far: (Ipv4Addr, u16)) -> Option<usize> {
        self.find(|it| {
            !matches!(it.route, Route::Between(_))
                && (it.protocol, it.outer_port, it.far, it.far_port) == (protocol, port, far.0, far.1)
        })
    }

    pub(super) fn prohibited(why: DropReason) -> Expected {
        Expected::DropReason(why, Some((3, 13)))
    }

    /// A client's packet.
    pub fn outbound(&mut self, from: Slot, sent: &Sent, hint: &Hint) -> Expected {
        let Some(address) = self.address(from) else {
            return Expected::DropReason(DropReason::NoClient, None);
        };
        if sent.source.0 != address {
            return Expected::DropReason(DropReason::Spoofed, None);
        }
        if let Load::Tcp(segment) = sent.load
            && !segment.is_possible()
        {
            return Expected::DropReason(DropReason::TcpFlags, None);
        }
        let protocol = sent.load.protocol();
        let far = sent.destination.0;
        if !matches!(sent.load, Load::EchoReply) {
            let (port, far_port) = Self::ports(sent, true);
            if let Some(at) = self.find_inside(from, protocol, port, (far, far_port))
                && let Some(expected) = self.pass(at, 0, sent)
            {
                return expected;
            }
        }
        if !matches!(sent.load, Load::EchoRequest)
            && let Some(near) = self.slot(far)
        {
            let (port, far_port) = Self::ports(sent, false);
            if let Some(at) = self.find_inside(near, protocol, port, (address, far_port))
                && let Some(expected) = self.pass(at, 1, sent)
            {
                return expected;
            }
        }
        self.open_outward(from, sent, hint)
    }

    pub(super) fn open_outward(&mut self, from: Slot, sent: &Sent, hint: &Hint) -> Expected {
        let (address, far) = (sent.source.0, sent.destination.0);
        if far == self.gateway || far == self.uplink {
            return match sent.load {
                Load::EchoRequest => Expected::Forward {
                    to: Place::Client(from),
                    source: (far, sent.source.1),
                    destination: sent.source,
                },
                Load::Tcp(_) | Load::Udp if far == self.uplink => {
                    Expected::DropReason(DropReason::Hairpin, None)
                }
                _ => Expected::DropReason(DropReason::ForFirewall, Some((3, 10))),
            };
        }
        let route = match self.slot(far) {
            Some(peer) if peer == from => return Expected::DropReason(DropReason::Martian, None),
            Some(peer) => Route::Between(peer),
            None => Route::Outward,
        };
        if sent.ttl <= 1 {
            return Expected::DropReason(DropReason::TtlExpired, Some((11, 0)));
        }
        let (near_port, far_port) = Self::ports(sent, true);
        let mut flow = self.new_flow(from, sent, near_port, far, far_port, route);
        if !self.is_allowed(&flow) {
            return Self::prohibited(DropReason::Rule);
        }
        match sent.load {
            Load::Tcp(segment) if !segment.opens() && segment.rst => {
                return Expected::DropReason(DropReason::TcpMidstream, None);
            }
            Load::Tcp(segment) if !segment.opens() => return Expected::Reset,
            Load::EchoReply => return Expected::DropReason(DropReason::EchoUnasked, None),
            _ => {}
        }
        if route == Route::Outward {
            let endpoint = (flow.protocol, address, near_port);
            let forward = self.rules.forwards.iter().find(|it| (it.0, it.2, it.3) == endpoint).map(|it| it.1);
            let free =
                forward.filter(|port| self.find_outside(flow.protocol, *port, (far, far_port)).is_none());
            if let Some(port) = free {
                (flow.outer_port, flow.by_forward) = (port, true);
            }
        }
        match self.make_room(&flow, hint) {
            Ok(0) => {}
            Ok(port) => flow.outer_port = port,
            Err(why) => return Self::prohibited(why),
        }
        if route == Route::Outward
            && self.find_outside(flow.protocol, flow.outer_port, (far, far_port)).is_some()
        {
            self.release(&flow);
            return Self::prohibited(DropReason::ProtocolBusy);
        }
        self.flows.push(flow);
        self.pass(self.flows.len() - 1, 0, sent).unwrap()
    }

    pub(super) fn new_flow(
        &mut self,
        near: Slot,
        sent: &Sent,
        near_port: u16,
        far: Ipv4Addr,
        far_port: u16,
        route: Route,
    ) -> Flow {
        let opener = usize::from(route == Route::Forwarded);
        let tcp = match sent.load {
            Load::Tcp(segment) => Some(Connection::opened_by(opener, &segment)),
            _ => None,
        };
        let (protocol, listed) = (sent.load.protocol(), self.next_event());
        let payer = if route == Route::Forwarded { Holder::Uplink } else { self.holder(near) };
        let mut flow = Flow {
            near,
            protocol,
            near_port,
            far,
            far_port,
            outer_port: 0,
            route,
            by_forward: false,
            turns: 0,
            tcp,
            deadline: 0,
            used: self.now,
            payer,
            listed,
        };
        flow.deadline = self.now + flow.timeout();
        flow
    }

    /// A packet from the uplink.
    pub fn inbound(&mut self, sent: &Sent) -> Expected {
        if sent.destination.0 != self.uplink {
            return Expected::DropReason(DropReason::NotForUs, None);
        }
        if let Load::Tcp(segment) = sent.load
            && !segment.is_possible()
        {
            return Expected::DropReason(DropReason::TcpFlags, None);
        }
        if matches!(sent.load, Load::EchoRequest) {
            if sent.source.0 == self.uplink || self.slot(sent.source.0).is_some() {
                return Expected::DropReason(DropReason::InsideSource, None);
            }
            let source = (self.uplink, sent.source.1);
            return Expected::Forward { to: Place::Uplink, source, destination: sent.source };
        }
        let (port, far_port) = Self::ports(sent, false);
        let protocol = sent.load.protocol();
        if let Some(at) = self.find_outside(protocol, port, (sent.source.0, far_port))
            && let Some(expected) = self.pass(at, 1, sent)
        {
            return expected;
        }
        if sent.source.0 == self.uplink || self.slot(sent.source.0).is_some() {
            return Expected::DropReason(DropReason::InsideSource, None);
        }
        match sent.load {
            Load::EchoReply => return Expected::DropReason(DropReason::EchoUnasked, None),
            Load::Udp => {}
            Load::Tcp(segment) if segment.opens() => {}
            _ => return Expected::DropReason(DropReason::Unsolicited, None),
        }
        let forward = self.rules.forwards.iter().find(|it| (it.0, it.1) == (protocol, port)).copied();
        let Some((near, near_port)) = forward.and_then(|it| Some((self.slot(it.2)?, it.3))) else {
            return Expected::DropReason(DropReason::Unsolicited, None);
        };
        if sent.ttl <= 1 {
            return Expected::DropReason(DropReason::TtlExpired, Some((11, 0)));
        }
        let mut flow = self.new_flow(near, sent, near_port, sent.source.0, far_port, Route::Forwarded);
        flow.outer_port = port;
        if let Some(at) = self.find_inside(near, protocol, near_port, (flow.far, far_port)) {
            let other = self.flows[at];
            let is_older = other.route == Route::Outward && !other.by_forward;
            if !is_older || other.tcp.is_some() && other.is_assured() {
                return Expected::DropReason(DropReason::ProtocolBusy, None);
            }
            self.end(at);
        }
        let none = Hint { choice: None, held: vec![] };
        if let Err(why) = self.make_room(&flow, &none) {
            return Expected::DropReason(why, None);
        }
        self.flows.push(flow);
        self.pass(self.flows.len() - 1, 1, sent).unwrap()
    }

    /// A packet on a flow; `None` when it opens a new connection and the flow was ended for it.
    pub(super) fn pass(&mut self, at: usize, sender: usize, sent: &Sent) -> Option<Expected> {
        if sent.ttl <= 1 {
            return Some(Expected::DropReason(DropReason::TtlExpired, Some((11, 0))));
        }
        let (now, event) = (self.now, self.next_event());
        let flow = &mut self.flows[at];
        let (was_assured, before) = (flow.is_assured(), (flow.turns, flow.deadline));
        let opener = flow.opener();
        let refresh = match (&mut flow.tcp, sent.load) {
            (Some(connection), Load::Tcp(segment)) => match connection.step(opener, sender, &segment) {
                Effect::Refresh => true,
                Effect::Nothing => false,
                Effect::Reopen => {
                    self.end(at);
                    return None;
                }
                Effect::Renounce => {
                    self.end(at);
                    return Some(Expected::DropReason(DropReason::TcpState, None));
                }
                Effect::Turn => return self.turn(at, sender, sent, &segment),
                Effect::Refuse => return Some(Expected::DropReason(DropReason::TcpState, None)),
            },
            _ => {
                // An even number of turns waits for the other end, an odd one for the opener.
                let is_turn = flow.turns < 3 && (flow.turns % 2 == 1) == (sender == opener);
                if is_turn && flow.protocol != 1 {
                    flow.turns += 1;
                }
                sender == 0 || flow.turns > 0
            }
        };
        let (turns, deadline) = before;
        if refresh {
            flow.deadline = now + flow.timeout();
        }
        // When its opener got it further or used it in another second: not by an answer, but for one that assures it.
        let is_later = flow.turns != turns || flow.deadline != deadline;
        let used_again = flow.tcp.is_none() && is_later && sender == opener;
        if refresh && (sender == opener || flow.tcp.is_some() || flow.is_assured()) {
            flow.used = now;
        }
        if was_assured != flow.is_assured() || used_again && !was_assured {
            flow.listed = event;
        }
        let flow = *flow;
        Some(self.destination_of(&flow, sender, sent))
    }

    /// A SYN of the end that did not open the flow.
    pub(super) fn turn(&mut self, at: usize, sender: usize, sent: &Sent, syn: &Segment) -> Option<Expected> {
        let flow = self.flows[at];
        let near = self.address(flow.near).unwrap();
        let may_open = match flow.route {
            Route::Outward => self.rules.forwards.contains(&(6, flow.outer_port, near, flow.near_port)),
            Route::Forwarded => !self.rules.forbidden.contains(&(near, flow.far)),
            Route::Between(_) => self.rules.permits.contains(&(flow.far, near)),
        };
        let connection = flow.tcp.unwrap();
        if !may_open {
            return Some(Expected::DropReason(DropReason::TcpState, None));
        }
        if matches!(connection.stage, Stage::Reset | Stage::Finished { near: true, far: true }) {
            self.end(at);
            return None;
        }
        self.flows[at].tcp.as_mut().unwrap().remember(sender, syn);
        Some(self.destination_of(&flow, sender, sent))
    }

    pub(super) fn destination_of(&self, flow: &Flow, sender: usize, sent: &Sent) -> Expected {
        let near = (self.address(flow.near).unwrap(), flow.near_port);
        match (flow.route, sender) {
            (Route::Between(peer), 0) => Expected::Forward {
                to: Place::Client(peer),
                source: sent.source,
                destination: sent.destination,
            },
            (Route::Between(_), _) => Expected::Forward {
                to: Place::Client(flow.near),
                source: sent.source,
                destination: sent.destination,
            },
            (_, 0) => Expected::Forward {
                to: Place::Uplink,
                source: (self.uplink, flow.outer_port),
                destination: if flow.protocol == 1 {
                    (sent.destination.0, flow.outer_port)
                } else {
                    sent.destination
                },
            },
            (_, _) => Expected::Forward {
                to: Place::Client(flow.near),
                source: if flow.protocol == 1 { (sent.source.0, flow.near_port) } else { sent.source },
                destination: near,
            },
        }
    }
}
