//! Replies that wait to be taken, over all connections together, and who goes when there is no
//! room for more.
//!
//! Holds: whoever took no byte for the longest is closed first, so clients that do not read cannot
//! keep others from being answered. Nobody is closed in vain: unless enough comes free, the one
//! that asks for room goes instead. What a closed client held counts as free at once; its memory
//! follows as soon as its thread gets to it.
//!
//! Does not know: sockets. Whoever waits for its peer says so through [`Client::waits_since`].

use super::{Budget, Client, Registry};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often room is made for one reply before it is given up: others may take what came free.
const ATTEMPTS: usize = 4;

/// What waits to be taken in the whole server.
#[derive(Debug)]
pub(crate) struct Output {
    budget: Budget,
    registry: Arc<Registry>,
    /// One at a time makes room, so that two do not close twice as many as needed.
    making_room: Mutex<()>,
    evicted: AtomicU64,
}

impl Output {
    /// Room for `limit` bytes among the connections of `registry`.
    pub(crate) fn new(limit: u64, registry: Arc<Registry>) -> Self {
        Self {
            budget: Budget::new(limit),
            registry,
            making_room: Mutex::default(),
            evicted: AtomicU64::new(0),
        }
    }

    /// Notes that `bytes` wait for `client`, until the answer is dropped; `None` if there is no
    /// room and none can be made.
    pub(crate) fn hold(self: &Arc<Self>, client: &Arc<Client>, bytes: usize) -> Option<Held> {
        let bytes = bytes as u64;
        for _ in 0..ATTEMPTS {
            if self.budget.take(bytes).is_ok() {
                client.holds(bytes);
                return Some(Held { output: Arc::clone(self), client: Arc::clone(client), bytes });
            }
            if !self.make_room(client, bytes) {
                return None;
            }
        }
        None
    }

    /// Bytes that wait at present.
    pub(crate) fn used(&self) -> u64 {
        self.budget.used()
    }

    /// How many clients were closed to make room for others.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Closes those that took nothing for the longest until `bytes` fit; `false`, and nobody is
    /// closed, if they would not fit all the same.
    fn make_room(&self, asks: &Client, bytes: u64) -> bool {
        let _one = self.making_room.lock();
        let short = self.budget.lacks(bytes);
        let mut found = 0;
        let mut chosen = Vec::new();
        for client in self.silent(asks) {
            if found >= short {
                break;
            }
            found += client.held();
            chosen.push(client);
        }
        if found < short {
            return false;
        }
        for client in chosen {
            self.budget.give_back(client.forfeit());
            client.kill();
            self.evicted.fetch_add(1, Ordering::Relaxed);
            tracing::info!(
                client = client.id,
                address = %client.address,
                "closed: it took no byte for the longest, and others' replies need the room"
            );
        }
        true
    }

    /// Those that hold something and wait for their peer, the longest first. Who asked for it by
    /// CLIENT NO-EVICT comes last.
    fn silent(&self, asks: &Client) -> Vec<Arc<Client>> {
        let others = self.registry.clients().into_iter();
        let others = others.filter(|client| client.id != asks.id && !client.is_killed());
        let mut silent: Vec<_> = others
            .filter(|client| client.held() > 0)
            .filter_map(|client| Some(((client.spared(), client.waits_since()?), client)))
            .collect();
        silent.sort_by_key(|(order, _)| *order);
        silent.into_iter().map(|(_, client)| client).collect()
    }
}

/// Bytes that wait for one client.
#[derive(Debug)]
pub(crate) struct Held {
    output: Arc<Output>,
    client: Arc<Client>,
    bytes: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.output.budget.give_back(self.client.lets_go(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::registry::Entry;
    use std::time::Duration;
    use tokio::time::Instant;

    fn output(limit: u64) -> (Arc<Registry>, Arc<Output>) {
        let registry = Arc::new(Registry::default());
        (Arc::clone(&registry), Arc::new(Output::new(limit, registry)))
    }

    fn enter(registry: &Arc<Registry>) -> Entry {
        registry.enter("a:1".to_owned(), "b:2".to_owned(), false)
    }

    #[test]
    fn what_is_held_is_given_back_once() {
        let (registry, output) = output(100);
        let one = enter(&registry);
        let held = output.hold(&one.client, 60).expect("it fits");
        let more = output.hold(&one.client, 40).expect("it fits exactly");
        assert_eq!((output.used(), one.client.held()), (100, 100));
        drop(held);
        assert_eq!((output.used(), one.client.held()), (40, 40));
        drop(more);
        assert_eq!((output.used(), one.client.held()), (0, 0));
    }

    #[test]
    fn the_longest_silent_goes_first_and_only_as_many_as_needed() {
        let (registry, output) = output(100);
        let now = Instant::now();
        let clients: Vec<Entry> = (0..4).map(|_| enter(&registry)).collect();
        let ages = [30, 50, 10, 40];
        let mut held = Vec::new();
        for (entry, age) in clients.iter().zip(ages) {
            held.push(output.hold(&entry.client, 25).expect("it fits"));
            entry.client.waits(Some(now.checked_sub(Duration::from_secs(age)).unwrap_or(now)));
        }
        let asks = enter(&registry);
        let _held = output.hold(&asks.client, 26).expect("room is made");
        let killed: Vec<bool> = clients.iter().map(|entry| entry.client.is_killed()).collect();
        assert_eq!(killed, [false, true, false, true]);
        assert_eq!((output.used(), output.evicted()), (76, 2));
        drop(held);
        assert_eq!(output.used(), 26, "what was forfeited is not given back twice");
    }

    #[test]
    fn nobody_is_closed_in_vain_and_who_reads_is_spared() {
        let (registry, output) = output(100);
        let (reads, silent, asks) = (enter(&registry), enter(&registry), enter(&registry));
        let _one = output.hold(&reads.client, 60).expect("it fits");
        let _two = output.hold(&silent.client, 40).expect("it fits");
        silent.client.waits(Some(Instant::now()));
        assert!(output.hold(&asks.client, 41).is_none());
        assert!(output.hold(&asks.client, 101).is_none());
        assert!(!silent.client.is_killed() && !reads.client.is_killed());
        assert!(output.hold(&silent.client, 10).is_none(), "it makes no room for itself");
        assert!(output.hold(&asks.client, 40).is_some());
        assert!(silent.client.is_killed() && !reads.client.is_killed());
    }

    #[test]
    fn who_asked_to_be_spared_goes_last() {
        let (registry, output) = output(100);
        let now = Instant::now();
        let (spared, other, asks) = (enter(&registry), enter(&registry), enter(&registry));
        spared.client.update(|shown| shown.no_evict = true);
        let _one = output.hold(&spared.client, 50).expect("it fits");
        let _two = output.hold(&other.client, 50).expect("it fits");
        spared.client.waits(Some(now));
        other.client.waits(Some(now + Duration::from_secs(1)));
        let _first = output.hold(&asks.client, 50).expect("room is made");
        assert!(other.client.is_killed() && !spared.client.is_killed());
        let _second = output.hold(&asks.client, 50).expect("room is made");
        assert!(spared.client.is_killed());
    }
}
