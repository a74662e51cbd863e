//! When the commit thread writes, when it syncs, and what that settles: pure decisions.
//!
//! One write and one sync serve everybody who is waiting. The question is when to begin. Right
//! after a sync its waiters are woken, and the first of them is back with its next entry before
//! the others have had the processor: to begin at once would serve that one alone and let all
//! the others wait for two syncs. So the thread gathers: it sleeps until as many committers wait
//! as the last sync served, as long as more of them keep coming, which is looked at twice in the
//! time that a sync takes. While they come, the processors are busy, and a sync that serves more
//! of them costs less for each; it is not put off for more than a few times its own length. A
//! lone client never waits for others, since then the last sync served one.
//!
//! Measured with a pipeline of 16 by 50 clients on two cores: about 300 entries a sync, run after
//! run; between 36 and 225 where the thread yields instead of sleeping and gives up after half a
//! sync's time, since a small group leads to a small group.
//!
//! Holds: `synced <= written`; nothing is settled by a sync that began before it was written.
//!
//! Does not know: files, threads, or clocks; `now` is handed in.

use std::time::Duration;

/// After this share of the time that a sync takes, as a divisor, gathering ends if nobody came
/// meanwhile.
const LOOK: u32 = 2;

/// Gathering goes on for at most so many times the time that a sync takes.
const GATHER: u32 = 8;

/// No gathering beyond this, however slow the disk: a slow disk is no reason to be idle.
const GATHER_MOST: Duration = Duration::from_millis(1);

/// So many bytes are worth a sync of their own.
const ENOUGH_BYTES: u32 = 1 << 20;

/// What waits for the commit thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Entries appended and not yet taken.
    pub(super) entries: u32,
    /// Bytes of them, each with its length.
    pub(super) bytes: u32,
    /// Those of them that wait for a sync.
    pub(super) committers: u32,
    /// The shortest time within which one of them wants to be synced, in milliseconds.
    pub(super) within_ms: Option<u32>,
    /// Somebody waits for everything below this position to be synced.
    pub(super) sync_to: u64,
    /// Somebody waits for room to append.
    pub(super) pressed: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, until something is appended or this much time has passed.
    Rest(Option<Duration>),
    /// Nothing, until so many committers wait or this much time has passed.
    Gather(u32, Duration),
    /// Take what is waiting, write it, and sync as [`Pace::must_sync`] says.
    Commit,
}

/// What the commit thread remembers.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    written: u64,
    synced: u64,
    /// When something written has to be synced, at the latest.
    due: Option<Duration>,
    /// The gathering that goes on.
    gathering: Option<Gathering>,
    /// How many committers the last sync served.
    served: u32,
    /// How long a sync takes, smoothed.
    sync_time: Duration,
}

/// A gathering of entries.
#[derive(Clone, Copy, Debug)]
struct Gathering {
    since: Duration,
    /// When it was last looked how many there are.
    looked: Duration,
    /// How many committers there were then.
    seen: u32,
}

impl Pace {
    /// Begins where everything below `position` is synced.
    pub(super) const fn at(position: u64) -> Self {
        Self {
            written: position,
            synced: position,
            due: None,
            gathering: None,
            served: 0,
            sync_time: Duration::ZERO,
        }
    }

    /// Everything below this position is written.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Everything below this position is synced.
    pub(super) const fn synced(&self) -> u64 {
        self.synced
    }

    /// What to do at `now`.
    pub(super) fn next(&mut self, now: Duration, waiting: &Waiting) -> Next {
        if waiting.entries == 0 {
            return match self.due {
                _ if waiting.sync_to > self.synced && self.written > self.synced => Next::Commit,
                Some(due) if due <= now => Next::Commit,
                Some(due) => Next::Rest(Some(due - now)),
                None => Next::Rest(None),
            };
        }
        let complete = waiting.committers == 0 || waiting.committers >= self.served;
        let urgent = waiting.pressed || waiting.sync_to > self.synced;
        if complete || urgent || waiting.bytes >= ENOUGH_BYTES {
            return Next::Commit;
        }
        self.gather(now, waiting.committers)
    }

    /// Whether to wait for more, now that `seen` committers are waiting.
    fn gather(&mut self, now: Duration, seen: u32) -> Next {
        let fresh = Gathering { since: now, looked: now, seen };
        let gathering = self.gathering.get_or_insert(fresh);
        let until = gathering.since + (self.sync_time * GATHER).min(GATHER_MOST);
        let look = (self.sync_time / LOOK).min(GATHER_MOST);
        if now >= gathering.looked + look {
            if seen <= gathering.seen {
                return Next::Commit;
            }
            (gathering.looked, gathering.seen) = (now, seen);
        }
        let until = until.min(gathering.looked + look);
        if now < until { Next::Gather(self.served, until - now) } else { Next::Commit }
    }

    /// Whether a sync has to follow the write of `taken` at `now`.
    pub(super) fn must_sync(&self, now: Duration, taken: &Waiting) -> bool {
        taken.committers > 0
            || taken.sync_to > self.synced
            || self.due.is_some_and(|due| due <= now)
    }

    /// `taken` was written, and everything below `end` now is.
    pub(super) fn wrote(&mut self, now: Duration, end: u64, taken: &Waiting) {
        debug_assert!(end >= self.written, "positions only grow");
        self.written = end;
        self.gathering = None;
        if let Some(within) = taken.within_ms {
            let due = now.saturating_add(Duration::from_millis(u64::from(within)));
            self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        }
    }

