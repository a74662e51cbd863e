//! Bugs that can be planted, so that it can be shown that the tests find them.
//!
//! Holds: without the cargo feature `planted-bugs` nothing can be planted, and what asks is
//! answered by a constant `false`. With it, the environment variable `SHOAL_PLANTED_BUG` or [`plant`] chooses.

/// A bug of the commit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A commit is acknowledged without a sync.
    NoSync = 1,
    /// A commit is acknowledged before its sync.
    SettleBeforeSync = 2,
    /// Damage in the middle of the log is taken for a torn tail.
    CutAtDamage = 3,
    /// A failed sync is tried again.
    RetrySync = 4,
    /// After a torn tail the log goes on where the tail was cut, over what is left of it.
    WriteOverTail = 5,
}

#[cfg(feature = "planted-bugs")]
mod chosen {
    use super::Bug;
    use std::sync::atomic::{AtomicU8, Ordering};

    const UNREAD: u8 = u8::MAX;
    static CHOSEN: AtomicU8 = AtomicU8::new(UNREAD);

    /// Plants `bug`, or takes out what was planted. For the whole process.
    pub fn plant(bug: Option<Bug>) {
        CHOSEN.store(bug.map_or(0, |bug| bug as u8), Ordering::SeqCst);
    }

    pub(in crate::disk::log) fn planted(bug: Bug) -> bool {
        if CHOSEN.load(Ordering::SeqCst) == UNREAD {
            plant(match std::env::var("SHOAL_PLANTED_BUG").as_deref() {
                Ok("no-sync") => Some(Bug::NoSync),
                Ok("settle-before-sync") => Some(Bug::SettleBeforeSync),
                Ok("cut-at-damage") => Some(Bug::CutAtDamage),
                Ok("retry-sync") => Some(Bug::RetrySync),
                Ok("write-over-tail") => Some(Bug::WriteOverTail),
                _ => None,
            });
        }
        CHOSEN.load(Ordering::SeqCst) == bug as u8
    }
}

#[cfg(feature = "planted-bugs")]
pub use chosen::plant;
#[cfg(feature = "planted-bugs")]
pub(super) use chosen::planted;

/// Whether `bug` is planted: never, in this build.
#[cfg(not(feature = "planted-bugs"))]
pub(super) const fn planted(_: Bug) -> bool {
    false
}
