//! The proof of one incoming member: floors first, then every page of enough owners.

use super::*;
use crate::clock::Stamp;
use crate::ids::{Epoch, ReplicaIncarnation};
use crate::quorum::{Item, Refusal};
use crate::record::{OwnedBody, OwnedRecord};
use crate::version::{Millis, Version};
use proptest::prelude::*;

/// The incoming member of most tests.
const ME: u32 = 9;

const fn copy(id: u32, life: u64) -> Member {
    Member { node: NodeId(id), incarnation: ReplicaIncarnation(life) }
}

const fn member(id: u32) -> Member {
    copy(id, 1)
}

const fn epoch(index: u64) -> Epoch {
    Epoch { generation: 1, index }
}

fn floor(wall_ms: Millis) -> Floor {
    Floor(Stamp::start_of(wall_ms))
}

fn items(keys: &[&'static str]) -> Arc<[Item]> {
    let item = |key: &&'static str| {
        let version = Version { wall_ms: 5, counter: 0, node: NodeId(1) };
        let body = OwnedBody::Tombstone;
        let record = OwnedRecord { version, written: version, expires_at: None, body };
        Item { key: Bytes::from_static(key.as_bytes()), record }
    };
    keys.iter().map(item).collect()
}

fn answer(from: u32, round: u32, reply: Reply) -> Answer {
    Answer { from: member(from), epoch: epoch(1), round, clock: Stamp::ZERO, reply }
}

fn floors(floor_ms: Millis, purged_ms: Millis) -> Reply {
    Reply::Floors { floor: floor(floor_ms), purged: floor(purged_ms) }
}

