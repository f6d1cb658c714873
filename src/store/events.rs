//! Watch events that nobody has looked at yet: bounded, coalesced, fair.
//!
//! A watch event carries no value: its reader looks at the tree as it is then. So a path waits once, however often it
//! changes, and many changed paths below one watch are replaced by one event at the watched path: "look at
//! everything below". Each watch has its own place and they take turns, so a client that changes its keys
//! as fast as it can neither costs memory nor delays the events of others (XSA-349).

use alloc::string::String;
use alloc::vec::Vec;

/// Different paths that wait per watch before they are replaced by one event at the watched path.
pub const MAX_PATHS_PER_WATCH: usize = 8;

/// A path longer than this is not kept but counts as "everything below".
const MAX_KEPT_PATH_BYTES: usize = 256;

/// Something changed at `path` or, when it is the path that is watched, anywhere below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// Relative exactly if the watch is.
    pub path: String,
    /// The name that the watch was given.
    pub token: String,
}

#[derive(Debug)]
enum ChangedPaths {
    /// These paths, none of them the watched one.
    Paths(Vec<String>),
    /// The watched path, and so everything below it.
    Everything,
}

#[derive(Debug)]
struct WatchEntry {
    path: String,
    token: String,
    waiting: ChangedPaths,
}

/// Whether a token was free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The watch is in place.
    Yes,
    /// Another watch has that token.
    TokenTaken,
}

/// The watches in place and what waits for each.
#[derive(Debug, Default)]
pub struct EventQueue {
    watches: Vec<WatchEntry>,
    /// Index of the watch whose turn it is.
    turn: usize,
    /// Whether nothing waits: asked for in every pass.
    is_empty: bool,
}

impl EventQueue {
    /// Makes room for the events of a watch. Tokens tell watches apart, so each is used once.
    pub fn add(&mut self, path: &str, token: &str) -> Added {
        if self.watches.iter().any(|watch| watch.token == token) {
            return Added::TokenTaken;
        }
        let waiting = ChangedPaths::Paths(Vec::new());
        self.watches.push(WatchEntry { path: path.into(), token: token.into(), waiting });
        Added::Yes
    }

    /// Forgets a watch and what waits for it.
    pub fn remove(&mut self, token: &str) {
        self.watches.retain(|watch| watch.token != token);
    }

    /// Watches in place.
    pub fn watches(&self) -> usize {
        self.watches.len()
    }

    /// Notes an event. One with an unknown token (its watch was just removed) is dropped.
    pub fn push(&mut self, path: &str, token: &str) {
        let Some(watch) = self.watches.iter_mut().find(|watch| watch.token == token) else {
            return;
        };
        let ChangedPaths::Paths(paths) = &mut watch.waiting else {
            return;
        };
        if paths.iter().any(|waiting| waiting == path) {
            return;
        }
        let kept = path != watch.path && path.len() <= MAX_KEPT_PATH_BYTES;
        self.is_empty = false;
        if kept && paths.len() < MAX_PATHS_PER_WATCH {
            paths.push(path.into());
        } else {
            watch.waiting = ChangedPaths::Everything;
        }
    }

    /// The next event: watches take turns, and the paths of one come in the order they arrived.
    pub fn pop(&mut self) -> Option<WatchEvent> {
        if self.is_empty {
            return None;
        }
        let count = self.watches.len();
        let turns = (self.turn..count).chain(0..self.turn.min(count));
        for index in turns {
            let Some(watch) = self.watches.get_mut(index) else { continue };
            let path = match &mut watch.waiting {
                ChangedPaths::Paths(paths) if paths.is_empty() => continue,
                ChangedPaths::Paths(paths) => paths.remove(0),
                ChangedPaths::Everything => {
                    watch.waiting = ChangedPaths::Paths(Vec::new());
                    watch.path.clone()
                }
            };
            self.turn = index + 1;
            return Some(WatchEvent { path, token: watch.token.clone() });
        }
        self.is_empty = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn drain(queue: &mut EventQueue) -> Vec<String> {
        core::iter::from_fn(|| queue.pop()).map(|e| format!("{} {}", e.token, e.path)).collect()
    }

    #[test]
    fn the_same_path_waits_once() {
        let mut queue = EventQueue::default();
        queue.add("backend", "b");
        for _ in 0..3 {
            queue.push("backend/vif/1", "b");
        }
        queue.push("backend/vif/2", "b");
        assert_eq!(drain(&mut queue), ["b backend/vif/1", "b backend/vif/2"]);
        queue.push("backend/vif/1", "b");
        assert_eq!(drain(&mut queue), ["b backend/vif/1"]);
    }

    #[test]
    fn a_flood_of_paths_becomes_one_event_at_the_watched_path() {
        let mut queue = EventQueue::default();
        queue.add("/local/domain/7/device/vif/0/state", "s");
        for number in 0..100_000 {
            queue.push(&format!("/local/domain/7/device/vif/0/state/{number}"), "s");
        }
        assert_eq!(drain(&mut queue), ["s /local/domain/7/device/vif/0/state"]);
    }

    #[test]
    fn an_event_at_the_watched_path_covers_those_below() {
        let mut queue = EventQueue::default();
        queue.add("backend", "b");
        queue.push("backend/vif/1", "b");
        queue.push("backend", "b");
        queue.push("backend/vif/2", "b");
        assert_eq!(drain(&mut queue), ["b backend"]);
    }

    #[test]
    fn a_long_path_is_not_kept() {
        let mut queue = EventQueue::default();
        queue.add("backend", "b");
        queue.push(&format!("backend/{}", "x".repeat(3000)), "b");
        assert_eq!(drain(&mut queue), ["b backend"]);
    }

    #[test]
    fn watches_take_turns() {
        let mut queue = EventQueue::default();
        queue.add("one", "1");
        queue.add("two", "2");
        queue.push("one/a", "1");
        queue.push("one/b", "1");
        queue.push("two/a", "2");
        assert_eq!(drain(&mut queue), ["1 one/a", "2 two/a", "1 one/b"]);
    }

    #[test]
    fn events_of_a_removed_watch_are_dropped() {
        let mut queue = EventQueue::default();
        queue.add("one", "1");
        queue.push("one/a", "1");
        queue.remove("1");
        queue.push("one/b", "1");
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn a_token_names_one_watch() {
        let mut queue = EventQueue::default();
        assert_eq!(queue.add("one", "t"), Added::Yes);
        assert_eq!(queue.add("two", "t"), Added::TokenTaken);
    }
}
