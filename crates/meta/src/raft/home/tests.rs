//! A single node's directory becomes the first voter's, whenever the change is cut short.

use super::*;
use crate::rig::founding;
use crate::{LocalStore, MapStore};
use shoal_core::map::Command;
use std::cell::Cell;

fn single_node(directory: &Path) -> ClusterMap {
    let store = LocalStore::open(directory, founding).expect("a new store");
    store.propose(&Command::CreateDatabase { number: 3 }).expect("a good command");
    ClusterMap::clone(&store.current())
}

fn map_of(file: &RaftFile) -> ClusterMap {
    let kept: Option<(SnapshotMeta, Vec<u8>)> = file.get(fact::SNAPSHOT).expect("it can be read");
    let state = State::decode(&kept.expect("there is one").1).expect("it is whole");
    ClusterMap::clone(state.map())
}

#[test]
fn a_change_that_is_cut_short_anywhere_is_made_by_the_next_start() {
    for cut in [Step::Write, Step::Place, Step::Retire] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        let map = single_node(path);
        let reached = Cell::new(false);
        let stop = |step| {
            if step == cut {
                reached.set(true);
                return Err(io::Error::other("the power went"));
            }
            Ok(())
        };
        open(path, &stop).expect_err("it was cut short");
        assert!(reached.get(), "{cut:?}");
        // What a half-written file would be.
        if cut == Step::Write {
            fs::write(path.join(NEXT), b"torn").expect("a file can be written");
        }
        let file = open(path, &|_| Ok(())).expect("the next start does it");
        assert_eq!(map_of(&file), map, "{cut:?}");
        assert_eq!(file.get::<u32>(fact::NODE).expect("it can be read"), Some(1));
        drop(file);
        assert!(!path.join(SINGLE).exists(), "an older release would go on from it");
        assert!(path.join(RETIRED).exists());
        drop(open(path, &|step| panic!("{step:?} though it is done")).expect("it is done"));
    }
}

#[test]
fn an_older_release_refuses_the_directory_afterwards() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    single_node(directory.path());
    drop(open(directory.path(), &|_| Ok(())).expect("it is changed"));
    LocalStore::open(directory.path(), || None).expect_err("the map is missing");
}

#[test]
fn what_cannot_be_looked_at_is_an_error_and_not_a_no() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Nothing can be below a file.
    let path = directory.path().join("file");
    fs::write(&path, b"no directory").expect("a file can be written");
    let founding = || -> Option<Command> { panic!("nothing is founded where nothing is known") };
    let map = ClusterMap::default();
    for error in [
        is_home(&path).expect_err("it cannot be looked at"),
        admit(&path, NodeId(2), &map).expect_err("it cannot be looked at"),
        LocalStore::open(&path, founding).expect_err("it cannot be looked at"),
        open(&path, &|_| Ok(())).expect_err("it cannot be looked at"),
    ] {
        assert!(matches!(error, MetaError::File { .. }), "{error}");
        assert!(error.to_string().contains("map.raft"), "{error}");
    }
}

#[test]
fn a_directory_from_which_the_part_in_the_cluster_was_taken_is_not_given_away() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let map = single_node(directory.path());
    drop(open(directory.path(), &|_| Ok(())).expect("it is changed"));
    fs::remove_file(directory.path().join(RAFT)).expect("it is there");
    let error = admit(directory.path(), NodeId(2), &map).expect_err("it was n1's").to_string();
    assert!(error.contains("belongs to a cluster already"), "{error}");
}

#[test]
fn what_is_missing_damaged_or_taken_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    assert!(!is_home(path).expect("it can be looked at"));
    let error = open(path, &|_| Ok(())).expect_err("there is nothing").to_string();
    assert!(error.contains("map"), "{error}");
    fs::write(path.join(SINGLE), b"no map").expect("a file can be written");
    open(path, &|_| Ok(())).expect_err("it is damaged");
    assert!(!path.join(RAFT).exists());
    fs::remove_file(path.join(SINGLE)).expect("it is there");

    let map = single_node(path);
    let error = admit(path, NodeId(2), &map).expect_err("it is n1's").to_string();
    assert!(error.contains("belongs to a cluster already"), "{error}");
    assert!(!is_home(path).expect("it can be looked at"), "a single node wrote it");
    let file = open(path, &|_| Ok(())).expect("it is changed");
    assert!(is_home(path).expect("it can be looked at"));
    let error = open(path, &|_| Ok(())).expect_err("it is open").to_string();
    assert!(error.contains("map.raft"), "{error}");
    drop(file);
}
