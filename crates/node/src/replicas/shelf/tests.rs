//! The shelf against a list, over both engines.

use super::super::rig::{KEYSPACE, disk, live, memory, tombstone};
use super::*;
use proptest::prelude::*;
use shoal_core::record::OwnedRecord;
use shoal_core::repair::{Leaf, TreeSecret};
use std::collections::BTreeMap;
use std::sync::Arc;

const SECRET: TreeSecret = TreeSecret(9);

/// An engine and the form of its records.
type Kept = (Arc<dyn Engine>, Form);

fn engines() -> (tempfile::TempDir, [Kept; 2]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = disk(directory.path());
    (directory, [(memory(), Form::Plain), (disk, Form::Sealed)])
}

fn tree() -> Mutex<Tree> {
    Mutex::new(Tree::new(SECRET, 0..2))
}

fn shelf<'e>(engine: &'e dyn Engine, form: Form, tree: &'e Mutex<Tree>) -> EngineShelf<'e> {
    EngineShelf::new(engine, KEYSPACE.0, form, Patience::Block, false, tree)
}

fn slot(number: u16) -> Slot {
    Slot::new(number).expect("a slot")
}

#[derive(Clone, Debug)]
enum Act {
    Put(u16, Vec<(u8, OwnedRecord)>),
    Remove(u16, Vec<u8>),
    Look(u16, u8),
    Page(u16, Option<u8>, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let record = (1_u64..9, 0..3_u8).prop_map(|(at, kind)| match kind {
        0 => tombstone(at),
        1 => live(at, "value"),
        _ => OwnedRecord { expires_at: Some(at), ..live(at, "other") },
    });
    let slot = 0..2_u16;
    prop_oneof![
        (slot.clone(), prop::collection::vec((0..6_u8, record), 1..4)).prop_map(|(slot, puts)| {
            let distinct: BTreeMap<u8, OwnedRecord> = puts.into_iter().collect();
            Act::Put(slot, distinct.into_iter().collect())
        }),
        (slot.clone(), prop::collection::btree_set(0..6_u8, 0..3))
            .prop_map(|(slot, keys)| Act::Remove(slot, keys.into_iter().collect())),
        (slot.clone(), 0..6_u8).prop_map(|(slot, key)| Act::Look(slot, key)),
        (slot, prop::option::of(0..6_u8), 1..5_usize)
            .prop_map(|(slot, after, limit)| Act::Page(slot, after, limit)),
    ]
}

fn run(engine: &dyn Engine, form: Form, acts: &[Act]) -> Result<(), TestCaseError> {
    let mut model: BTreeMap<(u16, Vec<u8>), OwnedRecord> = BTreeMap::new();
    let tree = tree();
    for slot in [slot(0), slot(1)] {
        let walk = tree.lock().begin(slot).expect("nobody walks there");
        tree.lock().pass(walk, &[], true);
    }
    let mut shelf = shelf(engine, form, &tree);
    for act in acts {
        match act {
            Act::Put(at, puts) => {
                let puts: Vec<([u8; 1], &OwnedRecord)> =
                    puts.iter().map(|(key, record)| ([*key], record)).collect();
                let before =
                    |key: &[u8]| model.get(&(*at, key.to_vec())).map(|held| held.borrow().rank());
                let records: Vec<Put<'_>> = puts
                    .iter()
                    .map(|(key, record)| Put::over(before(key), key, record.borrow()))
                    .collect();
                shelf.put(slot(*at), &records).expect("an engine that takes writes");
                for (key, record) in puts {
                    model.insert((*at, key.to_vec()), record.clone());
                }
            }
            Act::Remove(at, keys) => {
                let held = keys.iter().filter_map(|key| {
                    let held = model.remove(&(*at, vec![*key]))?;
                    Some(([*key], held.borrow().rank()))
                });
                let held: Vec<([u8; 1], Rank)> = held.collect();
                let borrowed: Vec<(&[u8], Rank)> =
                    held.iter().map(|(key, rank)| (&key[..], *rank)).collect();
                shelf.remove(slot(*at), &borrowed).expect("an engine that takes writes");
            }
            Act::Look(at, key) => {
                let seen =
                    shelf.look(slot(*at), &[*key], |held| held.copied().map(OwnedRecord::from));
                let (seen, ()) = seen.expect("it is not damaged");
                prop_assert_eq!(seen.as_ref(), model.get(&(*at, vec![*key])));
            }
            Act::Page(at, after, limit) => {
                let after = after.map(|key| [key]);
                let mut seen = Vec::new();
                let after = after.as_ref().map(|key| &key[..]);
                shelf
                    .page(slot(*at), after, *limit, |key, record| {
                        seen.push((key.to_vec(), OwnedRecord::from(*record)));
                        true
                    })
                    .expect("it is not damaged");
                let expected = model.iter().filter(|((slot, key), _)| {
                    slot == at && after.is_none_or(|after| &key[..] > after)
                });
                let expected: Vec<(Vec<u8>, OwnedRecord)> = expected
                    .take(*limit)
                    .map(|((_, key), record)| (key.clone(), record.clone()))
                    .collect();
                prop_assert_eq!(seen, expected);
            }
        }
        for at in 0..2 {
            let here = model.iter().filter(|((slot, _), _)| *slot == at);
            let tally = here
                .map(|(_, record)| counted(Some(&record.borrow())))
                .fold(Tally::default(), Tally::plus);
            prop_assert_eq!(engine.tally(KEYSPACE.0, at..at + 1), tally);
            let mut leaf = Leaf::default();
            for ((_, key), record) in model.iter().filter(|((slot, _), _)| *slot == at) {
                leaf.add(SECRET, key, &record.borrow().rank());
            }
            prop_assert_eq!(tree.lock().leaf(slot(at)), Some(leaf));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_shelf_is_a_list_and_its_tallies_and_digests_are_right(
        acts in prop::collection::vec(act(), 0..40),
    ) {
        let (_directory, engines) = engines();
        for (engine, form) in engines {
            run(&*engine, form, &acts)?;
        }
    }
}

#[test]
fn the_commit_covers_what_was_seen_and_what_was_put() {
    let (_directory, [_, (engine, form)]) = engines();
    let record = live(1, "v");
    let tree = tree();
    let mut writer = shelf(&*engine, form, &tree);
    let put = Put::over(None, b"k", record.borrow());
    writer.put(slot(0), &[put]).expect("it is written");
    let reader = shelf(&*engine, form, &tree);
    reader.look(slot(0), b"k", |held| assert!(held.is_some())).expect("it is read");
    assert!(writer.commit() != Commit::DONE);
    assert!(reader.commit() == writer.commit() || reader.commit() == Commit::DONE);
    engine.sync().expect("it syncs");
    let waker = std::task::Waker::noop();
    assert!(engine.settle(writer.commit(), waker).is_ready());
}

#[test]
fn a_page_is_never_read_by_whoever_may_not_wait() {
    let (_directory, engines) = engines();
    for (engine, form) in &engines {
        let tree = tree();
        let shelf = EngineShelf::new(&**engine, KEYSPACE.0, *form, Patience::Inline, false, &tree);
        assert_eq!(shelf.page(slot(0), None, 1, |_, _| true), Err(ShelfError::Cold));
    }
}
