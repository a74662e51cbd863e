//! Plain writes: levels, the one second stamp, epochs, and who is left to hints.

use super::*;
use proptest::prelude::*;

/// The version that the tests write first.
const FIRST: Version = version(100, 0, 1);

type Effects = Vec<Effect<WriteOutcome>>;

const fn fresh(base: Option<Version>, last: bool) -> Origin {
    Origin::Fresh { base, last }
}

fn done(version: Version) -> Effect<WriteOutcome> {
    Effect::Done(WriteOutcome::Done { version })
}

fn unknown(version: Version) -> Effect<WriteOutcome> {
    Effect::Done(WriteOutcome::Unknown { version, full: None })
}

/// A write of one key under way, with its clock.
struct Scene {
    write: Write,
    clock: Ticks,
}

impl Scene {
    fn new(owners: &Arc<Owners>, level: Level, restamp: Restamp) -> Self {
        Self::of(&[item("k", &live(FIRST, "new"))], owners, level, restamp)
    }

    fn of(items: &[Item], owners: &Arc<Owners>, level: Level, restamp: Restamp) -> Self {
        let mut out = Vec::new();
        let write =
            Write::start(ME, items.into(), level, restamp, Arc::clone(owners), |_| true, &mut out)
                .unwrap();
        let origin = fresh(None, restamp == Restamp::Never);
        let asked: Effects = owners.nodes().map(|to| take(to.0, 1, items, origin)).collect();
        assert_eq!(out, asked);
        Self { write, clock: Ticks(500) }
    }

    fn on(&mut self, event: Event) -> Effects {
        let mut out = Vec::new();
        self.write.on(event, &mut self.clock, &mut out);
        out
    }

    fn hears(&mut self, from: u32, round: u32, reply: Reply) -> Effects {
        self.on(Event::Answered(answer(from, round, reply)))
    }
}

fn three(level: Level) -> Scene {
    Scene::new(&owners(1, &[1, 2, 3], &[]), level, Restamp::Once)
}

#[test]
fn one_is_reached_by_the_first_acceptance() {
    let mut scene = three(Level::One);
    assert_eq!(scene.hears(3, 1, Reply::Accepted), [done(FIRST)]);
    assert_eq!(scene.hears(1, 1, Reply::Accepted), []);
    assert!(!scene.write.is_over());
    assert_eq!(scene.hears(2, 1, Reply::Accepted), []);
    assert!(scene.write.is_over());
}

#[test]
fn quorum_is_reached_by_the_second_and_all_by_the_third() {
    let mut scene = three(Level::Quorum);
    assert_eq!(scene.hears(3, 1, Reply::Accepted), []);
    assert_eq!(scene.hears(3, 1, Reply::Accepted), [], "the same one twice is one");
    assert_eq!(scene.hears(1, 1, Reply::Accepted), [done(FIRST)]);

    let mut scene = three(Level::All);
    assert_eq!(scene.hears(1, 1, Reply::Accepted), []);
    assert_eq!(scene.hears(2, 1, Reply::Accepted), []);
    assert_eq!(scene.hears(3, 1, Reply::Accepted), [done(FIRST)]);
}

#[test]
fn too_few_owners_to_begin_with_send_nothing() {
    let items: Arc<[Item]> = Arc::from([item("k", &live(FIRST, "new"))]);
    let mut out = Vec::new();
    let set = owners(1, &[1, 2, 3], &[]);
    let started =
        Write::start(ME, items, Level::Quorum, Restamp::Once, set, |node| node == ME, &mut out);
    let unreachable = vec![node(2), node(3)];
    let none = WriteOutcome::NoQuorum(NoQuorum { have: 1, need: 2, unreachable });
    assert_eq!(started.err(), Some(none));
    assert_eq!(out, []);
}

