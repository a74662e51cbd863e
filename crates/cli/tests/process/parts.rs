//! Parts of a data directory that are gone, or are another's: refused by name, never made anew.

use crate::client::Client;
use crate::folder::{Folder, copy};
use crate::node::Launch;
use crate::reply::Reply;
use std::fs;
use std::path::Path;

/// A stopped node's folder with one key in it.
fn made(data: &Path) {
    let node = Launch::new(data).start().unwrap_or_else(|refused| panic!("{}", refused.log));
    let mut client = Client::connect(&node.address).expect("the node is there");
    assert_eq!(client.line("SET key value").expect("an answer"), Reply::ok());
    assert!(node.stop().success(), "SIGTERM is an orderly end");
}

/// The node refuses to start and says all of `words`; with the good files back it serves again.
fn refused(good: &Path, change: impl Fn(&Path), words: &[&str]) {
    let folder = Folder::new("parts");
    let tried = folder.path().join("tried");
    copy(good, &tried);
    change(&tried);
    for _ in 0..2 {
        let log = match Launch::new(&tried).start() {
            Ok(node) => panic!("it started without {words:?}:\n{}", node.log()),
            Err(refused) => refused.log,
        };
        let missing = words.iter().find(|word| !log.contains(**word));
        assert!(missing.is_none(), "{missing:?} is not said:\n{log}");
    }
    fs::remove_dir_all(&tried).expect("the copy was ours");
    copy(good, &tried);
    let node = Launch::new(&tried).start().unwrap_or_else(|refused| panic!("{}", refused.log));
    let mut client = Client::connect(&node.address).expect("the node is there");
    assert_eq!(client.line("GET key").expect("an answer").bulk(), Some(&b"value"[..]));
    node.kill();
}

#[test]
fn a_missing_part_is_refused_by_name() {
    let folder = Folder::new("parts-good");
    let good = folder.path().join("good");
    made(&good);
    let gone = |name: &'static str| {
        move |data: &Path| {
            let path = data.join(name);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
                .expect("it was there");
        }
    };
    for name in ["disk", "disk/log", "disk/sorted"] {
        refused(&good, gone(name), &["store_missing", name, "backup"]);
    }
    refused(&good, gone("disk/owner"), &["store_foreign", "disk", "backup"]);
    refused(&good, gone("clock"), &["clock_missing", "clock.reset", "backup"]);
    refused(&good, gone("map"), &["map", "missing", "backup"]);
    refused(&good, gone("identity"), &["identity", "restore"]);
    let both = |data: &Path| {
        gone("disk")(data);
        gone("map")(data);
    };
    refused(&good, both, &["map", "missing", "backup"]);
}

#[test]
fn a_part_of_another_directory_is_refused_by_name() {
    let folder = Folder::new("parts-two");
    let (good, other) = (folder.path().join("good"), folder.path().join("other"));
    made(&good);
    made(&other);
    let replaced = |name: &'static str| {
        let other = other.clone();
        move |data: &Path| {
            let path = data.join(name);
            if path.is_dir() {
                fs::remove_dir_all(&path).expect("it was there");
                copy(&other.join(name), &path);
            } else {
                fs::copy(other.join(name), path).expect("a copy");
            }
        }
    };
    refused(&good, replaced("disk"), &["store_foreign", "is of cluster", "disk"]);
    refused(&good, replaced("map"), &["map", "of cluster"]);
    refused(&good, replaced("identity"), &["of cluster"]);
}

#[test]
fn a_lost_clock_begins_anew_where_an_operator_says_so() {
    let folder = Folder::new("parts-clock");
    let data = folder.path().join("data");
    made(&data);
    fs::remove_file(data.join("clock")).expect("it was there");
    assert!(Launch::new(&data).start().is_err(), "nobody said so yet");
    fs::write(data.join("clock.reset"), b"").expect("written");
    made(&data);
    assert!(!data.join("clock.reset").exists(), "it holds once");
    made(&data);
}
