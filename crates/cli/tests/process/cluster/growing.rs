//! From one node to three, and through the death of the first.

use super::checker::Load;
use super::rig::Rig;
use crate::client::Client;
use crate::reply::Reply;
use crate::settings::{number, seed};

/// A key that is written while the first node is alone.
fn early(key: u64) -> String {
    format!("early:{key}")
}

/// The answer to a command that is asked again once where it is an error.
fn asked_twice(client: &mut Client, line: &str) -> Reply {
    let answer = client.line(line).expect("a node that runs answers");
    if answer.error().is_none() {
        return answer;
    }
    client.line(line).expect("a node that runs answers")
}

#[test]
fn one_node_becomes_three_under_load_and_the_first_may_die() {
    let keys = number("SHOAL_KEYS", 1_000, 100_000);
    let mut rig = Rig::new("growing");
    rig.start(&[1]);
    let mut client = rig.client(1);
    for key in 0..keys {
        let set = format!("SET {} {key}", early(key));
        assert_eq!(client.line(&set).expect("it answers"), Reply::ok());
    }
    let load = Load::start(&rig, &[1], 3, seed("growing"));
    load.wait(&rig, 50);
    rig.start(&[2, 3]);
    rig.wait_whole(&[1, 2, 3]);
    load.wait(&rig, 50);
    let mut known = load.stop(&rig);
    for node in [1, 2, 3] {
        check_early(&rig, node, keys);
        assert!(rig.ask(node, "DBSIZE").integer() >= Some(keys as i64), "n{node} counts all");
    }
    known.check(&rig, &[1, 2, 3]);

    rig.kill(1);
    for node in [2, 3] {
        check_early(&rig, node, keys);
    }
    known.check(&rig, &[2, 3]);
    let mut client = rig.client(2);
    for key in 0..keys / 10 {
        let set = format!("SET late:{key} {key}");
        let answer = asked_twice(&mut client, &set);
        assert_eq!(answer, Reply::ok(), "{set}\n{}", rig.logs());
    }

    rig.start(&[1]);
    rig.wait_whole(&[1, 2, 3]);
    let mut client = rig.client(1);
    for key in 0..keys / 10 {
        rig.wait("n1 itself holds what it missed", || {
            let found = client.line(&format!("AT one GET late:{key}")).expect("it answers");
            found.bulk() == Some(key.to_string().as_bytes())
        });
    }
    known.check(&rig, &[1, 2, 3]);
}

fn check_early(rig: &Rig, node: usize, keys: u64) {
    let mut client = rig.client(node);
    for key in 0..keys {
        let answer = asked_twice(&mut client, &format!("GET {}", early(key)));
        let value = key.to_string();
        assert_eq!(answer.bulk(), Some(value.as_bytes()), "n{node}: {answer:?}\n{}", rig.logs());
    }
}
