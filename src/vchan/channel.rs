//! The client's end of a vchan: taken up, read, written, and let go of.

use super::interface::{Act, Interface, VchanBroken};
use super::read_end::ReadEnd;
use super::write_end::WriteEnd;
use crate::xen::event::{Port, RemotePort};
use crate::xen::grant::Gref;
use crate::xen::page::PAGE_BYTES;
use crate::xen::{DomainId, MappedPage, Xen, XenError};
use core::fmt;

/// The order of a ring of one page. Smaller ones share the interface's page; larger ones would take more of our
/// mappings, and QubesDB's are of one page.
const PAGE_ORDER: u32 = PAGE_BYTES.trailing_zeros();
/// The smallest order that there is.
const LEAST_ORDER: u32 = 10;

/// Why a vchan that was announced cannot be taken up. The server sees nothing of the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// Its grant or its event channel has number 0, which there is none of.
    NotAnnounced,
    /// Its event channel cannot be bound: it is not there any more, or somebody else's.
    Port(XenError),
    /// A page of it cannot be mapped.
    Page(XenError),
    /// Its server is gone.
    NotServed,
    /// Rings of these orders are not taken up.
    Orders(u32, u32),
    /// An index is where it cannot be.
    Indices,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnnounced => f.write_str("grant or event channel 0"),
            Self::Port(error) => write!(f, "event channel: {error}"),
            Self::Page(error) => write!(f, "page: {error}"),
            Self::NotServed => f.write_str("its server is gone"),
            Self::Orders(left, right) => write!(f, "rings of orders {left} and {right}"),
            Self::Indices => f.write_str("its indices make no sense"),
        }
    }
}

/// What is waited for, besides that the server goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Bytes of the server's.
    Bytes,
    /// Those, or room for so many of ours; for a whole ring at most.
    BytesOrRoom(usize),
}

/// Whether it is safe to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The server will notify us.
    Asked,
    /// There is something already: look again.
    MoreToDo,
}

/// A connected vchan.
#[derive(Debug)]
#[must_use = "a vchan that is dropped stays mapped and bound: close it"]
pub struct Vchan {
    pages: Pages,
    port: Port,
    write_end: WriteEnd,
    read_end: ReadEnd,
}

/// What is mapped: the interface, and the rings that are not in its page.
#[derive(Debug)]
struct Pages {
    interface: MappedPage,
    left: Option<MappedPage>,
    right: Option<MappedPage>,
}

impl Vchan {
    /// Takes up the vchan that `domain` announced: its interface's page is granted as `reference`, its event channel is
    /// `remote`. Rings of one page and less are taken up. What fails leaves nothing behind.
    ///
    /// libxenvchan's server grants all pages for writing; the right ring's is never written here.
    ///
    /// # Errors
    /// What Xen refuses, and what cannot be in the page.
    pub fn connect(
        xen: &mut impl Xen,
        domain: DomainId,
        reference: Gref,
        remote: RemotePort,
    ) -> Result<Self, ConnectError> {
        if reference.0 == 0 || remote.0 == 0 {
            return Err(ConnectError::NotAnnounced);
        }
        // What is most likely to fail first: this does, when the announcement is that of a server that is gone.
        let port = xen.bind_port(domain, remote).map_err(ConnectError::Port)?;
        let interface = match xen.map(domain, reference) {
            Ok(interface) => interface,
            Err(error) => {
                xen.close_port(port);
                return Err(ConnectError::Page(error));
            }
        };
        let mut pages = Pages { interface, left: None, right: None };
        match pages.take_up(xen, domain) {
            Ok((write_end, read_end)) => {
                pages.interface().ask(&[Act::Written]);
                pages.interface().arrive();
                xen.notify(port);
                Ok(Self { pages, port, write_end, read_end })
            }
            Err(error) => {
                pages.unmap(xen);
                xen.close_port(port);
                Err(error)
            }
        }
    }

    /// The event channel, to sleep on.
    pub fn port(&self) -> Port {
        self.port
    }

    /// Whether the server is there. What it wrote before it went can still be read.
    pub fn is_open(&self) -> bool {
        self.pages.interface().is_served()
    }

    /// Reads as many bytes as there are and fit; their number.
    ///
    /// # Errors
    /// The server broke the channel.
    pub fn read(&mut self, xen: &mut impl Xen, bytes: &mut [u8]) -> Result<usize, VchanBroken> {
        let interface = self.pages.interface();
        let ring = self.pages.right.as_ref().unwrap_or(&self.pages.interface);
        let moved = self.read_end.read(interface, ring.shared(), bytes)?;
        if moved > 0 && interface.take_request(Act::Read) {
            xen.notify(self.port);
        }
        Ok(moved)
    }

