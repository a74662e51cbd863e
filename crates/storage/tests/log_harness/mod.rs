//! Runs scripts on a commit log over a disk that loses power, and judges what is left.
//!
//! Holds: everything follows from the script and the seed; a failing case names both.

use shoal_storage::disk::log::{Log, LogError, LogOptions, Recovery};
use shoal_storage::fault::{Fate, FaultDisk, Image};
use shoal_storage::{Commit, Durability};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// The folder of the log on the test disk.
pub(crate) const DIR: &str = "/data/log";

thread_local! {
    /// How many images were opened and judged by this thread, which is that of one test.
    pub(crate) static IMAGES: Cell<u64> = const { Cell::new(0) };
}

/// One step of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Append an entry of so many bytes.
    Append(usize, Durability),
    /// Let the commit thread do one round.
    Commit,
    /// Let the housekeeping do one thing.
    Keep,
    /// Say that everything settled so far is not needed any more.
    Cut,
    /// Wait until everything is synced.
    Sync,
    /// Close cleanly; ends the script.
    Close,
}

/// What the caller of the log knows: what it appended and what it was promised.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    /// The entries, the first being that of position 1.
    pub(crate) entries: Vec<Vec<u8>>,
    /// Everything below was settled as synced.
    pub(crate) synced: u64,
    /// Everything below was settled as written.
    pub(crate) written: u64,
    /// Everything below is not needed any more.
    pub(crate) from: u64,
    /// Told apart in the entries: what is appended after a crash is not what was before.
    pub(crate) life: u64,
}

/// The options that all scripts run with.
pub(crate) fn options(segment_bytes: u64, seed: u64) -> LogOptions {
    LogOptions { segment_bytes, max_pending_bytes: 4096, threads: false, salt_seed: Some(seed) }
}

/// An empty disk whose sectors have so many bytes.
pub(crate) fn empty(sector: usize) -> Image {
    Image::empty(Path::new("/data"), sector)
}

