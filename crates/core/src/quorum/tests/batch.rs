//! Conditional batches: all keys judged, all or none taken, and nothing written over what came
//! between.

use super::*;
use crate::update::Tag;
use proptest::prelude::*;

type Effects = Vec<Effect<BatchOutcome>>;

/// Rounds of two keys: the first read's, the second read's, the batch's.
const fn first(round: u32) -> u32 {
    3 * round
}

const fn second(round: u32) -> u32 {
    3 * round + 1
}

const fn whole(round: u32) -> u32 {
    3 * round + 2
}

fn tag(record: &OwnedRecord) -> Condition {
    Condition::Tag(Tag { version: record.version, written: record.written })
}

fn part(name: &'static str, when: Condition, text: Option<&'static str>) -> Part {
    let next = text.map(|text| (OwnedBody::Live { kind: PLAIN, bytes: key(text) }, None));
    Part { key: key(name), when, next }
}

fn base(record: Option<&OwnedRecord>) -> Base {
    record.map_or(Base::Nothing, |record| Base::Record(record.borrow().rank()))
}

fn guarded(name: &'static str, on: Option<&OwnedRecord>, next: Option<&OwnedRecord>) -> Guarded {
    Guarded { key: key(name), base: base(on), next: next.cloned() }
}

fn send(to: u32, round: u32, parts: &[Guarded]) -> Effect<BatchOutcome> {
    Effect::Send { to: node(to), round, ask: Ask::Batch { parts: parts.into() } }
}

fn reading(round: u32) -> Effects {
    let read = |to, round, name, whole| Effect::Send {
        to: node(to),
        round,
        ask: Ask::Read { key: key(name), whole },
    };
    vec![
        read(1, first(round), "a", true),
        read(2, first(round), "a", false),
        read(1, second(round), "b", true),
        read(2, second(round), "b", false),
    ]
}

