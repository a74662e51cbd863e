//! What all connections did together: commands, bytes in, bytes out.
//!
//! Holds: threads that count at the same time write to cache lines of their own, so counting
//! makes no thread wait for another; the sum is taken when somebody asks. Counts never go back.
//!
//! Does not know: which connection did what.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Places to count in. Threads beyond this many share places, which costs time but no count.
const PLACES: usize = 64;

/// One place to count in, with the cache lines around it: processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place {
    commands: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// What was counted up to a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Commands executed by the Redis protocol and requests answered over HTTP; added to once
    /// per run of a connection.
    pub commands: u64,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes sent to clients.
    pub bytes_out: u64,
}

/// The counters of a server.
#[derive(Debug)]
pub struct Counters {
    places: Box<[Place]>,
}

impl Default for Counters {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| Place::default()).collect() }
    }
}

impl Counters {
    /// What was counted so far, over all threads.
    #[must_use]
    pub fn sum(&self) -> Traffic {
        self.places.iter().fold(Traffic::default(), |sum, place| Traffic {
            commands: sum.commands + place.commands.load(Ordering::Relaxed),
            bytes_in: sum.bytes_in + place.bytes_in.load(Ordering::Relaxed),
            bytes_out: sum.bytes_out + place.bytes_out.load(Ordering::Relaxed),
        })
    }

    pub(crate) fn add_commands(&self, count: u64) {
        self.here().commands.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn add_bytes_in(&self, bytes: u64) {
        if bytes > 0 {
            self.here().bytes_in.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_bytes_out(&self, bytes: u64) {
        if bytes > 0 {
            self.here().bytes_out.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn here(&self) -> &Place {
        &self.places[number_of_thread() % PLACES]
    }
}

/// A number that no other thread of the process has, given out at the first call.
fn number_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.get().unwrap_or_else(|| {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        NUMBER.set(Some(number));
        number
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_among_more_threads_than_places() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..PLACES + 3 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        counters.add_commands(1);
                        counters.add_bytes_in(2);
                        counters.add_bytes_out(3);
                    }
                });
            }
        });
        let times = 100 * (PLACES as u64 + 3);
        let expected = Traffic { commands: times, bytes_in: 2 * times, bytes_out: 3 * times };
        assert_eq!(counters.sum(), expected);
    }

    #[test]
    fn threads_count_in_places_of_their_own() {
        let own = number_of_thread();
        assert_eq!(own, number_of_thread());
        let other = std::thread::spawn(number_of_thread).join().expect("no panic");
        assert_ne!(own, other);
        assert!(align_of::<Place>() >= 128);
    }
}