/// The entry of `len` bytes that gets `position` in a life.
fn entry(position: u64, life: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(position ^ (life << 40));
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

/// Opens the log and checks what it hands out against what was promised.
pub(crate) fn open(
    disk: &FaultDisk,
    options: &LogOptions,
    oracle: &Oracle,
    promised: u64,
) -> Result<(Arc<Log>, Recovery), LogError> {
    let from = oracle.from.max(1);
    let mut next = from;
    let files = Arc::new(disk.clone());
    // Each life draws other salts, as chance would have it.
    let salt_seed = options.salt_seed.map(|seed| seed ^ (oracle.life << 32));
    let options = LogOptions { salt_seed, ..options.clone() };
    let opened = Log::open(files, Path::new(DIR), options, from, &mut |position, entry| {
        assert_eq!(position, next, "entries come in order");
        let index = usize::try_from(position - 1).expect("few entries");
        let expected = oracle.entries.get(index).map(Vec::as_slice);
        assert_eq!(Some(entry), expected, "entry {position} is what was appended");
        next += 1;
        Ok(())
    });
    if let Ok((_, recovery)) = &opened {
        assert!(next >= promised, "everything below {promised} was promised, {next} was found");
        assert_eq!(recovery.next, next, "the log goes on where it ends");
    }
    opened
}

impl Oracle {
    /// Opens and judges an image; the oracle then knows what was found.
    pub(crate) fn judge(
        &mut self,
        disk: &FaultDisk,
        options: &LogOptions,
        promised: u64,
    ) -> Arc<Log> {
        IMAGES.set(IMAGES.get() + 1);
        let (log, recovery) = match open(disk, options, self, promised) {
            Ok(opened) => opened,
            Err(error) => {
                let files: Vec<_> = disk.image().paths();
                panic!("a crash is no damage: {error}; there are {files:?}, from {}", self.from)
            }
        };
        self.entries.truncate(usize::try_from(recovery.next - 1).expect("few entries"));
        (self.synced, self.written) = (recovery.next, recovery.next);
        self.life += 1;
        log
    }

    /// Runs a script until it ends or the log refuses.
    pub(crate) fn run(&mut self, log: &Log, script: &[Step]) -> Result<(), LogError> {
        for step in script {
            let result = self.step(log, *step);
            self.observe(log);
            result?;
        }
        Ok(())
    }

    fn step(&mut self, log: &Log, step: Step) -> Result<(), LogError> {
        match step {
            Step::Append(len, durability) => {
                let position = self.entries.len() as u64 + 1;
                let bytes = entry(position, self.life, len);
                let (head, body) = bytes.split_at(len / 3);
                let commit = log.append(&[head, body], durability)?;
                assert_eq!(commit.written, position + 1, "positions are counted");
                self.entries.push(bytes);
                Ok(())
            }
            Step::Commit => {
                log.step(Duration::ZERO);
                log.status().poisoned.map_or(Ok(()), Err)
            }
            Step::Keep => {
                log.keep_house();
                log.status().poisoned.map_or(Ok(()), Err)
            }
            Step::Cut => {
                self.from = self.synced;
                log.cut(self.synced)
            }
            Step::Sync => log.sync(),
            Step::Close => log.close(),
        }
    }

    /// Notes what the log says is settled.
    fn observe(&mut self, log: &Log) {
        let settled = |written, synced| {
            let commit = Commit { written, synced };
            log.settle(commit, Waker::noop()) == Poll::Ready(Ok(()))
        };
        let end = self.entries.len() as u64 + 1;
        while self.written < end && settled(self.written + 1, 0) {
            self.written += 1;
        }
        while self.synced < end && settled(0, self.synced + 1) {
            self.synced += 1;
        }
    }
}

/// Leaves a torn tail behind, in every way there is, and writes over it with entries just as
/// long as those that were cut off: they must not come back. Panics where they do.
pub(crate) fn revive() {
    let options = options(400, 7);
    let unsynced = [Step::Append(30, Durability::Os), Step::Commit];
    let disk = FaultDisk::new(empty(64));
    let mut oracle = Oracle::default();
    let (log, _) = open(&disk, &options, &oracle, 0).expect("made");
    oracle.run(&log, &unsynced.repeat(3)).expect("the disk is fine");
    let image = disk.image();
    for subset in 0..1_usize << image.pieces() {
        let crashed =
            image.crash(&mut |n| if subset >> n & 1 == 1 { Fate::Kept } else { Fate::Lost });
        let disk = FaultDisk::new(crashed);
        let mut oracle = oracle.clone();
        let log = oracle.judge(&disk, &options, 1);
        let script = [Step::Append(30, Durability::Always), Step::Commit];
        oracle.run(&log, &script).expect("the disk is fine");
        let promised = oracle.synced;
        let again = disk.image().crash(&mut |_| Fate::Kept);
        oracle.judge(&FaultDisk::new(again), &options, promised);
    }
}

/// A fate for a piece, at random.
pub(crate) fn any_fate(random: &mut fastrand::Rng) -> Fate {
    match random.u8(..8) {
        0..3 => Fate::Kept,
        3..6 => Fate::Lost,
        6 => Fate::Head(random.usize(..512)),
        _ => Fate::Tail(random.usize(..512)),
    }
}

/// A script of so many steps, at random.
pub(crate) fn any_script(random: &mut fastrand::Rng, steps: usize) -> Vec<Step> {
    let any = |random: &mut fastrand::Rng| match random.u8(..32) {
        0..12 => Step::Append(random.usize(..120), Durability::Always),
        12..14 => Step::Append(random.usize(..120), Durability::Os),
        14..16 => Step::Append(random.usize(..120), Durability::Interval(0)),
        16 => Step::Append(random.usize(..1500), Durability::Always),
        17..26 => Step::Commit,
        26..29 => Step::Keep,
        29..31 => Step::Cut,
        _ => Step::Sync,
    };
    std::iter::repeat_with(|| any(random)).take(steps).collect()
}

/// Cuts the power at every call of a script in turn, and judges every subset of what waited then,
/// or some of the subsets where there are more than `most`. Every image is then written to, and
/// judged again, as is a crash during its own recovery. Panics where a promise is broken.
pub(crate) fn exhaust(script: &[Step], options: &LogOptions, sector: usize, most: usize) {
    for at in 0.. {
        let disk = FaultDisk::new(empty(sector));
        disk.power_off_at(at);
        let mut oracle = Oracle::default();
        if let Ok((log, _)) = open(&disk, options, &oracle, 0) {
            oracle.observe(&log);
            let _ = oracle.run(&log, script);
        }
        let image = disk.image();
        let pieces = image.pieces();
        let mut random = fastrand::Rng::with_seed(at);
        let all = u32::try_from(pieces).ok().and_then(|bits| 1_usize.checked_shl(bits));
        let all = all.filter(|all| *all <= most);
        for subset in 0..all.unwrap_or(most) {
            let crashed = if all.is_some() {
                image.crash(&mut |n| if subset >> n & 1 == 1 { Fate::Kept } else { Fate::Lost })
            } else {
                image.crash(&mut |_| any_fate(&mut random))
            };
            aftermath(&crashed, options, &oracle, subset as u64);
        }
        for torn in 0..pieces {
            for cut in [1, sector / 3, sector / 2, sector - 1] {
                for part in [Fate::Head(cut), Fate::Tail(cut)] {
                    let crashed = image.crash(&mut |n| if n == torn { part } else { Fate::Kept });
                    aftermath(&crashed, options, &oracle, cut as u64);
                }
            }
        }
        if !disk.is_off() {
            assert!(at > 0, "the script does something");
            return;
        }
    }
}

/// Judges an image, and what comes of it when the power goes again.
fn aftermath(image: &Image, options: &LogOptions, oracle: &Oracle, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut first = oracle.clone();
    let disk = FaultDisk::new(image.clone());
    let log = first.judge(&disk, options, oracle.synced);
    let calls = disk.calls(shoal_storage::fault::Call::Any);
    // New entries, so that what was cut off would show if it came back.
    let script =
        [Step::Append(20, Durability::Always), Step::Append(9, Durability::Os), Step::Commit];
    first.run(&log, &script).expect("the disk is fine");
    let again = disk.image().crash(&mut |_| any_fate(&mut random));
    let promised = first.synced;
    first.judge(&FaultDisk::new(again), options, promised);

    // The power goes during the recovery.
    let disk = FaultDisk::new(image.clone());
    disk.power_off_at(random.u64(..calls.max(1)));
    let mut second = oracle.clone();
    let _ = open(&disk, options, &second, oracle.synced);
    let again = disk.image().crash(&mut |_| any_fate(&mut random));
    second.judge(&FaultDisk::new(again), options, oracle.synced);
}

/// Runs random scripts on one disk, through several crashes. Panics where a promise is broken.
pub(crate) fn wander(seed: u64, lives: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let options = options(random.u64(300..1500), seed);
    let sector = [64, 512][random.usize(..2)];
    let mut oracle = Oracle::default();
    let mut image = empty(sector);
    for _ in 0..lives {
        let disk = FaultDisk::new(image.clone());
        disk.power_off_at(random.u64(..60));
        oracle.life += 1;
        // The power was off: what was only written may be gone.
        oracle.written = oracle.synced;
        if let Ok((log, recovery)) = open(&disk, &options, &oracle, oracle.synced) {
            oracle.entries.truncate(usize::try_from(recovery.next - 1).expect("few entries"));
            (oracle.synced, oracle.written) = (recovery.next, recovery.next);
            let steps = random.usize(5..60);
            let mut script = any_script(&mut random, steps);
            if random.u8(..4) == 0 {
                script.push(Step::Close);
            }
            let _ = oracle.run(&log, &script);
        }
        let left = disk.image();
        // A killed process leaves everything that was written.
        oracle.clone().judge(
            &FaultDisk::new(left.crash(&mut |_| Fate::Kept)),
            &options,
            oracle.written,
        );
        for _ in 0..3 {
            let crashed = left.crash(&mut |_| any_fate(&mut random));
            oracle.clone().judge(&FaultDisk::new(crashed.clone()), &options, oracle.synced);
            image = crashed;
        }
    }
}
