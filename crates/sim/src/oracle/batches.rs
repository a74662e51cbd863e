//! A batch is never torn: where one of its records is what a key ends with, every other of its
//! keys ends with the batch's record or with something newer.
//!
//! Judged where nothing can be gone by right: what is dead is not purged, hints have room, and
//! owners stay (an unacknowledged batch may be lost in part with an owner that leaves).

use crate::client::{Entry, Kind};
use crate::world::World;
use bytes::Bytes;
use shoal_core::version::Version;
use shoal_core::{OwnedRecord, Record};
use std::collections::BTreeMap;

/// Below this an owner's records may have been purged by the end of a run.
const NEVER_MS: u64 = 3_600_000;

pub(crate) fn judge(world: &World) -> Result<(), String> {
    let options = &world.options;
    let roomy = options.hints > 1_000 && options.purge_delay_ms >= NEVER_MS;
    if !roomy || options.faults.moves || options.memory || options.evicts() {
        return Ok(());
    }
    let ends = ends(world);
    for (serial, entry) in world.history.iter().enumerate() {
        let Kind::Batch { .. } = entry.request.kind else { continue };
        let Some(version) = ended_with(serial, entry, &ends) else { continue };
        let torn = entry
            .request
            .keys
            .iter()
            .find(|key| ends.get(key).is_none_or(|record| record.version < version));
        if let Some(key) = torn {
            let end = ends.get(key).map(|record| record.version);
            return Err(format!(
                "batch: request {serial} ended at {version} elsewhere, and {key:?} at {end:?}"
            ));
        }
    }
    Ok(())
}

/// What each key ends with; all owners agree by now.
fn ends(world: &World) -> BTreeMap<&Bytes, Record<'_>> {
    let mut ends = BTreeMap::new();
    for node in &world.nodes {
        let counts = |key: &Bytes| {
            let partition = world.layout.place(key).partition;
            let member = node.copies[partition].replica.member();
            world.map.newest(partition).replicas.contains(&member)
        };
        let records = node.shelf.records().filter(|(_, key, _)| counts(key));
        ends.extend(records.map(|(_, key, record)| (key, OwnedRecord::borrow(record))));
    }
    ends
}

/// The version of a batch of which some key ended with the value.
fn ended_with(
    serial: usize,
    entry: &Entry,
    ends: &BTreeMap<&Bytes, Record<'_>>,
) -> Option<Version> {
    let value = serial.to_string();
    let own = entry
        .request
        .keys
        .iter()
        .filter_map(|key| ends.get(key))
        .filter(|record| record.value_at(0).is_some_and(|bytes| bytes == value.as_bytes()));
    own.map(|record| record.version).max()
}
