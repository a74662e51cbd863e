//! A copy answers what its machine decides, once that is durable, and keeps its life.

use super::super::rig::{
    KEYSPACE, ME, NOW_MS, cache, copy, copy_that, disk, epoch, live, member, memory, owners,
    tombstone, version,
};
use super::*;
use shoal_core::quorum::{Ask, Header, Item, Origin};
use shoal_core::record::OwnedRecord;
use std::future::Future as _;
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Waker};

fn envelope(index: u64, ask: Ask) -> Envelope {
    let slot = Slot::new(3).expect("a slot");
    let (keyspace, clock) = (KEYSPACE, Stamp::start_of(NOW_MS));
    Envelope { header: Header { keyspace, slot, epoch: epoch(index), clock }, round: 1, ask }
}

fn take(key: &'static str, record: OwnedRecord) -> Ask {
    let item = Item { key: key.into(), record };
    Ask::Take { items: Arc::from([item]), origin: Origin::Fresh { base: None, last: false } }
}

fn read(key: &'static str) -> Ask {
    Ask::Read { key: key.into(), whole: true }
}

/// Asks, and hands back where the answer comes out.
fn asked(copy: &Arc<PartitionCopy>, envelope: Envelope) -> (Asked, Receiver<Answer>) {
    let (tell, told) = channel();
    let now = Now { clock: Stamp::start_of(NOW_MS), physical_ms: NOW_MS };
    let tell = Box::new(move |answer: Option<Answer>| {
        tell.send(answer.expect("the store is sound")).expect("the test listens");
    });
    let clock = || Stamp::start_of(NOW_MS);
    (copy.ask(envelope, now, Patience::Block, clock, tell), told)
}

/// Asks and waits for the answer.
fn said(copy: &Arc<PartitionCopy>, settled: &SettleQueue, envelope: Envelope) -> Answer {
    let (asked, told) = asked(copy, envelope);
    assert!(matches!(asked, Asked::Taken), "a map was waited for");
    loop {
        let mut run = Box::pin(settled.run());
        let _serves_what_is_settled = run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Ok(answer) = told.try_recv() {
            return answer;
        }
        std::thread::yield_now();
    }
}

fn found(answer: Answer) -> Option<OwnedRecord> {
    match answer.reply {
        Reply::Found { record, .. } => record,
        other => panic!("not found out: {other:?}"),
    }
}

#[test]
fn what_is_taken_is_read_again_and_counted_as_the_map_says() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (engine, form) in [(memory(), Form::Plain), (disk(directory.path()), Form::Sealed)] {
        let (copy, settled) = copy(&engine, form, owners(5, &[member(1, 5), member(2, 5)], &[]));
        assert!(copy.is_lost(), "a copy that never began is in no life");
        let answer = said(&copy, &settled, envelope(5, read("k")));
        assert_eq!(answer.reply, Reply::Refused(Refusal::NotCounting));
        copy.found().expect("it begins");
        assert_eq!(copy.member(), member(1, 5));
        let answer = said(&copy, &settled, envelope(5, take("k", live(NOW_MS, "v"))));
        assert_eq!((answer.reply, answer.epoch), (Reply::Accepted, epoch(5)));
        let answer = said(&copy, &settled, envelope(5, read("k")));
        assert_eq!(found(answer), Some(live(NOW_MS, "v")));
        let answer = said(&copy, &settled, envelope(5, take("k", live(NOW_MS - 1, "older"))));
        assert_eq!(answer.reply, Reply::Newer(version(NOW_MS)));
        let answer = said(&copy, &settled, envelope(4, read("k")));
        assert_eq!(answer.reply, Reply::Refused(Refusal::Stale));
        let answer = said(&copy, &settled, envelope(5, take("k", tombstone(NOW_MS + 1))));
        assert_eq!(answer.reply, Reply::Accepted);
        assert_eq!(engine.tally(KEYSPACE.0, 0..64).keys, 0);
    }
}

#[test]
fn a_question_of_a_newer_epoch_waits_for_the_map() {
    let (copy, settled) = copy(&memory(), Form::Plain, owners(5, &[member(1, 5)], &[]));
    copy.found().expect("it begins");
    let (outcome, told) = asked(&copy, envelope(6, read("k")));
    assert!(matches!(outcome, Asked::Behind));
    assert!(told.try_recv().is_err());
    let newer = owners(6, &[member(1, 5)], &[member(1, 5), member(2, 6)]);
    let waiting = copy.adopt(&newer).expect("it adopts");
    assert_eq!(waiting.len(), 1);
    for (envelope, _) in waiting {
        assert_eq!(found(said(&copy, &settled, envelope)), None);
    }
    assert!(copy.adopt(&newer).expect("it has them").is_empty());
}

