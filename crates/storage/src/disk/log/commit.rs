//! The commit thread: takes what waits, writes it as one frame, syncs, and tells the waiters.
//!
//! Holds: at most one write and one sync per group, plus those of a change of segments. The old
//! segment is sealed and synced before anything is written to the next, so only the last segment
//! with frames can have a torn tail. After an error nothing more is written or synced.

use super::desk::{Desk, Shared, Stop};
use super::format::{ALIGN, Frame, HEAD, PLATE, Purpose};
use super::pace::{Next, Pace, Waiting};
use super::planted::{Bug, planted};
use super::recover::Active;
use super::room::Place;
use super::segment::{Sealed, Segment};
use std::io;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

/// What the commit thread works with.
pub(super) struct Committer {
    /// The segment that is being written.
    pub(super) active: Active,
    /// When to do what.
    pub(super) pace: Pace,
    /// The other half of the double buffer.
    pub(super) buffer: Vec<u8>,
    /// Wakers on their way out, kept to spare allocations.
    pub(super) wakers: Vec<Waker>,
}

/// What was taken off the desk to be written.
struct Group {
    waiting: Waiting,
    /// The position after its last entry.
    end: u64,
    /// The segment to change to first.
    next: Option<Segment>,
}

impl Shared {
    /// What the commit thread does until it is told to stop.
    pub(super) fn commit_loop(&self) {
        let _guard = PoisonOnPanic(self);
        let mut committer = self.committer.lock();
        while self.poison().is_none() {
            let now = self.started.elapsed();
            let mut desk = self.desk.lock();
            if desk.stop == Stop::Now {
                return;
            }
            match committer.pace.next(now, &desk.waiting) {
                Next::Commit => {
                    let taken = self.take(&mut desk, &mut committer);
                    drop(desk);
                    self.commit(&mut committer, taken, now);
                }
                Next::Gather(enough, most) => {
                    desk.enough = enough;
                    self.work.wait_for(&mut desk, most);
                    desk.enough = 0;
                }
                Next::Rest(_) if desk.stop == Stop::Drained => return,
                Next::Rest(until) => {
                    desk.resting = true;
                    match until {
                        Some(until) => drop(self.work.wait_for(&mut desk, until)),
                        None => self.work.wait(&mut desk),
                    }
                    desk.resting = false;
                }
            }
        }
    }

    /// Does once what the thread does in a loop, without gathering; returns whether there was
    /// anything to do.
    pub(super) fn step(&self, now: Duration) -> bool {
        let mut committer = self.committer.lock();
        if self.poison().is_some() {
            return false;
        }
        let mut desk = self.desk.lock();
        if let Next::Rest(_) = committer.pace.next(now, &desk.waiting) {
            return false;
        }
        let taken = self.take(&mut desk, &mut committer);
        drop(desk);
        self.commit(&mut committer, taken, now);
        true
    }

    /// Takes what waits off the desk; `None` if it has no place, which admission rules out.
    fn take(&self, desk: &mut Desk, committer: &mut Committer) -> Option<Group> {
        let mut next = None;
        if desk.waiting.entries > 0 {
            desk.buffer.resize(desk.buffer.len().next_multiple_of(ALIGN), 0);
            if desk.room.place(desk.buffer.len() as u64)? == Place::Next {
                next = Some(desk.spares.pop_front()?);
                desk.offer_spare();
                self.chores.notify_one();
            }
            std::mem::swap(&mut desk.buffer, &mut committer.buffer);
        }
        let waiting = std::mem::take(&mut desk.waiting);
        desk.waiting.sync_to = waiting.sync_to;
        if desk.blocked > 0 {
            self.room.notify_all();
        }
        Some(Group { waiting, end: desk.end, next })
    }

