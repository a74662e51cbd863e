//! Links between nodes are cut: around one node both ways and one way, and between two alone.

use super::checker::{Load, floor};
use super::links::{Way, inside};
use super::rig::Rig;
use crate::reply::Reply;
use crate::settings::{say, seed};
use std::time::{Duration, Instant};

/// How long a refusal may take, with room for a busy machine. The deadline itself is five seconds.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);
/// Clients of a scenario; the odd half keeps away from whoever is cut off.
const CLIENTS: usize = 8;

/// Requests that want a majority.
const REQUESTS: [&str; 4] = ["SET apart 1", "GET apart", "INCR counted", "DEL apart"];

/// Asks a node that has no majority, and sees that it says so, by name and in time.
fn refuses(rig: &Rig, node: usize, others: &[String]) {
    let mut client = rig.client(node);
    let mut refused = |line: &str, codes: &[&str]| {
        let begun = Instant::now();
        let answer = client.line(line).expect("it answers");
        assert!(begun.elapsed() < REFUSED_WITHIN, "{line} took {:?}", begun.elapsed());
        let text = answer.error().unwrap_or_else(|| panic!("n{node} answered {line}: {answer:?}"));
        assert!(codes.iter().any(|code| text.starts_with(code)), "{line}: {text}");
        text.to_owned()
    };
    // It may have sent before it knew that nobody is there.
    for line in REQUESTS {
        refused(line, &["NOQUORUM have 1 of 2 needed, ", "UNKNOWN "]);
    }
    rig.wait("it says who is missing", || {
        let text = refused("SET apart 2", &["NOQUORUM have 1 of 2 needed, ", "UNKNOWN "]);
        let named = text.rsplit("unreachable: ").next().unwrap_or_default();
        let mut named: Vec<_> = named.split(", ").collect();
        named.sort_unstable();
        named == others
    });
    cannot_make(rig, node, "apart");
}

/// What everybody but `node` is called, in order.
fn others(node: usize) -> Vec<String> {
    (1..=3).filter(|other| *other != node).map(|other| format!("n{other}")).collect()
}

/// The number of the node that leads the map.
fn leader(rig: &Rig) -> usize {
    let mut leader = None;
    rig.wait("somebody leads the map", || {
        let status = rig.status(1).unwrap_or_default();
        let name = status["leader"].as_str().and_then(|name| name.strip_prefix('n'));
        leader = name.and_then(|number| number.parse().ok());
        leader.is_some()
    });
    leader.expect("it was just found")
}

/// Cuts links as `cut` says around a node, first around the one that leads, and heals them; under
/// load, of which the others' clients notice nothing that lasts.
fn around_a_node(way: Way, name: &str, rounds: &[fn(&mut Rig, usize)]) {
    let mut rig = Rig::apart(way, name, 3);
    let load = Load::start(&rig, &[1, 2, 3], CLIENTS, seed(name));
    for (round, cut) in (1_u64..).zip(rounds) {
        let node = leader(&rig);
        let left = others(node);
        load.wait_share(&rig, 80 * (round - 1) / rounds.len() as u64 + 10);
        load.avoid(node - 1, true);
        load.wait_beside(&rig, 2);
        cut(&mut rig, node);
        load.wait_beside(&rig, floor() / 40);
        refuses(&rig, node, &left);
        for other in (1..=3).filter(|other| *other != node) {
            rig.wait_down(other, &[&format!("n{node}")]);
        }
        load.wait_beside(&rig, floor() / 40);
        // The majority decides what the other hears of once it is healed.
        let keyspace = format!("round{round}");
        makes(&rig, node % 3 + 1, &keyspace);
        rig.heal();
        rig.wait_whole(&[1, 2, 3]);
        hears_of(&rig, node, &keyspace);
        load.avoid(node - 1, false);
    }
    let mut known = load.finish(&rig);
    known.check(&rig, &[1, 2, 3]);
    let term = rig.status(1).map(|status| status["term"].clone()).unwrap_or_default();
    say(&format!("cluster, {name}: {}; term {term} at the end", known.summary()));
}

/// Waits until the map is changed at a node, which makes a keyspace.
fn makes(rig: &Rig, node: usize, keyspace: &str) {
    let path = format!("/v1/keyspaces/{keyspace}");
    rig.wait("the majority changes the map", || {
        matches!(rig.http(node, "PUT", &path, "{}"), Some((201 | 409, _)))
    });
}

/// Waits until a node knows a keyspace.
fn hears_of(rig: &Rig, node: usize, keyspace: &str) {
    let path = format!("/v1/keyspaces/{keyspace}");
    rig.wait(&format!("n{node} has heard of {keyspace}"), || {
        matches!(rig.http(node, "GET", &path, ""), Some((200, _)))
    });
}

