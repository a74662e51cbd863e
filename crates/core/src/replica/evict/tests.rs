//! A replica whose store evicts, asked one question at a time.

use super::*;
use crate::clock::Stamp;
use crate::ids::{Epoch, Incarnation, NodeId, ReplicaIncarnation};
use crate::quorum::{Ask, Base, Envelope, Header, Item, Owners};
use crate::record::{OwnedBody, OwnedRecord, PLAIN};
use crate::repair::{Tree, TreeSecret};
use crate::replica::{Floor, Limits, Served};
use std::cell::RefCell;
use std::convert::Infallible;

/// What is kept, and up to which version anything was evicted.
struct Cache {
    kept: BTreeMap<Bytes, OwnedRecord>,
    mark: Version,
    /// Nobody asks for digests here.
    tree: RefCell<Tree>,
}

impl Default for Cache {
    fn default() -> Self {
        let tree = RefCell::new(Tree::new(TreeSecret(1), 0..0));
        Self { kept: BTreeMap::new(), mark: Version::ZERO, tree }
    }
}

impl Shelf for Cache {
    type Ticket = ();
    type Error = Infallible;

    fn look<R>(
        &self,
        _: Slot,
        key: &[u8],
        f: impl FnOnce(Option<&Record<'_>>) -> R,
    ) -> Result<(R, ()), Infallible> {
        let record = self.kept.get(key).map(OwnedRecord::borrow);
        Ok((f(record.as_ref()), ()))
    }

    fn page(
        &self,
        _: Slot,
        after: Option<&[u8]>,
        limit: usize,
        mut f: impl FnMut(&[u8], &Record<'_>) -> bool,
    ) -> Result<(), Infallible> {
        let rest = self.kept.iter().filter(|(key, _)| after.is_none_or(|after| &key[..] > after));
        for (key, record) in rest.take(limit) {
            if !f(key, &record.borrow()) {
                break;
            }
        }
        Ok(())
    }

    fn mark(&self, _: Slot) -> Version {
        self.mark
    }

    fn put(&mut self, _: Slot, records: &[Put<'_>]) -> Result<(), Infallible> {
        for Put { key, record, .. } in records {
            self.kept.insert(Bytes::copy_from_slice(key), OwnedRecord::from(*record));
        }
        Ok(())
    }

    fn remove(&mut self, _: Slot, keys: &[(&[u8], Rank)]) -> Result<(), Infallible> {
        keys.iter().for_each(|(key, _)| drop(self.kept.remove(*key)));
        Ok(())
    }

    fn tree<R>(&self, f: impl FnOnce(&mut Tree) -> R) -> R {
        f(&mut self.tree.borrow_mut())
    }
}

impl Cache {
    /// What is kept under each key, by its wall time; a tombstone's is told as negative.
    fn held(&self) -> Vec<(&str, i64)> {
        let told = |(key, record): (&'_ Bytes, &OwnedRecord)| {
            let at = i64::try_from(record.version.wall_ms).unwrap();
            let key = std::str::from_utf8(key).unwrap().to_owned();
            (&*key.leak(), if record.borrow().is_tombstone() { -at } else { at })
        };
        self.kept.iter().map(told).collect()
    }
}

const fn member(id: u32) -> Member {
    Member { node: NodeId(id), incarnation: ReplicaIncarnation(1) }
}

const fn version(wall_ms: u64) -> Version {
    Version { wall_ms, counter: 0, node: NodeId(7) }
}

fn live(wall_ms: u64) -> OwnedRecord {
    let body = OwnedBody::Live { kind: PLAIN, bytes: Bytes::from_static(b"v") };
    OwnedRecord { version: version(wall_ms), written: version(wall_ms), expires_at: None, body }
}

fn dead(wall_ms: u64) -> OwnedRecord {
    OwnedRecord { body: OwnedBody::Tombstone, ..live(wall_ms) }
}

fn rank(record: &OwnedRecord) -> Rank {
    record.borrow().rank()
}

fn items(records: &[(&'static str, OwnedRecord)]) -> Arc<[Item]> {
    let item = |(key, record): &(&'static str, OwnedRecord)| Item {
        key: Bytes::from_static(key.as_bytes()),
        record: record.clone(),
    };
    records.iter().map(item).collect()
}

/// The first of three owners.
fn replica() -> Replica {
    let epoch = Epoch { generation: 1, index: 5 };
    let replicas = vec![member(1), member(2), member(3)];
    let owners = Arc::new(Owners { epoch, replicas, next: Vec::new() });
    let limits = Limits { max_skew_ms: 500, event_horizon_ms: 1_000, secret: TreeSecret(7) };
    Replica::new(NodeId(1), Incarnation(4), owners, ReplicaIncarnation(1), limits)
}

fn ask(replica: &mut Replica, cache: &mut Cache, ask: Ask) -> Reply {
    let clock = Stamp::start_of(1_000);
    let (keyspace, epoch) = (Incarnation(4), replica.owners().epoch);
    let header = Header { keyspace, slot: Slot::new(3).unwrap(), epoch, clock };
    let envelope = Envelope { header, round: 1, ask };
    match replica.serve(&envelope, Now { clock, physical_ms: 1_000 }, cache).unwrap() {
        Served::Held(held) => replica.release(held),
        other => panic!("{other:?}"),
    }
}

fn take(records: &[(&'static str, OwnedRecord)], origin: Origin) -> Ask {
    Ask::Take { items: items(records), origin }
}

const FIRST: Origin = Origin::Fresh { base: None, last: false };
const KEPT: Origin = Origin::Kept { floor: Floor::ZERO };

/// Where something up to 400 was evicted: what is held under the key, what comes, and what becomes
/// of it.
#[test]
fn where_there_is_no_value_nothing_at_or_below_the_mark_is_taken() {
    let newer = |at| Reply::Newer(version(at));
    let below = Reply::BelowMark(version(400));
    let update = |base| Origin::Update { base };
    let on = |at| update(Base::Record(rank(&live(at))));
    let missed = |at| update(Base::Missed(rank(&live(at))));
    let table = [
        (None, 400, FIRST, newer(400)),
        (None, 401, FIRST, Reply::Accepted),
        (None, 400, KEPT, below.clone()),
        (None, 401, KEPT, Reply::Accepted),
        (None, 400, update(Base::Nothing), below.clone()),
        (None, 401, update(Base::Nothing), Reply::Accepted),
        // Something newer than the value that it was computed from may be gone.
        (None, 401, on(399), below.clone()),
        (None, 401, on(400), Reply::Accepted),
        (None, 401, missed(100), Reply::Accepted),
        (None, 400, missed(100), below.clone()),
        // A tombstone is no value.
        (Some(dead(100)), 400, FIRST, newer(400)),
        (Some(dead(100)), 400, KEPT, below.clone()),
        (Some(dead(100)), 401, KEPT, Reply::Accepted),
        // A value has not been evicted, whatever was beside it.
        (Some(live(100)), 200, FIRST, Reply::Accepted),
        (Some(live(100)), 200, KEPT, Reply::Accepted),
        (Some(live(100)), 200, on(100), Reply::Accepted),
        (Some(live(300)), 200, KEPT, newer(300)),
    ];
    for (held, at, origin, expected) in table {
        let kept = held.iter().map(|held| (Bytes::from_static(b"k"), held.clone())).collect();
        let mut cache = Cache { kept, mark: version(400), ..Cache::default() };
        let reply = ask(&mut replica(), &mut cache, take(&[("k", live(at))], origin));
        assert_eq!(reply, expected, "{at} over {held:?} from {origin:?}");
        let taken = cache.kept.get("k".as_bytes()).is_some_and(|kept| *kept == live(at));
        assert_eq!(taken, expected == Reply::Accepted);
    }
}

#[test]
fn answers_tell_the_mark_and_it_proves_what_is_dead() {
    let mut cache = Cache { mark: version(400), ..Cache::default() };
    let read = Ask::Read { key: Bytes::from_static(b"k"), whole: true };
    let found = Reply::Found { rank: None, record: None, floor: Floor::ZERO, mark: version(400) };
    assert_eq!(ask(&mut replica(), &mut cache, read), found);
    cache.kept.insert(Bytes::from_static(b"older"), live(100));
    let keys = [("absent", 400), ("absent", 401), ("older", 400)];
    let dead = keys.map(|(key, at)| (Bytes::from_static(key.as_bytes()), rank(&dead(at))));
    let round = Floor(Stamp::start_of(900));
    let prove = Ask::Prove { round, dead: Arc::from(dead) };
    // A value that is held below the mark is no proof.
    let proven = Reply::Proven(vec![true, false, false]);
    assert_eq!(ask(&mut replica(), &mut cache, prove), proven);
}

fn shown(
    from: u32,
    after: &'static str,
    records: &[(&'static str, OwnedRecord)],
    more: bool,
) -> Ask {
    let after = Some(after).filter(|after| !after.is_empty());
    Ask::Copy(Arc::new(Shown {
        from: member(from),
        after: after.map(|key| Bytes::from_static(key.as_bytes())),
        items: items(records),
        more,
        floor: Floor::ZERO,
        mark: version(400),
    }))
}

#[test]
fn what_a_source_does_not_hold_and_may_have_evicted_goes_within_the_run_it_showed() {
    let own = [
        ("a", live(100)),
        ("b", live(100)),
        ("c", dead(100)),
        ("d", live(401)),
        ("e", live(100)),
        ("f", live(100)),
    ];
    let kept = own.map(|(key, record)| (Bytes::from_static(key.as_bytes()), record));
    let mut cache = Cache { kept: kept.into(), ..Cache::default() };
    let mut replica = replica();
    // After a, up to e: b and d are not there, e is, but dead and older than the own value.
    let page = shown(2, "a", &[("e", dead(50))], true);
    assert_eq!(ask(&mut replica, &mut cache, page), Reply::Accepted);
    assert_eq!(cache.held(), [("a", 100), ("c", -100), ("d", 401), ("f", 100)]);
    // To the end.
    assert_eq!(ask(&mut replica, &mut cache, shown(2, "e", &[], false)), Reply::Accepted);
    assert_eq!(cache.held(), [("a", 100), ("c", -100), ("d", 401)]);
    let hint = take(&[("b", live(400))], KEPT);
    assert_eq!(ask(&mut replica, &mut cache, hint), Reply::BelowMark(version(400)));
}

/// The owner whose mark it is holds what it shows; another one may show what that one has evicted.
#[test]
fn a_source_is_not_judged_by_its_own_mark() {
    let (mut replica, mut cache) = (replica(), Cache::default());
    let page = |from, after, key| shown(from, after, &[(key, live(200))], true);
    assert_eq!(ask(&mut replica, &mut cache, page(2, "", "a")), Reply::Accepted);
    assert_eq!(ask(&mut replica, &mut cache, page(2, "a", "b")), Reply::Accepted);
    assert_eq!(cache.held(), [("a", 200), ("b", 200)]);
    assert_eq!(ask(&mut replica, &mut cache, page(3, "b", "c")), Reply::Accepted);
    assert_eq!(cache.held(), [("a", 200), ("b", 200)]);
    // Once owners have changed, it is judged by all.
    let owners =
        Owners { epoch: Epoch { generation: 1, index: 6 }, ..(**replica.owners()).clone() };
    assert!(replica.adopt(Arc::new(owners)));
    assert_eq!(ask(&mut replica, &mut cache, page(2, "b", "d")), Reply::Accepted);
    assert_eq!(cache.held(), [("a", 200), ("b", 200)]);
    replica.begin(ReplicaIncarnation(6));
    assert_eq!(replica.marks.of(Slot::new(3).unwrap(), None), Version::ZERO);
}
