//! A comparison whose sides have different floors.

use super::*;
use crate::clock::Stamp;
use crate::ids::{Epoch, ReplicaIncarnation};
use crate::quorum::Member;
use crate::record::OwnedBody;
use crate::version::Version;

fn answer(from: u32, round: u32, reply: Reply) -> Answer {
    let from = Member { node: NodeId(from), incarnation: ReplicaIncarnation(1) };
    let epoch = Epoch { generation: 1, index: 1 };
    Answer { from, epoch, round, clock: Stamp::ZERO, reply }
}

fn one_key() -> Reply {
    Reply::Leaves(vec![Leaf { count: 1, sum: 7 }])
}

fn no_key() -> Reply {
    Reply::Leaves(vec![Leaf::default()])
}

#[test]
fn where_both_hold_the_same_nothing_more_is_asked() {
    let mut out = Vec::new();
    let mut sync = Sync::start(NodeId(1), NodeId(2), 100, &mut out);
    let ask = |to, round| SyncEffect::Send { to: NodeId(to), round, ask: Ask::Leaves { count: 1 } };
    assert_eq!(std::mem::take(&mut out), [ask(1, 1), ask(2, 2)]);
    sync.answered(&answer(2, 2, one_key()), &mut out);
    sync.answered(&answer(1, 1, one_key()), &mut out);
    assert_eq!(out, [SyncEffect::Over { moved: 0 }]);
    // One that answers something else ends it.
    let mut sync = Sync::start(NodeId(1), NodeId(2), 100, &mut Vec::new());
    out.clear();
    sync.answered(&answer(2, 2, Reply::Leaves(Vec::new())), &mut out);
    assert_eq!(out, [SyncEffect::Over { moved: 0 }]);
}

#[test]
fn where_a_record_lies_below_the_others_floor_the_own_one_rises() {
    let version = Version { wall_ms: 5, counter: 0, node: NodeId(1) };
    let body = OwnedBody::Tombstone;
    let record = OwnedRecord { version, written: version, expires_at: None, body };
    let rank = record.borrow().rank();
    let key = Bytes::from_static(b"k");
    let mut out = Vec::new();
    let mut sync = Sync::start(NodeId(1), NodeId(2), 100, &mut out);
    let mut says = |from, round, reply| {
        let mut out = Vec::new();
        sync.answered(&answer(from, round, reply), &mut out);
        out
    };
    says(1, 1, one_key());
    says(2, 2, no_key());
    says(1, 3, Reply::Digest(Digest::Keys(vec![(key.clone(), rank)])));
    says(2, 4, Reply::Digest(Digest::Keys(Vec::new())));
    let (mine, theirs) = (Floor(Stamp::start_of(3)), Floor(Stamp::start_of(8)));
    let found = Reply::Found {
        rank: Some(rank),
        record: Some(record.clone()),
        floor: mine,
        mark: Version::ZERO,
    };
    let items = Arc::from([Item { key, record }]);
    let take = Ask::Take { items, origin: Origin::Kept { floor: mine } };
    assert_eq!(says(1, 5, found), [SyncEffect::Send { to: NodeId(2), round: 6, ask: take }]);
    let raise = Ask::RaiseFloor { to: theirs };
    assert_eq!(
        says(2, 6, Reply::BelowFloor(theirs)),
        [SyncEffect::Send { to: NodeId(1), round: 7, ask: raise }]
    );
    let raised = Reply::Floors { floor: theirs, purged: Floor::ZERO };
    assert_eq!(says(1, 7, raised), [SyncEffect::Over { moved: 1 }]);
}

#[test]
fn where_keys_are_evicted_only_tombstones_fill_a_gap() {
    let at = |wall_ms| Version { wall_ms, counter: 0, node: NodeId(1) };
    let record = |wall_ms, body| {
        OwnedRecord { version: at(wall_ms), written: at(wall_ms), expires_at: None, body }
            .borrow()
            .rank()
    };
    let live = |wall_ms| record(wall_ms, OwnedBody::Live { kind: 0, bytes: Bytes::new() });
    let key = |name: &'static str| Bytes::from_static(name.as_bytes());
    let mine = vec![
        (key("both"), live(5)),
        (key("dead"), record(5, OwnedBody::Tombstone)),
        (key("gone"), live(5)),
    ];
    let theirs = vec![(key("both"), live(6))];
    let mut out = Vec::new();
    let mut sync = Sync::start(NodeId(1), NodeId(2), 100, &mut out).among_evicting();
    let mut asked = Vec::new();
    sync.answered(&answer(1, 1, one_key()), &mut Vec::new());
    sync.answered(&answer(2, 2, no_key()), &mut Vec::new());
    sync.answered(&answer(1, 3, Reply::Digest(Digest::Keys(mine))), &mut asked);
    sync.answered(&answer(2, 4, Reply::Digest(Digest::Keys(theirs))), &mut asked);
    let read = |to, round, name| {
        let ask = Ask::Read { key: key(name), whole: true };
        SyncEffect::Send { to: NodeId(to), round, ask }
    };
    assert_eq!(asked, [read(2, 5, "both"), read(1, 6, "dead")]);
}
