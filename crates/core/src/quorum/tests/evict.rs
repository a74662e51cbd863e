//! Reads and read-modify-writes where owners evict.

use super::*;

/// What an owner tells that holds nothing and has evicted up to `mark`.
fn evicted(mark: Version) -> Reply {
    Reply::Found { rank: None, record: None, floor: Floor::ZERO, mark }
}

struct Scene(Read);

impl Scene {
    fn new() -> Self {
        let set = owners(1, &[1, 2, 3], &[]);
        let read = Read::start(key("k"), Level::Quorum, set, |_| true, |_| 0, &mut Vec::new());
        Self(read.unwrap())
    }

    fn hears(&mut self, from: u32, reply: Reply) -> Vec<Effect<ReadOutcome>> {
        self.on(Event::Answered(answer(from, 1, reply)))
    }

    fn on(&mut self, event: Event) -> Vec<Effect<ReadOutcome>> {
        let mut out = Vec::new();
        self.0.on(event, &mut out);
        out
    }

    /// Whether this is an answer that knows of the old value, and gives it or not.
    fn is_answer(&self, out: &[Effect<ReadOutcome>], value: bool) -> bool {
        let [Effect::Done(ReadOutcome::Found(found))] = out else { return false };
        found.record.is_some() == value && found.newest == Some(old().borrow().rank())
    }
}

fn old() -> OwnedRecord {
    live(version(100, 0, 2), "old")
}

#[test]
fn a_value_that_another_owner_may_have_evicted_is_missed() {
    let mut scene = Scene::new();
    assert_eq!(scene.hears(1, found(Some(&old()), true, Floor::ZERO)), []);
    let out = scene.hears(2, evicted(version(100, 0, 2)));
    assert!(scene.is_answer(&out, false), "{out:?}");
}

#[test]
fn an_owner_that_never_had_the_value_is_given_it() {
    let mut scene = Scene::new();
    assert_eq!(scene.hears(1, found(Some(&old()), true, Floor::ZERO)), []);
    let out = scene.hears(2, evicted(version(99, 0, 2)));
    assert_eq!(out, [kept(2, 1, &old(), Floor::ZERO)]);
    let out = scene.hears(2, Reply::Accepted);
    assert!(scene.is_answer(&out, true), "{out:?}");
    // Unless its mark has risen since.
    let mut scene = Scene::new();
    scene.hears(1, found(Some(&old()), true, Floor::ZERO));
    scene.hears(2, evicted(version(99, 0, 2)));
    let out = scene.hears(2, Reply::BelowMark(version(300, 0, 1)));
    assert!(scene.is_answer(&out, false), "{out:?}");
}

#[test]
fn two_that_hold_it_outweigh_one_that_has_evicted() {
    let mut scene = Scene::new();
    assert_eq!(scene.on(Event::Slow), [read(3, 1, false)]);
    scene.hears(2, evicted(version(300, 0, 1)));
    // The record itself is still to come, so that three have answered by then.
    assert_eq!(scene.hears(3, found(Some(&old()), false, Floor::ZERO)), [read(3, 1, true)]);
    let out = scene.hears(1, found(Some(&old()), true, Floor::ZERO));
    assert!(scene.is_answer(&out, true), "{out:?}");
}

/// The first two are a value and a mark that may hide something newer; the third, which is asked to
/// take the value in the place of another, has that newer one: it may be older than the read.
#[test]
fn something_newer_at_an_owner_that_was_not_read_proves_nothing_beside_a_mark() {
    let set = owners(1, &[1, 2, 3, 4, 5], &[]);
    let started = Read::start(key("k"), Level::Quorum, set, |_| true, |_| 0, &mut Vec::new());
    let mut scene = Scene(started.unwrap());
    assert_eq!(scene.on(Event::Slow), [read(4, 1, false)]);
    scene.hears(2, evicted(version(300, 0, 1)));
    scene.hears(3, evicted(version(99, 0, 2)));
    // The record itself is still to come, and with it there are four answers: three may hold it.
    assert_eq!(scene.hears(4, found(Some(&old()), false, Floor::ZERO)), [read(4, 1, true)]);
    let out = scene.hears(1, found(Some(&old()), true, Floor::ZERO));
    assert_eq!(out, [kept(3, 1, &old(), Floor::ZERO)]);
    // The fifth is asked too, and counts for nothing.
    assert_eq!(scene.on(Event::Slow), [kept(5, 1, &old(), Floor::ZERO)]);
    assert_eq!(scene.hears(5, Reply::Newer(version(200, 0, 1))), []);
    let out = scene.hears(3, Reply::Newer(version(200, 0, 1)));
    assert!(scene.is_answer(&out, true), "what came to one that was read came since: {out:?}");
}

#[test]
fn a_tombstone_is_as_good_as_there_where_the_mark_covers_it() {
    let gone = tombstone(version(100, 0, 2));
    let mut scene = Scene::new();
    scene.hears(1, found(Some(&gone), true, Floor::ZERO));
    let out = scene.hears(2, evicted(version(100, 0, 2)));
    let [Effect::Done(ReadOutcome::Found(found))] = &out[..] else { panic!("{out:?}") };
    assert_eq!(found.record, Some(gone));
}

