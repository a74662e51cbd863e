//! A small record that is changed in place: two slots of a block each, written by turns.
//!
//! Layout of a slot: `[magic][sequence u64][payload][CRC32C]`, little-endian, and zeroes. A
//! slot's sequence is even in the first and odd in the second; the higher one counts.
//!
//! Holds: changing the record takes no room on the disk, for both blocks are there from the
//! making on and are overwritten in place: a node whose disk is full still starts, and still
//! stamps the removals that free it. (A file system that copies on write needs room of its own
//! for that.) A slot is overwritten only while the other is sound and durable, so a write cut
//! short by a loss of power leaves the record from before it.
//!
//! Does not know: what the payload says.

use super::{DirectoryError, io_error, replace_file, seal, unseal};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Bytes of a slot: what disks write as a whole, or a multiple of it, so that writing one slot
/// does not touch the other.
pub(super) const SLOT_LEN: usize = 4_096;
/// Bytes of the file.
pub(super) const FILE_LEN: usize = 2 * SLOT_LEN;

/// What slots of one kind look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// How a slot begins.
    pub(super) magic: &'static [u8],
    /// Bytes of the payload.
    pub(super) payload: usize,
}

/// An open file of two slots.
#[derive(Debug)]
pub(super) struct Slots {
    path: PathBuf,
    file: File,
    kind: Kind,
    /// Of the slot that counts; the next one is written to the other.
    sequence: u64,
}

/// What the bytes of a file were found to hold.
#[derive(Debug)]
pub(super) struct Found {
    sequence: u64,
    /// The payload that counts.
    pub(super) payload: Vec<u8>,
    /// The other slot is of no use: what counts may be the record from before.
    pub(super) torn: bool,
}

impl Kind {
    /// Reads a file of [`FILE_LEN`] bytes; `None` where neither slot checks out.
    pub(super) fn decode(self, bytes: &[u8]) -> Option<Found> {
        let (first, second) = bytes.split_at_checked(SLOT_LEN)?;
        let sound = |bytes, slot| self.slot(bytes).filter(|(number, _)| slot_of(*number) == slot);
        let (first, second) = (sound(first, 0), sound(second, 1));
        let torn = first.is_none() || second.is_none();
        let (sequence, payload) = first.max(second)?;
        Some(Found { sequence, payload: payload.to_vec(), torn })
    }

    /// Sequence and payload of a slot, if it is sound.
    fn slot(self, bytes: &[u8]) -> Option<(u64, &[u8])> {
        let body = unseal(bytes.get(..self.sealed_len())?)?.strip_prefix(self.magic)?;
        let (sequence, payload) = body.split_first_chunk()?;
        Some((u64::from_le_bytes(*sequence), payload))
    }

    /// Bytes of magic, sequence, payload and checksum.
    pub(super) const fn sealed_len(self) -> usize {
        self.magic.len() + 8 + self.payload + 4
    }

    fn encode(self, sequence: u64, payload: &[u8]) -> Vec<u8> {
        debug_assert_eq!(payload.len(), self.payload);
        let mut bytes = Vec::with_capacity(SLOT_LEN);
        bytes.extend_from_slice(self.magic);
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(payload);
        seal(&mut bytes);
        bytes.resize(SLOT_LEN, 0);
        bytes
    }
}

impl Slots {
    /// Makes the file anew with `payload` in both slots.
    pub(super) fn make(
        dir: &Path,
        name: &str,
        kind: Kind,
        payload: &[u8],
    ) -> Result<Self, DirectoryError> {
        let slots = [kind.encode(0, payload), kind.encode(1, payload)];
        replace_file(dir, name, &slots.concat())?;
        Self::open_at(dir.join(name), kind, 1)
    }

    /// Opens the file in which `found` was found.
    pub(super) fn open(path: PathBuf, kind: Kind, found: &Found) -> Result<Self, DirectoryError> {
        if found.torn {
            tracing::warn!(path = %path.display(), "of two slots one is torn");
        }
        Self::open_at(path, kind, found.sequence)
    }

    fn open_at(path: PathBuf, kind: Kind, sequence: u64) -> Result<Self, DirectoryError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| io_error("opening", &path, error))?;
        // The process before may have ended between a write and its sync. What was read of that
        // has to be durable before the slot it stands in for is overwritten.
        file.sync_data().map_err(|error| io_error("syncing", &path, error))?;
        Ok(Self { path, file, kind, sequence })
    }

    /// Changes the record. It holds, also after a loss of power, once this has returned. Blocks
    /// for a sync.
    ///
    /// # Errors
    /// [`DirectoryError::Io`]: the old record is to be assumed.
    pub(super) fn write(&mut self, payload: &[u8]) -> Result<(), DirectoryError> {
        let sequence = self.sequence.wrapping_add(1);
        self.file
            .write_all_at(&self.kind.encode(sequence, payload), slot_of(sequence) * SLOT_LEN as u64)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| io_error("writing", &self.path, error))?;
        // Not before: after an error the next try is for the same slot, since the other one is
        // all that is known to be sound.
        self.sequence = sequence;
        Ok(())
    }
}

/// Which slot a sequence belongs in.
const fn slot_of(sequence: u64) -> u64 {
    sequence % 2
}
