//! Reads: what is asked for, what is repaired first, and by whose clock a record has expired.

mod owners_answer;

use super::*;
use proptest::prelude::*;

type Effects = Vec<Effect<ReadOutcome>>;

/// A read of one key under way.
struct Scene(Read);

impl Scene {
    /// Begins a read of three owners; the first ones of `asked` are asked, the first for all.
    fn new(level: Level, asked: &[u32]) -> Self {
        Self::of(&owners(1, &[1, 2, 3], &[]), level, asked)
    }

    fn of(owners: &Arc<Owners>, level: Level, asked: &[u32]) -> Self {
        let mut out = Vec::new();
        let read =
            Read::start(key("k"), level, Arc::clone(owners), |_| true, |_| 0, &mut out).unwrap();
        let expected: Effects =
            asked.iter().enumerate().map(|(at, to)| super::read(*to, 1, at == 0)).collect();
        assert_eq!(out, expected);
        Self(read)
    }

    fn on(&mut self, event: Event) -> Effects {
        let mut out = Vec::new();
        self.0.on(event, &mut out);
        out
    }

    fn hears(&mut self, from: u32, round: u32, reply: Reply) -> Effects {
        self.on(Event::Answered(answer(from, round, reply)))
    }

    /// As [`Self::hears`], from a node whose clock says `at`.
    fn hears_at(&mut self, from: u32, at: Millis, reply: Reply) -> Effects {
        let clock = Stamp::start_of(at);
        self.on(Event::Answered(Answer { clock, ..answer(from, 1, reply) }))
    }

    /// The node tells the record itself.
    fn sees(&mut self, from: u32, record: &OwnedRecord) -> Effects {
        self.hears(from, 1, found(Some(record), true, Floor::ZERO))
    }

    /// The node tells the record's rank.
    fn sees_rank(&mut self, from: u32, record: &OwnedRecord) -> Effects {
        self.hears(from, 1, found(Some(record), false, Floor::ZERO))
    }

    fn sees_nothing(&mut self, from: u32) -> Effects {
        self.hears(from, 1, found(None, true, Floor::ZERO))
    }
}

fn done(record: Option<&OwnedRecord>) -> Effect<ReadOutcome> {
    done_at(record, Floor::ZERO, NOW_MS)
}

fn done_at(record: Option<&OwnedRecord>, floor: Floor, now_ms: Millis) -> Effect<ReadOutcome> {
    let newest = record.map(|record| record.borrow().rank());
    let (record, mark) = (record.cloned(), Version::ZERO);
    Effect::Done(ReadOutcome::Found(Found { record, newest, floor, mark, now_ms }))
}

fn no_quorum(have: usize, need: usize, unreachable: &[u32]) -> ReadOutcome {
    let unreachable = unreachable.iter().map(|id| node(*id)).collect();
    ReadOutcome::NoQuorum(NoQuorum { have, need, unreachable })
}

fn raise(to: u32) -> Effect<ReadOutcome> {
    Effect::Send { to: node(to), round: 1, ask: Ask::Clock }
}

fn old() -> OwnedRecord {
    live(version(100, 0, 1), "old")
}

fn new() -> OwnedRecord {
    live(version(200, 0, 2), "new")
}

#[test]
fn absent_where_a_quorum_has_nothing() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    assert_eq!(scene.sees_nothing(1), []);
    assert_eq!(scene.sees_nothing(2), [done(None)]);
    assert!(scene.0.is_over());
    assert_eq!(scene.sees(3, &new()), [], "it was answered");
}

#[test]
fn found_where_a_quorum_has_it() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    assert_eq!(scene.sees_rank(2, &new()), []);
    assert_eq!(scene.sees_rank(2, &new()), [], "the same one twice is one");
    assert_eq!(scene.sees(1, &new()), [done(Some(&new()))]);
}

#[test]
fn a_record_of_which_only_the_rank_is_known_is_fetched() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    assert_eq!(scene.sees(1, &old()), []);
    assert_eq!(scene.sees_rank(2, &new()), [super::read(2, 1, true)]);
    assert_eq!(scene.sees_rank(2, &new()), [], "said before");
    assert_eq!(scene.sees(2, &new()), [kept(1, 1, &new(), Floor::ZERO)]);
    assert_eq!(scene.hears(1, 1, Reply::Accepted), [done(Some(&new()))]);
}

