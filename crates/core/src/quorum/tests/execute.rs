//! Read-modify-writes: the own copy first, what they are computed from checked everywhere, and
//! nothing decided twice over itself.

use super::*;
use crate::record::Record;
use proptest::prelude::*;

type Effects = Vec<Effect<Executed<u64>>>;

/// Adds one to a number; writes nothing where there is no number.
#[derive(Debug)]
struct Add;

impl Decide for Add {
    type Answer = u64;

    fn decide(
        &mut self,
        before: Option<&Record<'_>>,
        now_ms: Millis,
    ) -> (u64, Option<(OwnedBody, Option<Millis>)>) {
        let held = before.and_then(|record| record.value_at(now_ms)).unwrap_or(b"0");
        let Ok(held) = std::str::from_utf8(held).unwrap().parse::<u64>() else {
            return (0, None);
        };
        let bytes = Bytes::from((held + 1).to_string());
        (held + 1, Some((OwnedBody::Live { kind: PLAIN, bytes }, None)))
    }
}

/// A read-modify-write of one key under way at the first of three owners, with its clock.
struct Scene {
    execute: Execute<Add>,
    clock: Ticks,
}

impl Scene {
    fn new(tried: Version) -> Self {
        let mut out = Vec::new();
        let set = owners(1, &[2, 1, 3], &[]);
        let execute =
            Execute::start(ME, key("k"), Level::Quorum, set, Add, tried, |_| true, &mut out)
                .unwrap();
        assert_eq!(out, [super::read(1, 1, true), super::read(2, 1, false)], "its own copy first");
        Self { execute, clock: Ticks(500) }
    }

    fn on(&mut self, event: Event) -> Effects {
        let mut out = Vec::new();
        self.execute.on(event, &mut self.clock, &mut out);
        out
    }

    fn hears(&mut self, from: u32, round: u32, reply: Reply) -> Effects {
        self.on(Event::Answered(answer(from, round, reply)))
    }

    /// A quorum tells the same record, or none.
    fn reads(&mut self, round: u32, record: Option<&OwnedRecord>, floor: Floor) -> Effects {
        assert_eq!(self.hears(1, round, found(record, true, floor)), []);
        self.hears(2, round, found(record, false, floor))
    }

    /// Up to where the others were asked to take 8 over 7; they are in round 2.
    fn sent() -> Self {
        let mut scene = Self::new(Version::ZERO);
        assert_eq!(scene.reads(1, Some(&seven()), Floor::ZERO), [update(1, 2, &eight(), &seven())]);
        let others = [update(2, 2, &eight(), &seven()), update(3, 2, &eight(), &seven())];
        assert_eq!(scene.hears(1, 2, Reply::Accepted), others);
        scene
    }
}

fn seven() -> OwnedRecord {
    live(version(100, 0, 2), "7")
}

/// What adding one to seven makes.
fn eight() -> OwnedRecord {
    live(version(100, 1, 1), "8")
}

/// A write that came between.
fn between() -> OwnedRecord {
    live(version(200, 0, 3), "20")
}

fn update(to: u32, round: u32, record: &OwnedRecord, base: &OwnedRecord) -> Effect<Executed<u64>> {
    let base = Base::Record(base.borrow().rank());
    take(to, round, &[item("k", record)], Origin::Update { base })
}

fn first(to: u32, round: u32, record: &OwnedRecord) -> Effect<Executed<u64>> {
    take(to, round, &[item("k", record)], Origin::Update { base: Base::Nothing })
}

fn done(answer: u64, version: Version) -> Effect<Executed<u64>> {
    Effect::Done(Executed::Done { answer, version: Some(version) })
}

fn unknown(version: Version) -> Effect<Executed<u64>> {
    Effect::Done(Executed::Unknown { version })
}

fn conflict(record: &OwnedRecord) -> Reply {
    Reply::Conflict { record: record.clone(), floor: Floor::ZERO }
}

