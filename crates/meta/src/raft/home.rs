//! A node's directory, as far as the map of several nodes is kept there, and how one written by
//! a single node becomes the first voter's.
//!
//! | file | holds |
//! | --- | --- |
//! | `map` | the map of a single node |
//! | `map.raft.next` | a file that was not finished |
//! | `map.raft` | the node's part in deciding the map; from here on it alone counts |
//! | `map.single` | the single node's last map, for nobody but a person |
//!
//! Holds: every step is durable before the next one, and after a crash between any two the same
//! steps, taken again, end in the same place: `map.raft.next` is written whole; it is renamed to
//! `map.raft`, which is the moment of the change; `map` is renamed to `map.single`, so that an
//! older Shoal does not go on from it and make a second history.
//!
//! A single node's map counts on: Raft begins with it as a snapshot of log position 0, of which
//! the node itself is the only voter, so that it elects itself and gives later voters that
//! snapshot.

use super::file::{RaftFile, fact};
use super::state::State;
use super::types::{LogId, SnapshotMeta, StoredMembership};
use super::wire::Members;
use crate::MetaError;
use openraft::vote::{RaftLeaderIdExt, leader_id_adv::LeaderId};
use openraft::{EmptyNode, Membership};
use serde::{Deserialize, Serialize};
use shoal_core::codec;
use shoal_core::ids::NodeId;
use shoal_core::map::ClusterMap;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;

const SINGLE: &str = "map";
const RETIRED: &str = "map.single";
pub(crate) const RAFT: &str = "map.raft";
const NEXT: &str = "map.raft.next";

/// Whether the node runs Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mode {
    /// It pulls the map.
    Follower,
    /// It runs Raft. What was decided about the voters up to the log position `invited` does
    /// not yet count it in.
    Voter { invited: u64 },
}

/// The newest map that was pulled, and who decides it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pulled {
    pub(super) map: Vec<u8>,
    pub(super) members: Members,
}

/// The steps that change a directory, each durable before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Write the new file beside everything else.
    Write,
    /// Put it in place.
    Place,
    /// Take the single node's file out of the way.
    Retire,
}

/// Called before each step; what it fails with ends the change there.
pub(super) type Before<'a> = &'a dyn Fn(Step) -> io::Result<()>;

/// Opens the node's file in `directory`; makes it from a single node's first, if need be.
pub(super) fn open(directory: &Path, before: Before<'_>) -> Result<RaftFile, MetaError> {
    let path = directory.join(RAFT);
    let failed = |error: io::Error| trouble(&path, &error);
    if !path.try_exists().map_err(failed)? {
        let map = single(directory)?;
        write_and_place(directory, before, |change| first_voter(change, &map)).map_err(failed)?;
    }
    retire(directory, before).map_err(failed)?;
    RaftFile::open(&path).map_err(failed)
}

/// Makes the file of a node that was let into a cluster: it pulls the map from now on.
pub(super) fn admit(directory: &Path, node: NodeId, map: &ClusterMap) -> Result<(), MetaError> {
    let path = directory.join(RAFT);
    let failed = |error: io::Error| trouble(&path, &error);
    for taken in [&path, &directory.join(SINGLE), &directory.join(RETIRED)] {
        if taken.try_exists().map_err(failed)? {
            let what = "the directory belongs to a cluster already";
            return Err(MetaError::File {
                file: taken.display().to_string(),
                what: what.to_owned(),
            });
        }
    }
    let fill = |change: &super::file::Change<'_>| {
        change.put(fact::NODE, &node.0)?;
        change.put(fact::MODE, &Mode::Follower)?;
        let pulled = Pulled { map: codec::map::encode(map), members: Members::default() };
        change.put(fact::PULLED, &pulled)
    };
    write_and_place(directory, &|_| Ok(()), fill).map_err(failed)
}

/// Whether a node of a cluster wrote `directory`.
pub(super) fn is_home(directory: &Path) -> Result<bool, MetaError> {
    let path = directory.join(RAFT);
    path.try_exists().map_err(|error| trouble(&path, &error))
}

/// The map of the single node that wrote `directory`.
fn single(directory: &Path) -> Result<ClusterMap, MetaError> {
    let path = directory.join(SINGLE);
    let refused =
        |what: String| MetaError::File { file: path.display().to_string(), what: what.clone() };
    let bytes = fs::read(&path).map_err(|error| trouble(&path, &error))?;
    let map = codec::map::decode(&bytes).map_err(|error| refused(error.to_string()))?;
    if map.nodes.len() == 1 {
        Ok(map)
    } else {
        Err(refused(format!("it is the map of {} nodes, not of a single one", map.nodes.len())))
    }
}

/// What the first voter's file says.
pub(super) fn first_voter(change: &super::file::Change<'_>, map: &ClusterMap) -> io::Result<()> {
    let Some(node) = map.nodes.keys().next() else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the map has no node"));
    };
    let id = u64::from(node.0);
    // Before every term, so that every vote is newer.
    let first: LogId = LogId::new(LeaderId::new_committed(0, 0), 0);
    let nodes = BTreeMap::from([(id, EmptyNode::new())]);
    let membership =
        Membership::new(vec![BTreeSet::from([id])], nodes).map_err(io::Error::other)?;
    let meta = SnapshotMeta {
        last_log_id: Some(first),
        last_membership: StoredMembership::new(Some(first), membership),
    };
    let state = State::of(map.clone()).encode().map_err(io::Error::other)?;
    change.put(fact::NODE, &node.0)?;
    change.put(fact::MODE, &Mode::Voter { invited: 0 })?;
    change.put(fact::SNAPSHOT, &(meta, state))?;
    change.put(fact::COMMITTED, &Some(first))?;
    change.put(fact::PURGED, &first)
}

fn write_and_place(
    directory: &Path,
    before: Before<'_>,
    fill: impl FnOnce(&super::file::Change<'_>) -> io::Result<()>,
) -> io::Result<()> {
    before(Step::Write)?;
    let next = directory.join(NEXT);
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    drop(RaftFile::create(&next, fill)?);
    File::open(&next)?.sync_all()?;
    before(Step::Place)?;
    fs::rename(&next, directory.join(RAFT))?;
    sync_names(directory)
}

fn retire(directory: &Path, before: Before<'_>) -> io::Result<()> {
    let single = directory.join(SINGLE);
    if single.try_exists()? {
        before(Step::Retire)?;
        // Whoever put the new file in place may have ended before its name was durable.
        sync_names(directory)?;
        fs::rename(single, directory.join(RETIRED))?;
        sync_names(directory)?;
    }
    Ok(())
}

fn sync_names(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The error that says what happened to a file.
pub(super) fn trouble(path: &Path, error: &io::Error) -> MetaError {
    let (file, what) = (path.display().to_string(), error.to_string());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => MetaError::Full { file, what },
        _ => MetaError::File { file, what },
    }
}

#[cfg(test)]
mod tests;
