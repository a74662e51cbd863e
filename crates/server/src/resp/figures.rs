//! What INFO tells beyond the node's own counts: the process, its rate, its past peaks.
//!
//! Holds: figures come from the system when they are asked for; nothing runs in between.

use parking_lot::Mutex;
use shoal_core::version::Millis;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The rate is taken over at least this long.
const RATE_WINDOW: Duration = Duration::from_millis(100);
/// Ticks per second of the CPU times in `/proc`: fixed in the interface of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Figures of the process, shared by all connections.
#[derive(Debug)]
pub(crate) struct Figures {
    /// 40 hexadecimal digits, new with every start.
    pub(crate) run_id: String,
    last_save: AtomicU64,
    peak: AtomicU64,
    rate: Mutex<Rate>,
    /// The counts as they were at the last CONFIG RESETSTAT.
    base: Mutex<Counts>,
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    since: Instant,
    commands: u64,
    per_second: u64,
}

/// The counts that CONFIG RESETSTAT starts anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) connections: u64,
    pub(crate) commands: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) refused_connections: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) expired: u64,
    pub(crate) evicted: u64,
    pub(crate) refused: u64,
}

impl Counts {
    /// What was counted since `base`.
    pub(crate) const fn since(self, base: Self) -> Self {
        Self {
            connections: self.connections.saturating_sub(base.connections),
            commands: self.commands.saturating_sub(base.commands),
            bytes_in: self.bytes_in.saturating_sub(base.bytes_in),
            bytes_out: self.bytes_out.saturating_sub(base.bytes_out),
            refused_connections: self.refused_connections.saturating_sub(base.refused_connections),
            hits: self.hits.saturating_sub(base.hits),
            misses: self.misses.saturating_sub(base.misses),
            expired: self.expired.saturating_sub(base.expired),
            evicted: self.evicted.saturating_sub(base.evicted),
            refused: self.refused.saturating_sub(base.refused),
        }
    }
}

impl Default for Figures {
    fn default() -> Self {
        let digits = || format!("{:016x}", fastrand::u64(..));
        let mut run_id = digits() + &digits() + &digits();
        run_id.truncate(40);
        let rate = Rate { since: Instant::now(), commands: 0, per_second: 0 };
        Self {
            run_id,
            last_save: AtomicU64::new(unix_time().as_secs()),
            peak: AtomicU64::new(0),
            rate: Mutex::new(rate),
            base: Mutex::default(),
        }
    }
}

impl Figures {
    /// When SAVE last synced everything, in seconds since the Unix epoch; at first the start.
    pub(crate) fn last_save(&self) -> u64 {
        self.last_save.load(Ordering::Relaxed)
    }

    pub(crate) fn saved(&self) {
        self.last_save.store(unix_time().as_secs(), Ordering::Relaxed);
    }

    /// The highest of the amounts that were ever told.
    pub(crate) fn peak(&self, used: u64) -> u64 {
        self.peak.fetch_max(used, Ordering::Relaxed).max(used)
    }

    /// Commands per second since the figure was last asked for.
    pub(crate) fn rate(&self, commands: u64) -> u64 {
        let mut rate = self.rate.lock();
        let elapsed = rate.since.elapsed();
        if elapsed >= RATE_WINDOW {
            let done = u128::from(commands.saturating_sub(rate.commands));
            let per_second = done * 1_000 / elapsed.as_millis().max(1);
            let per_second = u64::try_from(per_second).unwrap_or(u64::MAX);
            *rate = Rate { since: Instant::now(), commands, per_second };
        }
        rate.per_second
    }

    pub(crate) fn base(&self) -> Counts {
        *self.base.lock()
    }

    pub(crate) fn reset(&self, now: Counts) {
        *self.base.lock() = now;
    }
}

/// The time since the Unix epoch.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The same in milliseconds.
pub(crate) fn unix_time_ms() -> Millis {
    Millis::try_from(unix_time().as_millis()).unwrap_or(Millis::MAX)
}

/// Bytes of the process that are in memory, 0 where the system does not say.
pub(crate) fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Seconds of processor time that the process used, in user and in system mode.
pub(crate) fn cpu_seconds() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold spaces; what follows it does not.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<f64>());
    let mut next = || times.next().and_then(Result::ok).unwrap_or(0.0) / TICKS_PER_SECOND;
    (next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_found() {
        assert!(resident_bytes() > 0);
        let (user, system) = cpu_seconds();
        assert!(user >= 0.0 && system >= 0.0);
    }

    #[test]
    fn run_ids_are_40_digits_and_differ() {
        let (a, b) = (Figures::default(), Figures::default());
        assert_eq!(a.run_id.len(), 40);
        assert!(a.run_id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(a.run_id, b.run_id);
    }
}
