//! The commit log: where an acknowledged write is before it is anywhere else.
//!
//! Entries are bytes; each gets the next *position*, counted from 1. Everything that waits is
//! written as one frame with one write and, where anyone asked for it, one `fdatasync`, by one
//! thread. The files are *segments*, made in full ahead of time by a second thread.
//!
//! To keep what is acknowledged, the log promises:
//!
//! 1. What [`Log::settle`] has called settled is there after a loss of power (as far as its
//!    [`Durability`] goes), and after a killed process in any case, in order, without gaps.
//! 2. After a loss of power, entries beyond that are there only as a continuation without gaps.
//! 3. Damage to anything that is proven to have been synced is refused by name when the log is
//!    opened; it is never cut off and never handed out.
//! 4. The first failed write or sync stops the log for good. No sync is ever tried again.
//! 5. A disk without room for the next segment refuses entries and stops nothing; once there is
//!    room, entries are taken again.
//!
//! Does not know: what is in an entry.

mod commit;
mod desk;
mod error;
mod format;
mod keep;
mod pace;
mod planted;
mod recover;
mod room;
mod scan;
mod segment;
mod waiters;

#[cfg(test)]
mod tests;

pub use error::LogError;
pub use planted::Bug;
#[cfg(feature = "planted-bugs")]
pub use planted::plant;

use crate::engine::{Commit, Durability};
use crate::files::Files;
use desk::{Desk, Shared, Stop};
use format::{ALIGN, Kind, Plate};
use parking_lot::{Mutex, MutexGuard};
use recover::{CLEAN, Opener};
use room::Admission;
use segment::{OVERHEAD, put_plate};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// The longest entry, in bytes: 1 GiB.
pub const MAX_ENTRY: u32 = 1 << 30;

/// The shortest segment that makes sense, in bytes.
const LEAST_SEGMENT: u64 = 256;

/// How a log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The length of a segment's file, in bytes. An entry that does not fit gets a longer one.
    pub segment_bytes: u64,
    /// An append waits while more than so many bytes wait to be written; a single entry may be
    /// longer. Twice this is the memory that the log takes.
    pub max_pending_bytes: usize,
    /// Whether the log has threads of its own. Without them nothing is written until
    /// [`Log::step`] is called, for tests that must come out the same every time.
    pub threads: bool,
    /// What the salts of segments are drawn from; `None` for randomness. For tests.
    pub salt_seed: Option<u64>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, max_pending_bytes: 8 << 20, threads: true, salt_seed: None }
    }
}

/// What opening a log has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// There was no log; it was made.
    pub created: bool,
    /// The log had been closed cleanly.
    pub clean: bool,
    /// Entries handed out.
    pub entries: u64,
    /// The position that the next entry gets.
    pub next: u64,
    /// Bytes of entries behind the end that were not promised to anyone and were cut off, as
    /// far as whole frame heads show them.
    pub cut_bytes: u64,
}

/// Figures of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStatus {
    /// Why the log stopped, if it has.
    pub poisoned: Option<LogError>,
    /// Whether the last attempt to make a segment found the disk full.
    pub disk_full: bool,
    /// Everything below this position is handed to the operating system.
    pub written: u64,
    /// Everything below this position is synced.
    pub synced: u64,
    /// The position of the next entry.
    pub end: u64,
    /// Segment files, those kept to be used again included.
    pub segments: u64,
    /// Bytes of all segment files.
    pub bytes: u64,
    /// Bytes of the segments that hold entries which are still needed.
    pub needed_bytes: u64,
    /// Bytes appended since the log was opened.
    pub appended_bytes: u64,
    /// Syncs since the log was opened.
    pub syncs: u64,
}

/// Takes the entries of a log that is being opened, each with its position.
pub type Replay<'r> = dyn FnMut(u64, &[u8]) -> Result<(), LogError> + 'r;

