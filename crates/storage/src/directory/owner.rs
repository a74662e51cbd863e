//! The file in a folder of a data directory that says which directory it belongs to.
//!
//! Layout: `[magic][format u32][cluster u128][node u32][token u64][CRC32C]`, little-endian.
//!
//! Holds: it is written once, when the folder is made, and never changed.

use super::identity::Record;
use super::{DirectoryError, read_file, replace_file, seal, unseal};
use std::path::Path;

pub(super) const FILE: &str = "owner";
const MAGIC: [u8; 8] = *b"SHOALown";
const FORMAT: u32 = 1;

/// Whom a folder was found to belong to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It does not say.
    Nobody,
    /// The directory of this identity.
    Us,
    /// Another directory, and how that shows.
    Another(String),
}

/// Marks the folder as one of the directory's.
pub(super) fn mark(folder: &Path, record: &Record) -> Result<(), DirectoryError> {
    replace_file(folder, FILE, &encode(record))
}

/// Whom the folder belongs to.
pub(super) fn look(folder: &Path, record: &Record) -> Result<Owner, DirectoryError> {
    let path = folder.join(FILE);
    let Some(bytes) = read_file(&path)? else { return Ok(Owner::Nobody) };
    let ours = encode(record);
    if bytes == ours {
        return Ok(Owner::Us);
    }
    let damaged = |what: &str| DirectoryError::Damaged { path: path.clone(), what: what.into() };
    let body = unseal(&bytes).ok_or_else(|| damaged("its length or its checksum is wrong"))?;
    let body = body.strip_prefix(&MAGIC).ok_or_else(|| damaged("it names no owner"))?;
    let format = body.split_first_chunk().map(|(format, _)| u32::from_le_bytes(*format));
    match format {
        Some(FORMAT) if bytes.len() == ours.len() => {}
        Some(found) if found > FORMAT => {
            return Err(DirectoryError::Newer { path, found, known: FORMAT });
        }
        _ => return Err(damaged("it has the wrong length")),
    }
    let cluster = body.get(4..20).and_then(|bytes| bytes.try_into().ok()).map(u128::from_le_bytes);
    Ok(Owner::Another(match cluster {
        Some(cluster) if cluster != record.identity.cluster_id => {
            format!("is of cluster {cluster:032x}")
        }
        _ => "is of another node or another directory of this cluster".to_owned(),
    }))
}

fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&record.identity.cluster_id.to_le_bytes());
    bytes.extend_from_slice(&record.identity.node_id.to_le_bytes());
    bytes.extend_from_slice(&record.token.to_le_bytes());
    seal(&mut bytes);
    bytes
}
