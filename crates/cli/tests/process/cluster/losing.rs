//! A cluster of three that loses nodes: one, two, all; for good, or for a while.

use super::checker::{Load, floor};
use super::rig::Rig;
use crate::reply::Reply;
use crate::settings::{is_full, number, say, seed};
use fastrand::Rng;
use std::time::{Duration, Instant};

/// How long a level may take to be refused, with room for a busy machine. The deadline itself is
/// five seconds; a refusal that only came when a node was back would take far longer.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);
/// Clients of a scenario.
const CLIENTS: usize = 8;

#[test]
fn one_of_three_is_killed_again_and_again_and_nothing_acknowledged_is_lost() {
    let mut rng = Rng::with_seed(seed("losing one"));
    let kills = number("SHOAL_CLUSTER_KILLS", 2, 30);
    let mut rig = Rig::of_three("losing-one");
    let load = Load::start(&rig, &[1, 2, 3], CLIENTS, rng.u64(..));
    for _ in 0..kills {
        let node = rng.usize(1..=3);
        load.wait(&rig, rng.u64(100..400));
        rig.kill(node);
        load.wait(&rig, rng.u64(100..400));
        rig.start(&[node]);
        rig.wait_whole(&[1, 2, 3]);
    }
    load.wait(&rig, 200);
    let mut known = load.finish(&rig);
    known.check(&rig, &[1, 2, 3]);
    say(&format!("cluster, {kills} kills: {}", known.summary()));
}

#[test]
fn all_are_stopped_or_killed_and_everything_is_there_again() {
    let mut rig = Rig::of_three("losing-all");
    let load = Load::start(&rig, &[1, 2, 3], CLIENTS, seed("losing all"));
    load.wait_share(&rig, 40);
    for node in [1, 2, 3] {
        rig.kill(node);
    }
    rig.start(&[1, 2, 3]);
    rig.wait_whole(&[1, 2, 3]);
    load.wait_share(&rig, 80);
    for node in [1, 2, 3] {
        rig.stop(node);
    }
    rig.start(&[3, 2, 1]);
    rig.wait_whole(&[1, 2, 3]);
    let mut known = load.finish(&rig);
    known.check(&rig, &[1, 2, 3]);
    for node in [1, 2, 3] {
        rig.kill(node);
    }
    rig.start(&[1, 2, 3]);
    rig.wait_whole(&[1, 2, 3]);
    known.check(&rig, &[1, 2, 3]);
    say(&format!("cluster, all stopped: {}", known.summary()));
}

#[test]
fn a_minority_refuses_by_name_and_reads_what_it_has_at_level_one() {
    let mut rig = Rig::of_three("minority");
    assert_eq!(rig.ask(1, "SET kept 1"), Reply::ok());
    rig.wait("n1 itself holds it", || rig.ask(1, "AT one GET kept").bulk() == Some(b"1"));
    rig.kill(2);
    rig.kill(3);
    rig.wait_down(1, &["n2", "n3"]);
    let mut client = rig.client(1);
    for line in ["SET kept 2", "GET kept", "INCR counter", "DEL kept", "AT all GET kept"] {
        let begun = Instant::now();
        let answer = client.line(line).expect("it answers");
        assert!(begun.elapsed() < REFUSED_WITHIN, "{line} took {:?}", begun.elapsed());
        let text = answer.error().unwrap_or_else(|| panic!("{line} was answered {answer:?}"));
        assert!(text.starts_with("NOQUORUM have 1 of "), "{line}: {text}");
        let named = |order: &str| text.contains(order);
        assert!(named("unreachable: n2, n3") || named("unreachable: n3, n2"), "{line}: {text}");
    }
    // The first write of a database makes its keyspace, which only a majority can.
    let mut other = rig.client(1);
    assert_eq!(other.line("SELECT 3").expect("it answers"), Reply::ok());
    let made = other.line("SET kept 3").expect("it answers");
    assert!(made.error().is_some(), "the map was changed by a minority: {made:?}");
    assert_eq!(client.line("AT one GET kept").expect("it answers").bulk(), Some(&b"1"[..]));
    assert_eq!(client.line("CONSISTENCY one").expect("it answers"), Reply::ok());
    assert_eq!(client.line("GET kept").expect("it answers").bulk(), Some(&b"1"[..]));
    rig.start(&[2, 3]);
    rig.wait_whole(&[1, 2, 3]);
    for node in [1, 2, 3] {
        assert_eq!(rig.ask(node, "GET kept").bulk(), Some(&b"1"[..]), "what was refused is not");
        assert_eq!(rig.ask(node, "SET kept 1"), Reply::ok());
    }
}

#[test]
fn a_paused_node_holds_nobody_up_and_is_back_by_itself() {
    /// How long it stands still at least in a full run.
    const PAUSE: Duration = Duration::from_secs(10);
    let rig = Rig::of_three("paused");
    // Half of these clients never ask the node that pauses; the others may wait for it.
    let load = Load::start(&rig, &[1, 2, 3], CLIENTS, seed("paused"));
    for (place, share) in [(2, 20), (0, 60)] {
        load.wait_share(&rig, share);
        let (paused, other) = (place + 1, 2);
        load.avoid(place, true);
        load.wait_beside(&rig, 2);
        let begun = Instant::now();
        rig.pause(paused);
        load.wait_beside(&rig, floor() / 40);
        rig.wait_down(other, &[&format!("n{paused}")]);
        load.wait_beside(&rig, floor() / 40);
        if is_full() {
            rig.wait("it has stood still for long", || begun.elapsed() >= PAUSE);
        }
        rig.resume(paused);
        rig.wait_whole(&[1, 2, 3]);
        load.avoid(place, false);
    }
    let mut known = load.finish(&rig);
    known.check(&rig, &[1, 2, 3]);
    say(&format!("cluster, paused: {}", known.summary()));
}