#[test]
fn something_newer_is_stamped_over_once() {
    let mut scene = three(Level::Quorum);
    let (greatest, newer) = (version(300, 0, 2), version(200, 0, 3));
    assert_eq!(scene.hears(2, 1, Reply::Newer(greatest)), []);
    let second = version(500, 0, 1);
    let items = [item("k", &live(second, "new"))];
    let origin = fresh(Some(greatest), true);
    assert_eq!(
        scene.hears(3, 1, Reply::Newer(newer)),
        [1, 2, 3].map(|to| take(to, 2, &items, origin))
    );
    // What is newer now is concurrent, and counts. A late answer to the first round does not.
    assert_eq!(scene.hears(1, 1, Reply::Accepted), []);
    assert_eq!(scene.hears(1, 2, Reply::Newer(version(900, 0, 3))), []);
    assert_eq!(scene.hears(2, 2, Reply::Accepted), [done(second)]);
    assert_eq!(scene.hears(3, 2, Reply::Newer(version(901, 0, 3))), []);
    assert!(scene.write.is_over());
}

#[test]
fn acceptances_at_the_level_outweigh_something_newer() {
    let mut scene = three(Level::Quorum);
    assert_eq!(scene.hears(1, 1, Reply::Accepted), []);
    assert_eq!(scene.hears(2, 1, Reply::Accepted), [done(FIRST)]);
    assert_eq!(scene.hears(3, 1, Reply::Newer(version(300, 0, 2))), [], "never after the answer");
    assert!(scene.write.is_over());
    assert_eq!(scene.write.items()[0].record.version, FIRST);
}

#[test]
fn one_and_all_are_stamped_over_after_one_and_after_a_quorum() {
    let mut scene = three(Level::One);
    assert_eq!(scene.hears(2, 1, Reply::Newer(version(300, 0, 2))).len(), 3);
    let mut scene = three(Level::All);
    assert_eq!(scene.hears(2, 1, Reply::Newer(version(300, 0, 2))), []);
    assert_eq!(scene.hears(1, 1, Reply::Accepted).len(), 3);
}

#[test]
fn a_clock_behind_or_at_rest_follows_what_is_newer() {
    for clock_ms in [0, 250] {
        let mut scene = three(Level::One);
        scene.clock = Ticks(clock_ms);
        scene.hears(2, 1, Reply::Newer(version(300, 4, 2)));
        assert_eq!(scene.write.items()[0].record.version, version(300, 5, 1), "{clock_ms}");
        assert_eq!(scene.write.items()[0].record.written, version(300, 5, 1));
    }
}

#[test]
fn below_a_floor_is_stamped_over_and_never_accepted() {
    let mut scene = three(Level::Quorum);
    assert_eq!(scene.hears(1, 1, Reply::Accepted), []);
    let below = Reply::BelowFloor(floor(400));
    let origin = fresh(Some(floor(400).last_version()), true);
    let second = version(500, 0, 1);
    let items = [item("k", &live(second, "new"))];
    assert_eq!(scene.hears(2, 1, below.clone()), [1, 2, 3].map(|to| take(to, 2, &items, origin)));
    assert_eq!(scene.hears(1, 2, Reply::Accepted), []);
    assert_eq!(scene.hears(2, 2, below.clone()), []);
    assert_eq!(scene.hears(3, 2, below), [unknown(second)]);
}

#[test]
fn an_event_time_is_superseded_and_never_stamped_again() {
    let set = owners(1, &[1, 2, 3], &[]);
    let mut scene = Scene::new(&set, Level::Quorum, Restamp::Never);
    assert_eq!(scene.hears(1, 1, Reply::Accepted), []);
    let by = version(300, 0, 2);
    assert_eq!(
        scene.hears(2, 1, Reply::Newer(by)),
        [Effect::Done(WriteOutcome::Superseded { by })]
    );
    assert_eq!(scene.hears(3, 1, Reply::Newer(version(301, 0, 2))), []);
    assert!(scene.write.is_over());
}

#[test]
fn an_event_time_is_not_superseded_by_a_floor() {
    let set = owners(1, &[1, 2, 3], &[]);
    let mut scene = Scene::new(&set, Level::Quorum, Restamp::Never);
    assert_eq!(scene.hears(1, 1, Reply::Accepted), []);
    assert_eq!(scene.hears(2, 1, Reply::BelowFloor(floor(400))), []);
    assert_eq!(scene.hears(3, 1, Reply::BelowFloor(floor(400))), [unknown(FIRST)]);
}

