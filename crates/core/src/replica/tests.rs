//! A replica, asked one question at a time of a store whose durability the tests hold in hand.

use super::admit::Verdict;
use super::*;
use crate::ids::Epoch;
use crate::quorum::{Ask, Base, Envelope, Guarded, Header, Item, Origin, Refusal, Reply};
use crate::record::{OwnedBody, OwnedRecord, PLAIN, Rank, Record};
use crate::repair::{HashRange, Leaf, Tree};
use crate::slot::{SLOT_COUNT, Slot};
use crate::version::Version;
use bytes::Bytes;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;

const KEYSPACE: Incarnation = Incarnation(4);
const NOW: Now = Now { clock: Stamp::start_of(1_000), physical_ms: 900 };
const LIMITS: Limits = Limits { max_skew_ms: 500, event_horizon_ms: 10_000, secret: TreeSecret(7) };

/// A store of which each put is durable at the ticket that it returns.
struct Store {
    kept: BTreeMap<Vec<u8>, (OwnedRecord, u64)>,
    position: u64,
    tree: RefCell<Tree>,
    /// How many pages of it were looked at.
    pages: Cell<u32>,
}

impl Default for Store {
    fn default() -> Self {
        let tree = RefCell::new(Tree::new(LIMITS.secret, 0..SLOT_COUNT));
        Self { kept: BTreeMap::new(), position: 0, tree, pages: Cell::new(0) }
    }
}

impl Store {
    fn with(records: &[(&str, &OwnedRecord)]) -> Self {
        let mut store = Self::default();
        for (key, record) in records {
            store.position += 1;
            store.kept.insert(key.as_bytes().into(), ((*record).clone(), store.position));
        }
        store
    }

    fn get(&self, key: &str) -> Option<&OwnedRecord> {
        self.kept.get(key.as_bytes()).map(|(record, _)| record)
    }
}

impl Shelf for Store {
    type Ticket = u64;
    type Error = Infallible;

