//! What a copy shows of a slot: pages and digests.

use super::*;

#[test]
fn pages_come_in_order_and_say_whether_there_is_more() {
    let (a, b, c) = (live(1, "a"), live(2, "b"), live(3, "c"));
    let mut store = Store::with(&[("c", &c), ("a", &a), ("b", &b)]);
    let mut replica = replica();
    replica.raise_floor(floor(9));
    let page = |keys: &[(&'static str, &OwnedRecord)], more| {
        let Ask::Take { items, .. } = take(keys, HINT) else { panic!("it is a take") };
        Reply::Page { items, floor: floor(9), mark: Version::ZERO, more }
    };
    let mut next = |after: Option<&'static [u8]>| {
        let after = after.map(Bytes::from_static);
        ask(&mut replica, &mut store, Ask::Page { after, limit: 2 })
    };
    assert_eq!(next(None), (page(&[("a", &a), ("b", &b)], true), 3));
    assert_eq!(next(Some(b"b")), (page(&[("c", &c)], false), 1));
    assert_eq!(next(Some(b"c")), (page(&[], false), 0));
}

#[test]
fn a_page_ends_early_where_its_records_are_large_and_never_before_the_first() {
    let large = "x".repeat(700 << 10).leak();
    let (a, b, c) = (live(1, large), live(2, large), live(3, large));
    let mut store = Store::with(&[("a", &a), ("b", &b), ("c", &c)]);
    let mut replica = replica();
    let mut next = |after: Option<&'static [u8]>| {
        let after = after.map(Bytes::from_static);
        match ask(&mut replica, &mut store, Ask::Page { after, limit: 64 }).0 {
            Reply::Page { items, more, .. } => (items.len(), more),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(next(None), (2, true));
    assert_eq!(next(Some(b"b")), (1, false));
    let larger = live(4, "x".repeat(2 << 20).leak());
    let mut store = Store::with(&[("a", &larger), ("b", &larger)]);
    let first = ask(&mut replica, &mut store, Ask::Page { after: None, limit: 64 }).0;
    assert!(matches!(first, Reply::Page { items, more: true, .. } if items.len() == 1));
}

#[test]
fn digests_of_slots_are_counted_once_and_kept_up_to_date_from_then_on() {
    let (mut replica, mut store) = (replica(), Store::default());
    let counted = |store: &Store| {
        let mut leaf = Leaf::default();
        for (key, (record, _)) in &store.kept {
            leaf.add(LIMITS.secret, key, &rank(record));
        }
        Reply::Leaves(vec![leaf])
    };
    let mut said = |store: &mut Store, what| ask(&mut replica, store, what).0;
    let leaf = || Ask::Leaves { count: 1 };
    said(&mut store, take(&[("a", &live(900, "v"))], FIRST));
    assert_eq!(said(&mut store, leaf()), counted(&store));
    let pages = store.pages.get();
    let dead = OwnedRecord { body: OwnedBody::Tombstone, ..live(904, "") };
    let puts = [("b", live(901, "v")), ("a", live(902, "v")), ("c", live(903, "")), ("b", dead)];
    for (key, record) in &puts {
        assert_eq!(said(&mut store, take(&[(key, record)], FIRST)), Reply::Accepted);
        assert_eq!(said(&mut store, leaf()), counted(&store));
    }
    let proven = Arc::from([(Bytes::from_static(b"b"), rank(&puts[3].1))]);
    said(&mut store, Ask::RaiseFloor { to: floor(905) });
    said(&mut store, Ask::Purge { round: floor(905), proven });
    assert_eq!((store.get("b"), store.kept.len()), (None, 2));
    assert_eq!(said(&mut store, leaf()), counted(&store));
    assert_eq!(store.pages.get(), pages, "nothing was walked through again");
    // One that is wrong is put right by whoever looks into what differs.
    store.tree.get_mut().changed(SLOT, b"x", None, Some(&rank(&puts[0].1)));
    assert_ne!(said(&mut store, leaf()), counted(&store));
    said(&mut store, Ask::Digest { range: HashRange::ALL });
    assert_eq!(said(&mut store, leaf()), counted(&store));
}
