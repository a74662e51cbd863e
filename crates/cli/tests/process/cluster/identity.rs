//! Who a node is: wiped, copied and foreign directories, names in use, and secrets.

use super::checker::Load;
use super::rig::Rig;
use crate::folder::copy;
use crate::node::{Launch, Refused};
use crate::reply::Reply;
use crate::settings::{say, seed};
use std::fs;

/// Clients of a scenario.
const CLIENTS: usize = 8;

/// Starts what must be refused, with all that is told.
#[track_caller]
fn refused(launch: &Launch, why: &[&str]) {
    match launch.start() {
        Ok(node) => panic!("it was let in:\n{}", node.log()),
        Err(Refused { status, log }) => {
            assert!(!status.success() && !log.contains("panicked at"), "{status}\n{log}");
            for word in why {
                assert!(log.contains(word), "it does not say {word}:\n{log}");
            }
        }
    }
}

/// Starts a copy of a directory: it is told what it is and ends by itself, without having served.
#[track_caller]
fn fenced(launch: &Launch) {
    let ended = launch.start();
    is_fenced(ended.err().expect("a copy serves"));
}

#[track_caller]
fn is_fenced(Refused { status, log }: Refused) {
    assert!(!status.success() && !log.contains("panicked at"), "{status}\n{log}");
    assert!(!log.contains("ready: ") && log.contains("stale_directory"), "{log}");
}

/// The cluster goes on as if nothing had been.
#[track_caller]
fn undisturbed(rig: &Rig, running: &[usize]) {
    rig.wait_whole(running);
    for node in running {
        assert_eq!(rig.ask(*node, "INCR touched").error(), None, "n{node}");
        assert_eq!(rig.ask(*node, "GET kept").bulk(), Some(&b"1"[..]), "n{node}");
    }
}

#[test]
fn a_wiped_directory_is_refused_until_it_says_whom_it_replaces() {
    let mut rig = Rig::of_three("wiped");
    assert_eq!(rig.ask(1, "SET kept 1"), Reply::ok());
    let load = Load::start(&rig, &[1, 2, 3], CLIENTS, seed("wiped"));
    load.wait_share(&rig, 20);
    refused(&rig.launch_joining(4, "n2", 1), &["name_in_use", "n2"]);
    undisturbed(&rig, &[1, 2, 3]);
    rig.kill(3);
    rig.wait_down(1, &["n3"]);
    load.wait_share(&rig, 40);
    fs::remove_dir_all(rig.data(3)).expect("it can be wiped");
    refused(&rig.launch(3), &["name_in_use", "n3", "--replace n3"]);
    fs::remove_dir_all(rig.data(3)).expect("it can be wiped");
    let replacing = rig.launch(3).with("--replace").with("n3");
    rig.start_by(vec![(3, replacing)]);
    rig.wait_whole(&[1, 2, 3]);
    undisturbed(&rig, &[1, 2, 3]);
    let mut known = load.finish(&rig);
    known.check(&rig, &[1, 2, 3]);
    say(&format!("cluster, wiped: {}", known.summary()));
    // It has every place of the one before: without n2 it still makes a quorum with n1.
    rig.kill(2);
    rig.wait("its copy has what was there", || rig.ask(3, "AT one GET kept").bulk() == Some(b"1"));
    let answer = rig.ask(3, "SET kept 1");
    let answer = if answer.error().is_some() { rig.ask(3, "SET kept 1") } else { answer };
    assert_eq!(answer, Reply::ok());
}

#[test]
fn a_copied_directory_is_fenced_while_the_original_runs_and_afterwards() {
    let mut rig = Rig::of_three("copied");
    assert_eq!(rig.ask(1, "SET kept 1"), Reply::ok());
    let load = Load::start(&rig, &[1, 2, 3], CLIENTS, seed("copied"));
    load.wait_share(&rig, 20);
    rig.kill(3);
    copy(&rig.data(3), &rig.data(4));
    copy(&rig.data(3), &rig.data(5));
    rig.start(&[3]);
    rig.wait_whole(&[1, 2, 3]);
    load.wait_share(&rig, 40);
    fenced(&rig.launch_joining(4, "n3", 1));
    undisturbed(&rig, &[1, 2, 3]);
    // The same directory once more meets the lock.
    let again = Launch::new(&rig.data(3)).listening(&rig.address(6));
    refused(&again.with("--name").with("n3"), &["is in use by process"]);
    undisturbed(&rig, &[1, 2, 3]);
    rig.stop(3);
    fenced(&rig.launch_joining(5, "n3", 1));
    rig.start(&[3]);
    undisturbed(&rig, &[1, 2, 3]);
    let mut known = load.finish(&rig);
    known.check(&rig, &[1, 2, 3]);
    say(&format!("cluster, copied: {}", known.summary()));
}

