//! Several records as one: taken together, or not at all.

use super::*;

#[test]
fn a_batch_is_refused_whole_until_its_last_round() {
    let (newer, batch) = (live(300, "newer"), live(200, "batch"));
    for origin in [FIRST, LAST, HINT] {
        let mut store = Store::with(&[("a", &newer)]);
        let asked = take(&[("a", &batch), ("b", &batch)], origin);
        let (reply, ticket) = ask(&mut replica(), &mut store, asked);
        assert_eq!(reply, Reply::Newer(version(300, 0)));
        let merged = origin != FIRST;
        assert_eq!(store.get("a"), Some(&newer));
        assert_eq!(store.get("b"), merged.then_some(&batch));
        assert_eq!(ticket, if merged { 2 } else { 1 });
    }
}

#[test]
fn a_batch_below_a_floor_leaves_nothing() {
    let mut replica = replica();
    replica.raise_floor(floor(400));
    let mut store = Store::default();
    let (reply, _) = ask(&mut replica, &mut store, take(&[("a", &live(300, "x"))], LAST));
    assert_eq!(reply, Reply::BelowFloor(floor(400)));
    assert_eq!(store.get("a"), None);
}

#[test]
fn a_batch_below_a_floor_tells_of_what_is_newer_than_the_floor_too() {
    let (newer, batch) = (live(600, "newer"), live(300, "batch"));
    let asked = |origin| take(&[("a", &batch), ("b", &batch)], origin);
    let mut replica = replica();
    replica.raise_floor(floor(400));
    for held in [["a", "b"], ["b", "a"]] {
        let mut store = Store::with(&[(held[0], &newer)]);
        // Who stamps again must stamp above both.
        let first = ask(&mut replica, &mut store, asked(FIRST));
        assert_eq!(first.0, Reply::Newer(version(600, 0)));
        // In the last round what is newer would count as acceptance, which a floor never is.
        let last = ask(&mut replica, &mut store, asked(LAST));
        assert_eq!(last.0, Reply::BelowFloor(floor(400)));
        assert_eq!(store.get(held[1]), None);
    }
}

fn guarded(name: &'static str, base: Option<&OwnedRecord>, next: Option<&OwnedRecord>) -> Guarded {
    let base = base.map_or(Base::Nothing, |record| Base::Record(rank(record)));
    Guarded { key: Bytes::from_static(name.as_bytes()), base, next: next.cloned() }
}

#[test]
fn a_conditional_batch_is_taken_whole_or_not_at_all() {
    let (old, new, newer) = (live(200, "old"), live(300, "new"), live(400, "newer"));
    let on_old = |name, next| guarded(name, Some(&old), next);
    let batch = |parts: &[Guarded]| Ask::Batch { parts: parts.into() };
    let both = [on_old("a", Some(&new)), on_old("b", Some(&new))];
    let held = |store: &Store| ["a", "b"].map(|key| store.get(key).map(|held| held.version));
    // As judged, or even older: all is taken, at once.
    for before in [vec![("a", &old), ("b", &old)], vec![("b", &old)], vec![]] {
        let mut store = Store::with(&before);
        let ticket = before.len() as u64 + 1;
        assert_eq!(ask(&mut replica(), &mut store, batch(&both)), (Reply::Accepted, ticket));
        assert_eq!(held(&store), [Some(new.version); 2]);
        // Once more, it is there; and said once that is durable.
        assert_eq!(ask(&mut replica(), &mut store, batch(&both)), (Reply::Accepted, ticket));
    }
    // Anything newer under either of them: nothing is taken, and it is said which, once durable.
    for (key, other) in [("a", "b"), ("b", "a")] {
        let mut store = Store::with(&[(other, &old), (key, &newer)]);
        let told = Reply::Changed(vec![(Bytes::from_static(key.as_bytes()), rank(&newer))]);
        assert_eq!(ask(&mut replica(), &mut store, batch(&both)), (told, 2));
        assert_eq!(store.get(other), Some(&old));
        assert_eq!(store.get(key), Some(&newer));
    }
    // So it is where the key is only looked at.
    let looking = [on_old("a", None), on_old("b", Some(&new))];
    let mut store = Store::with(&[("a", &newer), ("b", &old)]);
    assert!(matches!(ask(&mut replica(), &mut store, batch(&looking)).0, Reply::Changed(_)));
    assert_eq!(held(&store), [Some(newer.version), Some(old.version)]);
    let mut store = Store::with(&[("a", &old), ("b", &old)]);
    assert_eq!(ask(&mut replica(), &mut store, batch(&looking)).0, Reply::Accepted);
    assert_eq!(held(&store), [Some(old.version), Some(new.version)]);
    // Below a floor nothing is taken either, and what is newer is told before that.
    let mut low = replica();
    low.raise_floor(floor(350));
    let mut store = Store::with(&[("a", &old), ("b", &old)]);
    assert_eq!(ask(&mut low, &mut store, batch(&both)).0, Reply::BelowFloor(floor(350)));
    let mut store = Store::with(&[("a", &old), ("b", &newer)]);
    assert!(matches!(ask(&mut low, &mut store, batch(&both)).0, Reply::Changed(_)));
    assert_eq!(store.get("a"), Some(&old));
    // Nor by a copy that is not fit to take anything.
    let mut store = Store::with(&[]);
    let refused = Reply::Refused(Refusal::NotCounting);
    assert_eq!(ask(&mut incoming(), &mut store, batch(&looking)).0, refused);
}
