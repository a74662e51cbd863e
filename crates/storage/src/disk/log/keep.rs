//! Housekeeping: makes the next segment before it is needed, and sees to old ones.
//!
//! Holds: old segments go in ascending order, oldest first, whether they are removed or used
//! again. A full disk is no error here: it is reported to those who append, and looked at again.

use super::commit::PoisonOnPanic;
use super::desk::{Desk, Shared, Stop};
use super::segment::{OVERHEAD, Sealed, Unmade};
use std::time::{Duration, Instant};

/// Old segments that are kept to be used again; more are removed.
const KEEP_OLD: usize = 2;

/// How long to wait before looking again whether a full disk has room.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Something to do.
enum Chore {
    Make { number: u64, len: u64, salt: u64, recycled: Option<u64> },
    Grow { len: u64 },
    Remove { number: u64 },
}

impl Shared {
    /// What the housekeeping thread does until it is told to stop.
    pub(super) fn keep_loop(&self) {
        let _guard = PoisonOnPanic(self);
        loop {
            let mut desk = self.desk.lock();
            if desk.stop != Stop::No || self.poison().is_some() {
                return;
            }
            let wants = desk.wants_segment();
            if desk.room.full && wants {
                // Not earlier because somebody asks: each look may cost a segment's writing.
                let until = Instant::now() + LOOK_AGAIN;
                while desk.stop == Stop::No && !self.chores.wait_until(&mut desk, until).timed_out()
                {
                }
            } else if !wants && desk.disposable.len() <= KEEP_OLD {
                self.chores.wait(&mut desk);
                continue;
            }
            if desk.stop == Stop::No {
                drop(desk);
                self.chore();
            }
        }
    }

    /// Does one thing that is to be done; returns whether there was any.
    pub(super) fn chore(&self) -> bool {
        let mut desk = self.desk.lock();
        if self.poison().is_some() {
            return false;
        }
        let Some(chore) = desk.next_chore(self.options.segment_bytes) else { return false };
        let (maker, wanted) = (self.maker(), desk.room.wanted);
        let result = match chore {
            Chore::Make { number, len, salt, recycled } => {
                drop(desk);
                let made = maker.make(number, len, salt, recycled);
                desk = self.desk.lock();
                made.map(|segment| {
                    desk.next_number = number.saturating_add(1);
                    desk.spares.push_back(segment);
                })
            }
            Chore::Grow { len } => {
                // It is not on offer meanwhile: entries that fit the active segment still go.
                let Some(mut segment) = desk.spares.pop_front() else { return false };
                desk.room.next = None;
                drop(desk);
                let grown = maker.grow(&mut segment, len);
                desk = self.desk.lock();
                desk.spares.push_front(segment);
                grown
            }
            Chore::Remove { number } => {
                drop(desk);
                let removed = maker.remove(number);
                desk = self.desk.lock();
                removed.map_err(Unmade::Failed)
            }
        };
        desk.offer_spare();
        match result {
            Ok(()) => {
                desk.room.full = false;
                if desk.room.wanted == wanted {
                    desk.room.wanted = 0;
                }
            }
            Err(Unmade::Full { .. }) => (desk.room.full, desk.room.wanted) = (true, 0),
            Err(Unmade::Failed(what)) => {
                drop(desk);
                self.set_poison(what);
                return true;
            }
        }
        self.room.notify_all();
        true
    }
}

impl Desk {
    /// Whether a segment has to be made or lengthened. It is not lengthened while what waits has
    /// its place in it.
    fn wants_segment(&self) -> bool {
        let here = self.buffer.len() as u64 <= self.room.left || self.waiting.entries == 0;
        self.room.next.is_none_or(|next| next < self.room.wanted && here)
    }

    fn next_chore(&mut self, ordinary: u64) -> Option<Chore> {
        let remove = |old: Sealed| Chore::Remove { number: old.number };
        if self.room.full
            && let Some(old) = self.disposable.pop_front()
        {
            return Some(remove(old));
        }
        let len = ordinary.max(self.room.wanted.saturating_add(OVERHEAD));
        match self.spares.front() {
            None => {
                let old =
                    (len == ordinary).then(|| self.disposable.pop_front_if(|old| old.len == len));
                let recycled = old.flatten().map(|old| old.number);
                let (number, salt) = (self.next_number, self.salts.u64(..));
                Some(Chore::Make { number, len, salt, recycled })
            }
            Some(_) if self.wants_segment() => Some(Chore::Grow { len }),
            Some(_) if self.disposable.len() > KEEP_OLD => self.disposable.pop_front().map(remove),
            Some(_) => None,
        }
    }
}