    /// A sync that began after the last write is done; it took `took` and served `committers`.
    pub(super) fn synced_all(&mut self, took: Duration, committers: u32) {
        self.synced = self.written;
        self.due = None;
        if committers > 0 {
            self.served = committers;
            self.sync_time =
                if self.sync_time.is_zero() { took } else { (self.sync_time * 7 + took) / 8 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    const fn us(value: u64) -> Duration {
        Duration::from_micros(value)
    }

    fn committers(count: u32) -> Waiting {
        Waiting { entries: count, committers: count, ..Waiting::default() }
    }

    #[test]
    fn with_nothing_to_do_it_rests() {
        let mut pace = Pace::at(1);
        assert_eq!(pace.next(ms(0), &Waiting::default()), Next::Rest(None));
        assert!(!pace.must_sync(ms(0), &Waiting::default()));
    }

    #[test]
    fn a_committer_gets_a_sync_and_settles_by_it() {
        let mut pace = Pace::at(1);
        assert_eq!(pace.next(ms(0), &committers(1)), Next::Commit);
        assert!(pace.must_sync(ms(0), &committers(1)));
        pace.wrote(ms(0), 2, &committers(1));
        assert_eq!((pace.written(), pace.synced()), (2, 1));
        pace.synced_all(ms(1), 1);
        assert_eq!((pace.written(), pace.synced()), (2, 2));
    }

    #[test]
    fn an_interval_is_written_at_once_and_synced_when_due() {
        let mut pace = Pace::at(1);
        let lazy = |within| Waiting { entries: 1, within_ms: Some(within), ..Waiting::default() };
        assert_eq!(pace.next(ms(0), &lazy(100)), Next::Commit);
        assert!(!pace.must_sync(ms(0), &lazy(100)));
        pace.wrote(ms(0), 2, &lazy(100));
        pace.wrote(ms(10), 3, &lazy(50));
        pace.wrote(ms(20), 4, &lazy(500));
        assert_eq!(pace.next(ms(20), &Waiting::default()), Next::Rest(Some(ms(40))));
        assert_eq!(pace.next(ms(60), &Waiting::default()), Next::Commit);
        assert!(pace.must_sync(ms(60), &Waiting::default()));
        pace.synced_all(ms(1), 0);
        assert_eq!(pace.next(ms(900), &Waiting::default()), Next::Rest(None));
    }

    #[test]
    fn what_leaves_it_to_the_system_is_synced_only_when_asked() {
        let mut pace = Pace::at(1);
        let plain = Waiting { entries: 3, ..Waiting::default() };
        assert_eq!(pace.next(ms(0), &plain), Next::Commit);
        assert!(!pace.must_sync(ms(0), &plain));
        pace.wrote(ms(0), 4, &plain);
        assert_eq!(pace.next(ms(9_999), &Waiting::default()), Next::Rest(None));
        let asked = Waiting { sync_to: 4, ..Waiting::default() };
        assert_eq!(pace.next(ms(9_999), &asked), Next::Commit);
        assert!(pace.must_sync(ms(9_999), &asked));
        pace.synced_all(ms(1), 0);
        assert_eq!(pace.next(ms(9_999), &asked), Next::Rest(None), "asked for and done");
    }

    /// After a sync of 100 us that served 50.
    fn busy() -> Pace {
        let mut pace = Pace::at(1);
        pace.wrote(ms(0), 51, &committers(50));
        pace.synced_all(us(100), 50);
        pace
    }

    #[test]
    fn it_gathers_as_many_as_before_as_long_as_they_come() {
        let mut pace = busy();
        assert_eq!(pace.next(us(1_000), &committers(10)), Next::Gather(50, us(50)));
        assert_eq!(pace.next(us(1_020), &committers(50)), Next::Commit, "all are there");
        assert_eq!(pace.next(us(1_030), &committers(10)), Next::Gather(50, us(20)));
        assert_eq!(pace.next(us(1_060), &committers(14)), Next::Gather(50, us(50)), "more came");
        assert_eq!(pace.next(us(1_100), &committers(14)), Next::Gather(50, us(10)));
        assert_eq!(pace.next(us(1_110), &committers(14)), Next::Commit, "nobody came");
    }

    #[test]
    fn gathering_ends() {
        let mut pace = busy();
        for (count, now) in (1..).zip((1_000..1_800).step_by(50)) {
            assert_eq!(pace.next(us(now), &committers(count)), Next::Gather(50, us(50)), "{now}");
        }
        assert_eq!(pace.next(us(1_800), &committers(40)), Next::Commit);
    }

    #[test]
    fn some_are_not_made_to_wait_for_others() {
        let plain = Waiting { entries: 1, ..Waiting::default() };
        assert_eq!(busy().next(us(9), &plain), Next::Commit, "nobody waits for a sync");
        let asked = Waiting { sync_to: 60, ..committers(3) };
        assert_eq!(busy().next(us(9), &asked), Next::Commit, "somebody asked for a sync");
        let pressed = Waiting { pressed: true, ..committers(3) };
        assert_eq!(busy().next(us(9), &pressed), Next::Commit, "somebody waits for room");
        let long = Waiting { bytes: ENOUGH_BYTES, ..committers(3) };
        assert_eq!(busy().next(us(9), &long), Next::Commit, "it is much already");
    }

    #[test]
    fn a_lone_client_never_waits_for_others() {
        let mut pace = Pace::at(1);
        pace.wrote(ms(0), 2, &committers(1));
        pace.synced_all(ms(5), 1);
        assert_eq!(pace.next(ms(10), &committers(1)), Next::Commit);
    }
}
