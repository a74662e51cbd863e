//! What the store leaves on the disk when it has changed: the newest version and nothing else.

use super::*;
use std::collections::BTreeSet;
use std::fs;
use tempfile::TempDir;

struct NothingDead;

impl Policy for NothingDead {
    fn is_dead(&self, _: u32) -> bool {
        false
    }

    fn due(&self, _: u32, _: &[u8]) -> Option<u64> {
        None
    }
}

fn open(dir: &TempDir) -> Lsm {
    let options = LsmOptions { cache_bytes: 1 << 20, table_bytes: 1 << 20 };
    Lsm::open(&dir.path().join("store"), &options, Arc::new(NothingDead)).unwrap()
}

/// One table of `keys`, each with a value that begins with `round`.
fn fill(store: &Lsm, keys: std::ops::Range<u16>, round: u8) {
    store
        .ingest(&mut |sink| {
            keys.clone().try_for_each(|key| sink.put(&key.to_be_bytes(), &[round; 100]))
        })
        .unwrap();
}

/// The names of the files that hold entries.
fn tables(store: &Lsm) -> BTreeSet<String> {
    names(&store.dir.join("tables"))
}

/// The names of the files that say which tables a version has, `v0`, `v1` and so on.
fn manifests(store: &Lsm) -> usize {
    let is_one = |name: &String| name.strip_prefix('v').is_some_and(|id| id.parse::<u64>().is_ok());
    names(&store.dir).into_iter().filter(is_one).count()
}

fn names(dir: &Path) -> BTreeSet<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    fs::read_dir(dir).unwrap().map(name).collect()
}

/// All that lies on the disk belongs to the version that is read.
fn only_the_newest_version_is_there(store: &Lsm) {
    let read = store.with(|open| Ok(open.tree.table_count())).unwrap();
    assert_eq!(tables(store).len(), read, "the tables on the disk are those of the newest version");
    assert_eq!(manifests(store), 1, "the manifests of older versions are gone");
}

/// On a full disk no further change may come that would take the files along.
#[test]
fn a_dropped_range_gives_its_files_back_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for round in 0..3 {
        fill(&store, 0..500, round);
        fill(&store, 1_000..1_500, round);
    }
    let before = tables(&store);
    assert_eq!(before.len(), 6, "one table for each time it was filled");

    store.drop_range(&0_u16.to_be_bytes(), &999_u16.to_be_bytes()).unwrap();
    let after = tables(&store);
    assert_eq!(after.len(), 3, "those of the other range");
    assert!(after.is_subset(&before), "none was written anew");
    only_the_newest_version_is_there(&store);

    store.drop_range(&[0], &[0xFF; 3]).unwrap();
    assert_eq!(tables(&store), BTreeSet::new());
    assert_eq!((store.figures().bytes, store.figures().items), (0, 0));
    only_the_newest_version_is_there(&store);
}

/// What a compaction writes is not what it reads: it is let begin, and ends where it would take
/// room that others need.
#[test]
fn a_compaction_without_room_ends_unless_little_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let value = vec![7; 1 << 20];
    for _ in 0..2 {
        store
            .ingest(&mut |sink| (0..8_u16).try_for_each(|key| sink.put(&key.to_be_bytes(), &value)))
            .unwrap();
    }
    assert!(store.merge_bytes() >= 16 << 20, "nothing is merged yet");
    let before = tables(&store);
    assert!(matches!(store.compact_fully(u64::MAX), Err(SortedError::Full(_))));
    store.reopen().unwrap();
    assert_eq!(tables(&store), before, "nothing half made stays");
    store.get(&7_u16.to_be_bytes(), &mut |found| assert_eq!(found, Some(&*value))).unwrap();

    store
        .ingest(&mut |sink| (0..8_u16).try_for_each(|key| sink.remove(&key.to_be_bytes())))
        .unwrap();
    store.compact_fully(u64::MAX).unwrap();
    assert_eq!((store.figures().items, tables(&store).len()), (0, 0));
    only_the_newest_version_is_there(&store);
}

#[test]
fn a_compaction_leaves_nothing_of_what_it_merged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for round in 0..6 {
        fill(&store, 0..500, round);
    }
    let before = tables(&store);
    store.compact_fully(0).unwrap();
    let after = tables(&store);
    assert_eq!(after.len(), 1);
    assert!(after.is_disjoint(&before), "what was merged is gone");
    only_the_newest_version_is_there(&store);
    assert_eq!(store.figures().items, 500);
    store.get(&499_u16.to_be_bytes(), &mut |value| assert_eq!(value, Some(&[5; 100][..]))).unwrap();
}

#[test]
fn the_steps_of_a_compaction_leave_nothing_of_what_they_merged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut steps = 0;
    for round in 0..12 {
        fill(&store, 0..500, round);
        while store.compact_step(0).unwrap() {
            steps += 1;
            only_the_newest_version_is_there(&store);
        }
    }
    assert!(steps > 0, "so many overlapping tables are merged");
}