fn reading(round: u32) -> [Effect<Executed<u64>>; 2] {
    [super::read(1, round, true), super::read(2, round, false)]
}

#[test]
fn the_own_copy_is_first_then_the_others_and_the_level_answers() {
    let mut scene = Scene::sent();
    assert_eq!(scene.hears(3, 2, Reply::Accepted), [done(8, version(100, 1, 1))]);
    assert!(!scene.execute.is_over());
    assert_eq!(scene.on(failed(2, 2)), [hint(2)]);
    assert!(scene.execute.is_over());
    assert_eq!(scene.execute.tried(), version(100, 1, 1));
    assert_eq!(scene.execute.kept(), Some(&item("k", &eight())));
}

#[test]
fn where_there_is_nothing_the_clock_says_when() {
    let mut scene = Scene::new(Version::ZERO);
    let one = live(version(500, 1, 1), "1");
    assert_eq!(scene.reads(1, None, Floor::ZERO), [first(1, 2, &one)]);
}

#[test]
fn a_version_is_odd_above_the_floor_and_never_tried_twice() {
    let above = version(300, 1, 1);
    let cases = [
        (Version::ZERO, Floor::ZERO, version(100, 1, 1)),
        (Version::ZERO, floor(300), above),
        (version(100, 1, 1), Floor::ZERO, version(100, 3, 1)),
        (version(400, 7, 1), floor(300), version(400, 9, 1)),
    ];
    for (tried, floor, expected) in cases {
        let mut scene = Scene::new(tried);
        scene.reads(1, Some(&seven()), floor);
        let attempt = scene.execute.attempt().unwrap().record;
        assert_eq!((attempt.version, attempt.written), (expected, expected));
        assert!(floor == Floor::ZERO || attempt.version > floor.last_version());
        assert_eq!(scene.execute.tried(), expected);
    }
}

#[test]
fn what_writes_nothing_is_answered_from_the_read() {
    let mut scene = Scene::new(Version::ZERO);
    let text = live(version(100, 0, 2), "text");
    let none = Executed::Done { answer: 0, version: None };
    assert_eq!(scene.reads(1, Some(&text), Floor::ZERO), [Effect::Done(none)]);
    assert!(scene.execute.is_over());
    assert_eq!(scene.execute.attempt(), None);
}

#[test]
fn a_conflict_reads_again_and_decides_again() {
    let mut scene = Scene::new(Version::ZERO);
    scene.reads(1, Some(&seven()), Floor::ZERO);
    assert_eq!(scene.hears(1, 2, conflict(&between())), reading(3));
    assert_eq!(scene.hears(1, 2, Reply::Accepted), [], "of the round before");
    let twenty_one = live(version(200, 1, 1), "21");
    let retried = scene.reads(3, Some(&between()), Floor::ZERO);
    assert_eq!(retried, [update(1, 4, &twenty_one, &between())]);
}

#[test]
fn a_conflict_at_the_own_copy_each_time_is_a_conflict() {
    let mut scene = Scene::new(Version::ZERO);
    for attempt in 0..4 {
        let round = 1 + 2 * attempt;
        scene.reads(round, Some(&seven()), Floor::ZERO);
        let after = scene.hears(1, round + 1, conflict(&between()));
        if attempt < 3 {
            assert_eq!(after, reading(round + 2));
        } else {
            assert_eq!(after, [Effect::Done(Executed::Conflict)]);
        }
    }
    assert!(scene.execute.is_over());
    // Every attempt had a version of its own.
    assert_eq!(scene.execute.tried(), version(100, 7, 1));
}

