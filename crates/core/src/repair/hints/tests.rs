//! Hints: what is kept, to whom it goes, and when it is gone.

use super::*;
use crate::clock::Stamp;
use crate::ids::{Epoch, ReplicaIncarnation};
use crate::quorum::Refusal;
use crate::version::{Millis, Version};
use proptest::prelude::*;

const fn copy(id: u32, life: u64) -> Member {
    Member { node: NodeId(id), incarnation: ReplicaIncarnation(life) }
}

fn owners(replicas: &[u32], next: &[u32]) -> Owners {
    let members = |ids: &[u32]| ids.iter().map(|id| copy(*id, 1)).collect();
    let epoch = Epoch { generation: 1, index: 1 };
    Owners { epoch, replicas: members(replicas), next: members(next) }
}

fn item(key: &'static str, wall_ms: Millis) -> Item {
    let version = Version { wall_ms, counter: 0, node: NodeId(1) };
    let body = OwnedBody::Tombstone;
    let record = OwnedRecord { version, written: version, expires_at: None, body };
    Item { key: Bytes::from_static(key.as_bytes()), record }
}

/// What is expected to be sent of `item`, kept for `target`, to `to`.
fn delivery(target: u32, to: u32, item: &Item) -> Delivery {
    Delivery {
        target: NodeId(target),
        to: NodeId(to),
        key: item.key.clone(),
        rank: item.record.borrow().rank(),
        ask: Ask::Take {
            items: Arc::from([item.clone()]),
            origin: Origin::Kept { floor: Floor::ZERO },
        },
    }
}

fn kept(items: &[(u32, &Item)]) -> Hints {
    let mut hints = Hints::bounded(1_000);
    for (target, item) in items {
        assert!(hints.keep(NodeId(*target), item));
    }
    hints
}

fn all(hints: &Hints, owners: &Owners) -> Vec<Delivery> {
    hints.deliveries(owners, |_| true, usize::MAX)
}

#[test]
fn only_the_newest_is_kept_for_a_target_and_a_key() {
    let (old, new, other) = (item("k", 1), item("k", 2), item("l", 1));
    let mut hints = kept(&[(3, &old), (3, &new), (3, &other), (2, &old)]);
    assert!(!hints.keep(NodeId(3), &old) && !hints.keep(NodeId(3), &new));
    assert_eq!(hints.len(), 3);
    assert_eq!(
        all(&hints, &owners(&[1, 2, 3], &[])),
        [delivery(2, 2, &old), delivery(3, 3, &new), delivery(3, 3, &other)]
    );
}

#[test]
fn a_hint_goes_once_its_target_has_it_or_something_newer() {
    let set = owners(&[1, 2, 3], &[]);
    let (hinted, version) = (item("k", 1), item("k", 9).record.version);
    let sent = delivery(3, 3, &hinted);
    let below = Reply::BelowFloor(Floor(Stamp::start_of(5)));
    for reply in [Reply::Accepted, Reply::Newer(version), below] {
        let mut hints = kept(&[(3, &hinted)]);
        assert!(hints.answered(&sent, copy(3, 1), &reply, &set), "{reply:?}");
        assert!(hints.is_empty());
        assert!(!hints.answered(&sent, copy(3, 1), &reply, &set), "it is gone already");
    }
    let refusals = [Refusal::Stale, Refusal::NotCounting, Refusal::Unable];
    for reply in refusals.map(Reply::Refused).into_iter().chain([Reply::Clock]) {
        let mut hints = kept(&[(3, &hinted)]);
        assert!(!hints.answered(&sent, copy(3, 1), &reply, &set), "{reply:?}");
        assert_eq!(all(&hints, &set), std::slice::from_ref(&sent));
    }
}

#[test]
fn an_answer_to_an_older_record_leaves_the_newer_one() {
    let set = owners(&[1, 2, 3], &[]);
    let mut hints = kept(&[(3, &item("k", 1)), (3, &item("k", 2))]);
    let older = delivery(3, 3, &item("k", 1));
    assert!(!hints.answered(&older, copy(3, 1), &Reply::Accepted, &set));
    assert_eq!(all(&hints, &set), [delivery(3, 3, &item("k", 2))]);
}