fn changed(pairs: &[(&'static str, &OwnedRecord)]) -> Reply {
    let pair = |(name, record): &(&'static str, &OwnedRecord)| (key(name), record.borrow().rank());
    Reply::Changed(pairs.iter().map(pair).collect())
}

fn done(versions: &[Version]) -> Effect<BatchOutcome> {
    Effect::Done(BatchOutcome::Done { versions: versions.to_vec() })
}

/// What was there under the first key, and what the batch makes of it.
fn old_a() -> OwnedRecord {
    live(version(100, 0, 2), "a")
}

fn new_a() -> OwnedRecord {
    live(version(100, 1, 1), "A")
}

/// Much younger than what is under the first key.
fn old_b() -> OwnedRecord {
    live(version(400, 2, 3), "b")
}

fn new_b() -> OwnedRecord {
    live(version(400, 3, 1), "B")
}

/// A write of the first key that came between.
fn between() -> OwnedRecord {
    live(version(200, 0, 3), "w")
}

fn both() -> [Guarded; 2] {
    [guarded("a", Some(&old_a()), Some(&new_a())), guarded("b", Some(&old_b()), Some(&new_b()))]
}

/// A batch of two keys under way at the first of three owners, with its clock.
struct Scene {
    batch: Batch,
    clock: Ticks,
}

impl Scene {
    fn of(parts: Vec<Part>) -> Self {
        let mut out = Vec::new();
        let (set, zero) = (owners(1, &[2, 1, 3], &[]), |_: &Bytes| Version::ZERO);
        let batch = Batch::start(ME, parts, Level::Quorum, set, zero, |_| true, &mut out).unwrap();
        assert_eq!(out, reading(1), "its own copy first");
        Self { batch, clock: Ticks(500) }
    }

    /// Both keys must be as they were.
    fn new() -> Self {
        Self::of(vec![part("a", tag(&old_a()), Some("A")), part("b", tag(&old_b()), Some("B"))])
    }

    fn on(&mut self, event: Event) -> Effects {
        let mut out = Vec::new();
        self.batch.on(event, &mut self.clock, &mut out);
        out
    }

    fn hears(&mut self, from: u32, round: u32, reply: Reply) -> Effects {
        self.on(Event::Answered(answer(from, round, reply)))
    }

    /// A quorum tells the same of each key.
    fn reads(&mut self, round: u32, a: Option<&OwnedRecord>, b: Option<&OwnedRecord>) -> Effects {
        let zero = Floor::ZERO;
        assert_eq!(self.hears(1, second(round), found(b, true, zero)), []);
        assert_eq!(self.hears(1, first(round), found(a, true, zero)), []);
        assert_eq!(self.hears(2, first(round), found(a, false, zero)), []);
        self.hears(2, second(round), found(b, false, zero))
    }

    /// Up to where the own copy has it and the others were asked, in round 2.
    fn sent() -> Self {
        let mut scene = Self::new();
        let read = scene.reads(1, Some(&old_a()), Some(&old_b()));
        assert_eq!(read, [send(1, whole(2), &both())]);
        let others = [send(2, whole(2), &both()), send(3, whole(2), &both())];
        assert_eq!(scene.hears(1, whole(2), Reply::Accepted), others);
        scene
    }
}

#[test]
fn each_key_follows_its_own_record_and_the_level_answers_for_all() {
    let mut scene = Scene::sent();
    let versions = [version(100, 1, 1), version(400, 3, 1)];
    assert_eq!(scene.hears(3, whole(2), Reply::Accepted), [done(&versions)]);
    assert!(!scene.batch.is_over());
    assert_eq!(scene.on(failed(2, whole(2))), [hint(2)]);
    assert!(scene.batch.is_over());
    assert_eq!(scene.batch.kept(), [item("a", &new_a()), item("b", &new_b())]);
    let tried: Vec<Version> = scene.batch.tried().map(|(_, version)| version).collect();
    assert_eq!(tried, versions);
}

#[test]
fn one_condition_that_is_not_met_is_enough_to_write_nothing() {
    for (a, b) in [
        (Some(between()), Some(old_b())),
        (Some(old_a()), Some(live(version(401, 0, 3), "b"))),
        (Some(old_a()), None),
        (Some(old_a()), Some(tombstone(version(401, 0, 3)))),
        (Some(old_a()), Some(expiring(old_b().version, "b", NOW_MS))),
    ] {
        let mut scene = Scene::new();
        let unmet = scene.reads(1, a.as_ref(), b.as_ref());
        assert_eq!(unmet, [Effect::Done(BatchOutcome::Unmet)]);
        assert!(scene.batch.is_over());
    }
}

#[test]
fn absent_is_what_has_no_value_and_the_clock_says_when_it_came() {
    let parts =
        vec![part("a", Condition::Absent, Some("A")), part("b", Condition::Absent, Some("B"))];
    let mut scene = Scene::of(parts.clone());
    let dead = tombstone(version(100, 0, 2));
    let (a, b) = (live(version(500, 1, 1), "A"), live(version(100, 1, 1), "B"));
    let expected = [guarded("a", None, Some(&a)), guarded("b", Some(&dead), Some(&b))];
    assert_eq!(scene.reads(1, None, Some(&dead)), [send(1, whole(2), &expected)]);
    let mut scene = Scene::of(parts);
    let unmet = scene.reads(1, None, Some(&old_b()));
    assert_eq!(unmet, [Effect::Done(BatchOutcome::Unmet)]);
}

#[test]
fn a_key_that_is_only_looked_at_is_guarded_too() {
    let mut scene =
        Scene::of(vec![part("a", tag(&old_a()), None), part("b", Condition::Any, Some("B"))]);
    let parts = [guarded("a", Some(&old_a()), None), guarded("b", Some(&old_b()), Some(&new_b()))];
    assert_eq!(scene.reads(1, Some(&old_a()), Some(&old_b())), [send(1, whole(2), &parts)]);
    // It came between at the own copy, where nothing was taken yet: it is read, and judged by that.
    assert_eq!(scene.hears(1, whole(2), changed(&[("a", &between())])), reading(3));
    let unmet = scene.reads(3, Some(&between()), Some(&old_b()));
    assert_eq!(unmet, [Effect::Done(BatchOutcome::Unmet)]);
    // Where nothing is written nothing is sent.
    let mut scene =
        Scene::of(vec![part("a", tag(&old_a()), None), part("b", Condition::Present, None)]);
    assert_eq!(scene.reads(1, Some(&old_a()), Some(&old_b())), [done(&[])]);
    assert!(scene.batch.is_over());
}

#[test]
fn what_came_between_its_own_attempt_is_not_written_over_and_not_denied() {
    let mut scene = Scene::sent();
    assert_eq!(scene.hears(2, whole(2), changed(&[("a", &between())])), []);
    assert_eq!(scene.hears(3, whole(2), changed(&[("a", &between())])), reading(3));
    // The first key has been passed by, the second shows the attempt.
    let after = scene.reads(3, Some(&between()), Some(&new_b()));
    assert_eq!(after, [Effect::Done(BatchOutcome::Unknown), hint(2), hint(3)]);
    assert_eq!(scene.batch.kept(), [item("a", &new_a()), item("b", &new_b())]);
}

#[test]
fn what_came_between_is_written_over_where_nothing_depended_on_it() {
    let mut scene =
        Scene::of(vec![part("a", Condition::Any, Some("A")), part("b", tag(&old_b()), Some("B"))]);
    scene.reads(1, Some(&old_a()), Some(&old_b()));
    scene.hears(1, whole(2), Reply::Accepted);
    scene.hears(2, whole(2), changed(&[("a", &between())]));
    assert_eq!(scene.hears(3, whole(2), changed(&[("a", &between())])), reading(3));
    let (a, b) = (live(version(200, 1, 1), "A"), live(version(400, 5, 1), "B"));
    let parts = [guarded("a", Some(&between()), Some(&a)), guarded("b", Some(&new_b()), Some(&b))];
    assert_eq!(scene.reads(3, Some(&between()), Some(&new_b())), [send(1, whole(4), &parts)]);
}

#[test]
fn an_attempt_that_was_passed_by_everywhere_was_none() {
    let mut scene = Scene::sent();
    let other = live(version(450, 0, 3), "w");
    let newer = changed(&[("a", &between()), ("b", &other)]);
    scene.hears(2, whole(2), newer.clone());
    assert_eq!(scene.hears(3, whole(2), newer), reading(3));
    let after = scene.reads(3, Some(&between()), Some(&other));
    assert_eq!(after[0], Effect::Done(BatchOutcome::Unmet));
}

#[test]
fn an_own_attempt_is_written_anew_as_one_and_not_judged_by_itself() {
    let mut scene = Scene::sent();
    assert_eq!(scene.on(failed(2, whole(2))), []);
    assert_eq!(scene.on(failed(3, whole(2))), reading(3));
    let (a, b) = (live(version(100, 3, 1), "A"), live(version(400, 5, 1), "B"));
    let parts = [guarded("a", Some(&new_a()), Some(&a)), guarded("b", Some(&new_b()), Some(&b))];
    assert_eq!(scene.reads(3, Some(&new_a()), Some(&new_b())), [send(1, whole(4), &parts)]);
}

#[test]
fn what_a_copy_told_counts_though_the_own_attempt_lies_above_it() {
    // Both keys were absent; by the clock of this node the batch is later than what came between.
    let parts =
        vec![part("a", Condition::Absent, Some("A")), part("b", Condition::Absent, Some("B"))];
    let mut scene = Scene::of(parts);
    scene.reads(1, None, None);
    scene.hears(1, whole(2), Reply::Accepted);
    scene.hears(2, whole(2), changed(&[("a", &between())]));
    assert_eq!(scene.hears(3, whole(2), changed(&[("a", &between())])), reading(3));
    let (a, b) = (live(version(500, 1, 1), "A"), live(version(500, 1, 1), "B"));
    let after = scene.reads(3, Some(&a), Some(&b));
    assert_eq!(after[0], Effect::Done(BatchOutcome::Unknown));
}

#[test]
fn a_conflict_is_one_only_if_no_copy_took_anything() {
    let mut scene = Scene::new();
    for attempt in 0..4 {
        let round = 1 + 2 * attempt;
        scene.reads(round, Some(&old_a()), Some(&old_b()));
        let after = scene.hears(1, whole(round + 1), changed(&[("a", &between())]));
        if attempt < 3 {
            assert_eq!(after, reading(round + 2));
        } else {
            assert_eq!(after, [Effect::Done(BatchOutcome::Conflict)]);
        }
    }
    // Each attempt had versions of its own.
    let tried: Vec<Version> = scene.batch.tried().map(|(_, version)| version).collect();
    assert_eq!(tried, [version(100, 7, 1), version(400, 9, 1)]);
    // Once the own copy may have taken one it is not known to be a conflict.
    let mut scene = Scene::new();
    scene.reads(1, Some(&old_a()), Some(&old_b()));
    scene.on(failed(1, whole(2)));
    for round in [3, 5, 7] {
        scene.reads(round, Some(&old_a()), Some(&old_b()));
        let after = scene.hears(1, whole(round + 1), changed(&[("b", &between())]));
        let last = vec![Effect::Done(BatchOutcome::Unknown)];
        assert_eq!(after, if round < 7 { reading(round + 2) } else { last });
    }
}

#[test]
fn a_newer_epoch_begins_all_reads_again() {
    let mut scene = Scene::new();
    scene.hears(1, first(1), found(Some(&old_a()), true, Floor::ZERO));
    scene.hears(2, first(1), found(Some(&old_a()), false, Floor::ZERO));
    assert_eq!(scene.on(stale(2, second(1))), [pull()]);
    let set = owners(2, &[2, 1, 3], &[]);
    assert_eq!(scene.on(Event::Remapped(Arc::clone(&set))), reading(2));
    assert_eq!(scene.batch.owners().epoch, epoch(2));
    // What was read before is void.
    assert_eq!(scene.hears(1, second(1), found(Some(&old_b()), true, Floor::ZERO)), []);
    let mut scene = Scene::sent();
    assert_eq!(scene.on(stale(3, whole(2))), [pull()]);
    assert_eq!(scene.on(Event::Remapped(set)), reading(3));
}

#[test]
fn where_it_cannot_be_carried_out_another_owner_may() {
    for refusal in [Refusal::NotCounting, Refusal::Unable] {
        let mut scene = Scene::new();
        scene.reads(1, Some(&old_a()), Some(&old_b()));
        let elsewhere = scene.hears(1, whole(2), Reply::Refused(refusal));
        assert_eq!(elsewhere, [Effect::Done(BatchOutcome::Elsewhere)]);
    }
    let mut scene = Scene::new();
    scene.reads(1, Some(&old_a()), Some(&old_b()));
    let full = scene.hears(1, whole(2), Reply::Refused(Refusal::Full(Full::Disk)));
    assert_eq!(full, [Effect::Done(BatchOutcome::Full(Full::Disk))]);
    let mut scene =
        Scene::of(vec![part("a", Condition::Any, Some("A")), part("b", Condition::Any, None)]);
    scene.clock = Ticks(0);
    let elsewhere = scene.reads(1, None, None);
    assert_eq!(elsewhere, [Effect::Done(BatchOutcome::Elsewhere)]);
    // Without a quorum nothing is written, and who is missing is said.
    let mut scene = Scene::new();
    scene.hears(1, first(1), found(None, true, Floor::ZERO));
    let lack = NoQuorum { have: 1, need: 2, unreachable: vec![node(2), node(3)] };
    let none = Effect::Done(BatchOutcome::NoQuorum(lack));
    assert_eq!(scene.on(Event::Deadline), [none]);
}

/// Anything that may happen to a batch of three owners.
fn anything() -> impl Strategy<Value = Event> {
    let a = prop_oneof![Just(None), Just(Some(old_a())), Just(Some(new_a()))];
    let reply = prop_oneof![
        4 => (a, any::<bool>()).prop_map(|(held, whole)| found(held.as_ref(), whole, Floor::ZERO)),
        6 => Just(Reply::Accepted),
        2 => Just(changed(&[("a", &between())])),
        1 => Just(changed(&[("b", &between())])),
        1 => Just(Reply::BelowFloor(floor(900))),
        1 => Just(Reply::Refused(Refusal::Unable)),
        1 => Just(Reply::Refused(Refusal::Stale)),
    ];
    // Rounds are counted from the newest one backwards, so that most are current.
    let said = (1_u32..4, 1_u64..3, prop_oneof![4 => Just(0_u32), 3 => 1_u32..4], reply);
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
    /// Whatever is said in whatever order: one answer, both keys sent together, each version
    /// tried once and for one record, and nothing sent after the answer.
    #[test]
    fn one_answer_and_each_version_once(events in prop::collection::vec(anything(), 0..80)) {
        let mut scene = Scene::of(vec![
            part("a", Condition::Any, Some("A")),
            part("b", Condition::Any, Some("B")),
        ]);
        let mut newest_round = second(1);
        let mut tried: Vec<(u32, Vec<Version>)> = Vec::new();
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
                    Effect::Send { round, ask: Ask::Batch { parts }, .. } => {
                        newest_round = newest_round.max(round);
                        prop_assert!(told.is_empty(), "sent after it was answered");
                        let records = parts.iter().filter_map(|part| part.next.as_ref());
                        tried.push((round, records.map(|record| record.version).collect()));
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
            prop_assert!(pair[0].0 < pair[1].0);
            let rises = pair[0].1.iter().zip(&pair[1].1).all(|(old, new)| old < new);
            prop_assert!(rises && pair[1].1.len() == 2, "{:?}", pair);
        }
        if let BatchOutcome::Done { versions } = &told[0] {
            prop_assert_eq!(Some(versions), tried.last().map(|(_, versions)| versions));
        }
    }
}
