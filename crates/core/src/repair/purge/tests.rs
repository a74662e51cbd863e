//! A round of purge: what it asks to be proven.

use super::*;
use crate::clock::Stamp;
use crate::ids::ReplicaIncarnation;
use crate::record::{OwnedBody, OwnedRecord};
use crate::version::Version;

const ME: Member = Member { node: NodeId(1), incarnation: ReplicaIncarnation(1) };

/// A tombstone of this event time, written then.
fn dead(key: &'static str, event_ms: Millis, written_ms: Millis) -> Item {
    let at = |wall_ms| Version { wall_ms, counter: 0, node: NodeId(1) };
    let (version, written) = (at(event_ms), at(written_ms));
    let record = OwnedRecord { version, written, expires_at: None, body: OwnedBody::Tombstone };
    Item { key: Bytes::from_static(key.as_bytes()), record }
}

/// The keys that a round for what was written by 1,000 asks about.
fn asked(items: &[Item], event_horizon_ms: Option<Millis>) -> Vec<Bytes> {
    let floor = Floor(Stamp::start_of(1_000));
    let mut out = Vec::new();
    let mut purge = Purge::start(ME.node, vec![ME], floor, event_horizon_ms, &mut out);
    out.clear();
    let reply = Reply::Page { items: items.into(), floor: Floor::ZERO, more: false };
    let epoch = crate::ids::Epoch { generation: 1, index: 1 };
    purge.answered(&Answer { from: ME, epoch, round: 1, clock: Stamp::ZERO, reply }, &mut out);
    let PurgeEffect::Send { ask: Ask::Prove { dead, .. }, .. } = &out[0] else {
        return Vec::new();
    };
    dead.iter().map(|(key, _)| key.clone()).collect()
}

#[test]
fn what_was_written_after_the_floor_is_left() {
    assert_eq!(asked(&[dead("old", 999, 999), dead("new", 1_001, 1_001)], None), ["old"]);
}

#[test]
fn where_events_may_come_late_a_dead_record_waits_until_none_older_can() {
    let items = [dead("past", 700, 900), dead("late", 701, 900), dead("ahead", 1_200, 900)];
    assert_eq!(asked(&items, None), ["past", "late", "ahead"]);
    assert_eq!(asked(&items, Some(300)), ["past"]);
    assert_eq!(asked(&items[1..], Some(300)), Vec::<Bytes>::new());
}
