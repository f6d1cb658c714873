//! The connection to QubesDB, kept for as long as dom0's daemon serves it, and made again when it has ended.
//!
//! Nothing is waited for: what has come is taken, a little in each turn, and what comes next wakes us. Without a connection
//! everything stays as it was last said. dom0's daemon ends for good when we go before it has read our request, so the
//! request is sent in the turn in which we connect, and a connection that makes no sense any more is left alone for a while
//! before it is closed ([`QubesDb::may_close`]).

use super::event::{Event, LinkEnd, QubesEvent};
use super::event_log::EventLog;
use super::qubes_announcement::{AnnouncementSearch, QubesAnnouncement};
use super::qubes_config::{Configured, QubesConfig};
use super::reconnect_pause::ReconnectPause;
use crate::base::time::Moment;
use crate::qubes::{QubesDb, Update};
use crate::store::{Store, StoreError, StoreRing};
use crate::vchan::{Readiness, Vchan, VchanBroken, Wish};
use crate::xen::event::Port;
use crate::xen::{DomainId, Xen};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

/// Who serves QubesDB.
const DOM0: DomainId = DomainId(0);

/// Bytes taken at once.
const CHUNK_BYTES: usize = 1024;

/// Chunks taken in one turn.
const CHUNKS: usize = 8;

/// Settings are written one by one: what they come to is looked at so long after the first.
const SETTLING: Duration = Duration::from_millis(100);

/// How long a connection that makes no sense is left alone: its server may be writing.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// When a connection is looked at again that may not be closed yet.
const NOT_READ_YET: Duration = Duration::from_secs(60);

/// Whether there is more to do without an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QubesWork {
    /// There is, or there is a new port to sleep on.
    More,
    /// There is not.
    None,
}

/// QubesDB, as this domain sees it.
#[derive(Debug)]
pub struct QubesConnection {
    /// `None`: we cannot know where to look.
    search: Option<AnnouncementSearch>,
    link: QubesLink,
    database: QubesDb,
    config: QubesConfig,
    pause: ReconnectPause,
    /// Sources whose rules are on their way to the data plane.
    on_their_way: Vec<Ipv4Addr>,
    /// When settings that have changed are looked at.
    settings_due: Option<Moment>,
}

#[derive(Debug)]
enum QubesLink {
    /// It is made as soon as it is announced.
    Absent(Option<QubesAnnouncement>),
    /// It is looked for from then on.
    Paused(Moment),
    /// What is announced could not be taken up: it is looked at again then, or when it changes.
    Refused(Moment),
    Open(Box<OpenLink>),
    Ending(EndingLink),
}

/// A connection that works.
#[derive(Debug)]
struct OpenLink {
    vchan: Vchan,
    since: Moment,
    /// What was read, and how much of it was taken.
    chunk: [u8; CHUNK_BYTES],
    filled: usize,
    taken: usize,
    /// Something may have come, or is to be sent.
    is_stale: bool,
}

/// A connection that makes no sense any more, and is not closed yet.
#[derive(Debug)]
struct EndingLink {
    vchan: Vchan,
    close_at: Moment,
    again_at: Moment,
    /// It does not matter whether the server has read our request.
    is_broken: bool,
}

impl QubesConnection {
    /// Looks whether QubesDB is announced: for the boot, when XenStore may be waited for. `memory_bytes` is what the domain
    /// has.
    ///
    /// # Errors
    /// Those of XenStore.
    pub fn find<R: StoreRing>(store: &Store<R>, memory_bytes: u64) -> Result<Self, StoreError> {
        let found = store.wait_for(AnnouncementSearch::begin(store))?;
        let (search, announced) = found.map_or((None, None), |(search, announced)| (Some(search), announced));
        Ok(Self {
            search,
            link: QubesLink::Absent(announced),
            database: QubesDb::new(QubesDb::budget(memory_bytes)),
            config: QubesConfig::default(),
            pause: ReconnectPause::default(),
            on_their_way: Vec::new(),
            settings_due: None,
        })
    }

    /// Whether it is announced, which makes this domain a qube.
    pub fn is_announced(&self) -> bool {
        matches!(self.link, QubesLink::Absent(Some(_)))
    }

    /// The port to sleep on.
    pub(super) fn port(&self) -> Option<Port> {
        match &self.link {
            QubesLink::Open(open) => Some(open.vchan.port()),
            QubesLink::Ending(ending) => Some(ending.vchan.port()),
            QubesLink::Absent(_) | QubesLink::Paused(_) | QubesLink::Refused(_) => None,
        }
    }