/// Sees that a node on the lesser side of a cut cannot change the map.
fn cannot_make(rig: &Rig, node: usize, keyspace: &str) {
    let path = format!("/v1/keyspaces/{keyspace}");
    let (status, said) = rig.http(node, "PUT", &path, "{}").expect("it answers");
    assert!(status == 503, "the map was changed by a minority: {status} {said}");
}

/// Neither hears nor is heard.
fn both_ways(rig: &mut Rig, node: usize) {
    is_not_heard(rig, node);
    hears_nothing(rig, node);
}

fn is_not_heard(rig: &mut Rig, node: usize) {
    for other in (1..=3).filter(|other| *other != node) {
        rig.cut(node, other);
    }
}

fn hears_nothing(rig: &mut Rig, node: usize) {
    for other in (1..=3).filter(|other| *other != node) {
        rig.cut(other, node);
    }
}

#[test]
fn a_node_cut_off_refuses_by_name_while_the_others_go_on() {
    inside("cluster::cutting::a_node_cut_off_refuses_by_name_while_the_others_go_on", |way| {
        around_a_node(way, "cut-off", &[both_ways, both_ways]);
    });
}

#[test]
fn a_node_that_is_not_heard_or_hears_nothing_holds_nobody_up() {
    inside("cluster::cutting::a_node_that_is_not_heard_or_hears_nothing_holds_nobody_up", |way| {
        around_a_node(way, "cut-one-way", &[is_not_heard, hears_nothing]);
    });
}

#[test]
fn where_two_do_not_see_each_other_the_third_makes_a_majority_with_both() {
    inside(
        "cluster::cutting::where_two_do_not_see_each_other_the_third_makes_a_majority_with_both",
        |way| {
            let mut rig = Rig::apart(way, "bridged", 3);
            let load = Load::start(&rig, &[1, 2, 3], CLIENTS, seed("bridged"));
            load.wait_share(&rig, 20);
            let one = leader(&rig);
            let other = one % 3 + 1;
            rig.cut(one, other);
            rig.cut(other, one);
            load.wait_share(&rig, 40);
            let term = |rig: &Rig| rig.status(1).and_then(|status| status["term"].as_u64());
            let before = term(&rig);
            load.wait_share(&rig, 70);
            for node in [1, 2, 3] {
                rig.wait(&format!("n{node} serves"), || {
                    rig.ask(node, "SET apart 1") == Reply::ok()
                });
            }
            let after = term(&rig);
            rig.heal();
            rig.wait_whole(&[1, 2, 3]);
            let mut known = load.finish(&rig);
            known.check(&rig, &[1, 2, 3]);
            say(&format!(
                "cluster, bridged: {}; terms {before:?} to {after:?} while cut",
                known.summary()
            ));
        },
    );
}

#[test]
fn of_five_that_vote_two_cut_off_change_nothing_and_learn_what_the_others_did() {
    const ALL: [usize; 5] = [1, 2, 3, 4, 5];
    inside(
        "cluster::cutting::of_five_that_vote_two_cut_off_change_nothing_and_learn_what_the_others_did",
        |way| {
            let mut rig = Rig::apart(way, "five", ALL.len());
            rig.wait("all of them vote", || {
                let status = rig.status(1).unwrap_or_default();
                status["voters"].as_array().is_some_and(|voters| voters.len() == ALL.len())
            });
            let load = Load::start(&rig, &ALL, CLIENTS, seed("five"));
            load.wait_share(&rig, 30);
            // Whoever leads is among them, and no more than one of those that hold the keys.
            let leads = leader(&rig);
            let few = if leads == 4 { [4, 5] } else { [leads, 4] };
            let many: Vec<_> = ALL.into_iter().filter(|node| !few.contains(node)).collect();
            for node in few {
                load.avoid(node - 1, true);
                for other in &many {
                    rig.cut(node, *other);
                    rig.cut(*other, node);
                }
            }
            load.wait_beside(&rig, floor() / 10);
            makes(&rig, many[0], "many");
            for node in few {
                cannot_make(&rig, node, "few");
            }
            load.wait_beside(&rig, floor() / 10);
            rig.heal();
            rig.wait_whole(&ALL);
            for node in few {
                load.avoid(node - 1, false);
                hears_of(&rig, node, "many");
            }
            for node in ALL {
                let few = rig.http(node, "GET", "/v1/keyspaces/few", "");
                assert!(matches!(few, Some((404, _))), "{few:?}");
            }
            let mut known = load.finish(&rig);
            known.check(&rig, &ALL);
            say(&format!("cluster, five: {}", known.summary()));
        },
    );
}