#[test]
fn the_deadline_makes_it_unknown_and_hints_those_that_did_not_take_it() {
    let mut scene = three(Level::Quorum);
    assert_eq!(scene.hears(3, 1, Reply::Accepted), []);
    assert_eq!(scene.on(failed(2, 1)), []);
    assert_eq!(scene.on(Event::Deadline), [unknown(FIRST), hint(1), hint(2)]);
    assert!(scene.write.is_over());
    assert_eq!(scene.hears(1, 1, Reply::Accepted), []);
    assert_eq!(scene.on(Event::Deadline), []);
}

#[test]
fn it_is_unknown_as_soon_as_the_level_cannot_be_reached() {
    let mut scene = three(Level::Quorum);
    assert_eq!(scene.on(failed(2, 1)), []);
    assert_eq!(scene.hears(3, 1, Reply::Refused(Refusal::Unable)), [unknown(FIRST)]);
    // The third may still take it; the others are left to hints.
    assert_eq!(scene.hears(1, 1, Reply::Accepted), [hint(2), hint(3)]);
}

#[test]
fn where_every_owner_says_that_it_has_no_room_nothing_was_done() {
    let full = |full| Reply::Refused(Refusal::Full(full));
    for level in [Level::One, Level::Quorum, Level::All] {
        let mut scene = three(level);
        // The level is out of reach before all have said so; the last may still take it.
        assert_eq!(scene.hears(1, 1, full(Full::Disk)), []);
        assert_eq!(scene.hears(2, 1, full(Full::Disk)), []);
        let told = Effect::Done(WriteOutcome::Full(Full::Disk));
        assert_eq!(scene.hears(3, 1, full(Full::Disk)), [told], "and nobody gets a hint");
        assert!(scene.write.is_over());
    }
}

#[test]
fn where_some_owner_may_have_taken_it_what_the_others_lack_is_told() {
    let full = || Reply::Refused(Refusal::Full(Full::Memory));
    let told = Effect::Done(WriteOutcome::Unknown { version: FIRST, full: Some(Full::Memory) });
    let refused_by_two = || {
        let mut scene = three(Level::Quorum);
        assert_eq!(scene.hears(1, 1, full()), []);
        assert_eq!(scene.hears(2, 1, full()), []);
        scene
    };
    let mut scene = refused_by_two();
    assert_eq!(scene.hears(3, 1, Reply::Accepted), [told.clone(), hint(1), hint(2)]);
    assert_eq!(refused_by_two().on(failed(3, 1))[0], told);
    assert_eq!(refused_by_two().on(Event::Deadline)[0], told);
    let elsewhere = Answer { epoch: epoch(9), ..answer(3, 1, full()) };
    assert_eq!(refused_by_two().on(Event::Answered(elsewhere))[0], told, "by another map");
    // An earlier round may have been taken.
    let mut scene = three(Level::Quorum);
    scene.on(stale(2, 1));
    scene.on(Event::Remapped(owners(2, &[1, 2, 3], &[])));
    let mut says = |from| {
        let now = Answer { epoch: epoch(2), ..answer(from, 2, full()) };
        scene.on(Event::Answered(now))
    };
    assert_eq!(says(1), []);
    assert_eq!(says(2), [told]);
}

#[test]
fn a_failure_of_a_round_that_is_over_means_nothing() {
    let mut scene = three(Level::Quorum);
    assert_eq!(scene.on(stale(2, 1)), [pull()]);
    scene.on(Event::Remapped(owners(2, &[1, 2, 3], &[])));
    assert_eq!(scene.on(failed(2, 1)), []);
    assert_eq!(scene.on(failed(3, 1)), [], "else the level could not be reached");
    assert_eq!(scene.on(failed(2, 2)), []);
    assert_eq!(scene.on(failed(3, 2)), [unknown(FIRST)]);
}

#[test]
fn a_void_keyspace_gets_no_hints() {
    let mut scene = three(Level::Quorum);
    assert_eq!(scene.hears(1, 1, Reply::Refused(Refusal::Void)), []);
    assert_eq!(scene.hears(2, 1, Reply::Refused(Refusal::Void)), [unknown(FIRST)]);
    assert_eq!(scene.hears(3, 1, Reply::Refused(Refusal::Void)), []);
    assert!(scene.write.is_over());
}