#[test]
fn a_record_that_does_not_come_is_fetched_from_another() {
    // From one that told its rank too,
    let mut scene = Scene::new(Level::All, &[1, 2, 3]);
    scene.sees(1, &old());
    scene.sees_rank(2, &new());
    assert_eq!(scene.sees_rank(3, &new()), [super::read(2, 1, true)]);
    assert_eq!(scene.on(Event::Slow), [super::read(3, 1, true)]);
    assert_eq!(scene.on(Event::Slow), [], "there is nobody left");
    assert_eq!(scene.sees(3, &new()), [done(Some(&new()))]);
    // or from one that was not asked yet.
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.sees(1, &old());
    scene.sees_rank(2, &new());
    assert_eq!(scene.on(Event::Slow), [super::read(3, 1, true)]);
    assert_eq!(scene.sees(3, &new()), [done(Some(&new()))]);
}

#[test]
fn a_holder_that_fails_is_replaced_and_its_rank_forgotten() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.sees(1, &old());
    assert_eq!(scene.sees_rank(2, &new()), [super::read(2, 1, true)]);
    assert_eq!(scene.on(failed(2, 1)), [super::read(3, 1, false)]);
    assert_eq!(scene.sees_rank(3, &old()), [done(Some(&old()))]);
}

#[test]
fn what_is_newest_is_repaired_before_the_answer() {
    let deleted = tombstone(version(200, 0, 2));
    for newest in [new(), deleted] {
        let mut scene = Scene::new(Level::Quorum, &[1, 2]);
        assert_eq!(scene.hears(1, 1, found(Some(&newest), true, floor(40))), []);
        // The repair carries the floor of the one that it was read from.
        assert_eq!(scene.sees_rank(2, &old()), [kept(2, 1, &newest, floor(40))]);
        let answer = done_at(Some(&newest), floor(40), NOW_MS);
        assert_eq!(scene.hears(2, 1, Reply::Accepted), [answer]);
    }
}

#[test]
fn a_repair_answered_by_something_newer_is_done() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.sees(1, &new());
    assert_eq!(scene.sees_nothing(2), [kept(2, 1, &new(), Floor::ZERO)]);
    let newer = Reply::Newer(version(300, 0, 3));
    assert_eq!(scene.hears(2, 1, newer), [done(Some(&new()))]);
}

#[test]
fn a_repair_that_fails_is_asked_of_another() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.sees(1, &new());
    scene.sees_nothing(2);
    assert_eq!(scene.on(failed(2, 1)), [kept(3, 1, &new(), Floor::ZERO)]);
    assert_eq!(scene.hears(3, 1, Reply::Accepted), [done(Some(&new()))]);
}

#[test]
fn what_a_hedged_owner_says_during_a_repair_counts() {
    let full = || Reply::Refused(Refusal::Full(Full::Disk));
    let repairing = || {
        let mut scene = Scene::new(Level::Quorum, &[1, 2]);
        assert_eq!(scene.on(Event::Slow), [super::read(3, 1, false)]);
        scene.sees(1, &new());
        assert_eq!(scene.sees_nothing(2), [kept(2, 1, &new(), Floor::ZERO)]);
        scene
    };
    // It has the newest, or something that came since.
    for held in [new(), live(version(300, 0, 3), "newer")] {
        let mut scene = repairing();
        assert_eq!(scene.hears(2, 1, full()), [], "everybody was asked");
        assert_eq!(scene.sees_rank(3, &held), [done(Some(&new()))]);
    }
    // It lacks the newest too.
    let mut scene = repairing();
    assert_eq!(scene.sees_nothing(3), [kept(3, 1, &new(), Floor::ZERO)]);
    assert_eq!(scene.hears(2, 1, full()), []);
    assert_eq!(scene.hears(3, 1, Reply::Accepted), [done(Some(&new()))]);
    // What an owner said before it was lost does not bring it back.
    let mut scene = repairing();
    assert_eq!(scene.hears(2, 1, full()), []);
    assert_eq!(scene.sees_nothing(2), []);
}

#[test]
fn what_a_hedged_owner_says_while_clocks_are_raised_counts() {
    let gone = expiring(version(100, 0, 1), "old", 1_500);
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.on(Event::Slow);
    scene.hears_at(1, 1_400, found(Some(&gone), true, Floor::ZERO));
    let second = scene.hears_at(2, 1_600, found(Some(&gone), false, Floor::ZERO));
    assert_eq!(second, [raise(1)]);
    assert_eq!(scene.on(failed(1, 1)), []);
    let third = scene.hears_at(3, 1_700, found(None, true, Floor::ZERO));
    assert_eq!(third, [done_at(Some(&gone), Floor::ZERO, 1_700)]);
}

#[test]
fn what_answers_no_question_about_the_key_shows_nothing_about_it() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    for reply in [Reply::Accepted, Reply::Newer(version(300, 0, 3)), Reply::Clock] {
        assert_eq!(scene.hears(1, 1, reply.clone()), []);
        assert_eq!(scene.hears(2, 1, reply), []);
    }
    assert!(!scene.0.is_over());
}

