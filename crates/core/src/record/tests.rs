//! The laws of merge, and the digest that must tell records apart where merge does.

use super::*;
use crate::ids::NodeId;
use proptest::prelude::*;

/// A record that owns its bytes; small ranges, so that ties are common.
#[derive(Clone, Debug)]
struct Owned {
    version: Version,
    written: Version,
    expires_at: Option<Millis>,
    body: Option<(u8, Vec<u8>)>,
}

impl Owned {
    fn record(&self) -> Record<'_> {
        let body = match &self.body {
            Some((kind, bytes)) => Body::Live { kind: *kind, bytes },
            None => Body::Tombstone,
        };
        let Self { version, written, expires_at, .. } = *self;
        Record { version, written, expires_at, body }
    }
}

fn version() -> impl Strategy<Value = Version> {
    (0..3_u64, 0..3_u16, 1..3_u32).prop_map(|(wall_ms, counter, node)| Version {
        wall_ms,
        counter,
        node: NodeId(node),
    })
}

fn owned() -> impl Strategy<Value = Owned> {
    let body = prop::option::of((0..2_u8, prop::collection::vec(0..2_u8, 0..3)));
    (version(), version(), prop::option::of(0..3_u64), body).prop_map(
        |(version, written, expires_at, body)| Owned { version, written, expires_at, body },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn merge_is_a_join(a in owned(), b in owned(), c in owned()) {
        let (a, b, c) = (a.record(), b.record(), c.record());
        prop_assert_eq!(merge(a, a), a);
        prop_assert_eq!(merge(a, b), merge(b, a));
        prop_assert_eq!(merge(merge(a, b), c), merge(a, merge(b, c)));
    }

    #[test]
    fn merge_picks_one_of_the_two_and_never_an_older_one(a in owned(), b in owned()) {
        let (a, b) = (a.record(), b.record());
        let merged = merge(a, b);
        prop_assert!(merged == a || merged == b);
        prop_assert_eq!(merged.version, a.version.max(b.version));
        if a.version == b.version && (a.is_tombstone() || b.is_tombstone()) {
            prop_assert!(merged.is_tombstone());
        }
    }

    #[test]
    fn the_order_is_total_and_equal_only_for_equal_records(a in owned(), b in owned()) {
        let (a, b) = (a.record(), b.record());
        prop_assert_eq!(newer(&a, &b), newer(&b, &a).reverse());
        prop_assert_eq!(newer(&a, &b) == Ordering::Equal, a == b);
    }

    #[test]
    fn records_of_one_version_have_one_digest_exactly_if_they_are_equal(
        a in owned(), b in owned(),
    ) {
        let b = Owned { version: a.version, ..b };
        let (a, b) = (a.record(), b.record());
        prop_assert_eq!(a.digest() == b.digest(), a == b);
    }

    #[test]
    fn a_record_is_live_until_its_expiry_and_not_at_it(a in owned(), now in 0..4_u64) {
        let record = a.record();
        let expired = a.expires_at.is_some_and(|at| now >= at);
        prop_assert_eq!(record.is_live_at(now), a.body.is_some() && !expired);
        prop_assert_eq!(record.value_at(now).is_some(), record.is_live_at(now));
    }
}