    /// A name in the rules of a client stands for these addresses, which dom0 may look at.
    pub(super) fn tell_name(
        &mut self,
        client: Ipv4Addr,
        host: &str,
        addresses: impl Iterator<Item = Ipv4Addr>,
    ) {
        self.database.name(client, host, addresses);
        if let QubesLink::Open(open) = &mut self.link {
            open.is_stale = true;
        }
    }

    /// The announcement may have changed.
    pub(super) fn look_again(&mut self) {
        // A pause ends with a look.
        if let QubesLink::Refused(_) = self.link {
            self.link = QubesLink::Absent(None);
        }
        if let (Some(search), QubesLink::Absent(_)) = (&mut self.search, &self.link) {
            search.look_again();
        }
    }

    /// When there is something to do without an event.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let of_link = match &self.link {
            QubesLink::Absent(_) => self.search.as_ref().and_then(AnnouncementSearch::deadline),
            QubesLink::Paused(until) | QubesLink::Refused(until) => Some(*until),
            QubesLink::Open(_) => None,
            QubesLink::Ending(ending) => Some(ending.close_at),
        };
        of_link.into_iter().chain(self.settings_due).min()
    }

    /// Whether [`Self::search`] has something to ask.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        matches!(self.link, QubesLink::Absent(_))
            && self.search.as_ref().is_some_and(|search| search.is_due(now))
    }

    /// Asks XenStore for the announcement where that is needed.
    ///
    /// # Errors
    /// Those of XenStore.
    pub(super) fn search<R: StoreRing + 'static>(
        &mut self,
        store: &Store<R>,
        now: Moment,
    ) -> Result<(), StoreError> {
        if let (Some(search), QubesLink::Absent(announced)) = (&mut self.search, &mut self.link)
            && let Some(answer) = search.next(store, now)
        {
            *announced = answer?;
        }
        Ok(())
    }

    /// Takes what has come, and sends what is to be said. Called in each turn, after the data plane has taken up changes.
    pub(super) fn look(&mut self, xen: &mut impl Xen, to: &mut Configured<'_>, now: Moment) -> QubesWork {
        // Without changes in the queue, what was queued in earlier turns is in effect.
        if to.changes.is_empty() && !self.on_their_way.is_empty() {
            self.on_their_way.drain(..).for_each(|source| self.database.handled(source));
            if let QubesLink::Open(open) = &mut self.link {
                open.is_stale = true;
            }
        }
        if self.settings_due.is_some_and(|due| due <= now) {
            self.settings_due = None;
            self.config.take_over(Update::Settings, self.database.database(), to);
        }
        match &mut self.link {
            QubesLink::Absent(announced) => match announced.take() {
                Some(announced) => self.connect(announced, xen, to.events, now),
                None => QubesWork::None,
            },
            QubesLink::Paused(until) | QubesLink::Refused(until) if *until <= now => {
                self.link = QubesLink::Absent(None);
                self.look_again();
                QubesWork::More
            }
            QubesLink::Paused(_) | QubesLink::Refused(_) => QubesWork::None,
            QubesLink::Open(open) => {
                open.is_stale |= xen.take_pending(open.vchan.port());
                self.exchange(xen, to, now)
            }
            QubesLink::Ending(ending) => {
                xen.take_pending(ending.vchan.port());
                self.end(xen, now)
            }
        }
    }

    fn connect(
        &mut self,
        announced: QubesAnnouncement,
        xen: &mut impl Xen,
        events: &mut EventLog,
        now: Moment,
    ) -> QubesWork {
        match Vchan::connect(xen, DOM0, announced.reference, announced.port) {
            Ok(vchan) => {
                self.database.connected();
                let chunk = [0; CHUNK_BYTES];
                let open = OpenLink { vchan, since: now, chunk, filled: 0, taken: 0, is_stale: true };
                self.link = QubesLink::Open(Box::new(open));
                events.note(Event::Qubes(QubesEvent::Connected));
                // The request goes before anything else can happen.
                if let QubesLink::Open(open) = &mut self.link {
                    let _ = open.send(&mut self.database, xen);
                }
                QubesWork::More
            }
            // What is announced may be out of date, or there is no room for it just now.
            Err(error) => {
                self.link = QubesLink::Refused(self.pause.after(now, now));
                events.note(Event::Qubes(QubesEvent::CannotConnect(error)));
                QubesWork::More
            }
        }
    }

    /// Goes on with a connection that works.
    fn exchange(&mut self, xen: &mut impl Xen, to: &mut Configured<'_>, now: Moment) -> QubesWork {
        let QubesLink::Open(open) = &mut self.link else { return QubesWork::None };
        if !open.is_stale {
            return QubesWork::None;
        }
        let mut is_drained = false;
        for _ in 0..CHUNKS {
            match open.take_chunk(&mut self.database, xen) {
                Ok(ChunkWork::Nothing) => {
                    is_drained = true;
                    break;
                }
                Ok(ChunkWork::Some) => {}
                Err(end) => return self.give_up(end, to.events, now),
            }
            while let Some(update) = self.database.next_update() {
                match update {
                    Update::Settings => {
                        self.settings_due.get_or_insert(now + SETTLING);
                        continue;
                    }
                    Update::Rules(source) => self.on_their_way.push(source),
                    Update::Everything => self.settings_due = None,
                }
                self.config.take_over(update, self.database.database(), to);
            }
        }
        if let Err(end) = open.send(&mut self.database, xen) {
            return self.give_up(end, to.events, now);
        }
        // What the server wrote before it went is taken first.
        if is_drained && !open.vchan.is_open() {
            return self.server_is_gone(xen, to.events, now);
        }
        let wanted = match self.database.output().len() {
            0 => Wish::Bytes,
            bytes => Wish::BytesOrRoom(bytes),
        };
        match open.vchan.arm(wanted) {
            Ok(readiness) => open.is_stale = readiness == Readiness::MoreToDo || open.taken < open.filled,
            Err(VchanBroken) => return self.give_up(LinkEnd::Broken, to.events, now),
        }
        // Rules that say nothing new change nothing that would be taken up, and count all the same.
        if open.is_stale || !self.on_their_way.is_empty() { QubesWork::More } else { QubesWork::None }
    }

    /// The server has gone, and may be another one soon.
    fn server_is_gone(&mut self, xen: &mut impl Xen, events: &mut EventLog, now: Moment) -> QubesWork {
        let QubesLink::Open(open) = core::mem::replace(&mut self.link, QubesLink::Absent(None)) else {
            return QubesWork::None;
        };
        let again_at = self.pause.after(open.since, now);
        open.vchan.close(xen);
        self.database.disconnected();
        self.link = QubesLink::Paused(again_at);
        events.note(Event::Qubes(QubesEvent::Gone(LinkEnd::Closed)));
        QubesWork::More
    }

    /// The connection makes no sense any more.
    fn give_up(&mut self, end: LinkEnd, events: &mut EventLog, now: Moment) -> QubesWork {
        let QubesLink::Open(open) = core::mem::replace(&mut self.link, QubesLink::Absent(None)) else {
            return QubesWork::None;
        };
        let again_at = self.pause.after(open.since, now);
        self.link = QubesLink::Ending(EndingLink {
            vchan: open.vchan,
            close_at: now + LEFT_ALONE,
            again_at,
            is_broken: end == LinkEnd::Broken,
        });
        events.note(Event::Qubes(QubesEvent::Gone(end)));
        QubesWork::More
    }

    /// Closes a connection that makes no sense, when that does no harm.
    fn end(&mut self, xen: &mut impl Xen, now: Moment) -> QubesWork {
        let QubesLink::Ending(ending) = &mut self.link else { return QubesWork::None };
        let is_open = ending.vchan.is_open();
        if is_open && ending.close_at > now {
            return QubesWork::None;
        }
        if is_open && !ending.is_broken && !self.database.may_close() {
            ending.close_at = now + NOT_READ_YET;
            return QubesWork::None;
        }
        let again_at = ending.again_at;
        if let QubesLink::Ending(ending) = core::mem::replace(&mut self.link, QubesLink::Paused(again_at)) {
            ending.vchan.close(xen);
        }
        self.database.disconnected();
        QubesWork::More
    }
}

/// Whether something was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkWork {
    Some,
    Nothing,
}

impl OpenLink {
    /// Takes what was read, or reads more and takes that, up to an update.
    fn take_chunk(&mut self, database: &mut QubesDb, xen: &mut impl Xen) -> Result<ChunkWork, LinkEnd> {
        if self.taken == self.filled {
            self.taken = 0;
            self.filled = self.vchan.read(xen, &mut self.chunk).map_err(|_| LinkEnd::Broken)?;
        }
        let rest = self.chunk.get(self.taken..self.filled).unwrap_or_default();
        if rest.is_empty() {
            return Ok(ChunkWork::Nothing);
        }
        self.taken += database.take(rest).map_err(LinkEnd::Protocol)?;
        Ok(ChunkWork::Some)
    }

    /// Sends what there is room for.
    fn send(&mut self, database: &mut QubesDb, xen: &mut impl Xen) -> Result<(), LinkEnd> {
        loop {
            let message = database.output();
            if message.is_empty() {
                return Ok(());
            }
            match self.vchan.write_message(xen, message) {
                Ok(0) => return Ok(()),
                Ok(count) => database.sent(count),
                Err(_) => return Err(LinkEnd::Broken),
            }
        }
    }
}
