//! That leaves differ whenever what they stand for does.

use super::*;
use crate::ids::NodeId;
use crate::record::Record;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SECRET: TreeSecret = TreeSecret(0x5EED);

fn version(wall_ms: u64) -> Version {
    Version { wall_ms, counter: 0, node: NodeId(1) }
}

type Records = BTreeMap<Vec<u8>, Rank>;

fn leaf(records: &Records) -> Leaf {
    let mut leaf = Leaf::default();
    for (key, rank) in records {
        leaf.add(SECRET, key, rank);
    }
    leaf
}

fn live(wall_ms: u64, value: &[u8]) -> Rank {
    Record::live(version(wall_ms), None, value).rank()
}

fn some_records(count: u8) -> Records {
    (0..count).map(|n| (vec![b'k', n], live(u64::from(n / 3), &[n % 5]))).collect()
}

/// Every way in which two replicas have ever been known to differ without its being noticed.
#[test]
fn each_kind_of_difference_shows() {
    let base = some_records(40);
    let expected = leaf(&base);
    let changed = |change: &dyn Fn(&mut Records)| {
        let mut records = base.clone();
        change(&mut records);
        assert_ne!(records, base, "the case changes something");
        leaf(&records)
    };
    let at = |n: u8| vec![b'k', n];
    let cases = [
        (
            "another value of one version",
            changed(&|r| *r.get_mut(&at(7)).expect("there") = live(2, b"other")),
        ),
        (
            "a tombstone of one version",
            changed(&|r| {
                *r.get_mut(&at(7)).expect("there") = Record::tombstone(version(2)).rank();
            }),
        ),
        ("another expiry", changed(&|r| r.get_mut(&at(7)).expect("there").expires_at = Some(0))),
        (
            "another time of writing",
            changed(&|r| r.get_mut(&at(7)).expect("there").written = version(9)),
        ),
        ("another kind", changed(&|r| r.get_mut(&at(7)).expect("there").kind = 1)),
        ("a record too few", changed(&|r| r.retain(|key, _| *key != at(7)))),
        ("a record too many", changed(&|r| r.extend([(vec![b'x'], live(0, b""))]))),
        (
            "two values that traded keys",
            changed(&|r| {
                let (one, two) = (r[&at(7)], r[&at(8)]);
                r.insert(at(7), two);
                r.insert(at(8), one);
            }),
        ),
        (
            "a key whose end moved into the next",
            changed(&|r| {
                let rank = r.remove(&at(7)).expect("there");
                r.insert(vec![b'k', 7, 0], rank);
            }),
        ),
    ];
    for (what, other) in cases {
        assert_ne!(other, expected, "{what}");
    }
}

#[test]
fn what_is_held_twice_does_not_cancel_out() {
    let rank = live(1, b"v");
    let mut leaf = Leaf::default();
    leaf.add(SECRET, b"k", &rank);
    let once = leaf;
    leaf.add(SECRET, b"k", &rank);
    assert_ne!(leaf, Leaf::default());
    leaf.remove(SECRET, b"k", &rank);
    assert_eq!(leaf, once);
}

#[test]
fn ten_thousand_injected_differences_are_all_seen() {
    let mut rng = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = |below: u64| {
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        rng % below
    };
    let base = some_records(100);
    let expected = leaf(&base);
    for round in 0..10_000 {
        let mut records = base.clone();
        for _ in 0..=next(3) {
            let key = vec![b'k', u8::try_from(next(100)).expect("below 100")];
            match next(3) {
                0 => records.retain(|held, _| *held != key),
                1 => records.extend([(key, Record::tombstone(version(next(40))).rank())]),
                _ => records.extend([(key, live(next(40), &next(9).to_be_bytes()))]),
            }
        }
        assert_eq!(leaf(&records) == expected, records == base, "round {round}");
    }
}

proptest! {
    #[test]
    fn the_order_of_changes_does_not_matter(keys in prop::collection::vec(any::<[u8; 2]>(), 0..40)) {
        let rank = live(1, b"v");
        let (mut forth, mut back) = (Leaf::default(), Leaf::default());
        for key in &keys {
            forth.add(SECRET, key, &rank);
        }
        for key in keys.iter().rev() {
            back.add(SECRET, key, &rank);
        }
        prop_assert_eq!(forth, back);
        for key in &keys {
            forth.remove(SECRET, key, &rank);
        }
        prop_assert_eq!(forth, Leaf::default());
    }

    #[test]
    fn the_parts_of_a_range_tile_it(key in prop::collection::vec(any::<u8>(), 1..20), depth in 0..15_u8) {
        let mut range = HashRange::ALL;
        for _ in 0..depth {
            let part = range.part_of(SECRET, &key);
            let inside: Vec<usize> = range
                .parts()
                .enumerate()
                .filter(|(_, part)| part.contains(SECRET, &key))
                .map(|(index, _)| index)
                .collect();
            prop_assert_eq!(&inside, &vec![part]);
            range = range.parts().nth(part).expect("one of sixteen");
        }
    }
}