#[test]
fn of_two_copies_started_at_once_exactly_one_serves_and_nothing_is_lost() {
    let mut rig = Rig::of_three("two-copies");
    assert_eq!(rig.ask(1, "SET kept 1"), Reply::ok());
    let load = Load::start(&rig, &[1, 2, 3], CLIENTS, seed("two copies"));
    load.wait_share(&rig, 40);
    rig.kill(3);
    copy(&rig.data(3), &rig.data(4));
    let both = [rig.launch(3), rig.launch_joining(4, "n3", 1)];
    let both = both.map(|launch| std::thread::spawn(move || launch.start()));
    let mut serving = Vec::new();
    for (number, started) in (3..).zip(both) {
        match started.join().expect("a start that is too slow has told why") {
            Ok(node) => {
                rig.take_in(number, node);
                serving.push(number);
            }
            Err(ended) => is_fenced(ended),
        }
    }
    assert_eq!(serving.len(), 1, "these serve: {serving:?}");
    undisturbed(&rig, &[1, 2, serving[0]]);
    let mut known = load.finish(&rig);
    known.check(&rig, &[1, 2, serving[0]]);
    say(&format!("cluster, two copies: {}", known.summary()));
}

#[test]
fn a_wiped_first_node_is_not_taken_for_the_one_it_was() {
    let mut rig = Rig::of_three("wiped-first");
    assert_eq!(rig.ask(1, "SET kept 1"), Reply::ok());
    let cluster = |rig: &Rig, node| rig.status(node).map(|status| status["cluster"].clone());
    let before = cluster(&rig, 1).expect("it tells");
    for node in [1, 2, 3] {
        rig.stop(node);
    }
    fs::remove_dir_all(rig.data(1)).expect("it can be wiped");
    // Its command line says nothing of others, so it founds a cluster of one, and a new one.
    rig.start(&[1]);
    assert_ne!(cluster(&rig, 1).expect("it tells"), before);
    assert!(rig.ask(1, "GET kept").is_nil(), "nothing of before is served");
    rig.start(&[2, 3]);
    for node in [2, 3] {
        assert_eq!(cluster(&rig, node).expect("it tells"), before, "n{node} stays what it was");
        rig.wait_down(node, &["n1"]);
        let get = || rig.ask(node, "GET kept");
        let found = get();
        let found = if found.error().is_some() { get() } else { found };
        assert_eq!(found.bulk(), Some(&b"1"[..]), "n{node}: {found:?}");
    }
    assert_eq!(rig.status(1).expect("it tells")["members"], serde_json::json!(["n1"]));
    // Where it says whom it wants to join it learns what to do, and does it.
    rig.stop(1);
    fs::remove_dir_all(rig.data(1)).expect("it can be wiped");
    refused(&rig.launch_joining(1, "n1", 2), &["name_in_use", "--replace n1"]);
    fs::remove_dir_all(rig.data(1)).expect("it can be wiped");
    let replacing = rig.launch_joining(1, "n1", 2).with("--replace").with("n1");
    rig.start_by(vec![(1, replacing)]);
    undisturbed(&rig, &[1, 2, 3]);
}

#[test]
fn strangers_are_refused_by_name_and_disturb_nobody() {
    let secret = |word: char| word.to_string().repeat(64);
    let mut rig = Rig::new("strangers");
    let guarded = |launch: Launch, word| launch.variable("SHOAL_CLUSTER_SECRET", &secret(word));
    let first = guarded(rig.launch(1), 'a');
    rig.start_by(vec![(1, first)]);
    let second = guarded(rig.launch(2), 'a');
    rig.start_by(vec![(2, second)]);
    rig.wait_whole(&[1, 2]);
    assert_eq!(rig.ask(1, "SET kept 1"), Reply::ok());
    refused(&guarded(rig.launch(3), 'b'), &["wrong_secret", "--secret-file"]);
    refused(&rig.launch(4), &["wrong_secret", "--secret-file"]);
    // What was to be let in founds nothing of its own meanwhile.
    refused(&guarded(rig.launch_as(3, "n3"), 'a'), &["joining", "--join"]);
    undisturbed(&rig, &[1, 2]);
    // A node with data of its own, of another cluster: what it is told to join does not count.
    let alone = guarded(rig.launch_as(5, "n5"), 'a');
    rig.start_by(vec![(5, alone)]);
    let own = rig.status(5).expect("it tells")["cluster"].clone();
    assert_eq!(rig.ask(5, "SET own 5"), Reply::ok());
    rig.stop(5);
    let meeting = guarded(rig.launch_joining(5, "n5", 1), 'a');
    match meeting.start() {
        Ok(node) => {
            assert_eq!(rig.status(5).expect("it tells")["cluster"], own, "it stays what it was");
            assert!(node.log().contains("not asking to join"), "{}", node.log());
            assert_eq!(rig.ask(5, "GET own").bulk(), Some(&b"5"[..]));
            assert!(rig.ask(5, "GET kept").is_nil(), "no data crosses");
            node.kill();
        }
        Err(Refused { log, .. }) => assert!(log.contains("foreign_cluster"), "{log}"),
    }
    assert!(rig.ask(1, "GET own").is_nil(), "no data crosses");
    undisturbed(&rig, &[1, 2]);
}
