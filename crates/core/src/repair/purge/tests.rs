//! A round of purge: what it asks to be proven.

use super::*;
use crate::clock::Stamp;
use crate::ids::ReplicaIncarnation;
use crate::quorum::Item;
use crate::record::{OwnedBody, OwnedRecord};
use crate::repair::{FANOUT, Leaf};
use crate::version::Version;

const ME: Member = Member { node: NodeId(1), incarnation: ReplicaIncarnation(1) };

/// A tombstone of this event time, written then.
fn dead(key: &'static str, event_ms: Millis, written_ms: Millis) -> Item {
    let at = |wall_ms| Version { wall_ms, counter: 0, node: NodeId(1) };
    let (version, written) = (at(event_ms), at(written_ms));
    let record = OwnedRecord { version, written, expires_at: None, body: OwnedBody::Tombstone };
    Item { key: Bytes::from_static(key.as_bytes()), record }
}

const SLOTS: [Slot; 2] = [Slot::new(3).unwrap(), Slot::new(4).unwrap()];
const OTHER: Member = Member { node: NodeId(2), incarnation: ReplicaIncarnation(1) };

fn round(owners: &[Member], slots: usize, horizon_ms: Option<Millis>) -> (Purge, Vec<PurgeEffect>) {
    let floor = Floor(Stamp::start_of(1_000));
    let mut out = Vec::new();
    let slots = SLOTS[..slots].to_vec();
    (Purge::start(ME.node, owners.to_vec(), slots, floor, horizon_ms, &mut out), out)
}

fn says(purge: &mut Purge, from: Member, round: u32, reply: Reply) -> Vec<PurgeEffect> {
    let epoch = crate::ids::Epoch { generation: 1, index: 1 };
    let mut out = Vec::new();
    purge.answered(&Answer { from, epoch, round, clock: Stamp::ZERO, reply }, &mut out);
    out
}

fn keys(items: &[Item]) -> Reply {
    let pair = |item: &Item| (item.key.clone(), item.record.borrow().rank());
    Reply::Digest(Digest::Keys(items.iter().map(pair).collect()))
}

/// The keys that a round for what was written by 1,000 asks about: the same whether they are seen
/// in a digest or in pages.
fn asked(items: &[Item], event_horizon_ms: Option<Millis>) -> Vec<Bytes> {
    let parts = Reply::Digest(Digest::Parts(Box::new([Leaf::default(); FANOUT])));
    let page =
        Reply::Page { items: items.into(), floor: Floor::ZERO, mark: Version::ZERO, more: false };
    let mut seen = [vec![keys(items)], vec![parts, page]].map(|replies| {
        let (mut purge, mut out) = round(&[ME], 1, event_horizon_ms);
        for (at, reply) in replies.into_iter().enumerate() {
            out = says(&mut purge, ME, u32::try_from(at).unwrap() + 1, reply);
        }
        match &out[0] {
            PurgeEffect::Send { ask: Ask::Prove { dead, .. }, .. } => {
                dead.iter().map(|(key, _)| key.clone()).collect()
            }
            _ => Vec::new(),
        }
    });
    assert_eq!(seen[0], seen[1]);
    std::mem::take(&mut seen[0])
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

#[test]
fn slots_are_gone_through_and_what_all_have_proven_is_dropped_at_one_floor() {
    let (first, second) = (dead("a", 5, 5), dead("b", 6, 6));
    let (mut purge, _) = round(&[ME, OTHER], 2, None);
    let proven = |item: &Item| [(item.key.clone(), item.record.borrow().rank())];
    let floor = purge.floor();
    let to_all = |slot, round, ask: &Ask| {
        [ME, OTHER].map(|owner| {
            let (to, ask) = (owner.node, ask.clone());
            PurgeEffect::Send { to, slot, round, ask }
        })
    };
    let prove = |item| Ask::Prove { round: floor, dead: proven(item).into() };
    let purged = |item| Ask::Purge { round: floor, proven: proven(item).into() };
    let [one, two] = SLOTS;
    assert_eq!(
        says(&mut purge, ME, 1, keys(std::slice::from_ref(&first))),
        to_all(one, 2, &prove(&first))
    );
    assert_eq!(says(&mut purge, ME, 2, Reply::Proven(vec![true])), []);
    let look = Ask::Digest { range: HashRange::ALL };
    let look = PurgeEffect::Send { to: ME.node, slot: two, round: 3, ask: look };
    assert_eq!(says(&mut purge, OTHER, 2, Reply::Proven(vec![true])), [look]);
    assert_eq!(
        says(&mut purge, ME, 3, keys(std::slice::from_ref(&second))),
        to_all(two, 4, &prove(&second))
    );
    says(&mut purge, ME, 4, Reply::Proven(vec![true]));
    let raise = Ask::RaiseFloor { to: floor };
    let raised = Reply::Floors { floor, purged: Floor::ZERO };
    assert_eq!(says(&mut purge, OTHER, 4, Reply::Proven(vec![true])), to_all(two, 5, &raise));
    says(&mut purge, ME, 5, raised.clone());
    assert_eq!(says(&mut purge, OTHER, 5, raised), to_all(one, 6, &purged(&first)));
    says(&mut purge, ME, 6, Reply::Accepted);
    assert_eq!(says(&mut purge, OTHER, 6, Reply::Accepted), to_all(two, 7, &purged(&second)));
    says(&mut purge, OTHER, 7, Reply::Accepted);
    let over = PurgeEffect::Over { purged: 2, broken_off: false };
    assert_eq!(says(&mut purge, ME, 7, Reply::Accepted), [over]);
}

#[test]
fn what_one_has_not_proven_is_left_and_a_refusal_ends_the_round() {
    let both = [dead("a", 5, 5), dead("b", 6, 6)];
    let (mut purge, _) = round(&[ME, OTHER], 1, None);
    says(&mut purge, ME, 1, keys(&both));
    says(&mut purge, ME, 2, Reply::Proven(vec![true, true]));
    let raise = says(&mut purge, OTHER, 2, Reply::Proven(vec![false]));
    let over = PurgeEffect::Over { purged: 0, broken_off: false };
    assert_eq!(raise, [over], "it said nothing about the second");
    let (mut purge, _) = round(&[ME, OTHER], 1, None);
    says(&mut purge, ME, 1, keys(&both));
    let refused = Reply::Refused(crate::quorum::Refusal::Stale);
    let over = PurgeEffect::Over { purged: 0, broken_off: true };
    assert_eq!(says(&mut purge, OTHER, 2, refused), [over]);
    assert!(purge.is_over());
}