/// A commit log. The promises are in the module's text.
pub struct Log {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log in the folder `dir`, or makes it, and hands every entry from position
    /// `from` on to `replay`, in order. Blocks. The caller sees to it that nobody else has the
    /// log open.
    ///
    /// The caller no longer needs entries below `from`; where the log ends before it, it goes
    /// on with `from`.
    ///
    /// # Errors
    /// [`LogError::Damaged`], [`LogError::UnknownVersion`], [`LogError::Io`], for a new log
    /// [`LogError::DiskFull`], and whatever `replay` answers. Entries handed out before an error
    /// are to be forgotten.
    pub fn open(
        files: Arc<dyn Files>,
        dir: &Path,
        options: LogOptions,
        from: u64,
        replay: &mut Replay<'_>,
    ) -> Result<(Arc<Self>, Recovery), LogError> {
        let mut options = options;
        options.segment_bytes =
            options.segment_bytes.max(LEAST_SEGMENT).next_multiple_of(ALIGN as u64);
        options.max_pending_bytes = options.max_pending_bytes.min(MAX_ENTRY as usize);
        let mut salts = options.salt_seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let opener =
            Opener { files: &*files, dir, options: &options, from: from.max(1), salts: &mut salts };
        let recovered = opener.open(replay)?;
        let report = recovered.report.clone();
        let shared = Arc::new(Shared::new(files, dir, options, salts, recovered));
        // So that the first change of segments need not wait, and a full disk shows at once.
        if shared.desk.lock().spares.is_empty() {
            shared.chore();
        }
        if let Some(error) = shared.poison() {
            return Err(error);
        }
        let log = Arc::new(Self { shared, threads: Mutex::default() });
        if log.shared.options.threads {
            log.start("shoal-log", Shared::commit_loop)?;
            log.start("shoal-log-keep", Shared::keep_loop)?;
        }
        Ok((log, report))
    }

