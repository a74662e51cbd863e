//! Commands on the connection itself.

use crate::support::{Host, pipeline, shown};
use shoal_server::resp::Run;

#[test]
fn replies_are_withheld_when_asked_for() {
    let host = Host::memory();
    let mut client = host.connect();
    let mut say = |lines: &[&str], expected: &str| {
        let replies = client.local.ask(&pipeline(lines.iter().copied()));
        assert_eq!(shown(&replies), expected, "{lines:?}");
    };
    say(&["CLIENT REPLY SKIP", "PING", "PING"], "+PONG");
    say(&["CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "PING", "PING"], "+PONG");
    say(
        &["CLIENT REPLY SKIP", "nonsense", "GET", "PING"],
        "-ERR wrong number of arguments for 'get' command +PONG",
    );
    say(&["CLIENT REPLY OFF", "PING", "CLIENT REPLY SKIP", "PING", "nonsense"], "");
    say(&["CLIENT REPLY ON", "PING"], "+OK +PONG");
    say(&["CLIENT REPLY SKIP", "CLIENT REPLY ON", "PING"], "+OK +PONG");
    say(&["CLIENT REPLY OFF", "RESET", "PING"], "+RESET +PONG");
    say(&["CLIENT REPLY maybe"], "-ERR syntax error");
    say(&["CLIENT REPLY OFF", "MULTI", "SET a 1", "EXEC", "CLIENT REPLY ON", "GET a"], "+OK $1 1");
}

#[test]
fn what_is_no_request_is_not_answered_where_nothing_is() {
    let host = Host::memory();
    let mut client = host.connect();
    let mut replies = Vec::new();
    client.local.feed(&pipeline(["CLIENT REPLY OFF"]));
    assert_eq!(client.local.talk(b"*x\r\n", &mut replies), Run::Close);
    assert_eq!(shown(&replies), "");
}

#[test]
fn greetings_are_those_of_redis() {
    let host = Host::memory();
    let mut client = host.connect();
    let name = "-ERR Client names cannot contain spaces, newlines or special characters.";
    client.expect(&[
        ("HELLO 4", "-NOPROTO unsupported protocol version"),
        ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
        ("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'"),
        ("HELLO 3 SETNAME \u{e9}", name),
        ("GET nope", "$-1"),
        ("HELLO 3 AUTH no x", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH default x", "+OK"),
        ("AUTH no x", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH a b c", "-ERR syntax error"),
        ("PING a b", "-ERR wrong number of arguments for 'ping' command"),
        ("PING a", "$1 a"),
        ("ECHO ''", "$0"),
    ]);
    let three = client.ask("HELLO 3 AUTH default x SETNAME me");
    assert!(three.starts_with("%7 $6 server $5 redis $7 version $6 7.0.15 $5 proto :3"), "{three}");
    client.expect(&[("GET nope", "_"), ("CLIENT GETNAME", "$2 me")]);
    let two = client.ask("HELLO 2");
    assert!(two.starts_with("*14 $6 server"), "{two}");
    client.expect(&[("GET nope", "$-1"), ("CLIENT SETNAME ''", "+OK"), ("CLIENT GETNAME", "$-1")]);
}

#[test]
fn keyspaces_are_chosen_by_number_or_name() {
    let host = Host::memory();
    let mut client = host.connect();
    let out = "-ERR DB index is out of range";
    let no_number = "-ERR value is not an integer or out of range";
    client.expect(&[
        ("SELECT 16", out),
        ("SELECT -1", out),
        (
            "SELECT 99999999999",
            "-ERR value is out of range, value must between -2147483648 and 2147483647",
        ),
        ("SELECT 99999999999999999999", no_number),
        ("SELECT 01", no_number),
        ("SELECT 1.0", no_number),
        ("SELECT ''", no_number),
        ("SELECT -", no_number),
        ("SELECT nope", "-NOKEYSPACE there is no keyspace 'nope'"),
        ("USE nope", "-NOKEYSPACE there is no keyspace 'nope'"),
        ("USE 1", "-NOKEYSPACE there is no keyspace '1'"),
        ("SELECT db1", "+OK"),
        ("SET a 1", "+OK"),
        ("SELECT 0", "+OK"),
        ("GET a", "$-1"),
        ("USE db1", "+OK"),
        ("GET a", "$1 1"),
        ("MOVE a 1", "-ERR source and destination objects are the same"),
        ("COPY a a DB 1", "-ERR source and destination objects are the same"),
        ("USE default", "+OK"),
        ("GET a", "$-1"),
    ]);
}

#[test]
fn a_named_keyspace_that_goes_away_is_missed_by_name() {
    let host = Host::memory();
    let spec = shoal_core::map::KeyspaceSpec::new(shoal_core::map::EngineKind::Memory);
    host.shared.node.create_keyspace("mine", spec, Some(20)).expect("it is made");
    let mut client = host.connect();
    client.expect(&[("SELECT 20", "+OK"), ("SET a 1", "+OK"), ("USE mine", "+OK")]);
    client.expect(&[("GET a", "$1 1"), ("WATCH a", "+OK"), ("MULTI", "+OK"), ("GET a", "+QUEUED")]);
    host.shared.node.drop_keyspace("mine").expect("it goes");
    let gone = "-NOKEYSPACE there is no keyspace 'mine'";
    assert_eq!(client.ask("EXEC"), gone);
    client.expect(&[("GET a", gone), ("SET a 1", gone), ("SELECT 0", "+OK"), ("GET a", "$-1")]);
}

#[test]
fn connections_are_listed_named_and_killed() {
    let host = Host::memory();
    let mut client = host.connect();
    let mut other = host.connect();
    other.expect(&[
        ("CLIENT SETNAME other", "+OK"),
        ("CLIENT SETINFO LIB-NAME lib", "+OK"),
        ("CLIENT SETINFO LIB-VER 1.0", "+OK"),
        ("CLIENT NO-EVICT ON", "+OK"),
        ("CLIENT NO-TOUCH ON", "+OK"),
        ("SELECT 3", "+OK"),
        ("CLIENT ID", ":2"),
    ]);
    let list = client.ask("CLIENT LIST");
    assert_eq!(list.matches("id=").count(), 2, "{list}");
    for part in ["name=other", "flags=eT", "db=3", "lib-name=lib lib-ver=1.0", "cmd=client|list"] {
        assert!(list.contains(part), "{part} in {list}");
    }
    assert!(client.ask("CLIENT INFO").contains("id=1 "));
    assert!(client.ask("CLIENT LIST ID 2 99").contains("id=2 "));
    client.expect(&[
        ("CLIENT LIST TYPE replica", "$0"),
        ("CLIENT LIST TYPE nope", "-ERR Unknown client type 'nope'"),
        ("CLIENT LIST ID x", "-ERR Invalid client ID"),
        ("CLIENT KILL USER nope", "-ERR No such user 'nope'"),
        ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0"),
        ("CLIENT KILL 1:1", "-ERR No such client"),
        ("CLIENT KILL ID 99", ":0"),
        ("CLIENT KILL ID 2 TYPE pubsub", ":0"),
        ("CLIENT KILL ID 2", ":1"),
    ]);
    let other = host.shared.registry.get(2).expect("it is listed until it ends");
    assert!(other.is_killed());
}

#[test]
fn one_may_kill_oneself_and_gets_the_reply() {
    let host = Host::memory();
    let mut client = host.connect();
    client.expect(&[("CLIENT KILL ID 1", ":0")]);
    let mut replies = Vec::new();
    let run = client.local.talk(&pipeline(["CLIENT KILL ID 1 SKIPME no", "PING"]), &mut replies);
    assert_eq!((run, shown(&replies)), (Run::Close, ":1".to_owned()));
}

#[test]
fn quit_is_the_last_word() {
    let host = Host::memory();
    let mut client = host.connect();
    let mut replies = Vec::new();
    let run = client.local.talk(&pipeline(["PING", "QUIT", "SET a 1"]), &mut replies);
    assert_eq!((run, shown(&replies)), (Run::Close, "+PONG +OK".to_owned()));
    host.connect().expect(&[("EXISTS a", ":0")]);
}

#[test]
fn reset_brings_back_what_a_new_connection_has() {
    let host = Host::memory();
    let mut client = host.connect();
    client.ask("HELLO 3 SETNAME me");
    client.expect(&[
        ("SELECT 2", "+OK"),
        ("CLIENT NO-TOUCH ON", "+OK"),
        ("CLIENT SETINFO LIB-NAME lib", "+OK"),
        ("RESET", "+RESET"),
        ("CLIENT GETNAME", "$-1"),
        ("CLIENT ID", ":1"),
    ]);
    let info = client.ask("CLIENT INFO");
    for part in ["name= ", "flags=N", "db=0", "resp=2", "lib-name=lib"] {
        assert!(info.contains(part), "{part} in {info}");
    }
}
