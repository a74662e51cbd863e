//! A number on record that only rises.
//!
//! Holds: raising takes no room on the disk and is whole or not at all, see [`super::slots`].
//!
//! Does not know: what the number stands for.

use super::slots::{FILE_LEN, Found, Kind, Slots};
use super::{DirectoryError, read_file, unseal};
use std::path::Path;

/// A slot's payload is the number.
const KIND: Kind = Kind { magic: b"SHOALcap", payload: 8 };
/// What the former kind of file begins with, which held one value and was replaced to raise it.
const FORMER_MAGIC: [u8; 8] = *b"SHOALtop";

/// A number that only rises, kept in a file: what a clock has promised not to fall below.
#[derive(Debug)]
pub struct Ceiling {
    slots: Slots,
    value: u64,
}

impl Ceiling {
    /// Reads the ceiling in the file `name` of `dir`; `None` where there is no such file.
    ///
    /// # Errors
    /// The file is refused, by name.
    pub(super) fn find(dir: &Path, name: &str) -> Result<Option<Self>, DirectoryError> {
        let path = dir.join(name);
        let Some(bytes) = read_file(&path)? else { return Ok(None) };
        match decode(&bytes) {
            Ok(Kept::Slots { value, found }) => {
                Ok(Some(Self { slots: Slots::open(path, KIND, &found)?, value }))
            }
            Ok(Kept::Former(value)) => Self::make(dir, name, value).map(Some),
            Err(what) => Err(DirectoryError::Damaged { path, what: what.to_owned() }),
        }
    }

    /// Makes the file anew.
    pub(super) fn make(dir: &Path, name: &str, value: u64) -> Result<Self, DirectoryError> {
        let slots = Slots::make(dir, name, KIND, &value.to_le_bytes())?;
        Ok(Self { slots, value })
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
        if value > self.value {
            self.slots.write(&value.to_le_bytes())?;
            self.value = value;
        }
        Ok(())
    }

    /// Lowers the ceiling to at most `value`, for whoever has come nowhere near it and will not
    /// before it is raised again. Blocks for a sync.
    ///
    /// # Errors
    /// [`DirectoryError::Io`]: either ceiling is to be assumed.
    pub fn lower(&mut self, value: u64) -> Result<(), DirectoryError> {
        if value < self.value {
            self.slots.write(&value.to_le_bytes())?;
            self.value = value;
        }
        Ok(())
    }
}

/// What a file was found to hold.
#[derive(Debug)]
enum Kept {
    /// The value that counts, and the slots.
    Slots { value: u64, found: Found },
    /// The value of a file of the former kind.
    Former(u64),
}

fn decode(bytes: &[u8]) -> Result<Kept, &'static str> {
    if bytes.len() != FILE_LEN {
        return decode_former(bytes).map(Kept::Former);
    }
    let found = KIND.decode(bytes).ok_or("neither of its two slots checks out")?;
    let value = found.payload.as_slice().try_into().map_err(|_| "it has the wrong length")?;
    Ok(Kept::Slots { value: u64::from_le_bytes(value), found })
}

fn decode_former(bytes: &[u8]) -> Result<u64, &'static str> {
    let body = unseal(bytes).ok_or("its length or its checksum is wrong")?;
    let value = body.strip_prefix(&FORMER_MAGIC).ok_or("it is not a ceiling")?;
    value.try_into().map(u64::from_le_bytes).map_err(|_| "it has the wrong length")
}

#[cfg(test)]
mod tests {
    use super::super::seal;
    use super::super::slots::SLOT_LEN;
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    /// Bytes of magic, sequence, value and checksum.
    const SEALED_LEN: usize = KIND.sealed_len();

    fn open(dir: &Path) -> Result<Ceiling, DirectoryError> {
        match Ceiling::find(dir, "clock")? {
            Some(found) => Ok(found),
            None => Ceiling::make(dir, "clock", 0),
        }
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
    fn a_ceiling_is_lowered_where_nobody_came_near_it() {
        let temp = tempfile::tempdir().unwrap();
        let mut ceiling = open(temp.path()).unwrap();
        ceiling.raise(100).unwrap();
        ceiling.lower(200).unwrap();
        assert_eq!((ceiling.value(), open(temp.path()).unwrap().value()), (100, 100));
        ceiling.lower(20).unwrap();
        assert_eq!((ceiling.value(), open(temp.path()).unwrap().value()), (20, 20));
        ceiling.raise(50).unwrap();
        assert_eq!((ceiling.value(), open(temp.path()).unwrap().value()), (50, 50));
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
