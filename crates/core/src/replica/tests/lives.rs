//! Epochs, lives and floors: when a copy answers, and as whom.

use super::*;

#[test]
fn nothing_is_said_of_a_record_before_it_is_durable() {
    let (old, new) = (live(100, "old"), live(200, "new"));
    let mut replica = replica();
    let mut store = Store::with(&[("other", &old), ("k", &old)]);
    let found = Reply::Found {
        rank: Some(rank(&old)),
        record: None,
        floor: Floor::ZERO,
        mark: Version::ZERO,
    };
    assert_eq!(ask(&mut replica, &mut store, read(false)), (found, 2));
    assert_eq!(ask(&mut replica, &mut store, take(&[("k", &new)], FIRST)), (Reply::Accepted, 3));
    // The same again, and something older, wait for the record that is there.
    assert_eq!(ask(&mut replica, &mut store, take(&[("k", &new)], FIRST)), (Reply::Accepted, 3));
    let newer = Reply::Newer(version(200, 0));
    assert_eq!(ask(&mut replica, &mut store, take(&[("k", &old)], HINT)), (newer, 3));
    let base = Origin::Update { base: Base::Record(rank(&old)) };
    let conflict = Reply::Conflict { record: new.clone(), floor: Floor::ZERO };
    let update = take(&[("k", &live(100, "update"))], base);
    assert_eq!(ask(&mut replica, &mut store, update), (conflict, 3));
    let found = Reply::Found {
        rank: Some(rank(&new)),
        record: Some(new),
        floor: Floor::ZERO,
        mark: Version::ZERO,
    };
    assert_eq!(ask(&mut replica, &mut store, read(true)), (found, 3));
}

#[test]
fn another_epoch_or_life_is_not_served() {
    let mut store = Store::default();
    let mut replica = replica();
    let asked = take(&[("k", &live(200, "x"))], FIRST);
    let serve = |replica: &mut Replica, store: &mut Store, envelope: &Envelope| {
        replica.serve(envelope, NOW, store).unwrap()
    };
    for ask in [asked.clone(), read(true), Ask::Clock, Ask::Floors] {
        let old = serve(&mut replica, &mut store, &at(4, ask.clone()));
        assert_eq!(old, Served::Refused(Refusal::Stale));
        assert_eq!(serve(&mut replica, &mut store, &at(6, ask.clone())), Served::Behind);
        let mut other = at(5, ask);
        other.header.keyspace = Incarnation(3);
        let void = serve(&mut replica, &mut store, &other);
        assert_eq!(void, Served::Refused(Refusal::Void));
        // A life that is not known here yet is not over: a newer map says what it is.
        other.header.keyspace = Incarnation(KEYSPACE.0 + 1);
        assert_eq!(serve(&mut replica, &mut store, &other), Served::Behind);
    }
    // It is an owner at both epochs, and refuses all the same.
    assert!(replica.adopt(owners(6, &[copy(1, 1), copy(2, 1)], &[])));
    let fenced = serve(&mut replica, &mut store, &at(5, asked));
    assert_eq!(fenced, Served::Refused(Refusal::Stale));
    assert_eq!(store.get("k"), None);
    assert!(!replica.adopt(owners(6, &[copy(2, 1)], &[])), "an epoch has one set of owners");
}

#[test]
fn the_epoch_is_looked_at_again_when_the_record_is_durable() {
    let mut store = Store::default();
    for ask in [take(&[("k", &live(200, "x"))], FIRST), read(true)] {
        let mut replica = replica();
        let served = replica.serve(&at(5, ask), NOW, &mut store).unwrap();
        let Served::Held(held) = served else { panic!("{served:?}") };
        replica.adopt(owners(6, &[copy(1, 1), copy(2, 1), copy(3, 1)], &[]));
        assert_eq!(replica.release(held), Reply::Refused(Refusal::Stale));
    }
}

#[test]
fn a_copy_that_lost_its_state_counts_for_nothing() {
    let mut replica = replica();
    replica.raise_purged(floor(400));
    replica.lose();
    assert!(!replica.counts() && replica.is_lost());
    assert_eq!((replica.floor(), replica.purged()), (Floor::ZERO, Floor::ZERO));
    let mut store = Store::with(&[("k", &live(100, "old"))]);
    for asked in [take(&[("k", &live(200, "x"))], HINT), read(true), Ask::Clock, Ask::Floors] {
        let (reply, _) = ask(&mut replica, &mut store, asked);
        assert_eq!(reply, Reply::Refused(Refusal::NotCounting));
    }
    assert_eq!(store.get("k"), Some(&live(100, "old")));
}