#[test]
fn equal_versions_are_told_apart_by_rank() {
    let (one, other) = (live(version(200, 0, 2), "a"), live(version(200, 0, 2), "b"));
    let (less, more) =
        if one.borrow().rank() < other.borrow().rank() { (one, other) } else { (other, one) };
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.sees(1, &more);
    assert_eq!(scene.sees_rank(2, &less), [kept(2, 1, &more, Floor::ZERO)]);
}

#[test]
fn a_floor_that_rises_under_a_repair_begins_the_read_again() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.sees(1, &new());
    scene.sees_nothing(2);
    // Whoever it was read from raises its floor first: else the next one would end as this one.
    let raise = Effect::Send { to: node(1), round: 1, ask: Ask::RaiseFloor { to: floor(300) } };
    assert_eq!(scene.hears(2, 1, Reply::BelowFloor(floor(300))), [raise]);
    let again = [super::read(1, 2, true), super::read(2, 2, false)];
    let raised = Reply::Floors { floor: floor(300), purged: Floor::ZERO };
    assert_eq!(scene.hears(1, 1, raised), again);
    assert_eq!(scene.sees(1, &new()), [], "an answer of the round before");
    assert_eq!(scene.hears(1, 2, found(None, true, floor(300))), []);
    let answer = done_at(None, floor(300), NOW_MS);
    assert_eq!(scene.hears(2, 2, found(None, false, Floor::ZERO)), [answer]);
}

#[test]
fn a_floor_that_cannot_be_raised_does_not_hold_a_read_up() {
    let again = [super::read(1, 2, true), super::read(2, 2, false)];
    for event in [failed(1, 1), Event::Slow] {
        let mut scene = Scene::new(Level::Quorum, &[1, 2]);
        scene.sees(1, &new());
        scene.sees_nothing(2);
        scene.hears(2, 1, Reply::BelowFloor(floor(300)));
        assert_eq!(scene.on(event), again);
    }
}

#[test]
fn a_failure_of_a_round_that_is_over_means_nothing() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.on(stale(2, 1));
    scene.on(Event::Remapped(owners(2, &[2, 3, 4], &[])));
    assert_eq!(scene.on(failed(3, 1)), []);
    assert_eq!(scene.on(failed(3, 2)), [super::read(4, 2, false)]);
}

#[test]
fn a_read_does_not_begin_again_for_ever() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    let mut rounds = 1;
    loop {
        scene.hears(1, rounds, found(Some(&new()), true, Floor::ZERO));
        scene.hears(2, rounds, found(None, false, Floor::ZERO));
        let mut effects = scene.hears(2, rounds, Reply::BelowFloor(floor(300)));
        let raised = Reply::Floors { floor: floor(300), purged: Floor::ZERO };
        if !scene.0.is_over() {
            effects = scene.hears(1, rounds, raised);
        }
        if scene.0.is_over() {
            assert_eq!(effects, [Effect::Done(no_quorum(2, 2, &[3]))]);
            break;
        }
        rounds += 1;
        assert!(rounds < 100, "it goes on and on");
    }
}

#[test]
fn a_slow_read_asks_one_more() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    assert_eq!(scene.on(Event::Slow), [super::read(3, 1, false)]);
    assert_eq!(scene.on(Event::Slow), [], "there is nobody left");
    assert_eq!(scene.sees_rank(3, &new()), []);
    assert_eq!(scene.sees_rank(2, &new()), [super::read(3, 1, true)]);
    assert_eq!(scene.sees(3, &new()), [done(Some(&new()))]);

    // Where all that is known so far are ranks, the record itself is asked for.
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.sees_rank(2, &new());
    assert_eq!(scene.on(Event::Slow), [super::read(3, 1, true)]);
    assert_eq!(scene.sees(3, &new()), [done(Some(&new()))]);
}

#[test]
fn an_owner_that_fails_or_refuses_is_replaced() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    assert_eq!(scene.on(failed(1, 1)), [super::read(3, 1, false)]);
    scene.sees_rank(2, &new());
    assert_eq!(scene.sees_rank(3, &new()).len(), 1);

    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    let refused = Reply::Refused(Refusal::NotCounting);
    assert_eq!(scene.hears(2, 1, refused), [super::read(3, 1, false)]);
    assert_eq!(
        scene.on(failed(1, 1)),
        [Effect::Done(no_quorum(1, 2, &[1, 2]))],
        "one alone is no quorum, though it can be reached"
    );
}