#[test]
fn a_batch_refused_whole_is_hinted_unless_a_second_round_took_it() {
    let items = [item("a", &live(FIRST, "new")), item("b", &live(FIRST, "new"))];
    let set = owners(1, &[1, 2, 3], &[]);
    let mut scene = Scene::of(&items, &set, Level::Quorum, Restamp::Once);
    scene.hears(1, 1, Reply::Accepted);
    assert_eq!(scene.hears(2, 1, Reply::Accepted), [done(FIRST)]);
    // It has something newer for one of the keys, and so took neither.
    assert_eq!(scene.hears(3, 1, Reply::Newer(version(300, 0, 2))), [hint(3)]);

    let mut scene = Scene::of(&items, &set, Level::Quorum, Restamp::Once);
    scene.hears(1, 1, Reply::Accepted);
    let again = scene.hears(3, 1, Reply::Newer(version(300, 0, 2)));
    let second = version(500, 0, 1);
    let items = [item("a", &live(second, "new")), item("b", &live(second, "new"))];
    let origin = fresh(Some(version(300, 0, 2)), true);
    assert_eq!(again, [1, 2, 3].map(|to| take(to, 2, &items, origin)));
    scene.hears(1, 2, Reply::Accepted);
    assert_eq!(scene.hears(2, 2, Reply::Accepted), [done(second)]);
    assert_eq!(scene.hears(3, 2, Reply::Newer(version(900, 0, 2))), []);
}

#[test]
fn a_stale_epoch_voids_the_answers_and_sends_the_same_version_again() {
    let mut scene = three(Level::Quorum);
    assert_eq!(scene.hears(1, 1, Reply::Accepted), []);
    assert_eq!(scene.on(stale(2, 1)), [pull()]);
    assert_eq!(scene.hears(3, 1, Reply::Accepted), [], "void, though it was said in time");
    assert_eq!(scene.on(Event::Remapped(owners(1, &[1, 2, 3], &[]))), [], "no newer map");
    let items = [item("k", &live(FIRST, "new"))];
    assert_eq!(
        scene.on(Event::Remapped(owners(2, &[2, 3, 4], &[]))),
        [2, 3, 4].map(|to| take(to, 2, &items, fresh(None, false)))
    );
    let at = |from, epoch| Event::Answered(Answer { epoch, ..answer(from, 2, Reply::Accepted) });
    assert_eq!(scene.on(at(2, epoch(1))), [], "of the epoch before");
    assert_eq!(scene.on(at(2, epoch(2))), []);
    assert_eq!(scene.on(at(4, epoch(2))), [done(FIRST)]);
}

#[test]
fn a_second_stamp_stays_used_over_an_epoch() {
    let mut scene = three(Level::One);
    let greatest = version(300, 0, 2);
    assert_eq!(scene.hears(2, 1, Reply::Newer(greatest)).len(), 3);
    assert_eq!(scene.on(stale(2, 2)), [pull()]);
    let second = version(500, 0, 1);
    let items = [item("k", &live(second, "new"))];
    assert_eq!(
        scene.on(Event::Remapped(owners(2, &[2], &[]))),
        [take(2, 3, &items, fresh(Some(greatest), true))]
    );
    let newer = Answer { epoch: epoch(2), ..answer(2, 3, Reply::Newer(version(900, 0, 2))) };
    assert_eq!(scene.on(Event::Answered(newer)), [done(second)]);
}

#[test]
fn a_map_that_does_not_come_leaves_it_unknown() {
    let mut scene = three(Level::Quorum);
    assert_eq!(scene.hears(1, 1, Reply::Accepted), []);
    assert_eq!(scene.on(stale(2, 1)), [pull()]);
    assert_eq!(scene.on(Event::Deadline), [unknown(FIRST), hint(2), hint(3)]);
}

#[test]
fn stale_after_the_answer_is_left_to_a_hint() {
    let mut scene = three(Level::Quorum);
    scene.hears(1, 1, Reply::Accepted);
    assert_eq!(scene.hears(2, 1, Reply::Accepted), [done(FIRST)]);
    assert_eq!(scene.on(stale(3, 1)), [hint(3)]);
    assert_eq!(scene.on(Event::Remapped(owners(2, &[2, 3, 4], &[]))), []);
}

