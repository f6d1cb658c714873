//! A host that sends exactly the frames that it is given, and answers nothing.

use crate::base::time::Moment;
use crate::sim::host::Host;
use crate::sim::oracle::ledger::Ledger;
use crate::sim::prng::Prng;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

/// Frames to be sent, in order. A clone is another handle of the same queue.
#[derive(Clone, Debug, Default)]
pub struct Script(Rc<RefCell<VecDeque<Vec<u8>>>>);

impl Script {
    /// Adds frames. The domain of the host must be woken to send them.
    pub fn extend(&self, frames: impl IntoIterator<Item = Vec<u8>>) {
        self.0.borrow_mut().extend(frames);
    }

    /// Whether everything was sent.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

/// The host.
#[derive(Debug)]
pub struct Scripted(pub Script);

impl Host for Scripted {
    fn receive(&mut self, _: Vec<u8>) {}

    fn poll(&mut self, _: Moment, _: &mut Ledger, _: &mut Prng) {}

    fn transmit(&mut self) -> Option<Vec<u8>> {
        self.0.0.borrow_mut().pop_front()
    }

    fn deadline(&mut self, _: Moment) -> Option<Moment> {
        None
    }

    fn is_honest(&self) -> bool {
        false
    }
}
