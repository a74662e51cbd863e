//! A digest that is kept is the digest of what is there, whatever happens while it is made.

use super::*;
use crate::ids::NodeId;
use crate::record::Record;
use crate::version::Version;
use proptest::prelude::*;

const SECRET: TreeSecret = TreeSecret(0x5EED);
/// How many records a page has.
const PAGE: usize = 3;

fn slot() -> Slot {
    Slot::new(7).expect("a slot")
}

fn tree() -> Tree {
    Tree::new(SECRET, 0..64)
}

fn rank(wall_ms: u64) -> Rank {
    let version = Version { wall_ms, counter: 0, node: NodeId(1) };
    match wall_ms % 3 {
        0 => Record::tombstone(version).rank(),
        1 => Record::live(version, None, b"v").rank(),
        _ => Record::live(version, Some(9), b"v").rank(),
    }
}

/// A slot of which the digest is kept, and a walk through it, one step at a time.
struct Slots {
    tree: Tree,
    stored: BTreeMap<Bytes, Rank>,
    walk: Option<Walk>,
    /// What the walk has read and not passed yet, and whether that was all.
    page: Option<(Vec<(Bytes, Rank)>, bool)>,
    after: Option<Bytes>,
}

#[derive(Clone, Debug)]
enum Act {
    Put(u8, u64),
    Remove(u8),
    Begin,
    Read,
    Pass,
    GiveUp,
    Forget,
}

impl Slots {
    fn new() -> Self {
        Self { tree: tree(), stored: BTreeMap::new(), walk: None, page: None, after: None }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Put(key, at) => {
                let (key, rank) = (Bytes::from(vec![key]), rank(at));
                let before = self.stored.insert(key.clone(), rank);
                self.tree.changed(slot(), &key, before.as_ref(), Some(&rank));
            }
            Act::Remove(key) => {
                if let Some(before) = self.stored.remove(&[key][..]) {
                    self.tree.changed(slot(), &[key], Some(&before), None);
                }
            }
            Act::Begin => {
                if let Some(walk) = self.tree.begin(slot()) {
                    (self.walk, self.page, self.after) = (Some(walk), None, None);
                }
            }
            Act::Read if self.page.is_none() => {
                let later = |key: &&Bytes| self.after.as_ref().is_none_or(|after| *key > after);
                let rest = self.stored.iter().filter(|(key, _)| later(key));
                let page: Vec<_> =
                    rest.take(PAGE).map(|(key, rank)| (key.clone(), *rank)).collect();
                let is_last = page.len() < PAGE;
                self.page = Some((page, is_last));
            }
            Act::Pass => {
                let (Some(walk), Some((page, is_last))) = (self.walk, self.page.take()) else {
                    return;
                };
                self.tree.pass(walk, &page, is_last);
                self.after = page.last().map(|(key, _)| key.clone());
                if is_last {
                    self.walk = None;
                }
            }
            Act::GiveUp => self.walk.take().into_iter().for_each(|walk| self.tree.give_up(walk)),
            Act::Forget => self.tree.forget(|_| true),
            Act::Read => {}
        }
    }

    /// The digest, and how many are mortal, counted now.
    fn counted(&self) -> (Leaf, u64) {
        let (mut leaf, mut mortal) = (Leaf::default(), 0);
        for (key, rank) in &self.stored {
            leaf.add(SECRET, key, rank);
            mortal += u64::from(rank.tombstone || rank.expires_at.is_some());
        }
        (leaf, mortal)
    }

    fn kept(&self) -> Option<(Leaf, u64)> {
        Some((self.tree.leaf(slot())?, self.tree.mortal(slot())?))
    }

    /// Walks through it from end to end.
    fn walk_whole(&mut self) {
        self.act(&Act::GiveUp);
        self.act(&Act::Begin);
        while self.walk.is_some() {
            self.act(&Act::Read);
            self.act(&Act::Pass);
        }
    }
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..12_u8, 1..9_u64).prop_map(|(key, at)| Act::Put(key, at)),
        3 => (0..12_u8).prop_map(Act::Remove),
        2 => Just(Act::Begin),
        5 => Just(Act::Read),
        5 => Just(Act::Pass),
        1 => Just(Act::GiveUp),
        1 => Just(Act::Forget),
    ]
}

proptest! {
    #[test]
    fn what_is_kept_is_what_is_there_whatever_changes_during_a_walk(
        acts in prop::collection::vec(act(), 0..120),
    ) {
        let mut slots = Slots::new();
        for act in &acts {
            slots.act(act);
            if let Some(kept) = slots.kept() {
                prop_assert_eq!(kept, slots.counted());
            }
        }
        slots.walk_whole();
        prop_assert_eq!(slots.kept(), Some(slots.counted()));
    }
}

#[test]
fn a_change_that_was_not_told_is_seen_no_longer_than_until_the_next_walk() {
    let mut slots = Slots::new();
    for key in 0..10 {
        slots.act(&Act::Put(key, 4));
    }
    slots.walk_whole();
    slots.stored.remove(&[3][..]);
    assert_ne!(slots.kept(), Some(slots.counted()));
    slots.walk_whole();
    assert_eq!(slots.kept(), Some(slots.counted()));
}

#[test]
fn one_walk_at_a_time_counts_and_what_it_holds_on_to_is_bounded() {
    let mut tree = tree();
    let first = tree.begin(slot()).expect("nobody walks there");
    assert_eq!(tree.begin(slot()), None);
    assert!(tree.begin(Slot::new(64).expect("a slot")).is_none(), "of another partition");
    tree.give_up(first);
    let second = tree.begin(slot()).expect("nobody walks there any more");
    tree.pass(first, &[], true);
    assert_eq!(tree.leaf(slot()), None, "the first one is void");
    for number in 0..=u32::try_from(MOST_MEANWHILE).expect("a few") {
        tree.changed(slot(), &number.to_be_bytes(), None, Some(&rank(1)));
    }
    tree.pass(second, &[], true);
    assert_eq!(tree.leaf(slot()), None, "too much happened ahead of it");
    assert!(tree.begin(slot()).is_some());
}