    fn start(&self, name: &str, run: fn(&Shared)) -> Result<(), LogError> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&shared))
            .map_err(|error| LogError::Io(format!("cannot start thread {name}: {error}")))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Appends one entry, made of `parts` one after the other. Does not wait for the disk, but
    /// waits while too much is pending, and for the next segment where that is still being made.
    ///
    /// # Errors
    /// [`LogError::TooLarge`], [`LogError::DiskFull`], [`LogError::Closed`],
    /// [`LogError::Poisoned`]: nothing was appended.
    pub fn append(&self, parts: &[&[u8]], durability: Durability) -> Result<Commit, LogError> {
        let bytes = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.len() as u64));
        let len = u32::try_from(bytes).ok().filter(|len| *len <= MAX_ENTRY);
        let Some(len) = len else {
            return Err(LogError::TooLarge { bytes, limit: u64::from(MAX_ENTRY) });
        };
        let shared = &*self.shared;
        let most = shared.options.max_pending_bytes as u64;
        let mut desk = shared.desk.lock();
        loop {
            if let Some(error) = shared.poison() {
                return Err(error);
            }
            if desk.stop != Stop::No {
                return Err(LogError::Closed);
            }
            match desk.admit(bytes, most) {
                Admission::Fits => break,
                Admission::Later => self.wait_for_room(&mut desk),
                Admission::Prepare => {
                    desk.room.wanted = desk.room.wanted.max(desk.grown(bytes));
                    shared.chores.notify_one();
                    self.wait_for_room(&mut desk);
                }
                Admission::Full => {
                    desk.room.wanted = desk.room.wanted.max(desk.grown(bytes));
                    let needed = shared.options.segment_bytes.max(desk.room.wanted + OVERHEAD);
                    shared.chores.notify_one();
                    return Err(LogError::DiskFull { needed });
                }
            }
        }
        let position = desk.put(parts, len, durability);
        let wake = desk.wakes();
        drop(desk);
        if wake {
            shared.work.notify_one();
        }
        let after = position + 1;
        let synced = if durability == Durability::Always { after } else { 0 };
        Ok(Commit { written: after, synced })
    }

    fn wait_for_room(&self, desk: &mut MutexGuard<'_, Desk>) {
        let shared = &*self.shared;
        if shared.options.threads {
            desk.blocked += 1;
            desk.waiting.pressed = true;
            shared.work.notify_one();
            shared.room.wait(desk);
            desk.blocked -= 1;
        } else {
            MutexGuard::unlocked(desk, || {
                if !shared.step(Duration::ZERO) {
                    shared.chore();
                }
            });
        }
    }

    /// Ready once `commit` is settled. Until then `waker` is kept, and woken once.
    ///
    /// # Errors
    /// [`LogError::Poisoned`]: the commit was not settled before the log stopped, and never
    /// will be.
    pub fn settle(&self, commit: Commit, waker: &Waker) -> Poll<Result<(), LogError>> {
        let shared = &*self.shared;
        let settled = || {
            let (written, synced) = shared.marks();
            commit.written <= written && commit.synced <= synced
        };
        if settled() {
            return Poll::Ready(Ok(()));
        }
        let mut waiters = shared.waiters.lock();
        // Both are set before the waiters are looked through, so neither can be missed.
        if settled() {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = shared.poison() {
            return Poll::Ready(Err(error));
        }
        waiters.add(commit, waker);
        Poll::Pending
    }

    /// The position that the next entry will get: everything appended before is below it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.shared.desk.lock().end
    }

    /// Says that entries below `below` are not needed any more. Segments that hold no others
    /// are removed or used again, in the background.
    ///
    /// # Errors
    /// [`LogError::Poisoned`].
    pub fn cut(&self, below: u64) -> Result<(), LogError> {
        if let Some(error) = self.shared.poison() {
            return Err(error);
        }
        let mut desk = self.shared.desk.lock();
        while let Some(old) = desk.kept.pop_front_if(|old| old.end <= below) {
            desk.disposable.push_back(old);
        }
        drop(desk);
        self.shared.chores.notify_one();
        Ok(())
    }

    /// Waits until everything appended so far is synced. Blocks.
    ///
    /// # Errors
    /// [`LogError::Poisoned`].
    pub fn sync(&self) -> Result<(), LogError> {
        let mut desk = self.shared.desk.lock();
        let end = desk.end;
        desk.waiting.sync_to = desk.waiting.sync_to.max(end);
        desk.resting = false;
        drop(desk);
        self.shared.work.notify_one();
        let commit = Commit { written: end, synced: end };
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if !self.shared.options.threads {
                while self.shared.step(Duration::ZERO) {}
            }
            match self.settle(commit, &waker) {
                Poll::Ready(result) => return result,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Syncs everything, leaves the mark of a clean close and ends the threads. Blocks. From the
    /// call on nothing is appended; a second call does nothing.
    ///
    /// # Errors
    /// [`LogError::Poisoned`], or [`LogError::Io`] where the mark could not be left.
    pub fn close(&self) -> Result<(), LogError> {
        let mut threads = self.threads.lock();
        let mut desk = self.shared.desk.lock();
        if desk.stop != Stop::No {
            return self.shared.poison().map_or(Ok(()), Err);
        }
        desk.stop = Stop::Drained;
        // Asked for together: the thread ends once it has nothing to do.
        desk.waiting.sync_to = desk.end;
        desk.resting = false;
        drop(desk);
        self.shared.chores.notify_all();
        self.shared.room.notify_all();
        self.sync()?;
        self.shared.work.notify_all();
        for thread in threads.drain(..) {
            // A panic in it has poisoned the log, which is looked at below.
            let _ = thread.join();
        }
        if let Some(error) = self.shared.poison() {
            return Err(error);
        }
        let committer = self.shared.committer.lock();
        let clean = Plate {
            kind: Kind::Clean,
            log_id: self.shared.log_id,
            number: committer.active.segment.number,
            salt: committer.active.segment.salt,
            capacity: committer.active.offset,
            position: committer.pace.synced(),
        };
        put_plate(&*self.shared.files, &self.shared.dir, CLEAN, &clean)
            .map_err(|error| LogError::io("cannot make", &self.shared.dir.join(CLEAN), &error))
    }

    /// How the log is.
    #[must_use]
    pub fn status(&self) -> LogStatus {
        let (written, synced) = self.shared.marks();
        let desk = self.shared.desk.lock();
        let needed = desk.active_len + desk.kept.iter().map(|sealed| sealed.len).sum::<u64>();
        let spare = desk.spares.iter().map(|spare| spare.len);
        let spare: u64 = spare.chain(desk.disposable.iter().map(|sealed| sealed.len)).sum();
        let segments = 1 + desk.kept.len() + desk.spares.len() + desk.disposable.len();
        LogStatus {
            poisoned: self.shared.poison(),
            disk_full: desk.room.full,
            written,
            synced,
            end: desk.end,
            segments: segments as u64,
            bytes: needed + spare,
            needed_bytes: needed,
            appended_bytes: self.shared.bytes_written.load(Ordering::Relaxed),
            syncs: self.shared.syncs.load(Ordering::Relaxed),
        }
    }

    /// Does once what the commit thread does in a loop: one write, one sync. `now` is the time
    /// since the log was opened. Returns whether there was anything to do. For a log without
    /// threads.
    pub fn step(&self, now: Duration) -> bool {
        self.shared.step(now)
    }

    /// Does one piece of housekeeping and returns whether there was any. For a log without
    /// threads.
    pub fn keep_house(&self) -> bool {
        self.shared.chore()
    }
}

impl Drop for Log {
    /// Ends the threads where [`Log::close`] was not called. What waits is not written.
    fn drop(&mut self) {
        self.shared.desk.lock().stop = Stop::Now;
        self.shared.work.notify_all();
        self.shared.chores.notify_all();
        for thread in self.threads.lock().drain(..) {
            // A panic in it has already poisoned the log.
            let _ = thread.join();
        }
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