#[test]
fn too_few_owners_to_begin_with_send_nothing() {
    let mut out = Vec::new();
    let set = owners(1, &[1, 2, 3], &[]);
    let started = Read::start(key("k"), Level::Quorum, set, |n| n == ME, |_| 0, &mut out);
    assert_eq!(started.err(), Some(no_quorum(1, 2, &[2, 3])));
    assert_eq!(out, []);
}

#[test]
fn who_can_be_reached_comes_first_then_who_counts_twice_then_who_is_preferred() {
    let mut out = Vec::new();
    let set = owners(1, &[1, 2, 3, 4], &[4, 5, 6]);
    let prefer = |n: NodeId| u32::from(n == node(1));
    Read::start(key("k"), Level::Quorum, set, |n| n != node(2), prefer, &mut out).unwrap();
    let expected = [
        super::read(4, 1, true),
        super::read(3, 1, false),
        super::read(5, 1, false),
        super::read(6, 1, false),
        super::read(1, 1, false),
    ];
    assert_eq!(out, expected);
}

#[test]
fn level_one_is_answered_by_the_first_and_repairs_nothing() {
    let mut scene = Scene::new(Level::One, &[1]);
    assert_eq!(scene.on(Event::Slow), [super::read(2, 1, false)]);
    assert_eq!(scene.sees(1, &old()), [done(Some(&old()))]);

    let mut scene = Scene::new(Level::One, &[1]);
    let gone = expiring(version(100, 0, 1), "old", NOW_MS);
    assert_eq!(scene.sees(1, &gone), [done(Some(&gone))], "one clock is enough");
}

#[test]
fn an_expiry_counts_once_a_quorum_of_clocks_is_past_it() {
    let gone = expiring(version(100, 0, 1), "old", 1_500);
    let whole = |whole| found(Some(&gone), whole, Floor::ZERO);
    // Nobody's clock is there yet: it lives.
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.hears_at(1, 1_400, whole(true));
    let alive = scene.hears_at(2, 1_499, whole(false));
    assert_eq!(alive, [done_at(Some(&gone), Floor::ZERO, 1_499)]);
    // Everybody's is: it is gone.
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.hears_at(1, 1_500, whole(true));
    let expired = scene.hears_at(2, 1_501, whole(false));
    assert_eq!(expired, [done_at(Some(&gone), Floor::ZERO, 1_501)]);
    // One is, the other is not: its clock is raised first.
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.hears_at(1, 1_400, whole(true));
    assert_eq!(scene.hears_at(2, 1_600, whole(false)), [raise(1)]);
    assert_eq!(scene.hears_at(1, 1_499, Reply::Clock), [], "it did not come far enough");
    let expired = scene.hears_at(1, 1_600, Reply::Clock);
    assert_eq!(expired, [done_at(Some(&gone), Floor::ZERO, 1_600)]);
}

#[test]
fn a_clock_that_cannot_be_raised_is_replaced_by_another() {
    let gone = expiring(version(100, 0, 1), "old", 1_500);
    let whole = |whole| found(Some(&gone), whole, Floor::ZERO);
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.hears_at(1, 1_400, whole(true));
    scene.hears_at(2, 1_600, whole(false));
    assert_eq!(scene.on(failed(1, 1)), [raise(3)]);
    let expired = scene.hears_at(3, 1_600, Reply::Clock);
    assert_eq!(expired, [done_at(Some(&gone), Floor::ZERO, 1_600)]);
}

#[test]
fn a_stale_epoch_voids_what_was_seen() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    assert_eq!(scene.sees(1, &new()), []);
    assert_eq!(scene.on(stale(2, 1)), [pull()]);
    assert_eq!(scene.sees_rank(2, &new()), []);
    assert_eq!(scene.on(Event::Slow), []);
    assert_eq!(scene.on(Event::Remapped(owners(1, &[1, 2, 3], &[]))), [], "no newer map");
    assert_eq!(
        scene.on(Event::Remapped(owners(2, &[2, 3, 4], &[]))),
        [super::read(2, 2, true), super::read(3, 2, false)]
    );
    assert_eq!(scene.hears(3, 2, found(None, false, Floor::ZERO)), [], "of the epoch before");
    let nothing = |from| {
        let reply = found(None, true, Floor::ZERO);
        Event::Answered(Answer { epoch: epoch(2), ..answer(from, 2, reply) })
    };
    assert_eq!(scene.on(nothing(2)), []);
    assert_eq!(scene.on(nothing(3)), [done(None)]);
}