    /// Writes as many of `bytes` as there is room for; their number.
    ///
    /// # Errors
    /// The server broke the channel.
    pub fn write(&mut self, xen: &mut impl Xen, bytes: &[u8]) -> Result<usize, VchanBroken> {
        let interface = self.pages.interface();
        let ring = self.pages.left.as_ref().unwrap_or(&self.pages.interface);
        let moved = self.write_end.write(interface, ring.shared(), bytes)?;
        if moved > 0 && interface.take_request(Act::Written) {
            xen.notify(self.port);
        }
        Ok(moved)
    }

    /// Writes a message as a whole or not at all; of one that is longer than the ring, what fits into an empty one. How
    /// many bytes are written.
    ///
    /// # Errors
    /// The server broke the channel.
    pub fn write_message(&mut self, xen: &mut impl Xen, message: &[u8]) -> Result<usize, VchanBroken> {
        let (room, most) = (self.write_end.room(self.pages.interface())?, self.write_end.capacity());
        let fits = room as usize >= message.len() || room == most;
        if fits { self.write(xen, message) } else { Ok(0) }
    }

    /// Asks the server to notify us. There is more to do also when it is gone.
    ///
    /// # Errors
    /// The server broke the channel, in either direction.
    pub fn arm(&self, wanted: Wish) -> Result<Readiness, VchanBroken> {
        let interface = self.pages.interface();
        let acts: &[Act] = match wanted {
            Wish::Bytes => &[Act::Written],
            Wish::BytesOrRoom(_) => &[Act::Written, Act::Read],
        };
        interface.ask(acts);
        let (bytes, room) = (self.read_end.waiting(interface)?, self.write_end.room(interface)?);
        let has_room = match wanted {
            Wish::Bytes => false,
            Wish::BytesOrRoom(bytes) => room as usize >= bytes.min(self.write_end.capacity() as usize),
        };
        let more = bytes > 0 || has_room || !self.is_open();
        Ok(if more { Readiness::MoreToDo } else { Readiness::Asked })
    }

    /// Ends it: the server is told, nothing stays mapped or bound.
    pub fn close(self, xen: &mut impl Xen) {
        self.pages.interface().leave();
        xen.notify(self.port);
        self.pages.unmap(xen);
        xen.close_port(self.port);
    }
}

impl Pages {
    fn interface(&self) -> Interface<'_> {
        Interface(self.interface.shared())
    }

    /// Maps the rings that are not in the interface's page, and finds our ends.
    fn take_up(&mut self, xen: &mut impl Xen, domain: DomainId) -> Result<(WriteEnd, ReadEnd), ConnectError> {
        let interface = Interface(self.interface.shared());
        if !interface.is_served() {
            return Err(ConnectError::NotServed);
        }
        let (left, right) = interface.orders();
        let known = LEAST_ORDER..=PAGE_ORDER;
        // Two of one size would share a place.
        let overlap = left == right && left < PAGE_ORDER;
        if !known.contains(&left) || !known.contains(&right) || overlap {
            return Err(ConnectError::Orders(left, right));
        }
        let mut grants = 0;
        let mut map = |order: u32| {
            if order < PAGE_ORDER {
                return Ok(None);
            }
            let reference = interface.grant(grants);
            grants += 1;
            xen.map(domain, reference).map(Some).map_err(ConnectError::Page)
        };
        self.left = map(left)?;
        self.right = map(right)?;
        // A ring within the interface's page begins at its own size.
        let place = |order: u32| (1 << order, if order < PAGE_ORDER { 1 << order } else { 0 });
        let ((left_bytes, left_start), (right_bytes, right_start)) = (place(left), place(right));
        let write_end = WriteEnd::take_up(interface, left_bytes, left_start);
        let read_end = ReadEnd::take_up(interface, right_bytes, right_start);
        write_end
            .and_then(|write_end| Ok((write_end, read_end?)))
            .map_err(|VchanBroken| ConnectError::Indices)
    }

    fn unmap(self, xen: &mut impl Xen) {
        for page in [self.left, self.right, Some(self.interface)].into_iter().flatten() {
            if let Err(error) = xen.unmap(page) {
                // It costs an address.
                log::error!("a page of a vchan cannot be unmapped: {error}");
            }
        }
    }
}