#[test]
fn both_sets_must_be_reached_while_owners_change() {
    let set = owners(1, &[1, 2, 3], &[3, 4, 5]);
    let mut scene = Scene::new(&set, Level::Quorum, Restamp::Once);
    assert_eq!(scene.hears(1, 1, Reply::Accepted), []);
    assert_eq!(scene.hears(2, 1, Reply::Accepted), [], "the present owners alone");
    assert_eq!(scene.hears(4, 1, Reply::Accepted), []);
    assert_eq!(scene.hears(3, 1, Reply::Accepted), [done(FIRST)], "counts in both");
}

#[test]
fn a_copy_in_another_life_does_not_count() {
    let mut scene = three(Level::Quorum);
    assert_eq!(scene.hears(1, 1, Reply::Accepted), []);
    let reborn = Answer { from: copy(2, 9), ..answer(2, 1, Reply::Accepted) };
    assert_eq!(scene.on(Event::Answered(reborn)), []);
    assert_eq!(scene.hears(3, 1, Reply::Accepted), [done(FIRST)]);
}

/// Anything that may happen to a write of three owners.
fn anything() -> impl Strategy<Value = Event> {
    let reply = prop_oneof![
        3 => Just(Reply::Accepted),
        2 => (90_u64..900).prop_map(|ms| Reply::Newer(version(ms, 0, 2))),
        1 => (90_u64..900).prop_map(|ms| Reply::BelowFloor(floor(ms))),
        1 => Just(Reply::Refused(Refusal::Unable)),
        3 => Just(Reply::Refused(Refusal::Full(Full::Disk))),
        1 => Just(Reply::Refused(Refusal::Stale)),
    ];
    let said = (1_u32..4, 1_u64..4, 1_u32..6, reply).prop_map(|(from, at, round, reply)| {
        Event::Answered(Answer { epoch: epoch(at), ..answer(from, round, reply) })
    });
    prop_oneof![
        12 => said,
        2 => (1_u32..4, 1_u32..6).prop_map(|(id, round)| failed(id, round)),
        2 => (1_u64..4).prop_map(|at| Event::Remapped(owners(at, &[1, 2, 3], &[]))),
        1 => Just(Event::Slow),
    ]
}

proptest! {
    /// Whatever is said in whatever order, the client is told once, a write has at most two
    /// versions, and after the client was told nothing is sent any more.
    #[test]
    fn one_answer_and_at_most_two_versions(
        events in prop::collection::vec(anything(), 0..40),
        level in prop::sample::select(vec![Level::One, Level::Quorum, Level::All]),
        restamp in prop::sample::select(vec![Restamp::Once, Restamp::Never]),
    ) {
        let mut scene = Scene::new(&owners(1, &[1, 2, 3], &[]), level, restamp);
        let mut versions = vec![FIRST];
        let mut told = Vec::new();
        let mut taken = false;
        for event in events.into_iter().chain([Event::Deadline]) {
            taken |= told.is_empty() && matches!(&event, Event::Answered(Answer { round: 1, reply: Reply::Accepted, .. }));
            for effect in scene.on(event) {
                match effect {
                    Effect::Send { ask: Ask::Take { items, .. }, .. } => {
                        prop_assert!(told.is_empty(), "sent after it was answered");
                        versions.push(items[0].record.version);
                    }
                    Effect::Done(outcome) => told.push(outcome),
                    Effect::Hint { .. } => prop_assert!(!told.is_empty()),
                    _ => {}
                }
            }
        }
        prop_assert_eq!(told.len(), 1);
        prop_assert!(scene.write.is_over());
        prop_assert!(versions.is_sorted());
        versions.dedup();
        let most = if restamp == Restamp::Once { 2 } else { 1 };
        prop_assert!(versions.len() <= most, "{versions:?}");
        match told[0] {
            WriteOutcome::Done { version } => prop_assert_eq!(Some(&version), versions.last()),
            WriteOutcome::Full(_) => prop_assert!(!taken && versions == [FIRST]),
            _ => {}
        }
    }
}
