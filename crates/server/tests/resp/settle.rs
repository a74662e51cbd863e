//! Replies wait for what they speak of to be durable, and are taken back if it cannot be.

use crate::support::{Client, Host, pipeline, shown};
use shoal_node::{Code, Refusal};
use shoal_server::resp::Run;
use shoal_storage::{Commit, Patience};

/// What the client gets to see if nothing of this pipeline settles.
fn failed(client: &mut Client, lines: &[&str]) -> String {
    client.local.feed(&pipeline(lines.iter().copied()));
    let run = client.local.run(Patience::Inline);
    assert!(matches!(run, Run::Idle | Run::Close));
    client.local.fail(&Refusal::new(Code::StorageStopped, "gone"));
    let replies = shown(client.local.output());
    client.local.sent();
    replies
}

#[test]
fn every_reply_from_the_first_that_depends_on_it_becomes_an_error() {
    let host = Host::disk();
    let mut client = host.connect();
    let lines = ["PING", "SET a 1", "GET a", "nonsense", "MULTI", "INCR a", "EXEC", "PING"];
    let errors = ["-STORAGE gone"; 7].join(" ");
    assert_eq!(failed(&mut client, &lines), format!("+PONG {errors}"));
}

#[test]
fn commands_without_a_reply_get_no_error() {
    let host = Host::disk();
    let mut client = host.connect();
    let lines = [
        "CLIENT REPLY SKIP",
        "SET a 1",
        "PING",
        "CLIENT REPLY OFF",
        "SET b 1",
        "PING",
        "CLIENT REPLY ON",
        "PING",
    ];
    assert_eq!(failed(&mut client, &lines), ["-STORAGE gone"; 3].join(" "));
}

#[test]
fn what_depends_on_nothing_is_said_whatever_happens() {
    for host in [Host::memory(), Host::disk()] {
        let mut client = host.connect();
        assert_eq!(
            failed(&mut client, &["PING", "GET a", "SET", "ECHO x"]),
            "+PONG $-1 -ERR wrong number of arguments for 'set' command $1 x"
        );
    }
    let host = Host::memory();
    assert_eq!(failed(&mut host.connect(), &["SET a 1", "GET a"]), "+OK $1 1");
}

#[test]
fn a_failure_concerns_the_replies_at_hand_only() {
    let host = Host::disk();
    let mut client = host.connect();
    assert_eq!(failed(&mut client, &["SET a 1"]), "-STORAGE gone");
    assert_eq!(client.local.commit(), Commit::DONE);
    client.expect(&[("PING", "+PONG"), ("ECHO x", "$1 x")]);
}

#[test]
fn the_error_that_ends_a_conversation_depends_on_what_was_before() {
    let host = Host::disk();
    let mut client = host.connect();
    client.local.feed(b"SET a 1\r\n*x\r\n");
    assert_eq!(client.local.run(Patience::Inline), Run::Close);
    client.local.fail(&Refusal::new(Code::StorageStopped, "gone"));
    assert_eq!(shown(client.local.output()), "-STORAGE gone -STORAGE gone");
}

#[test]
fn a_pipeline_of_writes_waits_for_one_commit() {
    let host = Host::disk();
    let mut client = host.connect();
    client.local.feed(&pipeline(["INCR n"; 100]));
    assert_eq!(client.local.run(Patience::Inline), Run::Idle);
    assert_ne!(client.local.commit(), Commit::DONE);
    host.shared.node.wait(client.local.commit()).expect("the disk works");
    client.local.sent();
    client.expect(&[("GET n", "$3 100")]);
}