fn page_of(keys: &[&'static str], more: bool) -> Reply {
    Reply::Page { items: items(keys), floor: floor(40), mark: Version::ZERO, more }
}

fn ask_floors(to: u32) -> IntakeEffect {
    IntakeEffect::Send { to: NodeId(to), round: 0, ask: Ask::Floors }
}

fn ask_page(to: u32, round: u32, after: Option<&'static str>) -> IntakeEffect {
    let after = after.map(|key| Bytes::from_static(key.as_bytes()));
    IntakeEffect::Send { to: NodeId(to), round, ask: Ask::Page { after, limit: PAGE } }
}

/// The own replica is to take a page, as read below the floor of its source.
fn ask_own(me: u32, round: u32, keys: &[&'static str]) -> IntakeEffect {
    let ask = Ask::Take { items: items(keys), origin: Origin::Kept { floor: floor(40) } };
    IntakeEffect::Send { to: NodeId(me), round, ask }
}

struct Scene(Intake);

impl Scene {
    fn of(me: u32, replicas: &[u32]) -> (Self, Vec<IntakeEffect>) {
        let replicas: Vec<Member> = replicas.iter().map(|id| member(*id)).collect();
        let intent = Owners { epoch: epoch(1), replicas, next: vec![member(me)] };
        let mut out = Vec::new();
        let intake = Intake::start(member(me), Arc::new(intent), &mut out);
        (Self(intake), out)
    }

    /// A newcomer of three owners that knows their floors.
    fn copying() -> Self {
        let (mut scene, out) = Self::of(ME, &[1, 2, 3]);
        assert_eq!(out, [1, 2, 3].map(ask_floors));
        scene.hears(1, 0, floors(0, 0));
        scene.hears(2, 0, floors(0, 0));
        let pages = [ask_page(1, 1, None), ask_page(2, 2, None), ask_page(3, 3, None)];
        assert_eq!(scene.knows_floors(), pages);
        scene
    }

    fn hears(&mut self, from: u32, round: u32, reply: Reply) -> Vec<IntakeEffect> {
        self.on(&answer(from, round, reply))
    }

    fn on(&mut self, answer: &Answer) -> Vec<IntakeEffect> {
        let mut out = Vec::new();
        self.0.answered(answer, &mut out);
        out
    }

    fn tends(&mut self) -> Vec<IntakeEffect> {
        let mut out = Vec::new();
        self.0.tend(&mut out);
        out
    }

    fn knows_floors(&mut self) -> Vec<IntakeEffect> {
        let mut out = Vec::new();
        self.0.floors_known(&mut out);
        out
    }
}

#[test]
fn floors_come_first_the_highest_of_enough_owners() {
    let (mut scene, _) = Scene::of(ME, &[1, 2, 3]);
    assert_eq!(scene.hears(1, 0, floors(50, 20)), []);
    assert_eq!(scene.hears(1, 0, floors(50, 20)), [], "the same one twice is one");
    assert_eq!(scene.hears(7, 0, floors(900, 900)), [], "no owner");
    assert_eq!(scene.hears(2, 0, page_of(&["a"], false)), [], "not asked for yet");
    assert_eq!(scene.tends(), [ask_floors(2), ask_floors(3)]);
    assert_eq!(
        scene.hears(3, 0, floors(30, 25)),
        [IntakeEffect::KnowFloors { floor: floor(50), purged: floor(25) }]
    );
    // Until they are durable nothing is copied.
    assert_eq!(scene.tends(), [ask_floors(2)]);
    assert_eq!(scene.knows_floors().len(), 3);
    assert_eq!(scene.knows_floors(), []);
    assert_eq!(scene.hears(2, 0, floors(99, 99)), []);
}

#[test]
fn pages_are_taken_one_after_the_other_until_the_last() {
    let mut scene = Scene::copying();
    assert_eq!(scene.hears(1, 1, page_of(&["a", "b"], true)), [ask_own(ME, 4, &["a", "b"])]);
    assert_eq!(scene.hears(1, 1, page_of(&["a", "b"], true)), [], "it came twice");
    assert_eq!(scene.hears(ME, 4, Reply::Accepted), [ask_page(1, 5, Some("b"))]);
    assert_eq!(scene.hears(1, 5, page_of(&["c"], false)), [ask_own(ME, 6, &["c"])]);
    assert_eq!(scene.hears(ME, 6, Reply::Accepted), []);
    // Something newer here dominates as well as the record itself.
    assert_eq!(scene.hears(3, 3, page_of(&["a"], false)), [ask_own(ME, 7, &["a"])]);
    let newer = Reply::Newer(Version { wall_ms: 9, counter: 0, node: NodeId(1) });
    assert_eq!(scene.hears(ME, 7, newer), [IntakeEffect::Proven]);
}

#[test]
fn it_is_proven_once_by_as_many_as_meet_every_write_quorum() {
    let enough: [(&[u32], usize); 5] =
        [(&[1], 1), (&[1, 2], 1), (&[1, 2, 3], 2), (&[1, 2, 3, 4], 2), (&[1, 2, 3, 4, 5], 3)];
    for (replicas, needed) in enough {
        let (mut scene, _) = Scene::of(ME, replicas);
        for id in replicas {
            scene.hears(*id, 0, floors(0, 0));
        }
        scene.knows_floors();
        let mut proofs = Vec::new();
        for (at, id) in replicas.iter().enumerate() {
            let effects = scene.hears(*id, *id, page_of(&[], false));
            assert_eq!(scene.0.is_proven(), at + 1 >= needed, "{replicas:?} after {id}");
            proofs.extend(effects);
        }
        assert_eq!(proofs, [IntakeEffect::Proven], "{replicas:?}");
        assert_eq!(scene.tends(), []);
    }
}

#[test]
fn a_present_owner_is_one_of_them_itself() {
    let (mut scene, out) = Scene::of(1, &[1, 2, 3]);
    assert_eq!(out, [ask_page(2, 2, None), ask_page(3, 3, None)]);
    assert_eq!(scene.hears(3, 3, page_of(&["a"], false)), [ask_own(1, 4, &["a"])]);
    assert_eq!(scene.hears(1, 4, Reply::Accepted), [IntakeEffect::Proven]);
    // Where there is nobody else it has nothing to prove.
    let (scene, out) = Scene::of(1, &[1]);
    assert!(scene.0.is_proven());
    assert_eq!(out, [IntakeEffect::Proven]);
}

#[test]
fn one_slot_more_of_a_partition_asks_for_no_floors() {
    let replicas = [1, 2, 3].map(member).to_vec();
    let intent = Owners { epoch: epoch(1), replicas, next: vec![member(ME)] };
    let mut out = Vec::new();
    let mut scene = Scene(Intake::start_below_known_floors(member(ME), Arc::new(intent), &mut out));
    assert_eq!(out, [ask_page(1, 1, None), ask_page(2, 2, None), ask_page(3, 3, None)]);
    assert_eq!(scene.hears(1, 1, page_of(&[], true)), [], "an empty page that is not the last");
    assert_eq!(scene.hears(2, 2, page_of(&[], false)), []);
    assert_eq!(scene.hears(3, 3, page_of(&[], false)), [IntakeEffect::Proven]);
}

#[test]
fn in_another_life_it_is_not_its_own_source() {
    let intent = Owners {
        epoch: epoch(1),
        replicas: vec![member(1), member(2), member(3)],
        next: vec![copy(1, 7), member(2), member(3)],
    };
    let mut out = Vec::new();
    let mut scene = Scene(Intake::start(copy(1, 7), Arc::new(intent), &mut out));
    assert_eq!(out, [1, 2, 3].map(ask_floors));
    let reborn = Answer { from: copy(1, 7), ..answer(1, 0, floors(90, 90)) };
    assert_eq!(scene.on(&reborn), []);
    scene.hears(2, 0, floors(50, 0));
    assert_eq!(
        scene.hears(3, 0, floors(60, 10)),
        [IntakeEffect::KnowFloors { floor: floor(60), purged: floor(10) }]
    );
}

#[test]
fn what_is_not_answered_is_asked_again_and_the_late_answer_ignored() {
    let mut scene = Scene::copying();
    scene.hears(1, 1, page_of(&["a"], false));
    assert_eq!(scene.tends(), [ask_own(ME, 5, &["a"]), ask_page(2, 6, None), ask_page(3, 7, None)]);
    assert_eq!(scene.hears(2, 2, page_of(&["x"], false)), []);
    assert_eq!(scene.hears(ME, 4, Reply::Accepted), []);
    assert_eq!(scene.hears(ME, 5, Reply::Refused(Refusal::Unable)), []);
    assert_eq!(scene.hears(2, 5, Reply::Accepted), [], "another one's word is not the own copy's");
    assert_eq!(scene.hears(ME, 5, Reply::Accepted), []);
    assert_eq!(scene.hears(2, 6, page_of(&[], false)), [IntakeEffect::Proven]);
}

#[test]
fn a_floor_that_rises_under_a_page_is_raised_at_its_source_and_the_page_read_again() {
    let mut scene = Scene::copying();
    scene.hears(1, 1, page_of(&["a"], true));
    scene.hears(ME, 4, Reply::Accepted);
    assert_eq!(scene.hears(1, 5, page_of(&["b"], false)), [ask_own(ME, 6, &["b"])]);
    let ask = Ask::RaiseFloor { to: floor(90) };
    let raise = IntakeEffect::Send { to: NodeId(1), round: 0, ask };
    assert_eq!(scene.hears(ME, 6, Reply::BelowFloor(floor(90))), [raise, ask_page(1, 7, None)]);
}

#[test]
fn an_answer_of_another_epoch_proves_nothing() {
    let mut scene = Scene::copying();
    for (from, round) in [(1, 1), (2, 2), (3, 3)] {
        for index in [0, 2] {
            let other = Answer { epoch: epoch(index), ..answer(from, round, page_of(&[], false)) };
            assert_eq!(scene.on(&other), []);
        }
    }
    assert!(!scene.0.is_proven());
}

proptest! {
    /// Whatever is answered, in whatever order: it is proven at most once, and only after enough
    /// owners have told their last page.
    #[test]
    fn proven_at_most_once_and_never_without_enough_last_pages(
        said in prop::collection::vec((0_usize..4, 0_u32..3, 0_usize..5), 0..60),
    ) {
        let mut scene = Scene::copying();
        let mut newest = 3_u32;
        let (mut ended, mut proofs) = (std::collections::BTreeSet::new(), 0);
        for (who, back, what) in said {
            let from = [1, 2, 3, ME][who];
            let reply = match what {
                0 => page_of(&["a"], true),
                1 => page_of(&["b"], false),
                2 => page_of(&[], false),
                3 => Reply::Accepted,
                _ => Reply::BelowFloor(floor(90)),
            };
            if matches!(&reply, Reply::Page { more: false, .. }) {
                ended.insert(from);
            }
            let mut effects = scene.hears(from, newest.saturating_sub(back), reply);
            effects.extend(scene.tends());
            for effect in effects {
                match effect {
                    IntakeEffect::Send { round, .. } => newest = newest.max(round),
                    IntakeEffect::Proven => {
                        proofs += 1;
                        prop_assert!(ended.iter().filter(|from| **from != ME).count() >= 2);
                    }
                    IntakeEffect::KnowFloors { .. } => prop_assert!(false, "they are known"),
                }
            }
            prop_assert!(proofs <= 1);
        }
    }
}
