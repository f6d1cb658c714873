//! Reading and changing nodes, inside a transaction or outside.

use super::error::StoreError;
use super::path::{self, MAX_VALUE_BYTES};
use super::wire::{MessageKind, ProtocolViolation};
use crate::base::text::{Excerpt, decimal};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use core::str::FromStr;

/// Bytes of names that one directory may have: about the quota of 1000 nodes.
const MAX_DIRECTORY_BYTES: usize = 64 * 1024;

/// How often a long directory is read anew when it changes while being read in parts.
const DIRECTORY_ATTEMPTS: usize = 16;

/// What became of each of several requests.
pub type Replies = Vec<Result<Vec<u8>, StoreError>>;

/// The requests about nodes. Paths are absolute, or relative to our own `/local/domain/<id>`.
///
/// Each is a future that is ready when its reply has come. What a node holds was written by somebody else: a value is
/// text or a number here, and still to be judged.
#[allow(async_fn_in_trait, reason = "futures stay on the only thread that there is")]
pub trait Nodes {
    /// Sends one request and waits for its reply's payload. The methods below are the way to use it.
    async fn ask(&self, kind: MessageKind, parts: &[&[u8]]) -> Result<Vec<u8>, StoreError>;

    /// Sends requests one behind the other and waits for all their replies: one round trip.
    async fn ask_all(&self, kind: MessageKind, requests: &[[&[u8]; 3]]) -> Result<Replies, StoreError>;

    /// A node's value.
    ///
    /// # Errors
    /// [`StoreError::NoEntry`] without such a node; [`StoreError::NotText`] when it is not UTF-8.
    async fn read(&self, path: &str) -> Result<String, StoreError> {
        text(ask_about(self, MessageKind::Read, path).await?)
    }

    /// A node's value, which is a decimal number.
    ///
    /// # Errors
    /// [`StoreError::NotANumber`] when it is something else, or above what `N` holds.
    async fn read_number<N: FromStr>(&self, path: &str) -> Result<N, StoreError> {
        let text = self.read(path).await?;
        decimal(&text).ok_or_else(|| StoreError::NotANumber(Excerpt::of(&text)))
    }

    /// What a peer wrote into a node, if it is there, readable to us, and text. A peer may do as it likes with
    /// its own nodes: whatever else it wrote is as good as nothing.
    ///
    /// # Errors
    /// Only transient ones, and those of XenStore as a whole.
    async fn read_peer(&self, path: &str) -> Result<Option<String>, StoreError> {
        as_peers(self.read(path).await)
    }

    /// As [`Self::read_peer`], for several nodes in one round trip.
    ///
    /// # Errors
    /// Only transient ones, and those of XenStore as a whole.
    async fn read_peers<const N: usize>(&self, paths: [&str; N]) -> Result<[Option<String>; N], StoreError> {
        let mut values = [const { None }; N];
        read_into(self, &mut paths.iter().copied().map(String::from), &mut values).await?;
        Ok(values)
    }

    /// As [`Self::read_peers`], for the nodes of these names in a directory.
    ///
    /// # Errors
    /// Only transient ones, and those of XenStore as a whole.
    async fn read_children<const N: usize>(
        &self,
        directory: &str,
        names: [&str; N],
    ) -> Result<[Option<String>; N], StoreError> {
        let mut values = [const { None }; N];
        read_into(self, &mut names.iter().map(|name| format!("{directory}/{name}")), &mut values).await?;
        Ok(values)
    }

    /// The names of a node's children, in no particular order.
    ///
    /// # Errors
    /// [`StoreError::NoEntry`] without such a node; [`StoreError::TooBig`] above 64 KiB of names.
    async fn directory(&self, path: &str) -> Result<Vec<String>, StoreError> {
        let list = match ask_about(self, MessageKind::Directory, path).await {
            Err(StoreError::TooBig) => directory_in_parts(self, path).await?,
            other => other?,
        };
        names(&list)
    }

    /// Sets a node's value; creates the node, and those above it, when missing.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] above 2048 bytes.
    async fn write(&self, path: &str, value: impl Display) -> Result<(), StoreError> {
        self.write_all(&[(path.into(), value.to_string())]).await
    }

    /// As [`Self::write`], for several nodes in one round trip; in this order.
    ///
    /// # Errors
    /// The first of them.
    async fn write_all(&self, nodes: &[(String, String)]) -> Result<(), StoreError> {
        for (path, value) in nodes {
            path::check(path)?;
            if value.len() > MAX_VALUE_BYTES {
                return Err(StoreError::TooLong);
            }
        }
        let requests: Vec<[&[u8]; 3]> =
            nodes.iter().map(|(path, value)| [path.as_bytes(), b"\0", value.as_bytes()]).collect();
        let replies = self.ask_all(MessageKind::Write, &requests).await?;
        replies.into_iter().try_for_each(|reply| reply.map(drop))
    }