#[test]
fn where_the_target_is_no_owner_any_more_every_owner_is_to_have_it() {
    let hinted = item("k", 1);
    let mut hints = kept(&[(9, &hinted)]);
    let set = owners(&[1, 2], &[2, 4]);
    let to = |id| delivery(9, id, &hinted);
    assert_eq!(all(&hints, &set), [to(1), to(2), to(4)]);
    assert!(!hints.answered(&to(1), copy(1, 1), &Reply::Accepted, &set));
    assert!(!hints.answered(&to(4), copy(4, 1), &Reply::Accepted, &set));
    assert_eq!(all(&hints, &set), [to(2)]);
    // Owners change: whoever has it already is not asked again, in the life that it had.
    let mut later = owners(&[1, 4], &[]);
    later.replicas[1] = copy(4, 7);
    assert_eq!(all(&hints, &later), [to(4)]);
    assert!(hints.answered(&to(4), copy(4, 7), &Reply::Accepted, &later));
}

#[test]
fn a_newer_hint_forgets_who_had_the_older_one() {
    let mut hints = kept(&[(9, &item("k", 1))]);
    let set = owners(&[1, 2], &[]);
    hints.answered(&delivery(9, 1, &item("k", 1)), copy(1, 1), &Reply::Accepted, &set);
    let newer = item("k", 2);
    assert!(hints.keep(NodeId(9), &newer));
    assert_eq!(all(&hints, &set), [delivery(9, 1, &newer), delivery(9, 2, &newer)]);
}

#[test]
fn deliveries_are_bounded_and_go_to_whom_they_can_reach() {
    let hints = kept(&[(2, &item("a", 1)), (2, &item("b", 1)), (3, &item("a", 1))]);
    let set = owners(&[1, 2, 3], &[]);
    assert_eq!(hints.deliveries(&set, |_| true, 2).len(), 2);
    let reached = hints.deliveries(&set, |node| node == NodeId(3), 2);
    assert_eq!(reached, [delivery(3, 3, &item("a", 1))]);
}

proptest! {
    /// In whatever order records are kept, the newest of each key is what is delivered.
    #[test]
    fn the_newest_is_delivered(times in prop::collection::vec(0_u64..9, 1..9)) {
        let mut hints = Hints::bounded(1_000);
        for at in &times {
            hints.keep(NodeId(2), &item("k", *at));
        }
        let newest = item("k", times.iter().copied().max().unwrap());
        prop_assert_eq!(all(&hints, &owners(&[1, 2], &[])), [delivery(2, 2, &newest)]);
    }
}

#[test]
fn beyond_its_bound_nothing_new_is_kept_and_what_is_kept_stays_current() {
    let mut hints = Hints::bounded(1);
    assert!(hints.keep(NodeId(3), &item("k", 1)));
    assert!(!hints.keep(NodeId(3), &item("l", 1)) && !hints.keep(NodeId(2), &item("k", 1)));
    assert!(hints.keep(NodeId(3), &item("k", 2)));
    assert_eq!(hints.len(), 1);
}

#[test]
fn what_is_kept_is_counted_in_bytes_until_it_goes() {
    let (small, large) = (item("k", 1), {
        let mut large = item("k", 2);
        large.record.body = OwnedBody::Live { kind: 0, bytes: Bytes::from_static(&[7; 1_000]) };
        large
    });
    let mut hints = kept(&[(3, &small), (2, &small)]);
    assert_eq!(hints.bytes(), 2 * Hints::cost(&small));
    assert!(hints.keep(NodeId(3), &large));
    assert_eq!(hints.bytes(), Hints::cost(&small) + Hints::cost(&large));
    assert_eq!(Hints::cost(&large) - Hints::cost(&small), 1_000);
    let set = owners(&[1, 2, 3], &[]);
    assert!(hints.answered(&delivery(3, 3, &large), copy(3, 1), &Reply::Accepted, &set));
    assert_eq!(hints.bytes(), Hints::cost(&small));
}

#[test]
fn deliveries_go_round_and_leave_out_what_may_not_be_sent() {
    let items = ["a", "b", "c"].map(|key| item(key, 1));
    let other = item("a", 1);
    let hints = kept(&[(3, &items[0]), (3, &items[1]), (3, &items[2]), (2, &other)]);
    let set = owners(&[1, 2, 3], &[]);
    assert_eq!(hints.targets().collect::<Vec<_>>(), [NodeId(2), NodeId(3)]);
    let after = Bytes::from_static(b"a");
    let round = hints.deliveries_for(NodeId(3), Some(&after), &set, |_, _| true, 9);
    assert_eq!(round, [1, 2, 0].map(|at: usize| delivery(3, 3, &items[at])));
    let some = hints.deliveries_for(NodeId(3), None, &set, |_, key| key != "a", 1);
    assert_eq!(some, [delivery(3, 3, &items[1])]);
    assert_eq!(hints.deliveries_for(NodeId(4), None, &set, |_, _| true, 9), []);
}
