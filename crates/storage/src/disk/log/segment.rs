//! Segment files: their names, and how they are made.
//!
//! A segment gets its name only when it is whole: zeros (or what it held in an earlier life)
//! over its full length, a plate with a fresh salt, all of it synced. So a commit never has to
//! lengthen a file, and the syncs of commits carry data only. A segment whose plate is damaged
//! has been damaged; it is never one that was being made.
//!
//! Holds: of the segments' names no one in the middle is ever missing, also after a loss of
//! power: they are made in ascending order and go in ascending order, each synced before the next.

use super::error::LogError;
use super::format::{HEAD, Kind, PLATE, Plate};
use crate::files::{File, Files, Open, is_full};
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of a segment that are not for entries: the plate, and room for the seal.
pub(super) const OVERHEAD: u64 = (PLATE + HEAD) as u64;

/// Zeros are written in pieces of this size.
const PIECE: usize = 256 << 10;

/// Zeros are synced after so many bytes, lest a commit's sync queue behind all of them.
const SYNC_EVERY: u64 = 8 << 20;

/// A segment that nothing was written to yet.
pub(super) struct Segment {
    /// Its number.
    pub(super) number: u64,
    /// What this life of its file is told apart by.
    pub(super) salt: u64,
    /// Its length in bytes.
    pub(super) len: u64,
    /// The file.
    pub(super) file: Box<dyn File>,
}

/// A segment that nothing will be written to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    /// Its number.
    pub(super) number: u64,
    /// The position after its last entry.
    pub(super) end: u64,
    /// Its length in bytes.
    pub(super) len: u64,
}

/// Why a segment could not be made.
#[derive(Debug)]
pub(super) enum Unmade {
    /// The disk has no room for so many bytes. Nothing is left behind.
    Full {
        /// Bytes that the segment needs.
        needed: u64,
    },
    /// Anything else.
    Failed(String),
}

impl Unmade {
    /// What to tell a caller that waits for the segment.
    pub(super) fn into_error(self) -> LogError {
        match self {
            Self::Full { needed } => LogError::DiskFull { needed },
            Self::Failed(what) => LogError::Io(what),
        }
    }
}

/// The name of segment `number`.
pub(super) fn name(number: u64) -> String {
    format!("{number:016x}.log")
}

/// The number of the segment called `name`, if it is one's name.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|number| self::name(*number) == name)
}

/// Where and as what segments are made.
pub(super) struct Maker<'a> {
    /// The file system.
    pub(super) files: &'a dyn Files,
    /// The log's folder.
    pub(super) dir: &'a Path,
    /// The log's id.
    pub(super) log_id: u64,
    /// The length of an ordinary segment.
    pub(super) ordinary: u64,
}

impl Maker<'_> {
    /// The path of segment `number`.
    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(name(number))
    }

    /// Makes segment `number` of `len` bytes, out of the old segment `recycled` if there is one;
    /// that must be of this length.
    pub(super) fn make(
        &self,
        number: u64,
        len: u64,
        salt: u64,
        recycled: Option<u64>,
    ) -> Result<Segment, Unmade> {
        let made = self.dir.join("segment.tmp");
        let result = self.make_as(&made, number, len, salt, recycled);
        result.map_err(|error| {
            // Whatever there is of it is worth nothing; an opening log looks for it, too.
            let _ = self.files.remove(&made);
            self.judge("cannot make segment", number, len, &error)
        })
    }

    fn make_as(
        &self,
        made: &Path,
        number: u64,
        len: u64,
        salt: u64,
        recycled: Option<u64>,
    ) -> io::Result<Segment> {
        let file = if let Some(old) = recycled {
            self.files.rename(&self.path(old), made)?;
            // The old name has to be gone before a newer one goes.
            self.files.sync_dir(self.dir)?;
            self.files.open(made, Open::Existing)?
        } else {
            let file = self.files.open(made, Open::Fresh)?;
            file.allocate(len)?;
            fill(&*file, 0, len)?;
            file
        };
        let plate = Plate {
            kind: Kind::Segment,
            log_id: self.log_id,
            number,
            salt,
            capacity: self.ordinary,
            position: 0,
        };
        file.write_at(0, &plate.encode())?;
        file.sync_data()?;
        self.files.rename(made, &self.path(number))?;
        self.files.sync_dir(self.dir)?;
        Ok(Segment { number, salt, len, file })
    }

    /// Lengthens a segment that nothing was written to yet.
    pub(super) fn grow(&self, segment: &mut Segment, len: u64) -> Result<(), Unmade> {
        let grown =
            segment.file.allocate(len).and_then(|()| fill(&*segment.file, segment.len, len));
        if let Err(error) = grown {
            // It stays as long as it was, as far as anyone will use it.
            let _ = segment.file.set_len(segment.len);
            return Err(self.judge("cannot lengthen segment", segment.number, len, &error));
        }
        segment.len = len;
        Ok(())
    }

    /// Removes an old segment for good.
    pub(super) fn remove(&self, number: u64) -> Result<(), String> {
        let removed = self.files.remove(&self.path(number));
        removed
            .and_then(|()| self.files.sync_dir(self.dir))
            .map_err(|error| format!("cannot remove segment {}: {error}", name(number)))
    }

    fn judge(&self, doing: &str, number: u64, needed: u64, error: &io::Error) -> Unmade {
        if is_full(error) {
            return Unmade::Full { needed };
        }
        Unmade::Failed(format!("{doing} {}: {error}", self.path(number).display()))
    }
}

/// Writes zeros from `from` up to `to` and syncs them.
fn fill(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; PIECE.min(usize::try_from(to - from).unwrap_or(PIECE))];
    let mut at = from;
    let mut unsynced = 0;
    while at < to {
        let piece = usize::try_from(to - at).unwrap_or(PIECE).min(PIECE);
        file.write_at(at, &zeros[..piece])?;
        at += piece as u64;
        unsynced += piece as u64;
        if unsynced >= SYNC_EVERY {
            file.sync_data()?;
            unsynced = 0;
        }
    }
    file.sync_data()
}

/// Makes the small file `name` that holds nothing but `plate`, whole or not at all.
pub(super) fn put_plate(
    files: &dyn Files,
    dir: &Path,
    name: &str,
    plate: &Plate,
) -> io::Result<()> {
    let made = dir.join("plate.tmp");
    let file = files.open(&made, Open::Fresh)?;
    file.write_at(0, &plate.encode())?;
    file.sync_data()?;
    files.rename(&made, &dir.join(name))?;
    files.sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_one_to_one() {
        for n in [0, 1, 255, u64::MAX] {
            assert_eq!(number(&name(n)), Some(n));
        }
        for bad in ["1.log", "000000000000000G.log", "00000000000000FF.log", "+00000000000000f.log"]
        {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
