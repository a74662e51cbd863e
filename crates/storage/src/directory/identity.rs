//! The file that says who a data directory belongs to, and how far its making got.
//!
//! Holds: counting a start takes no room on the disk, see [`super::slots`]. No two starts count
//! the same, even where the record of the last one is lost to damage. A file of the former kind,
//! which was replaced as a whole, is taken over.

use super::slots::{FILE_LEN, Found, Kind, SLOT_LEN, Slots};
use super::{DirectoryError, read_file, unseal};
use std::path::Path;

pub(super) const FILE: &str = "identity";
const MAGIC: [u8; 8] = *b"SHOALdir";
/// The format of the directory as a whole; its four bytes follow the magic in every kind of file.
const FORMAT: u32 = 2;
/// The format whose identity held no token, and whose file was replaced as a whole.
const FORMER: u32 = 1;
/// Magic and format. The payload: cluster, node, incarnation, token, stage.
const KIND: Kind = Kind { magic: b"SHOALdir\x02\0\0\0", payload: 16 + 4 + 8 + 8 + 1 };

/// Who a data directory belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u128,
    /// The node's number in it.
    pub node_id: u32,
    /// How often the node was started on this directory; rises with every opening, so that no
    /// two runs of a node are taken for one.
    pub incarnation: u64,
}

/// How far the making of a directory got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing was ever served from it; what is not there yet is made.
    Founding,
    /// It is of the former format, whose parts did not say whom they belong to.
    TakingOver,
    /// All parts are there; one that is missing is a loss.
    Complete,
}

/// The identity with what only the directory needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) identity: Identity,
    /// Drawn when the directory was made; its parts carry it too.
    pub(super) token: u64,
    pub(super) stage: Stage,
}

/// The file, open.
#[derive(Debug)]
pub(super) struct Kept {
    slots: Slots,
    record: Record,
}

impl Kept {
    /// Reads the file and counts a start; `None` where there is no file.
    pub(super) fn begin(dir: &Path) -> Result<Option<Self>, DirectoryError> {
        let path = dir.join(FILE);
        let Some(bytes) = read_file(&path)? else { return Ok(None) };
        let damaged =
            |what: &str| DirectoryError::Damaged { path: path.clone(), what: what.into() };
        match decode(&bytes) {
            Ok(Decoded::Slots(found, mut record)) => {
                // The slot that is torn may have counted one start more.
                let step = if found.torn { 2 } else { 1 };
                record.identity.incarnation = record.identity.incarnation.saturating_add(step);
                let mut slots = Slots::open(path, KIND, &found)?;
                slots.write(&encode(&record))?;
                Ok(Some(Self { slots, record }))
            }
            Ok(Decoded::Former(mut identity)) => {
                identity.incarnation = identity.incarnation.saturating_add(1);
                Self::make(dir, identity, Stage::TakingOver).map(Some)
            }
            Err(Bad::Newer(found)) => Err(DirectoryError::Newer { path, found, known: FORMAT }),
            Err(Bad::Damaged(what)) => Err(damaged(what)),
        }
    }

    /// Makes the file anew.
    pub(super) fn make(
        dir: &Path,
        identity: Identity,
        stage: Stage,
    ) -> Result<Self, DirectoryError> {
        let record = Record { identity, token: fastrand::u64(1..), stage };
        let slots = Slots::make(dir, FILE, KIND, &encode(&record))?;
        Ok(Self { slots, record })
    }

    pub(super) const fn record(&self) -> &Record {
        &self.record
    }

    /// Changes the record in both slots, so that no damage brings the old one back.
    pub(super) fn change(&mut self, record: Record) -> Result<(), DirectoryError> {
        let bytes = encode(&record);
        self.slots.write(&bytes)?;
        self.record = record;
        self.slots.write(&bytes)
    }
}

enum Decoded {
    Slots(Found, Record),
    Former(Identity),
}

enum Bad {
    Newer(u32),
    Damaged(&'static str),
}

fn decode(bytes: &[u8]) -> Result<Decoded, Bad> {
    if bytes.len() == FILE_LEN
        && let Some(found) = KIND.decode(bytes)
    {
        let record = parse(&found.payload).ok_or(Bad::Damaged("it is of no known stage"))?;
        return Ok(Decoded::Slots(found, record));
    }
    let rest = bytes
        .strip_prefix(&MAGIC)
        .ok_or(Bad::Damaged("it does not begin as a Shoal identity file does"))?;
    // The format comes before the checksum, since a newer one may be sealed otherwise.
    let (format, _) = rest.split_first_chunk::<4>().ok_or(Bad::Damaged("it is too short"))?;
    let format = u32::from_le_bytes(*format);
    let body = unseal(bytes);
    if format > FORMAT && (body.is_some() || format < 1_000) {
        return Err(Bad::Newer(format));
    }
    if format == FORMAT {
        let length = bytes.len() == FILE_LEN;
        let what = if length { "neither of its two slots checks out" } else { "it is cut short" };
        return Err(Bad::Damaged(what));
    }
    let body = body.filter(|_| format == FORMER && bytes.len() < SLOT_LEN);
    let body = body.ok_or(Bad::Damaged("its checksum does not match"))?;
    let (identity, rest) = parse_identity(&body[12..]).ok_or(Bad::Damaged("it is too short"))?;
    if rest.is_empty() {
        Ok(Decoded::Former(identity))
    } else {
        Err(Bad::Damaged("it is too long"))
    }
}

fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(KIND.payload);
    bytes.extend_from_slice(&record.identity.cluster_id.to_le_bytes());
    bytes.extend_from_slice(&record.identity.node_id.to_le_bytes());
    bytes.extend_from_slice(&record.identity.incarnation.to_le_bytes());
    bytes.extend_from_slice(&record.token.to_le_bytes());
    bytes.push(match record.stage {
        Stage::Founding => 0,
        Stage::TakingOver => 1,
        Stage::Complete => 2,
    });
    bytes
}

fn parse(payload: &[u8]) -> Option<Record> {
    let (identity, rest) = parse_identity(payload)?;
    let (token, stage) = rest.split_first_chunk()?;
    let stage = match stage {
        [0] => Stage::Founding,
        [1] => Stage::TakingOver,
        [2] => Stage::Complete,
        _ => return None,
    };
    Some(Record { identity, token: u64::from_le_bytes(*token), stage })
}

fn parse_identity(bytes: &[u8]) -> Option<(Identity, &[u8])> {
    let (cluster_id, rest) = bytes.split_first_chunk()?;
    let (node_id, rest) = rest.split_first_chunk()?;
    let (incarnation, rest) = rest.split_first_chunk()?;
    let identity = Identity {
        cluster_id: u128::from_le_bytes(*cluster_id),
        node_id: u32::from_le_bytes(*node_id),
        incarnation: u64::from_le_bytes(*incarnation),
    };
    Some((identity, rest))
}