#[test]
fn a_copy_of_its_own_that_takes_nothing_leaves_it_to_another_owner() {
    for refusal in [Refusal::NotCounting, Refusal::Unable] {
        let mut scene = Scene::new(Version::ZERO);
        scene.reads(1, Some(&seven()), Floor::ZERO);
        let elsewhere = scene.hears(1, 2, Reply::Refused(refusal));
        assert_eq!(elsewhere, [Effect::Done(Executed::Elsewhere)]);
        assert!(scene.execute.is_over());
    }
    let mut scene = Scene::new(Version::ZERO);
    scene.reads(1, Some(&seven()), Floor::ZERO);
    let full = scene.hears(1, 2, Reply::Refused(Refusal::Full(Full::Disk)));
    assert_eq!(full, [Effect::Done(Executed::Full(Full::Disk))]);
    // Once it took an attempt nobody else may do it again.
    let scene = || {
        let mut scene = Scene::sent();
        scene.hears(2, 2, conflict(&between()));
        assert_eq!(scene.on(failed(3, 2)), reading(3));
        scene.reads(3, Some(&between()), Floor::ZERO);
        scene
    };
    for refusal in [Refusal::NotCounting, Refusal::Full(Full::Memory)] {
        let mut scene = scene();
        let after = scene.hears(1, 4, Reply::Refused(refusal));
        assert_eq!(after[0], unknown(version(200, 1, 1)));
    }
}

#[test]
fn without_a_stamp_for_what_follows_nothing_another_owner_does_it() {
    let mut scene = Scene::new(Version::ZERO);
    scene.clock = Ticks(0);
    let elsewhere = scene.reads(1, None, Floor::ZERO);
    assert_eq!(elsewhere, [Effect::Done(Executed::Elsewhere)]);
    assert_eq!(scene.execute.tried(), Version::ZERO);
}

#[test]
fn a_failure_of_a_round_that_is_over_means_nothing() {
    let mut scene = Scene::sent();
    assert_eq!(scene.on(failed(2, 1)), []);
    assert_eq!(scene.on(failed(3, 1)), [], "both may still take it");
    assert_eq!(scene.hears(3, 2, Reply::Accepted), [done(8, version(100, 1, 1))]);
}