    fn commit(&self, committer: &mut Committer, taken: Option<Group>, now: Duration) {
        let Some(group) = taken else {
            self.set_poison("a group of entries has no place in any segment".to_owned());
            return;
        };
        if let Err(error) = self.try_commit(committer, group, now) {
            let path = self.maker().path(committer.active.segment.number);
            self.set_poison(format!("cannot write or sync {}: {error}", path.display()));
        }
    }

    fn try_commit(&self, committer: &mut Committer, group: Group, now: Duration) -> io::Result<()> {
        let Group { waiting, end, next } = group;
        if let Some(next) = next {
            self.change(committer, next)?;
        }
        if waiting.entries > 0 {
            self.write(committer, &waiting)?;
            committer.pace.wrote(now, end, &waiting);
            self.written.store(end, Ordering::Release);
            if planted(Bug::SettleBeforeSync) {
                self.synced.store(end, Ordering::Release);
            }
            self.wake_settled(committer);
        }
        if committer.pace.must_sync(now, &waiting) {
            self.sync_active(committer, waiting.committers)?;
            self.wake_settled(committer);
        }
        Ok(())
    }

    /// Writes the buffer as one frame and empties it.
    fn write(&self, committer: &mut Committer, waiting: &Waiting) -> io::Result<()> {
        let Committer { active, pace, buffer, .. } = committer;
        let (head, body) = buffer.split_at_mut(HEAD);
        // The padding is part of the body, cut off again where the entries end.
        let len = waiting.bytes as usize;
        let frame = Frame {
            purpose: Purpose::Entries,
            len: waiting.bytes,
            count: waiting.entries,
            body_crc: crc32c::crc32c(&body[..len]),
            first: pace.written(),
            synced: pace.synced(),
        };
        head.copy_from_slice(&frame.encode(active.segment.salt, active.offset));
        active.segment.file.write_at(active.offset, buffer)?;
        active.offset += buffer.len() as u64;
        self.bytes_written.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        buffer.truncate(HEAD);
        if buffer.capacity() > self.options.max_pending_bytes.saturating_mul(2) {
            // An oversize entry was an exception; its memory is given back.
            buffer.shrink_to(self.options.max_pending_bytes);
        }
        Ok(())
    }

    /// Seals the active segment and goes on in `next`.
    fn change(&self, committer: &mut Committer, next: Segment) -> io::Result<()> {
        let Committer { active, pace, .. } = committer;
        let position = pace.written();
        let seal = Frame::seal(position, pace.synced()).encode(active.segment.salt, active.offset);
        active.segment.file.write_at(active.offset, &seal)?;
        self.sync_active(committer, 0)?;
        let len = next.len;
        let fresh = Active { segment: next, offset: PLATE as u64 };
        let old = std::mem::replace(&mut committer.active, fresh).segment;
        let mut desk = self.desk.lock();
        desk.kept.push_back(Sealed { number: old.number, end: position, len: old.len });
        desk.active_len = len;
        Ok(())
    }

    fn sync_active(&self, committer: &mut Committer, committers: u32) -> io::Result<()> {
        let began = Instant::now();
        let file = &committer.active.segment.file;
        if !planted(Bug::NoSync) {
            let synced = file.sync_data();
            if planted(Bug::RetrySync) { synced.or_else(|_| file.sync_data())? } else { synced? }
        }
        self.syncs.fetch_add(1, Ordering::Relaxed);
        committer.pace.synced_all(began.elapsed(), committers);
        self.synced.store(committer.pace.synced(), Ordering::Release);
        Ok(())
    }

    fn wake_settled(&self, committer: &mut Committer) {
        let (written, synced) = self.marks();
        self.waiters.lock().settled(written, synced, &mut committer.wakers);
        committer.wakers.drain(..).for_each(Waker::wake);
    }
}

/// A panic in one of the log's threads is a failed write: nobody may wait for it for ever.
pub(super) struct PoisonOnPanic<'a>(pub(super) &'a Shared);

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_poison("a thread of the log panicked".to_owned());
        }
    }
}