#[test]
fn a_copy_that_is_named_anew_is_emptied_first_and_knows_no_floors() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let engine = disk(directory.path());
    let (copy, settled) = copy(&engine, Form::Sealed, owners(5, &[member(1, 5)], &[]));
    copy.found().expect("it begins");
    for (key, text) in [("a", "1"), ("b", "2")] {
        let ask = take(key, live(NOW_MS, text));
        assert_eq!(said(&copy, &settled, envelope(5, ask)).reply, Reply::Accepted);
    }
    let next = [member(1, 6), member(2, 6)];
    copy.adopt(&owners(6, &[member(1, 5), member(2, 6)], &next)).expect("it adopts");
    assert_eq!(copy.member(), member(1, 6));
    assert_eq!(engine.tally(KEYSPACE.0, 0..64).keys, 0);
    let (outcome, told) = asked(&copy, envelope(6, take("a", live(NOW_MS, "x"))));
    assert!(matches!(outcome, Asked::Waits));
    assert!(told.try_recv().is_err(), "it waits until the floors are known");
    let floor = Floor(Stamp::start_of(10));
    let older = copy.know_floors(epoch(5), floor, floor).expect("it looks");
    assert!(older.is_none(), "an older epoch");
    let waiting = copy.know_floors(epoch(6), floor, floor).expect("it is kept");
    assert_eq!(waiting.map(|waiting| waiting.len()), Some(1));
    let answer = said(&copy, &settled, envelope(6, take("a", live(NOW_MS, "x"))));
    assert_eq!(answer.reply, Reply::Accepted);
}

#[test]
fn a_life_with_its_floors_outlasts_a_restart_on_disk_and_none_in_memory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let both = || owners(5, &[member(1, 5), member(2, 5)], &[]);
    let floor = Floor(Stamp::start_of(20));
    {
        let engine = disk(directory.path());
        let (copy, settled) = copy(&engine, Form::Sealed, both());
        copy.found().expect("it begins");
        let answer = said(&copy, &settled, envelope(5, Ask::RaiseFloor { to: floor }));
        assert!(matches!(answer.reply, Reply::Floors { floor: raised, .. } if raised == floor));
        engine.close().expect("it closes");
    }
    let engine = disk(directory.path());
    let (again, settled) = copy(&engine, Form::Sealed, both());
    assert_eq!(again.member(), member(1, 5));
    let answer = said(&again, &settled, envelope(5, Ask::Floors));
    assert_eq!(answer.reply, Reply::Floors { floor, purged: Floor::ZERO });
    again.found().expect("it is in a life already");
    assert_eq!(said(&again, &settled, envelope(5, Ask::Floors)).reply, answer.reply);
    let (forgetful, _) = copy(&memory(), Form::Plain, both());
    assert_eq!(forgetful.member().incarnation, ReplicaIncarnation::default());
    assert!(forgetful.is_lost());
}

#[test]
fn who_is_no_owner_any_more_forgets_and_an_owner_does_not() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let engine = disk(directory.path());
    let (copy, settled) = copy(&engine, Form::Sealed, owners(5, &[member(1, 5)], &[]));
    copy.found().expect("it begins");
    let answer = said(&copy, &settled, envelope(5, take("k", live(NOW_MS, "v"))));
    assert_eq!(answer.reply, Reply::Accepted);
    assert!(!copy.forget().expect("it looks"), "it is an owner");
    copy.adopt(&owners(6, &[member(2, 6)], &[])).expect("it adopts");
    assert!(copy.forget().expect("it forgets"));
    assert_eq!(engine.tally(KEYSPACE.0, 0..64).keys, 0);
    assert_eq!(copy.member().incarnation, ReplicaIncarnation::default());
}

#[test]
fn a_copy_that_is_being_changed_answers_meanwhile() {
    let (copy, settled) = copy(&memory(), Form::Plain, owners(5, &[member(1, 5)], &[]));
    copy.found().expect("it begins");
    let _emptying = copy.change.lock();
    let answer = said(&copy, &settled, envelope(5, take("k", live(NOW_MS, "v"))));
    assert_eq!(answer.reply, Reply::Accepted);
    assert_eq!(found(said(&copy, &settled, envelope(5, read("k")))), Some(live(NOW_MS, "v")));
}

#[test]
fn what_only_looks_does_not_hold_the_copy() {
    let (copy, settled) = copy(&memory(), Form::Plain, owners(5, &[member(1, 5)], &[]));
    copy.found().expect("it begins");
    for ask in [read("k"), Ask::Page { after: None, limit: 9 }, Ask::Floors] {
        assert!(ask.only_looks());
        said(&copy, &settled, envelope(5, ask));
    }
    // Behind, it waits like anything else.
    let (outcome, told) = asked(&copy, envelope(6, read("k")));
    assert!(matches!(outcome, Asked::Behind) && told.try_recv().is_err());
    copy.give_up(Instant::now(), Stamp::ZERO);
    let refused = told.try_recv().expect("it is told");
    assert_eq!(refused.reply, Reply::Refused(Refusal::Unable));
}

#[test]
fn many_copies_are_founded_with_one_sync() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let both = || owners(5, &[member(1, 5)], &[]);
    {
        let engine = disk(directory.path());
        for _each in 0..3 {
            copy(&engine, Form::Sealed, both()).0.found().expect("it begins");
        }
        engine.sync().expect("it syncs");
        // Without a clean stop.
        std::mem::forget(engine);
    }
    let again = disk(&copied(directory.path()));
    assert_eq!(copy(&again, Form::Sealed, both()).0.member(), member(1, 5));
}