#[test]
fn the_own_copy_is_read_though_others_count_twice() {
    let mut out = Vec::new();
    let (set, zero) = (owners(1, &[1, 2, 3], &[2, 3, 4]), Version::ZERO);
    Execute::start(ME, key("k"), Level::Quorum, set, Add, zero, |_| true, &mut out).unwrap();
    let asked = |effect: &Effect<Executed<u64>>| match effect {
        Effect::Send { to, .. } => to.0,
        other => panic!("{other:?}"),
    };
    assert_eq!(out.iter().map(asked).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_conflict_after_anything_was_taken_is_unknown() {
    let mut scene = Scene::new(Version::ZERO);
    for attempt in 0..4 {
        let round = 1 + 2 * attempt;
        scene.reads(round, Some(&seven()), Floor::ZERO);
        if attempt == 1 {
            assert_eq!(scene.hears(1, round + 1, Reply::Accepted).len(), 2);
            assert_eq!(scene.hears(2, round + 1, conflict(&between())), []);
            assert_eq!(scene.hears(3, round + 1, conflict(&between())), reading(round + 2));
        } else {
            let after = scene.hears(1, round + 1, conflict(&between()));
            // What the own copy took may have happened, so the others are to have it.
            let last = [unknown(version(100, 7, 1)), hint(2), hint(3)];
            assert_eq!(after, if attempt < 3 { reading(round + 2).to_vec() } else { last.into() });
        }
    }
    // Not the last attempt, which the own copy refused.
    assert_eq!(scene.execute.kept(), Some(&item("k", &live(version(100, 3, 1), "8"))));
}

#[test]
fn what_the_own_copy_took_is_left_to_hints_when_a_later_read_fails() {
    let mut scene = Scene::sent();
    assert_eq!(scene.hears(2, 2, conflict(&between())), []);
    assert_eq!(scene.on(failed(3, 2)), reading(3));
    let last = scene.on(Event::Deadline);
    assert_eq!(last, [unknown(version(100, 1, 1)), hint(2), hint(3)]);
    assert_eq!(scene.execute.kept(), Some(&item("k", &eight())));
}

#[test]
fn a_copy_of_its_own_that_fails_may_have_taken_it() {
    let mut scene = Scene::new(Version::ZERO);
    for attempt in 0..4 {
        let round = 1 + 2 * attempt;
        scene.reads(round, Some(&seven()), Floor::ZERO);
        if attempt == 0 {
            assert_eq!(scene.on(failed(1, round + 1)), reading(3));
        } else {
            scene.hears(1, round + 1, conflict(&between()));
        }
    }
    assert!(scene.execute.is_over());
    assert_eq!(scene.execute.kept(), None, "what is not known to be proven is no hint");
    // So what would have been a conflict is not known to be one.
    let mut again = Scene::new(Version::ZERO);
    again.reads(1, Some(&seven()), Floor::ZERO);
    again.on(failed(1, 2));
    assert_eq!(again.on(Event::Deadline), [unknown(version(100, 1, 1))]);
}

#[test]
fn an_own_attempt_that_was_read_is_written_anew_and_not_decided_again() {
    let mut scene = Scene::sent();
    assert_eq!(scene.hears(2, 2, conflict(&between())), []);
    assert_eq!(scene.on(failed(3, 2)), reading(3));
    // The newest on a quorum is the own attempt: eight stays eight.
    let anew = live(version(100, 3, 1), "8");
    let again = scene.reads(3, Some(&eight()), Floor::ZERO);
    assert_eq!(again, [update(1, 4, &anew, &eight())]);
    assert_eq!(scene.hears(1, 4, Reply::Accepted).len(), 2);
    assert_eq!(scene.hears(2, 4, Reply::Accepted), [done(8, version(100, 3, 1))]);
}

#[test]
fn a_stale_epoch_begins_again_and_may_have_stored_the_attempt() {
    let mut scene = Scene::new(Version::ZERO);
    scene.reads(1, Some(&seven()), Floor::ZERO);
    assert_eq!(scene.on(stale(1, 2)), [pull()]);
    assert_eq!(scene.hears(1, 2, Reply::Accepted), [], "void");
    assert_eq!(scene.on(Event::Remapped(owners(1, &[2, 1, 3], &[]))), [], "no newer map");
    let again = scene.on(Event::Remapped(owners(2, &[2, 1, 3], &[])));
    assert_eq!(again, reading(3));
    // Whatever comes now, "conflict" would claim that nothing was taken.
    assert_eq!(scene.on(Event::Deadline), [unknown(version(100, 1, 1))]);

    let mut scene = Scene::new(Version::ZERO);
    scene.reads(1, Some(&seven()), Floor::ZERO);
    scene.on(stale(1, 2));
    scene.on(Event::Remapped(owners(2, &[2, 1, 3], &[])));
    let at = |from, round, reply| {
        Event::Answered(Answer { epoch: epoch(2), ..answer(from, round, reply) })
    };
    let mut last = Vec::new();
    for attempt in 0..4 {
        let round = 3 + 2 * attempt;
        scene.on(at(1, round, found(Some(&between()), true, Floor::ZERO)));
        scene.on(at(2, round, found(Some(&between()), false, Floor::ZERO)));
        last = scene.on(at(1, round + 1, conflict(&between())));
    }
    assert_eq!(last, [unknown(version(200, 7, 1))]);
}

#[test]
fn a_stale_epoch_after_the_own_copy_took_it_finds_the_own_attempt() {
    let mut scene = Scene::sent();
    assert_eq!(scene.on(stale(3, 2)), [pull()]);
    let set = owners(2, &[2, 1, 3], &[]);
    assert_eq!(scene.on(Event::Remapped(set)), reading(3));
    let at = |from, whole| {
        let reply = found(Some(&eight()), whole, Floor::ZERO);
        Event::Answered(Answer { epoch: epoch(2), ..answer(from, 3, reply) })
    };
    assert_eq!(scene.on(at(1, true)), []);
    let anew = live(version(100, 3, 1), "8");
    assert_eq!(scene.on(at(2, false)), [update(1, 4, &anew, &eight())]);
}

#[test]
fn a_map_that_changes_under_the_read_is_taken_up_only_when_the_read_does() {
    let mut scene = Scene::new(Version::ZERO);
    let newer = owners(2, &[2, 1, 3], &[]);
    assert_eq!(scene.on(Event::Remapped(Arc::clone(&newer))), []);
    assert_eq!(scene.execute.owners().epoch, epoch(1), "its answers are of this epoch");
    assert_eq!(scene.on(stale(2, 1)), [pull()]);
    assert_eq!(scene.on(Event::Remapped(newer)), reading(2));
    assert_eq!(scene.execute.owners().epoch, epoch(2));
}

#[test]
fn stale_after_the_answer_is_left_to_a_hint() {
    let mut scene = Scene::sent();
    assert_eq!(scene.hears(2, 2, Reply::Accepted), [done(8, version(100, 1, 1))]);
    assert_eq!(scene.on(stale(3, 2)), [hint(3)]);
    assert!(scene.execute.is_over());
}

#[test]
fn a_copy_in_another_life_does_not_count() {
    let mut scene = Scene::sent();
    let reborn = Answer { from: copy(2, 9), ..answer(2, 2, Reply::Accepted) };
    assert_eq!(scene.on(Event::Answered(reborn)), []);
    assert_eq!(scene.hears(3, 2, Reply::Accepted)[0], done(8, version(100, 1, 1)));
}

#[test]
fn the_deadline_leaves_what_the_own_copy_took_to_hints() {
    let mut scene = Scene::sent();
    let last = scene.on(Event::Deadline);
    assert_eq!(last, [unknown(version(100, 1, 1)), hint(2), hint(3)]);
    // What the own copy did not take is nobody's to have.
    let mut scene = Scene::new(Version::ZERO);
    scene.reads(1, Some(&seven()), Floor::ZERO);
    assert_eq!(scene.on(Event::Deadline), [unknown(version(100, 1, 1))]);
    assert!(scene.execute.is_over());
}

#[test]
fn without_a_quorum_nothing_is_written() {
    let mut scene = Scene::new(Version::ZERO);
    assert_eq!(scene.hears(1, 1, found(None, true, Floor::ZERO)), []);
    let lack = |unreachable| NoQuorum { have: 1, need: 2, unreachable };
    let none = Effect::Done(Executed::NoQuorum(lack(vec![node(2), node(3)])));
    assert_eq!(scene.on(Event::Deadline), [none]);

    let mut out = Vec::new();
    let (set, zero) = (owners(1, &[1, 2, 3], &[]), Version::ZERO);
    let alone = |n: NodeId| n == ME;
    let started = Execute::start(ME, key("k"), Level::Quorum, set, Add, zero, alone, &mut out);
    assert_eq!(started.err(), Some(Executed::NoQuorum(lack(vec![node(2), node(3)]))));
    assert_eq!(out, []);
}

#[test]
fn both_sets_must_take_it_while_owners_change() {
    let mut out = Vec::new();
    let (set, zero) = (owners(1, &[1, 2, 3], &[1, 4, 5]), Version::ZERO);
    let execute =
        Execute::start(ME, key("k"), Level::Quorum, set, Add, zero, |_| true, &mut out).unwrap();
    let mut scene = Scene { execute, clock: Ticks(500) };
    let asked: Vec<u32> = out
        .iter()
        .map(|effect| match effect {
            Effect::Send { to, .. } => to.0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, [1, 2, 3, 4]);
    scene.hears(1, 1, found(None, true, Floor::ZERO));
    scene.hears(2, 1, found(None, true, Floor::ZERO));
    let one = live(version(500, 1, 1), "1");
    assert_eq!(scene.hears(4, 1, found(None, true, Floor::ZERO)), [first(1, 2, &one)]);
    let others = scene.hears(1, 2, Reply::Accepted);
    assert_eq!(others, [2, 3, 4, 5].map(|to| first(to, 2, &one)));
    assert_eq!(scene.hears(2, 2, Reply::Accepted), []);
    assert_eq!(scene.hears(5, 2, Reply::Accepted), [done(1, version(500, 1, 1))]);
}

/// Anything that may happen to a read-modify-write of three owners.
fn anything() -> impl Strategy<Value = Event> {
    let held = prop_oneof![Just(None), Just(Some(seven())), Just(Some(eight()))];
    let reply = prop_oneof![
        4 => (held, any::<bool>())
            .prop_map(|(held, whole)| found(held.as_ref(), whole, Floor::ZERO)),
        6 => Just(Reply::Accepted),
        2 => Just(conflict(&between())),
        1 => Just(Reply::BelowFloor(floor(900))),
        1 => Just(Reply::Refused(Refusal::Unable)),
        1 => Just(Reply::Refused(Refusal::Stale)),
    ];
    // Rounds are counted from the newest one backwards, so that most are current.
    let said = (1_u32..4, 1_u64..3, prop_oneof![4 => Just(0_u32), 1 => 1_u32..3], reply);
    let said = said.prop_map(|(from, at, round, reply)| {
        Event::Answered(Answer { epoch: epoch(at), ..answer(from, round, reply) })
    });
    prop_oneof![
        14 => said,
        2 => (1_u32..4, 0_u32..3).prop_map(|(id, round)| failed(id, round)),
        1 => (1_u64..3).prop_map(|at| Event::Remapped(owners(at, &[1, 2, 3], &[]))),
    ]
}

proptest! {
    /// Whatever is said in whatever order: one answer, each version tried once and for one
    /// record, and no other version after the answer.
    #[test]
    fn one_answer_and_each_version_once(events in prop::collection::vec(anything(), 0..60)) {
        let mut scene = Scene::new(Version::ZERO);
        let mut newest_round = 1;
        let mut tried: Vec<(u32, OwnedRecord)> = Vec::new();
        let mut told = Vec::new();
        for event in events.into_iter().chain([Event::Deadline]) {
            let event = match event {
                Event::Answered(answer) => {
                    let round = newest_round - answer.round.min(newest_round);
                    Event::Answered(Answer { round, ..answer })
                }
                Event::Failed { node, round } => {
                    Event::Failed { node, round: newest_round - round.min(newest_round) }
                }
                other => other,
            };
            for effect in scene.on(event) {
                match effect {
                    Effect::Send { round, ask: Ask::Take { items, origin, .. }, .. } => {
                        newest_round = newest_round.max(round);
                        prop_assert!(told.is_empty(), "sent after it was answered");
                        if matches!(origin, Origin::Update { .. }) {
                            tried.push((round, items[0].record.clone()));
                        }
                    }
                    Effect::Send { round, .. } => newest_round = newest_round.max(round),
                    Effect::Done(outcome) => told.push(outcome),
                    Effect::Hint { .. } => prop_assert!(!told.is_empty()),
                    Effect::PullMap { .. } => {}
                }
            }
        }
        prop_assert_eq!(told.len(), 1);
        tried.dedup();
        for pair in tried.windows(2) {
            prop_assert!(pair[0].0 < pair[1].0 && pair[0].1.version < pair[1].1.version);
        }
        match &told[0] {
            Executed::Done { version: Some(version), .. } | Executed::Unknown { version } => {
                prop_assert_eq!(Some(*version), tried.last().map(|(_, record)| record.version));
            }
            Executed::NoQuorum(_) => prop_assert!(tried.is_empty()),
            Executed::Conflict
            | Executed::Elsewhere
            | Executed::Full(_)
            | Executed::Done { version: None, .. } => {}
        }
    }
}
