//! A number on record that only rises.
//!
//! Layout: two slots of a block each, written by turns and whole: `[magic][sequence u64][value
//! u64][CRC32C]`, little-endian, and zeroes. A slot's sequence is even in the first and odd in
//! the second; the higher one counts.
//!
//! Holds: raising takes no room on the disk, for both blocks are there from the opening on and
//! are overwritten in place: a node whose disk is full still stamps the removals that free it.
//! (A file system that copies on write needs room of its own for that.) A slot is overwritten
//! only while the other is sound and durable, so a write cut short by a loss of power leaves the
//! ceiling from before it.
//!
//! Does not know: what the number stands for.

use super::{DirectoryError, io_error, read_file, replace_file, seal, unseal};

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"SHOALcap";
/// What the former kind of file begins with, which held one value and was replaced to raise it.
const FORMER_MAGIC: [u8; 8] = *b"SHOALtop";
/// Bytes of a slot: what disks write as a whole, or a multiple of it, so that writing one slot
/// does not touch the other.
const SLOT_LEN: usize = 4_096;
/// Bytes of magic, sequence, value and checksum.
const SEALED_LEN: usize = 8 + 8 + 8 + 4;

/// A number that only rises, kept in a file: what a clock has promised not to fall below.
#[derive(Debug)]
pub struct Ceiling {
    path: PathBuf,
    file: File,
    /// Of the slot that counts; the next one is written to the other.
    sequence: u64,
    value: u64,
}

impl Ceiling {
    /// Reads the ceiling in the file `name` of `dir`; where there is none yet, it is made, and
    /// the ceiling is 0.
    ///
    /// # Errors
    /// The file is refused, by name.
    pub fn open(dir: &Path, name: &str) -> Result<Self, DirectoryError> {
        let path = dir.join(name);
        let found = read_file(&path)?;
        let kept = found.as_deref().map(decode).transpose().map_err(|what| {
            DirectoryError::Damaged { path: path.clone(), what: what.to_owned() }
        })?;
        let (sequence, value) = match kept {
            Some(Kept::Slots { sequence, value, torn }) => {
                if torn {
                    tracing::warn!(path = %path.display(), value, "of two slots one is torn");
                }
                (sequence, value)
            }
            Some(Kept::Former(value)) => (replace(dir, name, value)?, value),
            None => (replace(dir, name, 0)?, 0),
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| io_error("opening", &path, error))?;
        // The process before may have ended between a write and its sync. What was read of that
        // has to be durable before the slot it stands in for is overwritten.
        file.sync_data().map_err(|error| io_error("syncing", &path, error))?;
        Ok(Self { path, file, sequence, value })
    }

    /// The ceiling.
    #[must_use]
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// Raises the ceiling to at least `value`. It holds, also after a loss of power, once this
    /// has returned. Blocks for a sync.
    ///
    /// # Errors
    /// [`DirectoryError::Io`]: the old ceiling is to be assumed.
    pub fn raise(&mut self, value: u64) -> Result<(), DirectoryError> {
        if value <= self.value {
            return Ok(());
        }
        let sequence = self.sequence.wrapping_add(1);
        self.file
            .write_all_at(&encode_slot(sequence, value), slot_of(sequence) * SLOT_LEN as u64)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| io_error("writing", &self.path, error))?;
        // Not before: after an error the next try is for the same slot, since the other one is
        // all that is known to be sound.
        self.sequence = sequence;
        self.value = value;
        Ok(())
    }
}

/// What a file was found to hold.
#[derive(Debug)]
enum Kept {
    /// The slot that counts, and whether the other is of no use.
    Slots { sequence: u64, value: u64, torn: bool },
    /// The value of a file of the former kind.
    Former(u64),
}

/// Makes the file anew with `value` in both slots; returns the sequence that counts.
fn replace(dir: &Path, name: &str, value: u64) -> Result<u64, DirectoryError> {
    let slots = [encode_slot(0, value), encode_slot(1, value)];
    replace_file(dir, name, &slots.concat())?;
    Ok(1)
}

