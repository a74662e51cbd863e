//! Opening a log: what is there, what of it is good, and how its end is made safe.
//!
//! The rules, in the order in which they are applied:
//!
//! 1. The identity file is there and names the log that every segment belongs to. Without it
//!    there is no log yet, and then there are no segments but perhaps the first, empty.
//! 2. The segments' numbers follow each other without a gap. Each plate is whole.
//! 3. Segments that lie wholly below the position asked for are not read. From there on each
//!    segment is read; each but the last with frames ends with a seal.
//! 4. Where the frames of the last end is the end of the log, unless a frame behind it proves
//!    that there was more (see [`super::scan`]), or the mark of a clean close names another end.
//!    Then the log is damaged, and is refused by name.
//! 5. What was read but is not proven to have been synced is written again and synced: a reader
//!    may see what only the page cache still holds, even after a failed sync.
//! 6. The log goes on where it ends, over what is left of a torn frame; but where there is a whole
//!    frame head behind the end, it goes on in the next segment, and the seal that comes first
//!    hides the rest. So nothing of a torn tail can become valid later.
//!
//! Holds: doing all this again after a crash at any point of it comes to the same entries.

use super::error::LogError;
use super::format::{HEAD, Kind, PLATE, Plate};
use super::planted::{Bug, planted};
use super::scan::{self, Behind, Ending, Scanned, first_position};
use super::segment::{self, Maker, OVERHEAD, Sealed, Segment, Unmade, put_plate};
use super::{LogOptions, Recovery, Replay};
use crate::files::{Files, Open};
use std::collections::VecDeque;
use std::io;
use std::path::Path;

/// The file that says that there is a log, and which.
pub(super) const IDENTITY: &str = "identity";
/// The file that says that the log was closed cleanly, and where it ends.
pub(super) const CLEAN: &str = "clean";

/// Segments in which nothing is expected are looked through in pieces of so many bytes.
const WINDOW: u64 = 1 << 20;

/// The segment that is being written.
pub(super) struct Active {
    /// The segment.
    pub(super) segment: Segment,
    /// Where the next frame goes.
    pub(super) offset: u64,
}

/// A log that is ready to be written.
pub(super) struct Recovered {
    /// The log's id.
    pub(super) log_id: u64,
    /// The segment to go on in.
    pub(super) active: Active,
    /// Bytes that may be written to it.
    pub(super) left: u64,
    /// Segments that nothing was written to yet.
    pub(super) spares: VecDeque<Segment>,
    /// Segments whose entries were handed out.
    pub(super) kept: VecDeque<Sealed>,
    /// Segments below the position asked for.
    pub(super) disposable: VecDeque<Sealed>,
    /// The number of the next segment to be made.
    pub(super) next_number: u64,
    /// The position of the next entry.
    pub(super) next: u64,
    /// What to tell the caller.
    pub(super) report: Recovery,
}

/// A segment as it was found.
struct Found {
    segment: Segment,
    name: String,
    capacity: u64,
}

/// What opening needs at every step.
pub(super) struct Opener<'a> {
    /// The file system.
    pub(super) files: &'a dyn Files,
    /// The log's folder.
    pub(super) dir: &'a Path,
    /// How the log is kept.
    pub(super) options: &'a LogOptions,
    /// The first position that is needed.
    pub(super) from: u64,
    /// Where salts and ids come from.
    pub(super) salts: &'a mut fastrand::Rng,
}