#[test]
fn a_stale_epoch_voids_repairs_too() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.sees(1, &new());
    scene.sees_nothing(2);
    assert_eq!(scene.on(stale(2, 1)), [pull()]);
    assert_eq!(scene.hears(2, 1, Reply::Accepted), []);
    assert_eq!(scene.on(Event::Deadline), [Effect::Done(no_quorum(2, 2, &[3]))]);
}

#[test]
fn both_sets_must_answer_and_hold_it_while_owners_change() {
    let set = owners(1, &[1, 2, 3], &[3, 4, 5]);
    let mut scene = Scene::of(&set, Level::Quorum, &[3, 1, 2, 4]);
    assert_eq!(scene.sees(3, &new()), []);
    assert_eq!(scene.sees_rank(1, &new()), []);
    // The incoming one's nothing is its answer, and it is repaired like any other.
    assert_eq!(scene.sees_nothing(4), [kept(4, 1, &new(), Floor::ZERO)]);
    assert_eq!(scene.hears(4, 1, Reply::Accepted), [done(Some(&new()))]);
}

#[test]
fn a_copy_in_another_life_does_not_count() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    assert_eq!(scene.sees_nothing(1), []);
    let reborn = answer(2, 1, found(None, false, Floor::ZERO));
    assert_eq!(scene.on(Event::Answered(Answer { from: copy(2, 9), ..reborn })), []);
}

#[test]
fn the_deadline_tells_who_did_not_answer() {
    let mut scene = Scene::new(Level::Quorum, &[1, 2]);
    scene.sees_nothing(2);
    assert_eq!(scene.on(Event::Deadline), [Effect::Done(no_quorum(1, 2, &[1, 3]))]);
    assert_eq!(scene.on(Event::Deadline), []);
}

/// What an owner may hold.
fn held() -> impl Strategy<Value = Option<OwnedRecord>> {
    prop_oneof![
        Just(None),
        Just(Some(old())),
        Just(Some(new())),
        Just(Some(tombstone(version(200, 0, 2)))),
        Just(Some(expiring(version(300, 0, 3), "short", NOW_MS + 5))),
    ]
}

/// Anything that may happen to a read of three owners.
fn anything() -> impl Strategy<Value = Event> {
    let reply = prop_oneof![
        6 => (held(), any::<bool>())
            .prop_map(|(held, whole)| found(held.as_ref(), whole, Floor::ZERO)),
        3 => Just(Reply::Accepted),
        1 => Just(Reply::Newer(version(400, 0, 2))),
        1 => Just(Reply::Clock),
        1 => Just(Reply::BelowFloor(floor(900))),
        1 => Just(Reply::Refused(Refusal::Unable)),
        1 => Just(Reply::Refused(Refusal::Stale)),
    ];
    let said = (1_u32..4, 1_u64..3, 1_u32..5, 0_u64..10, reply).prop_map(
        |(from, at, round, ahead, reply)| {
            let clock = Stamp::start_of(NOW_MS + ahead);
            Event::Answered(Answer { epoch: epoch(at), clock, ..answer(from, round, reply) })
        },
    );
    prop_oneof![
        14 => said,
        2 => (1_u32..4, 1_u32..5).prop_map(|(id, round)| failed(id, round)),
        1 => (1_u64..3).prop_map(|at| Event::Remapped(owners(at, &[1, 2, 3], &[]))),
        1 => Just(Event::Slow),
    ]
}

proptest! {
    /// Whatever is said in whatever order: one answer, the last thing done, and what it tells was
    /// told by some owner.
    #[test]
    fn one_answer_and_nothing_after_it(
        events in prop::collection::vec(anything(), 0..40),
        level in prop::sample::select(vec![Level::One, Level::Quorum, Level::All]),
    ) {
        let mut out = Vec::new();
        let set = owners(1, &[1, 2, 3], &[]);
        let mut read = Read::start(key("k"), level, set, |_| true, |_| 0, &mut out).unwrap();
        let mut told: Vec<Option<OwnedRecord>> = Vec::new();
        let mut outcomes = Vec::new();
        for event in events.into_iter().chain([Event::Deadline]) {
            if let Event::Answered(Answer { reply: Reply::Found { record, .. }, .. }) = &event {
                told.push(record.clone());
            }
            out.clear();
            read.on(event, &mut out);
            for effect in out.drain(..) {
                prop_assert!(outcomes.is_empty(), "{effect:?} after the answer");
                if let Effect::Done(outcome) = effect {
                    outcomes.push(outcome);
                }
            }
        }
        prop_assert!(read.is_over());
        prop_assert_eq!(outcomes.len(), 1);
        if let ReadOutcome::Found(found) = &outcomes[0] {
            prop_assert!(told.contains(&found.record));
        }
    }
}
