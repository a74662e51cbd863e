//! How a batch is written into the commit log.
//!
//! ```text
//! [format u8 = 1][ops u32]
//! per op: [flags u8][space u32][slot u16][key length u16][keys][expiring][key]
//!         where the op puts: [value length u32][value]
//! ```
//!
//! All numbers are little-endian. The two tally deltas take a byte each, or eight where the flag
//! says so. The log's own frame carries length and checksum; a batch is one log entry, which is
//! what makes it whole or absent after a crash.
//!
//! Holds: decoding trusts nothing; whatever does not parse to its last byte is damage.

use crate::engine::{Address, Op, Tally};
use smallvec::SmallVec;

const FORMAT: u8 = 1;
const PUTS: u8 = 1;
const WIDE: u8 = 2;
/// Heads up to this length are made on the stack: those of one op with a key of usual length.
const SHORT: usize = 128;

/// The bytes of a batch that are not values: what stands before each op's value, and where.
pub(crate) struct Heads {
    bytes: SmallVec<[u8; SHORT]>,
    ends: SmallVec<[usize; 1]>,
}

impl Heads {
    /// Encodes everything of `ops` but the values.
    pub(crate) fn of(ops: &[Op<'_>]) -> Self {
        let keys: usize = ops.iter().map(|op| op.at.key.len() + 16).sum();
        let mut bytes = SmallVec::with_capacity(5 + keys);
        let mut ends = SmallVec::with_capacity(ops.len());
        bytes.push(FORMAT);
        let count = u32::try_from(ops.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&count.to_le_bytes());
        for op in ops {
            push_op(op, &mut bytes);
            ends.push(bytes.len());
        }
        Self { bytes, ends }
    }

    /// The whole entry as parts in order, values borrowed from `ops`.
    pub(crate) fn parts<'a>(&'a self, ops: &'a [Op<'_>]) -> SmallVec<[&'a [u8]; 3]> {
        let mut parts = SmallVec::with_capacity(ops.len() * 3);
        let mut from = 0;
        for (op, end) in ops.iter().zip(&self.ends) {
            if let Some(put) = op.put {
                parts.push(&self.bytes[from..*end]);
                from = *end;
                parts.push(put.head);
                parts.push(put.body);
            }
        }
        if from < self.bytes.len() {
            parts.push(&self.bytes[from..]);
        }
        parts
    }
}

fn push_op(op: &Op<'_>, bytes: &mut SmallVec<[u8; SHORT]>) {
    let narrow = i8::try_from(op.tally.keys).ok().zip(i8::try_from(op.tally.expiring).ok());
    let puts = if op.put.is_some() { PUTS } else { 0 };
    let flags = puts | if narrow.is_none() { WIDE } else { 0 };
    bytes.push(flags);
    bytes.extend_from_slice(&op.at.space.to_le_bytes());
    bytes.extend_from_slice(&op.at.slot.to_le_bytes());
    let key_len = u16::try_from(op.at.key.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&key_len.to_le_bytes());
    if let Some((keys, expiring)) = narrow {
        bytes.extend_from_slice(&keys.to_le_bytes());
        bytes.extend_from_slice(&expiring.to_le_bytes());
    } else {
        bytes.extend_from_slice(&op.tally.keys.to_le_bytes());
        bytes.extend_from_slice(&op.tally.expiring.to_le_bytes());
    }
    bytes.extend_from_slice(op.at.key);
    if let Some(put) = op.put {
        let len = u32::try_from(put.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&len.to_le_bytes());
    }
}

/// One op as read back from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Logged<'a> {
    pub(crate) at: Address<'a>,
    pub(crate) put: Option<&'a [u8]>,
    pub(crate) tally: Tally,
}

/// Reads a batch back and hands each op to `visit`, after the whole of it was found sound.
///
/// # Errors
/// What is wrong, as a phrase; nothing was visited then.
pub(crate) fn decode<'a>(
    bytes: &'a [u8],
    visit: &mut dyn FnMut(Logged<'a>),
) -> Result<(), &'static str> {
    walk(bytes, &mut |_| ())?;
    walk(bytes, visit)
}

fn walk<'a>(bytes: &'a [u8], visit: &mut dyn FnMut(Logged<'a>)) -> Result<(), &'static str> {
    let mut reader = Reader(bytes);
    match reader.array::<1>()? {
        [FORMAT] => {}
        _ => return Err("a batch of an unknown format"),
    }
    let count = u32::from_le_bytes(reader.array()?);
    for _ in 0..count {
        visit(reader.op()?);
    }
    if reader.0.is_empty() { Ok(()) } else { Err("bytes after the end of a batch") }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("a batch that ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, rest) = self.0.split_first_chunk().ok_or("a batch that ends too early")?;
        self.0 = rest;
        Ok(*taken)
    }

    fn op(&mut self) -> Result<Logged<'a>, &'static str> {
        let [flags] = self.array()?;
        if flags & !(PUTS | WIDE) != 0 {
            return Err("an op with unknown flags");
        }
        let space = u32::from_le_bytes(self.array()?);
        let slot = u16::from_le_bytes(self.array()?);
        let key_len = u16::from_le_bytes(self.array()?);
        let tally = if flags & WIDE == 0 {
            let [keys] = self.array()?;
            let [expiring] = self.array()?;
            Tally {
                keys: i64::from(keys.cast_signed()),
                expiring: i64::from(expiring.cast_signed()),
            }
        } else {
            let keys = i64::from_le_bytes(self.array()?);
            Tally { keys, expiring: i64::from_le_bytes(self.array()?) }
        };
        let key = self.take(usize::from(key_len))?;
        let put = if flags & PUTS == 0 {
            None
        } else {
            let len = u32::from_le_bytes(self.array()?);
            Some(self.take(len as usize)?)
        };
        Ok(Logged { at: Address { space, slot, key }, put, tally })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Parts;
    use proptest::prelude::*;

    type Made = (u32, u16, Vec<u8>, Option<(Vec<u8>, Vec<u8>)>, i64, i64);

    fn made() -> impl Strategy<Value = Made> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        let delta = || prop_oneof![-2_i64..3, any::<i64>()];
        let put = proptest::option::of((bytes(), bytes()));
        (any::<u32>(), any::<u16>(), bytes(), put, delta(), delta())
    }

    proptest! {
        #[test]
        fn batches_come_back_and_no_cut_of_one_passes(
            made in proptest::collection::vec(made(), 0..8),
        ) {
            let ops: Vec<Op<'_>> = made.iter().map(|(space, slot, key, put, keys, expiring)| Op {
                at: Address { space: *space, slot: *slot, key },
                put: put.as_ref().map(|(head, body)| Parts { head, body }),
                tally: Tally { keys: *keys, expiring: *expiring },
            }).collect();
            let bytes = Heads::of(&ops).parts(&ops).concat();
            let mut seen = Vec::new();
            decode(&bytes, &mut |op| seen.push(op)).expect("it was just encoded");
            prop_assert_eq!(seen.len(), ops.len());
            for (op, back) in ops.iter().zip(&seen) {
                prop_assert_eq!(op.at, back.at);
                prop_assert_eq!(op.tally, back.tally);
                let put = op.put.map(|parts| [parts.head, parts.body].concat());
                prop_assert_eq!(put.as_deref(), back.put);
            }
            for end in 0..bytes.len() {
                prop_assert!(decode(&bytes[..end], &mut |_| ()).is_err());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, &mut |_| ());
        }
    }
}