/// Which slot a sequence belongs in.
const fn slot_of(sequence: u64) -> u64 {
    sequence % 2
}

fn encode_slot(sequence: u64, value: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SLOT_LEN);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&value.to_le_bytes());
    seal(&mut bytes);
    bytes.resize(SLOT_LEN, 0);
    bytes
}

fn decode(bytes: &[u8]) -> Result<Kept, &'static str> {
    if bytes.len() != 2 * SLOT_LEN {
        return decode_former(bytes).map(Kept::Former);
    }
    let (first, second) = bytes.split_at(SLOT_LEN);
    let sound = |bytes, slot| decode_slot(bytes).filter(|&(number, _)| slot_of(number) == slot);
    let (first, second) = (sound(first, 0), sound(second, 1));
    let (sequence, value) = first.max(second).ok_or("neither of its two slots checks out")?;
    Ok(Kept::Slots { sequence, value, torn: first.is_none() || second.is_none() })
}

/// Sequence and value of a slot, if it is sound.
fn decode_slot(bytes: &[u8]) -> Option<(u64, u64)> {
    let body = unseal(bytes.get(..SEALED_LEN)?)?.strip_prefix(&MAGIC)?;
    let (sequence, value) = body.split_first_chunk()?;
    Some((u64::from_le_bytes(*sequence), u64::from_le_bytes(value.try_into().ok()?)))
}

