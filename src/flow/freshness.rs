//! Which flows are to be judged again before their next packet passes.

use alloc::boxed::Box;

use super::record::{Flow, FlowKind, Generation};
use crate::base::side::ClientSlot;

/// Clients there can be.
const CLIENTS: usize = 256;

/// For each client, the generation that its flows must have been judged in at least.
///
/// A table and not one number for all, so that a client that comes and goes does not make the flows of others be judged
/// again (conformance S-6).
pub struct Freshness(Box<[Generation; CLIENTS]>);

impl Freshness {
    /// Any flow is fresh that was judged in `now` or later.
    pub fn since(now: Generation) -> Freshness {
        Freshness(Box::new([now; CLIENTS]))
    }

    /// From now on, flows of `client` must have been judged in `generation`.
    pub fn demand(&mut self, client: ClientSlot, generation: Generation) {
        self.0[usize::from(client.0)] = generation;
    }

    /// From now on, every flow must have been judged in `generation`.
    pub fn demand_of_all(&mut self, generation: Generation) {
        self.0.fill(generation);
    }

    /// No flow is older than `floor`: what is demanded is at least that.
    pub fn raise(&mut self, floor: Generation) {
        self.0.iter_mut().for_each(|since| *since = since.max(floor));
    }

    /// Whether `flow` was judged late enough for both its ends.
    #[inline(always)]
    pub fn is_met<A>(&self, flow: &Flow<A>) -> bool {
        let since = |client: ClientSlot| self.0[usize::from(client.0)];
        let peer_is_met = match flow.kind {
            FlowKind::ClientToClient(peer) => !flow.judged.is_before(since(peer)),
            FlowKind::Outbound | FlowKind::PortForward => true,
        };
        peer_is_met && !flow.judged.is_before(since(flow.near))
    }
}
