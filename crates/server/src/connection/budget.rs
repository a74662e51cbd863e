//! Bounds on what connections hold, over all of them together: replies that wait to be taken,
//! and long requests that are still coming in.
//!
//! Holds: what is charged is given back, however the connection ends. Only what is long, or what
//! a client does not take at once, is charged, so the common case touches nothing shared. The
//! bounds follow from the memory limit, and are never so low that a legal request or the reply to
//! it could not pass.

use crate::config::Resolved;
use crate::http::MAX_JSON;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Either bound is the memory limit divided by this, within the limits below.
const SHARE: u64 = 16;

/// The most bytes that either bound allows.
const MOST_BYTES: u64 = 1 << 30;

/// The longest reply to one command is at least this, and what a value of the greatest length needs.
const LEAST_REPLY_BYTES: usize = 64 << 20;

/// The longest reply to one command is at most this, unless a value may be that long.
const MOST_REPLY_BYTES: usize = 512 << 20;

/// What stands around a value in its reply, and more.
const AROUND_A_VALUE: usize = 1 << 10;

/// Room for what is read or written beyond one longest request or reply.
const SLACK_BYTES: u64 = 4 << 20;

/// How much connections may hold, as it follows from the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The most bytes of replies that may wait in the whole server. Where more would, the clients
    /// that took nothing for the longest are disconnected, or, if that is not enough, the one
    /// whose reply does not fit.
    pub(crate) output: u64,
    /// The most bytes of unfinished long requests, of commands that wait for EXEC and of watched
    /// keys in the whole server. A client whose request does not fit any more is disconnected;
    /// a command that does not fit into the queue is refused.
    pub(crate) input: u64,
    /// The longest reply to one command; what would exceed it is refused.
    pub(crate) reply: usize,
}

impl Bounds {
    /// The bounds under these settings.
    pub(crate) fn of(config: &Resolved) -> Self {
        let share = (config.memory_limit / SHARE).min(MOST_BYTES);
        let reply = usize::try_from(share).unwrap_or(usize::MAX);
        let reply = reply
            .clamp(LEAST_REPLY_BYTES, MOST_REPLY_BYTES)
            .max(config.max_value.saturating_add(AROUND_A_VALUE));
        // Twice: a command is in the buffer it came in while it is put into a queue.
        let request = 2 * config.max_command.max(MAX_JSON) as u64;
        Self {
            output: share.max(reply as u64 + SLACK_BYTES),
            input: share.max(request + SLACK_BYTES),
            reply,
        }
    }
}

/// What a connection may hold either way without being charged.
pub(crate) const UNCHARGED_BYTES: usize = 64 << 10;

/// A bound on bytes, shared.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    pub(crate) const fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// Takes `bytes`, to be given back when the answer is dropped; `None` if they do not fit.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let bytes = bytes as u64;
        self.take(bytes).ok()?;
        Some(Charge { budget: Arc::clone(self), bytes })
    }

    /// Takes `bytes`, to be given back by hand.
    ///
    /// # Errors
    /// They do not fit.
    pub(super) fn take(&self, bytes: u64) -> Result<(), Full> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map(|_| ()).map_err(|_| Full)
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How much room `bytes` lack at present.
    pub(super) fn lacks(&self, bytes: u64) -> u64 {
        self.used().saturating_add(bytes).saturating_sub(self.limit)
    }

    /// Takes `bytes` in place of what is `held`, nothing as long as they are few.
    ///
    /// # Errors
    /// They do not fit; `held` stays as it was.
    pub(crate) fn recharge(
        self: &Arc<Self>,
        held: &mut Option<Charge>,
        bytes: usize,
    ) -> Result<(), Full> {
        if bytes <= UNCHARGED_BYTES {
            *held = None;
            return Ok(());
        }
        let Some(charge) = held else {
            *held = Some(self.charge(bytes).ok_or(Full)?);
            return Ok(());
        };
        let bytes = bytes as u64;
        if bytes > charge.bytes {
            self.take(bytes - charge.bytes)?;
        } else if bytes < charge.bytes {
            self.give_back(charge.bytes - bytes);
        }
        charge.bytes = bytes;
        Ok(())
    }

    /// Bytes taken at present.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// A [`Budget`] has no room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Bytes taken from a [`Budget`].
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Origin, Raw, resolve};

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_dropped_fits_again() {
        let budget = Arc::new(Budget::new(100));
        let first = budget.charge(60).expect("it fits");
        assert!(budget.charge(41).is_none());
        let second = budget.charge(40).expect("it fits exactly");
        assert_eq!(budget.used(), 100);
        drop(first);
        assert_eq!(budget.used(), 40);
        assert!(budget.charge(60).is_some());
        drop(second);
        assert_eq!(budget.used(), 0);
        assert!(budget.charge(usize::MAX).is_none());
    }

    #[test]
    fn little_is_not_charged_and_growth_replaces_what_was() {
        let budget = Arc::new(Budget::new(1 << 20));
        let mut held = None;
        assert_eq!(budget.recharge(&mut held, UNCHARGED_BYTES), Ok(()));
        assert_eq!(budget.used(), 0);
        for bytes in [100 << 10, 1 << 20, 70 << 10, 1 << 20] {
            assert_eq!(budget.recharge(&mut held, bytes), Ok(()));
            assert_eq!(budget.used(), bytes as u64);
        }
        assert_eq!(budget.recharge(&mut held, (1 << 20) + 1), Err(Full));
        assert_eq!(budget.used(), 1 << 20, "what did not fit changed nothing");
        assert_eq!(budget.recharge(&mut held, 0), Ok(()));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn bounds_follow_the_memory_limit_and_let_legal_requests_pass() {
        let under = |memory_limit: &str, max_value: &str, max_command: &str| {
            let raw = Raw {
                memory_limit: Some(memory_limit.into()),
                max_value: Some(max_value.into()),
                max_command: Some(max_command.into()),
                ..Raw::default()
            };
            let config = resolve(&[(Origin::Flag, raw)]).expect("the settings are sound");
            let bounds = Bounds::of(&config);
            assert!(bounds.input >= 2 * config.max_command as u64);
            assert!(bounds.reply > config.max_value);
            assert!(bounds.output > bounds.reply as u64);
            (bounds.output >> 20, bounds.input >> 20, bounds.reply >> 20)
        };
        assert_eq!(under("64MiB", "8MiB", "64MiB"), (68, 132, 64));
        assert_eq!(under("64MiB", "1KiB", "64KiB"), (68, 36, 64));
        assert_eq!(under("4GiB", "8MiB", "64MiB"), (260, 256, 256));
        assert_eq!(under("1TiB", "8MiB", "64MiB"), (1024, 1024, 512));
        assert_eq!(under("64MiB", "512MiB", "1GiB"), (516, 2052, 512));
    }
}