/// Counts how often it was asked.
#[derive(Debug)]
struct Set;

impl Decide for Set {
    type Answer = bool;

    fn decide(
        &mut self,
        before: Option<&crate::record::Record<'_>>,
        now_ms: Millis,
    ) -> (bool, Option<(OwnedBody, Option<Millis>)>) {
        let was_there = before.is_some_and(|record| record.is_live_at(now_ms));
        (was_there, Some((OwnedBody::Live { kind: PLAIN, bytes: key("new") }, None)))
    }
}

/// Stamps of one time.
struct At(Millis);

impl Stamps for At {
    fn stamp(&mut self) -> Result<Stamp, ClockError> {
        Ok(Stamp::start_of(self.0))
    }
}

#[test]
fn an_update_of_a_missed_value_knows_none_and_lies_above_the_marks() {
    let mut out = Vec::new();
    let set = owners(1, &[1, 2, 3], &[]);
    let started =
        Execute::start(ME, key("k"), Level::Quorum, set, Set, Version::ZERO, |_| true, &mut out);
    let mut execute = started.unwrap();
    out.clear();
    let mut hears = |from, reply| {
        let mut out = Vec::new();
        execute.on(Event::Answered(answer(from, 1, reply)), &mut At(200), &mut out);
        out
    };
    assert_eq!(hears(1, evicted(version(900, 0, 3))), []);
    assert_eq!(hears(2, found(Some(&old()), false, Floor::ZERO)), [read(2, 1, true)]);
    let out = hears(2, found(Some(&old()), true, Floor::ZERO));
    let base = Base::Missed(old().borrow().rank());
    let record = live(version(900, 1, 1), "new");
    assert_eq!(out, [take(1, 2, &[item("k", &record)], Origin::Update { base })]);
}

#[test]
fn a_batch_over_a_missed_value_goes_by_there_being_none() {
    let (next, mut out) = ((OwnedBody::Live { kind: PLAIN, bytes: key("new") }, None), Vec::new());
    let parts = vec![Part { key: key("k"), when: Condition::Absent, next: Some(next) }];
    let (set, zero) = (owners(1, &[1, 2, 3], &[]), |_: &Bytes| Version::ZERO);
    let mut batch = Batch::start(ME, parts, Level::Quorum, set, zero, |_| true, &mut out).unwrap();
    out.clear();
    let mut hears = |from, reply| {
        let mut out = Vec::new();
        batch.on(Event::Answered(answer(from, 2, reply)), &mut At(200), &mut out);
        out
    };
    assert_eq!(hears(1, evicted(version(900, 0, 3))), []);
    let out = hears(2, found(Some(&old()), true, Floor::ZERO));
    let base = Base::Missed(old().borrow().rank());
    let [Effect::Send { ask: Ask::Batch { parts }, .. }] = &out[..] else { panic!("{out:?}") };
    assert_eq!(parts[0].base, base, "it is as if it were not there");
}

/// Wants nothing to be left, and finds nothing.
#[derive(Debug)]
struct Remove;

impl Decide for Remove {
    type Answer = bool;

    fn decide(
        &mut self,
        before: Option<&crate::record::Record<'_>>,
        now_ms: Millis,
    ) -> (bool, Option<(OwnedBody, Option<Millis>)>) {
        let was_there = before.is_some_and(|record| record.is_live_at(now_ms));
        (was_there, was_there.then_some((OwnedBody::Tombstone, None)))
    }

    fn removes(&self) -> bool {
        true
    }
}

#[test]
fn what_a_removal_missed_is_removed_and_not_told_of() {
    // A value that another read may find, one that is dead, and none at all.
    let held = [Some(old()), Some(tombstone(version(100, 0, 2))), None];
    for (held, is_written) in held.into_iter().zip([true, false, false]) {
        let mut out = Vec::new();
        let (set, zero) = (owners(1, &[1, 2, 3], &[]), Version::ZERO);
        let level = Level::Quorum;
        let started = Execute::start(ME, key("k"), level, set, Remove, zero, |_| true, &mut out);
        let mut execute = started.unwrap();
        let mut hears = |from, round, reply| {
            let mut out = Vec::new();
            execute.on(Event::Answered(answer(from, round, reply)), &mut At(200), &mut out);
            out
        };
        hears(1, 1, evicted(version(900, 0, 3)));
        let out = hears(2, 1, found(held.as_ref(), true, Floor::ZERO));
        if !is_written {
            let done = Executed::Done { answer: false, version: None };
            assert_eq!(out, [Effect::Done(done)]);
            continue;
        }
        let base = Base::Missed(old().borrow().rank());
        let gone = tombstone(version(900, 1, 1));
        assert_eq!(out, [take(1, 2, &[item("k", &gone)], Origin::Update { base })]);
        let out = hears(1, 2, Reply::Accepted);
        assert!(out.iter().all(|effect| matches!(effect, Effect::Send { .. })), "{out:?}");
        let out = hears(2, 2, Reply::Accepted);
        let version = Some(version(900, 1, 1));
        assert_eq!(out[0], Effect::Done(Executed::Done { answer: false, version }));
    }
}