fn decode_former(bytes: &[u8]) -> Result<u64, &'static str> {
    let body = unseal(bytes).ok_or("its length or its checksum is wrong")?;
    let value = body.strip_prefix(&FORMER_MAGIC).ok_or("it is not a ceiling")?;
    value.try_into().map(u64::from_le_bytes).map_err(|_| "it has the wrong length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    fn open(dir: &Path) -> Result<Ceiling, DirectoryError> {
        Ceiling::open(dir, "clock")
    }

    /// The file as it is after `values`.
    fn after(values: &[u64]) -> Vec<u8> {
        let temp = tempfile::tempdir().unwrap();
        let mut ceiling = open(temp.path()).unwrap();
        values.iter().for_each(|&value| ceiling.raise(value).unwrap());
        fs::read(temp.path().join("clock")).unwrap()
    }

    fn check_refused(dir: &Path, bytes: &[u8]) {
        fs::write(dir.join("clock"), bytes).unwrap();
        let refused = open(dir).unwrap_err();
        assert!(matches!(refused, DirectoryError::Damaged { .. }), "{refused}");
        assert!(refused.to_string().contains("clock"), "{refused}");
        assert_eq!(fs::read(dir.join("clock")).unwrap(), bytes, "it is left as it was");
    }

    #[test]
    fn a_ceiling_rises_and_stays() {
        let temp = tempfile::tempdir().unwrap();
        let mut ceiling = open(temp.path()).unwrap();
        assert_eq!(ceiling.value(), 0);
        assert_eq!(open(temp.path()).unwrap().value(), 0);
        for value in 1..10 {
            ceiling.raise(value * 10).unwrap();
            ceiling.raise(5).unwrap();
            assert_eq!(ceiling.value(), value * 10);
            assert_eq!(open(temp.path()).unwrap().value(), value * 10);
        }
        // Whoever opened it goes on where the last one was.
        open(temp.path()).unwrap().raise(1_000).unwrap();
        open(temp.path()).unwrap().raise(2_000).unwrap();
        assert_eq!(open(temp.path()).unwrap().value(), 2_000);
    }

    #[test]
    fn raising_takes_no_room() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("clock");
        let mut ceiling = open(temp.path()).unwrap();
        let before = fs::metadata(&file).unwrap();
        assert_eq!(before.mode() & 0o777, 0o600);
        // No file can be made beside it, as on a full disk.
        fs::create_dir(temp.path().join("clock.new")).unwrap();
        for value in 1..10 {
            ceiling.raise(value).unwrap();
        }
        assert_eq!(open(temp.path()).unwrap().value(), 9, "nor does opening it again");
        let now = fs::metadata(&file).unwrap();
        assert_eq!((now.ino(), now.len()), (before.ino(), before.len()));
    }

    #[test]
    fn a_write_cut_short_leaves_the_ceiling_from_before() {
        let temp = tempfile::tempdir().unwrap();
        for raises in 1..4 {
            let values: Vec<u64> = (1..=raises).map(|value| value * 0x0101_0101).collect();
            let (last, earlier) = values.split_last().unwrap();
            let (old, new) = (after(earlier), after(&values));
            let before = earlier.last().copied().unwrap_or(0);
            let differ = (0..old.len()).filter(|&at| old[at] != new[at]);
            let slots: Vec<usize> = differ.map(|at| at / SLOT_LEN).collect();
            assert!(slots.iter().all(|slot| *slot == slots[0]), "one slot is written");
            let start = slots[0] * SLOT_LEN;
            // Up to a point it is written, or from a point on, or there is nothing of use.
            for cut in start..=start + SEALED_LEN {
                let head = [&new[..cut], &old[cut..]].concat();
                let tail = [&old[..cut], &new[cut..]].concat();
                let mut zeroed = new.clone();
                zeroed[start..cut].fill(0);
                for bytes in [head, tail, zeroed] {
                    let whole = bytes == new;
                    fs::write(temp.path().join("clock"), &bytes).unwrap();
                    let mut ceiling = open(temp.path()).unwrap();
                    assert_eq!(ceiling.value(), if whole { *last } else { before });
                    ceiling.raise(last + 1).unwrap();
                    assert_eq!(open(temp.path()).unwrap().value(), last + 1);
                }
            }
        }
    }

    #[test]
    fn every_flip_in_a_slot_is_found_and_in_both_refused() {
        let temp = tempfile::tempdir().unwrap();
        let good = after(&[10, 20]);
        for bit in 0..SEALED_LEN * 8 {
            let flip = |bytes: &mut [u8], slot: usize| {
                bytes[slot * SLOT_LEN + bit / 8] ^= 1 << (bit % 8);
            };
            let mut bad = good.clone();
            // The second raise wrote the second slot.
            flip(&mut bad, 0);
            fs::write(temp.path().join("clock"), &bad).unwrap();
            assert_eq!(open(temp.path()).unwrap().value(), 20, "bit {bit}");
            flip(&mut bad, 1);
            check_refused(temp.path(), &bad);
            flip(&mut bad, 0);
            fs::write(temp.path().join("clock"), &bad).unwrap();
            assert_eq!(open(temp.path()).unwrap().value(), 10, "bit {bit}");
        }
        for len in [0, 1, SEALED_LEN, SLOT_LEN, 2 * SLOT_LEN - 1] {
            check_refused(temp.path(), &good[..len]);
        }
        check_refused(temp.path(), &[&good[..], &[0]].concat());
        check_refused(temp.path(), &[&good[SLOT_LEN..], &good[..SLOT_LEN]].concat());
    }

    #[test]
    fn a_file_of_the_former_kind_is_taken_over() {
        let temp = tempfile::tempdir().unwrap();
        let mut former = FORMER_MAGIC.to_vec();
        former.extend_from_slice(&77_u64.to_le_bytes());
        seal(&mut former);
        for bit in 0..former.len() * 8 {
            let mut bad = former.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            check_refused(temp.path(), &bad);
        }
        fs::write(temp.path().join("clock"), &former).unwrap();
        let mut ceiling = open(temp.path()).unwrap();
        assert_eq!(ceiling.value(), 77);
        let file = temp.path().join("clock");
        assert_eq!(fs::metadata(&file).unwrap().len(), 2 * SLOT_LEN as u64);
        assert_eq!(open(temp.path()).unwrap().value(), 77);
        ceiling.raise(78).unwrap();
        assert_eq!(open(temp.path()).unwrap().value(), 78);
    }
}
