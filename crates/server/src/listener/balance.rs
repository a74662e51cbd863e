//! On which threads connections live: together while one thread has room, apart when it has not.
//!
//! A thread that serves few requests sleeps and is woken for each of them; the same requests on
//! one thread are found several at a time. So connections gather on few threads, and spread only
//! while a thread is full *and* the machine has cores to spare: next to a load generator on the
//! same machine another busy thread would only take its processor away.
//!
//! Holds: the decision is a pure function of what was measured over the last interval.

use std::fs;

/// A thread that was busy for this share of the interval is full, in thousandths.
const FULL: u32 = 850;
/// A thread below this has room for more.
const ROOM: u32 = 500;
/// Threads that together were busy for less than this are better one.
const TOGETHER: u32 = 400;
/// This much of a core must have been idle for connections to spread.
const SPARE: u32 = 250;

/// What one thread did over the last interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// For how much of it it was busy, in thousandths.
    pub(super) busy: u32,
    /// How many connections it serves.
    pub(super) connections: usize,
}

/// Connections that are to change their thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) count: usize,
}

/// What to do about `threads`, when `idle` thousandths of a core were not used by anyone.
pub(super) fn advise(threads: &[Share], idle: u32) -> Option<Move> {
    spread(threads, idle).or_else(|| gather(threads))
}

fn spread(threads: &[Share], idle: u32) -> Option<Move> {
    if idle < SPARE {
        return None;
    }
    let full = |thread: &Share| thread.busy >= FULL && thread.connections >= 2;
    let from = threads.iter().position(full)?;
    let to = least_busy(threads)?;
    let count = threads[from].connections / 2;
    (threads[to].busy < ROOM).then_some(Move { from, to, count })
}

fn gather(threads: &[Share]) -> Option<Move> {
    let from = threads.iter().rposition(|thread| thread.connections > 0)?;
    let together = |to: &usize| threads[*to].busy + threads[from].busy < TOGETHER;
    let to = (0..from).find(together)?;
    Some(Move { from, to, count: threads[from].connections })
}

/// The thread for a new connection: the first that has room, else the least busy.
pub(super) fn place(threads: &[Share]) -> usize {
    let room = threads.iter().position(|thread| thread.busy < ROOM);
    room.or_else(|| least_busy(threads)).unwrap_or(0)
}

fn least_busy(threads: &[Share]) -> Option<usize> {
    (0..threads.len()).min_by_key(|index| (threads[*index].busy, threads[*index].connections))
}

/// The processor time of the whole machine, in ticks since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    idle: u64,
    all: u64,
}

impl Machine {
    /// As it is now; `None` where the system does not tell.
    pub(super) fn look() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        const IDLE: usize = 3;
        // The guests' times, the ninth and tenth, are in the first two already.
        const TIMES: usize = 8;
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let times: Vec<u64> =
            line.split_whitespace().take(TIMES).map_while(|time| time.parse().ok()).collect();
        Some(Self { idle: *times.get(IDLE)?, all: times.iter().sum() })
    }

    /// How much of a core was idle since `before`, in thousandths, on a machine of `cores`.
    pub(super) fn idle_since(self, before: Self, cores: usize) -> u32 {
        let all = self.all.saturating_sub(before.all);
        let idle = self.idle.saturating_sub(before.idle);
        let share = idle * 1_000 * cores as u64 / all.max(1);
        u32::try_from(share).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(shares: &[(u32, usize)]) -> Vec<Share> {
        shares
            .iter()
            .map(|(busy, connections)| Share { busy: *busy, connections: *connections })
            .collect()
    }

    #[test]
    fn a_full_thread_gives_half_away_while_cores_are_idle() {
        let full = threads(&[(990, 50), (0, 0)]);
        assert_eq!(advise(&full, 900), Some(Move { from: 0, to: 1, count: 25 }));
        assert_eq!(advise(&full, 100), None, "nobody has a core to spare");
        assert_eq!(advise(&threads(&[(990, 1), (0, 0)]), 900), None, "one cannot be halved");
        assert_eq!(advise(&threads(&[(990, 9), (700, 9)]), 900), None, "the other is busy too");
    }

    #[test]
    fn quiet_threads_come_together() {
        let quiet = threads(&[(100, 3), (100, 2), (50, 1)]);
        assert_eq!(advise(&quiet, 1_900), Some(Move { from: 2, to: 0, count: 1 }));
        assert_eq!(advise(&threads(&[(300, 3), (200, 2)]), 1_500), None);
        assert_eq!(advise(&threads(&[(0, 0), (0, 0)]), 2_000), None);
    }

    #[test]
    fn what_was_spread_is_not_gathered_again() {
        // Half of a full thread each: no advice may undo the last one.
        assert_eq!(advise(&threads(&[(500, 25), (500, 25)]), 900), None);
    }

    #[test]
    fn a_new_connection_goes_to_the_first_thread_with_room() {
        assert_eq!(place(&threads(&[(100, 9), (0, 0)])), 0);
        assert_eq!(place(&threads(&[(900, 9), (100, 1)])), 1);
        assert_eq!(place(&threads(&[(900, 9), (800, 1)])), 1);
    }

    #[test]
    fn the_machines_idle_time_is_found() {
        let before = Machine::parse("cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 1").expect("a good line");
        let after = Machine::parse("cpu  60 0 60 180 0 0 0 0 5 5\n").expect("a good line");
        assert_eq!(after.idle_since(before, 2), 1_000);
        assert_eq!(Machine::parse("nonsense"), None);
    }
}