    /// Creates an empty node, and those above it; a node that is there stays as it is.
    ///
    /// # Errors
    /// Those of xenstored.
    async fn mkdir(&self, path: &str) -> Result<(), StoreError> {
        ask_about(self, MessageKind::MakeDirectory, path).await.map(drop)
    }

    /// Removes a node and everything below it. One that is not there is no error if its parent is.
    ///
    /// # Errors
    /// Those of xenstored.
    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        ask_about(self, MessageKind::Remove, path).await.map(drop)
    }
}

/// [`Nodes::read_peers`], the same code for any number of nodes.
async fn read_into<N: Nodes + ?Sized>(
    nodes: &N,
    paths: &mut dyn Iterator<Item = String>,
    values: &mut [Option<String>],
) -> Result<(), StoreError> {
    let paths: Vec<String> = paths.collect();
    paths.iter().try_for_each(|path| path::check(path))?;
    let requests: Vec<[&[u8]; 3]> = paths.iter().map(|path| [path.as_bytes(), b"\0", b""]).collect();
    let replies = nodes.ask_all(MessageKind::Read, &requests).await?;
    for (value, reply) in values.iter_mut().zip(replies) {
        *value = as_peers(reply.and_then(text))?;
    }
    Ok(())
}

/// A request whose only argument is a path.
async fn ask_about<N: Nodes + ?Sized>(
    nodes: &N,
    kind: MessageKind,
    path: &str,
) -> Result<Vec<u8>, StoreError> {
    path::check(path)?;
    nodes.ask(kind, &[path.as_bytes(), b"\0"]).await
}

fn text(bytes: Vec<u8>) -> Result<String, StoreError> {
    String::from_utf8(bytes).map_err(|_| StoreError::NotText)
}

/// What [`Nodes::read_peer`] makes of a reply.
fn as_peers(reply: Result<String, StoreError>) -> Result<Option<String>, StoreError> {
    match reply {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_about_the_request() && !error.is_transient() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a directory whose list of names exceeds one payload.
///
/// Each part starts with the node's generation, which tells whether the list is still the one that was begun;
/// the last part ends in an empty name (docs/misc/xenstore.txt, DIRECTORY_PART).
async fn directory_in_parts<N: Nodes + ?Sized>(nodes: &N, path: &str) -> Result<Vec<u8>, StoreError> {
    for _ in 0..DIRECTORY_ATTEMPTS {
        if let Some(list) = one_directory(nodes, path).await? {
            return Ok(list);
        }
    }
    Err(StoreError::Conflict)
}

/// One attempt; `None` when the list changed on the way.
async fn one_directory<N: Nodes + ?Sized>(nodes: &N, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let malformed = StoreError::Violation(ProtocolViolation::MalformedPayload(MessageKind::DirectoryPart));
    let mut list = Vec::new();
    let mut begun: Option<Vec<u8>> = None;
    loop {
        let offset = list.len().to_string();
        let parts: [&[u8]; 4] = [path.as_bytes(), b"\0", offset.as_bytes(), b"\0"];
        let reply = match nodes.ask(MessageKind::DirectoryPart, &parts).await {
            // An old xenstored: the list cannot be had.
            Err(StoreError::Unsupported) => return Err(StoreError::TooBig),
            other => other?,
        };
        let mut split = reply.splitn(2, |&byte| byte == 0);
        let (Some(generation), Some(part)) = (split.next(), split.next()) else {
            return Err(malformed);
        };
        if begun.get_or_insert_with(|| generation.to_vec()) != generation {
            return Ok(None);
        }
        list.extend_from_slice(part);
        if list.as_slice() == b"\0" || list.ends_with(b"\0\0") {
            list.pop();
            return Ok(Some(list));
        }
        // A part that adds nothing, or ends within a name, would never come to an end.
        if part.last() != Some(&0) {
            return Err(malformed);
        }
        if list.len() > MAX_DIRECTORY_BYTES {
            return Err(StoreError::TooBig);
        }
    }
}

/// Splits a list of NUL-terminated names.
fn names(list: &[u8]) -> Result<Vec<String>, StoreError> {
    list.split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| core::str::from_utf8(name).map(String::from).map_err(|_| StoreError::NotText))
        .collect()
}
