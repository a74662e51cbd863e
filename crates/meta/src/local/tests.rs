//! The map's file: founded once, replaced as a whole, refused when damaged.

use super::*;
use crate::rig::{create, founding};
use shoal_core::map::MapError;

#[test]
fn what_was_answered_is_there_after_a_reopen() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::open(directory.path(), founding).expect("a new store");
    let map = store.propose(&create("books")).expect("a good command");
    assert_eq!(store.current(), map);
    drop(store);
    let again = LocalStore::open(directory.path(), || panic!("it is founded already"));
    assert_eq!(again.expect("it opens").current(), map);
}

#[test]
fn a_refused_command_changes_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::open(directory.path(), founding).expect("a new store");
    let before = store.current();
    let refused = store.propose(&create("default")).expect_err("the name is taken");
    assert!(matches!(refused, MetaError::Refused(MapError::KeyspaceExists { .. })));
    assert_eq!(store.current(), before);
    let bytes = fs::read(directory.path().join(FILE)).expect("the file is there");
    assert_eq!(bytes, encode(&before));
}

#[test]
fn a_half_written_successor_is_ignored() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::open(directory.path(), founding).expect("a new store");
    let map = store.current();
    drop(store);
    fs::write(directory.path().join(NEXT), b"torn").expect("a file can be written");
    let again = LocalStore::open(directory.path(), founding).expect("it opens");
    assert_eq!(again.current(), map);
    again.propose(&create("books")).expect("it goes on");
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    drop(LocalStore::open(directory.path(), founding).expect("a new store"));
    let path = directory.path().join(FILE);
    let good = fs::read(&path).expect("the file is there");
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("a file can be written");
        let opened = LocalStore::open(directory.path(), || panic!("a damaged map is no new one"));
        let error = opened.expect_err("damage is refused").to_string();
        assert!(error.contains("map"), "{error}");
    };
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        refused(&bad);
    }
    for length in 0..good.len() {
        refused(&good[..length]);
    }
}

#[test]
fn a_map_that_cannot_be_written_changes_nothing_and_is_forgiven() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::open(directory.path(), founding).expect("a new store");
    let before = store.current();
    // A directory in the place of the successor makes its opening fail, for root too.
    fs::create_dir(directory.path().join(NEXT)).expect("a directory can be made");
    assert!(matches!(store.propose(&create("books")), Err(MetaError::File { .. })));
    assert_eq!(store.current(), before);
    fs::remove_dir(directory.path().join(NEXT)).expect("it can be removed");
    store.propose(&create("books")).expect("nothing had happened");
}

#[test]
fn a_failed_replacement_stops_changes_until_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::open(directory.path(), founding).expect("a new store");
    let before = store.current();
    let path = directory.path().join(FILE);
    let aside = directory.path().join("aside");
    fs::rename(&path, &aside).expect("a file can be moved");
    fs::create_dir(&path).expect("a directory can be made");
    assert!(store.in_doubt().is_none(), "nothing has failed yet");
    assert!(matches!(store.propose(&create("books")), Err(MetaError::InDoubt { .. })));
    assert!(matches!(store.in_doubt(), Some(MetaError::InDoubt { .. })));
    fs::remove_dir(&path).expect("it can be removed");
    fs::rename(&aside, &path).expect("a file can be moved");
    assert!(matches!(store.propose(&create("books")), Err(MetaError::InDoubt { .. })));
    assert_eq!(store.current(), before);
    drop(store);
    let again = LocalStore::open(directory.path(), founding).expect("it opens");
    assert!(again.in_doubt().is_none(), "a restart has read it");
    again.propose(&create("books")).expect("a restart knows what is there");
}

#[test]
fn a_missing_map_where_one_ought_to_be_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let opened = LocalStore::open(directory.path(), || None);
    assert!(opened.expect_err("it is refused").to_string().contains("missing"));
}

#[test]
fn a_directory_of_a_node_of_a_cluster_is_refused_though_a_map_is_there() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    drop(LocalStore::open(directory.path(), founding).expect("a new store"));
    // As after a crash between the two renamings.
    fs::write(directory.path().join(RAFT), b"whatever it says").expect("a file can be written");
    let opened = LocalStore::open(directory.path(), || panic!("nothing is founded here"));
    let error = opened.expect_err("it is another's").to_string();
    assert!(error.contains("belongs to a node of a cluster"), "{error}");
}

#[test]
fn a_retired_store_is_read_and_not_changed_and_goes_on_only_where_nothing_came_of_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::open(directory.path(), founding).expect("a new store");
    store.retire().expect("nothing is in doubt");
    let before = store.current();
    let error = store.propose(&create("books")).expect_err("it is retired");
    assert!(matches!(error, MetaError::Peer { .. }), "{error}");
    assert!(error.to_string().contains("kept elsewhere now"), "{error}");
    assert!(store.in_doubt().is_none());
    store.resume().expect("nobody took it over");
    let map = store.propose(&create("books")).expect("it goes on");
    assert_ne!(map, before);
    store.retire().expect("nothing is in doubt");
    fs::write(directory.path().join(RAFT), b"whatever it says").expect("a file can be written");
    store.resume().expect_err("it was taken over");
    store.propose(&create("more")).expect_err("it stays retired");
}