impl Opener<'_> {
    /// Opens the log, or makes it where there is none.
    pub(super) fn open(mut self, replay: &mut Replay<'_>) -> Result<Recovered, LogError> {
        let numbers = self.inventory()?;
        let clean = self.plate(CLEAN, Kind::Clean)?;
        let identity = self.plate(IDENTITY, Kind::Identity)?;
        let found = self.segments(&numbers, identity.map(|plate| plate.log_id))?;
        let Some(identity) = identity else {
            return self.create(found, clean.is_some());
        };
        if found.is_empty() {
            return Err(LogError::damaged("", 0, "the log has no segments any more"));
        }
        if clean.is_some_and(|clean| clean.log_id != identity.log_id) {
            return Err(LogError::damaged(CLEAN, 16, "this is the mark of another log"));
        }
        let recovered = self.walk(found, identity.log_id, clean, replay)?;
        if clean.is_some() {
            // From the first entry on the mark is a lie, so it goes before that.
            self.io("remove", CLEAN, self.files.remove(&self.dir.join(CLEAN)))?;
            self.io("sync", "", self.files.sync_dir(self.dir))?;
        }
        Ok(recovered)
    }

    /// The numbers of the segments that are there, ascending. Makes the folder if need be and
    /// removes what was being made.
    fn inventory(&self) -> Result<Vec<u64>, LogError> {
        let names = match self.files.list(self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.io("make", "", self.files.create_dir(self.dir))?;
                Vec::new()
            }
            names => self.io("list", "", names)?,
        };
        if let Some(parent) = self.dir.parent().filter(|parent| *parent != Path::new("")) {
            self.io("sync the parent of", "", self.files.sync_dir(parent))?;
        }
        for name in names.iter().filter(|name| name.ends_with(".tmp")) {
            self.io("remove", name, self.files.remove(&self.dir.join(name)))?;
        }
        // A name may be seen and yet be lost with the power, if a process before this one made it
        // and failed to sync it.
        self.io("sync", "", self.files.sync_dir(self.dir))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
        numbers.sort_unstable();
        let gap = numbers.windows(2).find(|pair| pair[0].checked_add(1) != Some(pair[1]));
        if let Some(gap) = gap {
            let missing = segment::name(gap[0].saturating_add(1));
            return Err(LogError::damaged(&missing, 0, "the segment is missing"));
        }
        Ok(numbers)
    }

    /// The plate of one of the small files, if the file is there.
    fn plate(&self, name: &str, kind: Kind) -> Result<Option<Plate>, LogError> {
        let file = match self.files.open(&self.dir.join(name), Open::Existing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => self.io("open", name, file)?,
        };
        let mut bytes = [0; PLATE];
        let len = self.io("read", name, file.read_at(0, &mut bytes))?;
        Plate::decode(kind, name, &bytes[..len]).map(Some)
    }

    /// Opens all segments and checks that they are what their names say.
    fn segments(&self, numbers: &[u64], log_id: Option<u64>) -> Result<Vec<Found>, LogError> {
        let mut all = Vec::with_capacity(numbers.len());
        for number in numbers {
            let name = segment::name(*number);
            let file =
                self.io("open", &name, self.files.open(&self.dir.join(&name), Open::Existing))?;
            let len = self.io("measure", &name, file.len())?;
            let mut bytes = [0; PLATE];
            let read = self.io("read", &name, file.read_at(0, &mut bytes))?;
            let plate = Plate::decode(Kind::Segment, &name, &bytes[..read])?;
            if plate.number != *number {
                return Err(LogError::damaged(&name, 24, "this is another segment"));
            }
            if log_id.is_some_and(|id| id != plate.log_id) {
                return Err(LogError::damaged(&name, 16, "this is a segment of another log"));
            }
            if len < plate.capacity {
                return Err(LogError::damaged(&name, len, "the file is cut short"));
            }
            let segment = Segment { number: *number, salt: plate.salt, len, file };
            all.push(Found { segment, name, capacity: plate.capacity });
        }
        Ok(all)
    }

    /// Makes the log. A first segment without entries may be there from an attempt before.
    fn create(&mut self, found: Vec<Found>, clean: bool) -> Result<Recovered, LogError> {
        let gone = "the file is missing, though there is a log";
        if clean || found.len() > 1 || found.iter().any(|found| found.segment.number != 1) {
            return Err(LogError::damaged(IDENTITY, 0, gone));
        }
        if self.from > 1 {
            let what =
                format!("there is no log, though entries from {} on are asked for", self.from);
            return Err(LogError::damaged("", 0, what));
        }
        for found in found {
            if self.has_frames(&found)? {
                return Err(LogError::damaged(IDENTITY, 0, gone));
            }
            let path = self.dir.join(&found.name);
            self.io("remove", &found.name, self.files.remove(&path))?;
        }
        let log_id = self.salts.u64(..);
        let ordinary = self.options.segment_bytes;
        let maker = Maker { files: self.files, dir: self.dir, log_id, ordinary };
        let made = maker.make(1, ordinary, self.salts.u64(..), None);
        let segment = made.map_err(Unmade::into_error)?;
        let identity =
            Plate { kind: Kind::Identity, log_id, number: 0, salt: 0, capacity: 0, position: 0 };
        let put = put_plate(self.files, self.dir, IDENTITY, &identity);
        self.io("make", IDENTITY, put)?;
        let report = Recovery { created: true, next: 1, ..Recovery::default() };
        Ok(Recovered {
            log_id,
            left: segment.len - OVERHEAD,
            active: Active { segment, offset: PLATE as u64 },
            spares: VecDeque::new(),
            kept: VecDeque::new(),
            disposable: VecDeque::new(),
            next_number: 2,
            next: 1,
            report,
        })
    }

    /// Reads the segments in order, hands out their entries, and makes the end safe.
    fn walk(
        &mut self,
        found: Vec<Found>,
        log_id: u64,
        clean: Option<Plate>,
        replay: &mut Replay<'_>,
    ) -> Result<Recovered, LogError> {
        let next_number = found.last().map_or(1, |last| last.segment.number.saturating_add(1));
        let mut found = VecDeque::from(found);
        let disposable = self.skip(&mut found)?;
        let mut kept = VecDeque::new();
        let mut report = Recovery { clean: clean.is_some(), ..Recovery::default() };
        let mut expected = None;
        // The last sealed segment, until a frame in the next one proves that it was synced.
        let mut doubtful: Option<(Found, Scanned)> = None;
        while let Some(current) = found.pop_front() {
            let bytes = self.read(&current, 0, current.segment.len)?;
            let scanned = self.scan(&current, &bytes, expected, &mut report, replay)?;
            if scanned.offset > PLATE {
                doubtful = None;
            }
            if let Ending::Sealed(next) = scanned.ending {
                let Found { segment: Segment { number, len, .. }, .. } = current;
                kept.push_back(Sealed { number, end: next, len });
                expected = Some(next);
                doubtful = Some((current, scanned));
                continue;
            }
            let end = End { clean, bytes: &bytes, scanned, rest: found };
            self.judge(&current, &end)?;
            if let Some((found, scanned)) = doubtful {
                self.write_again(&found, &scanned)?;
            }
            let mut recovered = self.finish(current, end, report)?;
            (recovered.log_id, recovered.next_number) = (log_id, next_number);
            (recovered.kept, recovered.disposable) = (kept, disposable);
            return Ok(recovered);
        }
        Err(LogError::damaged(&segment::name(next_number), 0, "the segment is missing"))
    }

    /// Takes the segments off the front that lie wholly below the position asked for.
    fn skip(&self, found: &mut VecDeque<Found>) -> Result<VecDeque<Sealed>, LogError> {
        let mut start = (0, 0);
        for (index, found) in found.iter().enumerate() {
            let bytes = self.read(found, 0, (PLATE + HEAD) as u64)?;
            let first = first_position(&bytes, found.segment.salt);
            if let Some(first) = first.filter(|first| *first <= self.from) {
                start = (index, first);
            }
        }
        let (start, end) = start;
        let skipped = found.drain(..start);
        Ok(skipped
            .map(|Found { segment: Segment { number, len, .. }, .. }| Sealed { number, end, len })
            .collect())
    }

    fn scan(
        &self,
        current: &Found,
        bytes: &[u8],
        expected: Option<u64>,
        report: &mut Recovery,
        replay: &mut Replay<'_>,
    ) -> Result<Scanned, LogError> {
        let salt = current.segment.salt;
        let first = first_position(bytes, salt);
        if expected.is_none() && first.is_some_and(|first| first > self.from) {
            let what = format!("entries from {} on are missing before it", self.from);
            return Err(LogError::damaged(&current.name, PLATE as u64, what));
        }
        scan::scan(&current.name, bytes, salt, expected, &mut |position, entry| {
            if position < self.from {
                return Ok(());
            }
            report.entries += 1;
            replay(position, entry)
        })
    }

    /// Refuses the log where there is a proof that it went on beyond where its frames end.
    fn judge(&self, current: &Found, end: &End<'_>) -> Result<(), LogError> {
        let offset = end.scanned.offset as u64;
        let damaged = |what: String| Err(LogError::damaged(&current.name, offset, what));
        let why = match end.scanned.ending {
            Ending::Ragged(why) => why,
            _ => "there are only zeros",
        };
        if planted(Bug::CutAtDamage) {
            return Ok(());
        }
        let next = end.scanned.next.unwrap_or(self.from);
        let behind = end.behind(&current.segment);
        if let Some(behind) = behind.filter(|behind| behind.mark > next) {
            return damaged(format!(
                "{why}, yet at byte {} it is recorded that everything below entry {} was synced",
                behind.last, behind.mark,
            ));
        }
        for later in &end.rest {
            if self.has_frames(later)? {
                return damaged(format!("{why}, yet there are entries in {}", later.name));
            }
        }
        if let Some(clean) = end.clean {
            if clean.number != current.segment.number || clean.capacity != offset {
                return damaged(format!(
                    "{why}, yet the log was closed cleanly at byte {} of {}, before entry {}",
                    clean.capacity,
                    segment::name(clean.number),
                    clean.position,
                ));
            }
            if clean.position < self.from {
                let what = format!("the log ends before entry {}, asked for", self.from);
                return Err(LogError::damaged(CLEAN, 48, what));
            }
        }
        Ok(())
    }

    /// Makes the end safe and says where to go on.
    fn finish(
        &self,
        current: Found,
        end: End<'_>,
        mut report: Recovery,
    ) -> Result<Recovered, LogError> {
        let torn = end.behind(&current.segment);
        let End { clean, scanned, .. } = end;
        let next = clean.map(|clean| clean.position).or(scanned.next).unwrap_or(1).max(self.from);
        if clean.is_none() {
            self.write_again(&current, &scanned)?;
        }
        let offset = scanned.offset as u64;
        let follows = scanned.next.is_none_or(|known| known == next);
        let active = Active { segment: current.segment, offset };
        let go_on = follows && torn.is_none() || planted(Bug::WriteOverTail);
        let left = if go_on { active.left(current.capacity) } else { 0 };
        report.next = next;
        report.cut_bytes = torn.map_or(0, |torn| torn.last + HEAD as u64 - offset);
        Ok(Recovered {
            log_id: 0,
            active,
            left,
            spares: end.rest.into_iter().map(|found| found.segment).collect(),
            kept: VecDeque::new(),
            disposable: VecDeque::new(),
            next_number: 0,
            next,
            report,
        })
    }

    /// Writes once more what was read and is not proven to be on the disk, and syncs it.
    fn write_again(&self, found: &Found, scanned: &Scanned) -> Result<(), LogError> {
        let file = &found.segment.file;
        let bytes = self.read(found, scanned.proven as u64, scanned.offset as u64)?;
        self.io("write", &found.name, file.write_at(scanned.proven as u64, &bytes))?;
        self.io("sync", &found.name, file.sync_data())
    }

    /// Whether there is a whole frame head anywhere in a segment.
    fn has_frames(&self, found: &Found) -> Result<bool, LogError> {
        let mut at = PLATE as u64;
        while at < found.segment.len {
            // A window ends where the next one begins, and a head's length later.
            let part = self.read(found, at, at + WINDOW + HEAD as u64)?;
            if scan::behind(&part, at, found.segment.salt).is_some() {
                return Ok(true);
            }
            at += WINDOW;
        }
        Ok(false)
    }

    /// The bytes of a segment from `from` up to `to`, or to its end where that comes first.
    fn read(&self, found: &Found, from: u64, to: u64) -> Result<Vec<u8>, LogError> {
        let len = to.min(found.segment.len).saturating_sub(from);
        let len = usize::try_from(len)
            .map_err(|_| LogError::damaged(&found.name, 0, "the file is longer than memory"))?;
        let mut bytes = vec![0; len];
        let read = self.io("read", &found.name, found.segment.file.read_at(from, &mut bytes))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn io<T>(&self, doing: &str, name: &str, result: io::Result<T>) -> Result<T, LogError> {
        result
            .map_err(|error| LogError::io(&format!("cannot {doing}"), &self.dir.join(name), &error))
    }
}

/// What is known at the end of the log.
struct End<'a> {
    clean: Option<Plate>,
    bytes: &'a [u8],
    scanned: Scanned,
    rest: VecDeque<Found>,
}

impl End<'_> {
    /// What there is behind the end in the segment that it is in.
    fn behind(&self, segment: &Segment) -> Option<Behind> {
        let part = self.bytes.get(self.scanned.offset..)?;
        scan::behind(part, self.scanned.offset as u64, segment.salt)
    }
}

impl Active {
    /// Bytes left for frames, the seal not counted, in a segment of so many bytes.
    const fn left(&self, capacity: u64) -> u64 {
        capacity.saturating_sub(HEAD as u64).saturating_sub(self.offset)
    }
}