#[test]
fn an_incoming_copy_takes_nothing_before_it_knows_the_floors() {
    let mut replica = incoming();
    let mut store = Store::default();
    assert!(replica.counts() && !replica.is_present() && !replica.takes());
    let asked = take(&[("k", &live(500, "x"))], FIRST);
    let refused = Reply::Refused(Refusal::NotCounting);
    assert_eq!(ask(&mut replica, &mut store, asked.clone()).0, refused);
    // Its "nothing" is an answer all the same: it proves the epoch.
    let nothing =
        Reply::Found { rank: None, record: None, floor: Floor::ZERO, mark: Version::ZERO };
    assert_eq!(ask(&mut replica, &mut store, read(true)).0, nothing);
    replica.know_floors(floor(400), floor(300));
    assert_eq!(ask(&mut replica, &mut store, asked).0, Reply::Accepted);
    let below = take(&[("k", &live(400, "x"))], HINT);
    assert_eq!(ask(&mut replica, &mut store, below).0, Reply::Newer(version(500, 0)));
    // But only an owner that was there before can vouch for what there was.
    let page = Ask::Page { after: None, limit: 9 };
    assert_eq!(ask(&mut replica, &mut store, page).0, refused);
    assert_eq!(ask(&mut replica, &mut store, Ask::Floors).0, refused);
}

#[test]
fn a_life_is_begun_when_a_map_names_it_anew() {
    let named = |index, life| owners(index, &[copy(2, 1)], &[copy(1, life), copy(2, 1)]);
    let mut replica = replica();
    assert_eq!(replica.asked_to_begin(&named(6, 6)), Some(ReplicaIncarnation(6)));
    assert_eq!(replica.asked_to_begin(&named(6, 1)), None, "it is in that life");
    assert_eq!(replica.asked_to_begin(&owners(6, &[copy(1, 6)], &[])), None, "no intent");
    // Named in a map that was adopted before: whoever is not in that life has lost it.
    replica.lose();
    assert_eq!(replica.asked_to_begin(&named(6, 5)), None);
    assert_eq!(replica.asked_to_begin(&named(7, 6)), Some(ReplicaIncarnation(6)));
    replica.begin(ReplicaIncarnation(6));
    replica.adopt(named(7, 6));
    assert!(replica.counts() && !replica.takes() && !replica.is_lost());
}

#[test]
fn a_copy_is_lost_where_the_owners_to_be_name_it_in_another_life() {
    let (one, six) = (copy(1, 1), copy(1, 6));
    let cases: [(&[Member], &[Member], bool); 6] = [
        (&[one, copy(2, 1)], &[], false),
        (&[six, copy(2, 1)], &[], true),
        (&[copy(2, 1)], &[], false),
        (&[six, copy(2, 1)], &[one], false),
        (&[one, copy(2, 1)], &[six], true),
        (&[one, copy(2, 1)], &[copy(2, 1)], false),
    ];
    for (replicas, next, expected) in cases {
        let mut replica = replica();
        replica.adopt(owners(6, replicas, next));
        assert_eq!(replica.is_lost(), expected, "{replicas:?} {next:?}");
    }
}

#[test]
fn floors_only_rise() {
    let mut replica = replica();
    replica.raise_floor(floor(400));
    replica.raise_floor(floor(300));
    assert_eq!((replica.floor(), replica.purged()), (floor(400), Floor::ZERO));
    replica.raise_purged(floor(500));
    replica.know_floors(floor(450), floor(450));
    assert_eq!((replica.floor(), replica.purged()), (floor(500), floor(500)));
}

#[test]
fn while_owners_change_nothing_is_proven_or_purged_and_floors_still_rise() {
    let set = owners(5, &[copy(1, 1), copy(2, 1)], &[copy(1, 1), copy(3, 5)]);
    let mut replica = Replica::new(NodeId(1), KEYSPACE, set, ReplicaIncarnation(1), LIMITS);
    let mut store = Store::default();
    let (round, none) = (floor(400), Arc::from([]));
    let refused = Reply::Refused(Refusal::NotCounting);
    let mut answer = |ask: Ask| match replica.serve(&at(5, ask), NOW, &mut store).unwrap() {
        Served::Held(held) => replica.release(held),
        Served::Refused(refusal) => Reply::Refused(refusal),
        Served::Behind => unreachable!("the epochs are the same"),
    };
    assert_eq!(answer(Ask::Prove { round, dead: Arc::clone(&none) }), refused);
    assert_eq!(answer(Ask::Purge { round, proven: none }), refused);
    let raised = Reply::Floors { floor: round, purged: Floor::ZERO };
    assert_eq!(answer(Ask::RaiseFloor { to: round }), raised);
}
