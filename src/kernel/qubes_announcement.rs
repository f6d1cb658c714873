//! Where dom0 announces the way to QubesDB in XenStore: `/local/domain/0/data/vchan/<our number>/111`.
//!
//! Both nodes are written in one transaction, and readable to us one by one. A domain that is no qube has none.

use super::inquiry::Inquiry;
use crate::base::text::decimal;
use crate::base::time::Moment;
use crate::store::{Nodes, Store, StoreError, StoreRing};
use crate::xen::event::RemotePort;
use crate::xen::grant::Gref;
use alloc::format;
use alloc::string::String;

/// The watch on it.
pub const QUBESDB: &str = "qubesdb";

/// The number of QubesDB's vchan.
const NUMBER: u32 = 111;

/// What is announced: not believed before it is taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QubesAnnouncement {
    /// The page of the vchan.
    pub reference: Gref,
    /// Its event channel.
    pub port: RemotePort,
}

impl QubesAnnouncement {
    /// Reads what is announced in `directory`. What is no number is as good as nothing.
    async fn read<R: StoreRing>(directory: String, store: Store<R>) -> Result<Option<Self>, StoreError> {
        let values = store.read_children(&directory, ["ring-ref", "event-channel"]).await?;
        let [reference, port] = values.map(|value| value.as_deref().and_then(decimal));
        Ok(reference
            .zip(port)
            .map(|(reference, port)| Self { reference: Gref(reference), port: RemotePort(port) }))
    }
}

/// Looks for the announcement when it may have changed.
#[derive(Debug)]
pub(super) struct AnnouncementSearch {
    directory: String,
    reading: Inquiry<Option<QubesAnnouncement>>,
}

impl AnnouncementSearch {
    /// Sets the watch, and says what is announced now: on Qubes that is written before we are started. `None` where our
    /// own number is not to be had, which Qubes gives.
    ///
    /// # Errors
    /// Those of XenStore.
    pub(super) async fn begin<R: StoreRing>(
        store: &Store<R>,
    ) -> Result<Option<(Self, Option<QubesAnnouncement>)>, StoreError> {
        let Some(own) = store.read_peer("domid").await?.as_deref().and_then(decimal::<u16>) else {
            return Ok(None);
        };
        let directory = format!("/local/domain/0/data/vchan/{own}/{NUMBER}");
        store.watch(&format!("{directory}/event-channel"), QUBESDB).await?;
        let announced = QubesAnnouncement::read(directory.clone(), store.clone()).await?;
        Ok(Some((Self { directory, reading: Inquiry::default() }, announced)))
    }

    /// It may have changed.
    pub(super) fn look_again(&mut self) {
        self.reading.look_again();
    }

    /// Whether [`Self::next`] has something to ask.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.reading.is_due(now)
    }

    /// When [`Self::is_due`] becomes true, if no change is announced before.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.reading.deadline()
    }

    /// What is announced, if XenStore has answered.
    pub(super) fn next<R: StoreRing + 'static>(
        &mut self,
        store: &Store<R>,
        now: Moment,
    ) -> Option<Result<Option<QubesAnnouncement>, StoreError>> {
        let directory = &self.directory;
        self.reading.next(now, || QubesAnnouncement::read(directory.clone(), store.clone()))
    }
}