    fn look<R>(
        &self,
        _: Slot,
        key: &[u8],
        f: impl FnOnce(Option<&Record<'_>>) -> R,
    ) -> Result<(R, u64), Infallible> {
        let held = self.kept.get(key);
        let record = held.map(|(record, _)| record.borrow());
        Ok((f(record.as_ref()), held.map_or(0, |(_, at)| *at)))
    }

    fn page(
        &self,
        _: Slot,
        after: Option<&[u8]>,
        limit: usize,
        mut f: impl FnMut(&[u8], &Record<'_>) -> bool,
    ) -> Result<u64, Infallible> {
        self.pages.set(self.pages.get() + 1);
        let mut ticket = 0;
        let rest = self.kept.iter().filter(|(key, _)| after.is_none_or(|after| &key[..] > after));
        for (key, (record, at)) in rest.take(limit) {
            ticket = ticket.max(*at);
            if !f(key, &record.borrow()) {
                break;
            }
        }
        Ok(ticket)
    }

    fn put(&mut self, slot: Slot, records: &[Put<'_>]) -> Result<u64, Infallible> {
        self.position += 1;
        for Put { key, record, rank, before } in records {
            self.kept.insert(key.to_vec(), (OwnedRecord::from(*record), self.position));
            self.tree.get_mut().changed(slot, key, before.as_ref(), Some(rank));
        }
        Ok(self.position)
    }

    fn remove(&mut self, slot: Slot, keys: &[(&[u8], Rank)]) -> Result<u64, Infallible> {
        self.position += 1;
        for (key, before) in keys {
            self.kept.remove(*key);
            self.tree.get_mut().changed(slot, key, Some(before), None);
        }
        Ok(self.position)
    }

    fn tree<R>(&self, f: impl FnOnce(&mut Tree) -> R) -> R {
        f(&mut self.tree.borrow_mut())
    }
}

const fn epoch(index: u64) -> Epoch {
    Epoch { generation: 1, index }
}

const fn copy(id: u32, life: u64) -> Member {
    Member { node: NodeId(id), incarnation: ReplicaIncarnation(life) }
}

fn owners(index: u64, replicas: &[Member], next: &[Member]) -> Arc<Owners> {
    Arc::new(Owners { epoch: epoch(index), replicas: replicas.into(), next: next.into() })
}

/// The first of three owners, in its first life, at epoch 5.
fn replica() -> Replica {
    let set = owners(5, &[copy(1, 1), copy(2, 1), copy(3, 1)], &[]);
    Replica::new(NodeId(1), KEYSPACE, set, ReplicaIncarnation(1), LIMITS)
}

/// A copy that was named in the owners to be, and is empty.
fn incoming() -> Replica {
    let set = owners(5, &[copy(2, 1), copy(3, 1)], &[copy(1, 5), copy(2, 1)]);
    Replica::new(NodeId(1), KEYSPACE, set, ReplicaIncarnation(5), LIMITS)
}

fn floor(wall_ms: Millis) -> Floor {
    Floor(Stamp::start_of(wall_ms))
}

const fn version(wall_ms: Millis, counter: u16) -> Version {
    Version { wall_ms, counter, node: NodeId(2) }
}

fn live(wall_ms: Millis, text: &'static str) -> OwnedRecord {
    let body = OwnedBody::Live { kind: PLAIN, bytes: Bytes::from_static(text.as_bytes()) };
    OwnedRecord {
        version: version(wall_ms, 0),
        written: version(wall_ms, 0),
        expires_at: None,
        body,
    }
}

fn rank(record: &OwnedRecord) -> Rank {
    record.borrow().rank()
}

const FIRST: Origin = Origin::Fresh { base: None, last: false };
const LAST: Origin = Origin::Fresh { base: None, last: true };
const HINT: Origin = Origin::Kept { floor: Floor::ZERO };

/// The slot of everything.
const SLOT: Slot = Slot::new(3).unwrap();

fn at(index: u64, ask: Ask) -> Envelope {
    let header = Header { keyspace: KEYSPACE, slot: SLOT, epoch: epoch(index), clock: NOW.clock };
    Envelope { header, round: 1, ask }
}

fn take(records: &[(&'static str, &OwnedRecord)], origin: Origin) -> Ask {
    let item = |(key, record): &(&'static str, &OwnedRecord)| Item {
        key: Bytes::from_static(key.as_bytes()),
        record: (*record).clone(),
    };
    Ask::Take { items: records.iter().map(item).collect(), origin }
}

fn read(whole: bool) -> Ask {
    Ask::Read { key: Bytes::from_static(b"k"), whole }
}

/// Asks, and tells the answer with the ticket that it waits for.
fn ask(replica: &mut Replica, store: &mut Store, ask: Ask) -> (Reply, u64) {
    match replica.serve(&at(5, ask), NOW, store).unwrap() {
        Served::Held(held) => {
            let ticket = held.ticket;
            (replica.release(held), ticket)
        }
        Served::Refused(refusal) => (Reply::Refused(refusal), 0),
        Served::Behind => panic!("the epochs are the same"),
    }
}

/// Where a record stands to the one that is held.
#[derive(Clone, Copy, Debug)]
enum Stored {
    Nothing,
    Older,
    Same,
    Newer,
}

/// Every origin, beside everything that may be held, without floors and below one of 400.
#[test]
fn what_is_taken_as_a_table() {
    let record = live(300, "new");
    let (older, newer) = (live(200, "old"), live(350, "newer"));
    let update = |base| Origin::Update { base };
    let on_older = update(Base::Record(rank(&older)));
    let carrying = |ms| Origin::Kept { floor: floor(ms) };
    let past = Verdict::Newer(version(350, 0));
    use Stored::{Newer, Nothing, Older, Same};
    use Verdict::{BelowFloor, Conflict, Take};
    // Held, where from, without a floor, below one.
    let table = [
        (Nothing, FIRST, Take, BelowFloor),
        (Older, FIRST, Take, BelowFloor),
        (Same, FIRST, Verdict::Same, Verdict::Same),
        (Newer, FIRST, past, past),
        (Newer, LAST, past, past),
        (Nothing, update(Base::Nothing), Take, BelowFloor),
        (Older, update(Base::Nothing), Conflict, Conflict),
        (Nothing, on_older, Take, BelowFloor),
        (Older, on_older, Take, BelowFloor),
        (Same, on_older, Verdict::Same, Verdict::Same),
        (Newer, on_older, Conflict, Conflict),
        (Nothing, HINT, Take, BelowFloor),
        (Older, HINT, Take, BelowFloor),
        (Same, HINT, Verdict::Same, Verdict::Same),
        (Newer, HINT, past, past),
        (Nothing, carrying(399), Take, BelowFloor),
        (Nothing, carrying(400), Take, Take),
        (Older, carrying(401), Take, Take),
        (Newer, carrying(401), past, past),
    ];
    for (held, origin, without, below) in table {
        let stored = match held {
            Nothing => None,
            Older => Some(rank(&older)),
            Same => Some(rank(&record)),
            Newer => Some(rank(&newer)),
        };
        let mut replica = replica();
        let verdict =
            replica.admit(&Put::over(stored, b"k", record.borrow()), origin, NOW, Version::ZERO);
        assert_eq!(verdict, without, "{held:?} {origin:?}");
        replica.raise_floor(floor(400));
        let verdict =
            replica.admit(&Put::over(stored, b"k", record.borrow()), origin, NOW, Version::ZERO);
        assert_eq!(verdict, below, "{held:?} {origin:?} below a floor");
    }
}

#[test]
fn a_floor_looks_at_when_a_record_was_written() {
    let mut replica = replica();
    replica.raise_floor(floor(400));
    let event = OwnedRecord { version: version(300, 0), ..live(401, "event") };
    assert_eq!(
        replica.admit(&Put::over(None, b"k", event.borrow()), LAST, NOW, Version::ZERO),
        Verdict::Take
    );
    let future = OwnedRecord { version: version(900, 0), ..live(400, "event") };
    assert_eq!(
        replica.admit(&Put::over(None, b"k", future.borrow()), LAST, NOW, Version::ZERO),
        Verdict::BelowFloor
    );
}

#[test]
fn equal_versions_are_decided_by_rank() {
    let (one, other) = (live(300, "a"), live(300, "b"));
    let (less, more) = if rank(&one) < rank(&other) { (one, other) } else { (other, one) };
    for origin in [FIRST, HINT] {
        let replica = replica();
        let verdict = |record: &OwnedRecord, held: &OwnedRecord| {
            replica.admit(
                &Put::over(Some(rank(held)), b"k", record.borrow()),
                origin,
                NOW,
                Version::ZERO,
            )
        };
        assert_eq!(verdict(&more, &less), Verdict::Take);
        assert_eq!(verdict(&less, &more), Verdict::Newer(version(300, 0)));
    }
    let (replica, base) = (replica(), Base::Record(rank(&less)));
    let next = live(301, "c");
    let verdict = replica.admit(
        &Put::over(Some(rank(&more)), b"k", next.borrow()),
        Origin::Update { base },
        NOW,
        Version::ZERO,
    );
    assert_eq!(verdict, Verdict::Conflict);
}

#[test]
fn skew_is_checked_on_fresh_writes_alone() {
    let skewed = Verdict::Refuse(Refusal::Skewed);
    let known = |wall, counter| Some(version(wall, counter));
    let fresh = |base| Origin::Fresh { base, last: true };
    let ahead = |counter| OwnedRecord { version: version(9_000, counter), ..live(1_000, "x") };
    // The version's counter, the held one's, where it comes from. The clock says 1000.
    let table = [
        (0, None, fresh(None), skewed),
        (1, known(9_000, 0), fresh(None), Verdict::Take),
        (3, known(9_000, 0), fresh(None), skewed),
        (1, None, fresh(known(9_000, 0)), Verdict::Take),
        (3, None, fresh(known(9_000, 0)), skewed),
        (0, known(8_000, 0), fresh(known(8_500, 0)), skewed),
        (0, None, HINT, Verdict::Take),
        (0, None, Origin::Update { base: Base::Nothing }, Verdict::Take),
    ];
    for (counter, held, origin, expected) in table {
        let held = held.map(|version| Rank { version, ..rank(&live(1, "held")) });
        let verdict = replica().admit(
            &Put::over(held, b"k", ahead(counter).borrow()),
            origin,
            NOW,
            Version::ZERO,
        );
        assert_eq!(verdict, expected, "{counter} over {held:?} from {origin:?}");
    }
    let edge = |wall| {
        replica().admit(&Put::over(None, b"k", live(wall, "x").borrow()), FIRST, NOW, Version::ZERO)
    };
    assert_eq!((edge(1_500), edge(1_501)), (Verdict::Take, skewed));
}

#[test]
fn an_event_too_long_before_its_writing_is_refused_from_anywhere() {
    let event = |wall| OwnedRecord { version: version(wall, 0), ..live(10_800, "event") };
    for origin in [LAST, HINT] {
        let verdict = |wall| {
            replica().admit(
                &Put::over(None, b"k", event(wall).borrow()),
                origin,
                NOW,
                Version::ZERO,
            )
        };
        assert_eq!(verdict(799), Verdict::Refuse(Refusal::Skewed));
        assert_eq!(verdict(800), Verdict::Take);
    }
}

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

proptest! {
    /// Kept records may come in any order and any number of times: what is stored in the end is
    /// the one of the greatest rank.
    #[test]
    fn the_order_of_kept_records_does_not_matter(
        order in prop::collection::vec((0_u64..4, 0_usize..3), 1..12),
    ) {
        let texts = ["a", "b", "c"];
        let (mut replica, mut store) = (replica(), Store::default());
        let records: Vec<_> = order.iter().map(|(ms, text)| live(*ms, texts[*text])).collect();
        for record in &records {
            ask(&mut replica, &mut store, take(&[("k", record)], HINT));
        }
        let newest = records.iter().max_by_key(|record| rank(record));
        prop_assert_eq!(store.get("k"), newest);
    }
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