/// The files as a crash would leave them.
fn copied(from: &std::path::Path) -> std::path::PathBuf {
    let to = from.with_extension("again");
    copy_tree(from, &to);
    to
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("it is there") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("it is copied");
        }
    }
}

#[test]
fn a_copy_that_is_let_go_on_keeps_what_it_holds() {
    let engine = memory();
    let (copy, settled) = copy(&engine, Form::Plain, owners(1, &[member(1, 1)], &[]));
    copy.found().expect("it begins");
    let answer = said(&copy, &settled, envelope(1, take("k", live(NOW_MS, "kept"))));
    assert_eq!(answer.reply, Reply::Accepted, "{answer:?}");
    // Another owner is lost for good, and this one goes on alone, in another life.
    let alone = owners(5, &[member(1, 5)], &[]);
    copy.adopt(&alone).expect("it is adopted");
    assert_eq!(copy.member(), member(1, 5));
    assert!(!copy.is_lost() && copy.takes());
    let record = found(said(&copy, &settled, envelope(5, read("k"))));
    assert_eq!(record, Some(live(NOW_MS, "kept")));
    // A life that was named for it while it was away is not taken up with what it holds.
    copy.adopt(&owners(9, &[member(1, 7)], &[])).expect("it is adopted");
    assert!(copy.is_lost());
}

#[test]
fn a_copy_that_was_not_trusted_once_is_never_trusted_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let one = || owners(5, &[member(1, 5)], &[]);
    let engine = disk(directory.path());
    let (first, _) = copy(&engine, Form::Sealed, one());
    first.found().expect("it begins");
    engine.sync().expect("it is kept");
    drop(first);
    let (doubted, _) = copy_that(ME, &engine, Form::Sealed, one(), false);
    assert!(doubted.is_lost());
    doubted.found().expect("there is nothing to begin");
    assert!(doubted.is_lost(), "it was in a life before");
    engine.sync().expect("it is kept");
    drop(doubted);
    let (again, _) = copy(&engine, Form::Sealed, one());
    assert!(again.is_lost(), "a clean stop in between brings nothing back");
    again.adopt(&owners(8, &[member(1, 8)], &[])).expect("it is adopted");
    assert!(!again.is_lost(), "the loss was accepted");
}

#[test]
fn what_is_evicted_leaves_a_mark_and_is_in_no_digest() {
    let engine = cache(100_000);
    let (me, other) = (member(ME.0, 1), member(2, 1));
    let (copy, settled) = copy(&engine, Form::Plain, owners(1, &[me, other], &[]));
    copy.begin_to_evict();
    copy.found().expect("it begins");
    let say = |ask| said(&copy, &settled, envelope(1, ask)).reply;
    let held = || {
        let Reply::Page { items, mark, .. } = say(Ask::Page { after: None, limit: 10_000 }) else {
            panic!("no page")
        };
        (items.len() as u64, mark)
    };
    assert_eq!(say(take("key", live(500, "value"))), Reply::Accepted);
    assert_eq!(say(take("gone", tombstone(600))), Reply::Accepted);
    let count = || match say(Ask::Leaves { count: 1 }) {
        Reply::Leaves(leaves) => leaves[0].count,
        other => panic!("no digest: {other:?}"),
    };
    assert_eq!(count(), 2);
    let long = "x".repeat(10_000).leak();
    for number in 0..50_u64 {
        let item = Item { key: format!("other {number}").into(), record: live(501 + number, long) };
        let origin = Origin::Fresh { base: None, last: false };
        assert_eq!(say(Ask::Take { items: Arc::from([item]), origin }), Reply::Accepted);
        assert_eq!(count(), held().0, "however much went");
    }
    let Reply::Found { record: None, mark, .. } = say(read("key")) else {
        panic!("it was used least")
    };
    assert_eq!(held().1, mark);
    assert!((version(501)..version(551)).contains(&mark), "the greatest that went: {mark}");
    assert_eq!(found(said(&copy, &settled, envelope(1, read("gone")))), Some(tombstone(600)));
    // Nothing as old as what went is taken where nothing is, and anything newer is.
    let kept = |record| {
        let items = Arc::from([Item { key: "key".into(), record }]);
        say(Ask::Take { items, origin: Origin::Kept { floor: Floor::ZERO } })
    };
    assert_eq!(kept(live(500, "value")), Reply::BelowMark(mark));
    assert_eq!(say(take("key", live(501, "older"))), Reply::Newer(mark));
    assert_eq!(kept(live(551, "newer")), Reply::Accepted);
    // Another life begins without marks.
    let again = owners(2, &[member(ME.0, 1), other], &[member(ME.0, 2), other]);
    copy.adopt(&owners(2, &[other], &[])).expect("it is an owner no more");
    copy.forget().expect("it is emptied");
    copy.adopt(&Arc::new(Owners { epoch: epoch(3), ..(*again).clone() })).expect("it comes back");
    assert_eq!(engine.mark(KEYSPACE.0, 3), 0);
}
