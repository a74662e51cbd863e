//! MULTI, EXEC, DISCARD and WATCH, as Redis has them.

use crate::support::{Host, both};

const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.";

#[test]
fn commands_wait_for_exec_and_fail_each_for_itself() {
    for host in both() {
        let mut client = host.connect();
        client.expect(&[
            ("MULTI", "+OK"),
            ("SET a x", "+QUEUED"),
            ("INCR a", "+QUEUED"),
            ("GETRANGE a 0 y", "+QUEUED"),
            ("APPEND a y", "+QUEUED"),
            ("MGET a nope", "+QUEUED"),
        ]);
        host.connect().expect(&[("GET a", "$-1")]);
        let not_integer = "-ERR value is not an integer or out of range";
        let all = format!("*5 +OK {not_integer} {not_integer} :2 *2 $2 xy $-1");
        client.expect(&[("EXEC", &all), ("EXEC", "-ERR EXEC without MULTI"), ("GET a", "$2 xy")]);
        client.expect(&[("MULTI", "+OK"), ("EXEC", "*0")]);
    }
}

#[test]
fn what_cannot_be_queued_ends_the_transaction() {
    for host in both() {
        let mut client = host.connect();
        for line in ["nonsense", "GET", "CLIENT nonsense", "OBJECT", "SAVE", "HSET a b c"] {
            client.expect(&[("MULTI", "+OK"), ("SET a 1", "+QUEUED")]);
            assert!(client.ask(line).starts_with("-ERR "), "{line}");
            client.expect(&[("PING", "+QUEUED"), ("EXEC", ABORTED), ("GET a", "$-1")]);
        }
        client.expect(&[
            ("MULTI", "+OK"),
            ("SAVE", "-ERR Command not allowed inside a transaction"),
            ("DISCARD", "+OK"),
            ("EXEC", "-ERR EXEC without MULTI"),
        ]);
    }
}

#[test]
fn what_is_wrong_without_being_queued_leaves_the_transaction() {
    let host = Host::memory();
    host.connect().expect(&[
        ("DISCARD", "-ERR DISCARD without MULTI"),
        ("MULTI", "+OK"),
        ("MULTI", "-ERR MULTI calls can not be nested"),
        ("WATCH a", "-ERR WATCH inside MULTI is not allowed"),
        ("UNWATCH", "+QUEUED"),
        ("EXEC", "*1 +OK"),
        ("MULTI", "+OK"),
        (
            "EXEC x",
            "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' \
             command",
        ),
        ("EXEC", "-ERR EXEC without MULTI"),
    ]);
}

#[test]
fn the_connection_changes_when_exec_runs_not_when_it_is_told() {
    for host in both() {
        let mut client = host.connect();
        client.expect(&[
            ("MULTI", "+OK"),
            ("AUTH default x", "+QUEUED"),
            ("SELECT 1", "+QUEUED"),
            ("SET a one", "+QUEUED"),
            ("HELLO 3 SETNAME me", "+QUEUED"),
            ("GET nope", "+QUEUED"),
        ]);
        let replies = client.ask("EXEC");
        assert!(replies.starts_with("*5 +OK +OK +OK %7 $6 server"), "{replies}");
        assert!(replies.ends_with("modules *0 _"), "{replies}");
        client.expect(&[("GET a", "$3 one"), ("CLIENT GETNAME", "$2 me"), ("SELECT 0", "+OK")]);
        client.expect(&[("GET a", "_")]);
    }
}

#[test]
fn reset_and_quit_do_not_wait() {
    let host = Host::memory();
    let mut client = host.connect();
    client.expect(&[
        ("HELLO 3", &client_hello(&host)),
        ("SELECT 1", "+OK"),
        ("WATCH a", "+OK"),
        ("MULTI", "+OK"),
        ("SET a 1", "+QUEUED"),
        ("RESET", "+RESET"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("GET a", "$-1"),
        ("MULTI", "+OK"),
        ("QUIT", "+OK"),
    ]);
}

/// What the first connection of `host` is told in the third version of the protocol.
fn client_hello(_: &Host) -> String {
    "%7 $6 server $5 redis $7 version $6 7.0.15 $5 proto :3 $2 id :1 $4 mode $10 standalone $4 \
     role $6 master $7 modules *0"
        .to_owned()
}

#[test]
fn a_watched_key_that_changed_stops_exec() {
    for host in both() {
        let mut other = host.connect();
        for (before, change, expected) in [
            ("SET a 1", "SET a 1", "*-1"),
            ("SET a 1", "EXPIRE a 1000", "*-1"),
            ("SET a 1", "DEL a", "*-1"),
            ("SET a 1", "FLUSHDB", "*-1"),
            ("SET a 1", "SWAPDB 0 1", "*-1"),
            ("DEL a", "SET a 1", "*-1"),
            ("DEL a", "DEL a", "*1 +PONG"),
            ("SET a 1", "GET a", "*1 +PONG"),
            ("SET a 1", "SET b 1", "*1 +PONG"),
            ("SET a 1", "SET a 2 NX", "*1 +PONG"),
            ("SET a 1", "PERSIST a", "*1 +PONG"),
        ] {
            let mut client = host.connect();
            other.expect(&[("FLUSHALL", "+OK")]);
            other.ask(before);
            client.expect(&[("WATCH a", "+OK")]);
            other.ask(change);
            client.expect(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", expected)]);
            // Only once, whether it ran or not.
            client.expect(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "*1 +PONG")]);
        }
    }
}

#[test]
fn watching_again_does_not_hide_what_happened() {
    for host in both() {
        let mut client = host.connect();
        client.expect(&[("SET a 1", "+OK"), ("WATCH a b", "+OK"), ("SET a 2", "+OK")]);
        client.expect(&[("WATCH a", "+OK"), ("MULTI", "+OK"), ("EXEC", "*-1")]);
        client.expect(&[("WATCH a", "+OK"), ("SET a 2", "+OK"), ("UNWATCH", "+OK")]);
        client.expect(&[("MULTI", "+OK"), ("EXEC", "*0"), ("WATCH a", "+OK")]);
        client.expect(&[("SET a 3", "+OK"), ("MULTI", "+OK"), ("DISCARD", "+OK")]);
        client.expect(&[("MULTI", "+OK"), ("EXEC", "*0")]);
    }
}

#[test]
fn nil_has_the_form_of_the_protocol() {
    let host = Host::memory();
    let mut client = host.connect();
    client.ask("HELLO 3");
    client.expect(&[("WATCH a", "+OK"), ("SET a 1", "+OK"), ("MULTI", "+OK"), ("EXEC", "_")]);
}

#[test]
fn a_key_is_watched_in_its_own_keyspace() {
    for host in both() {
        let mut client = host.connect();
        let mut other = host.connect();
        client.expect(&[("SELECT 1", "+OK"), ("WATCH a", "+OK"), ("SELECT 0", "+OK")]);
        other.expect(&[("SET a 1", "+OK")]);
        client.expect(&[("MULTI", "+OK"), ("EXEC", "*0")]);
        client.expect(&[("SELECT 1", "+OK"), ("WATCH a", "+OK"), ("SELECT 0", "+OK")]);
        other.expect(&[("SELECT 1", "+OK"), ("SET a 1", "+OK")]);
        client.expect(&[("MULTI", "+OK"), ("EXEC", "*-1")]);
    }
}

#[test]
fn a_transaction_reaches_several_keyspaces_and_empties_them() {
    for host in both() {
        let mut client = host.connect();
        client.expect(&[
            ("SET a 0", "+OK"),
            ("MULTI", "+OK"),
            ("MOVE a 1", "+QUEUED"),
            ("SET a 1", "+QUEUED"),
            ("COPY a b DB 2", "+QUEUED"),
            ("DBSIZE", "+QUEUED"),
            ("SWAPDB 0 2", "+QUEUED"),
            ("GET b", "+QUEUED"),
            ("SELECT 2", "+QUEUED"),
            ("KEYS *", "+QUEUED"),
            ("FLUSHALL", "+QUEUED"),
            ("DBSIZE", "+QUEUED"),
            ("SET c 1", "+QUEUED"),
            ("EXEC", "*11 :1 +OK :1 :1 +OK $1 1 +OK *1 $1 a +OK :0 +OK"),
            ("DBSIZE", ":1"),
            ("SELECT 1", "+OK"),
            ("DBSIZE", ":0"),
        ]);
    }
}

#[test]
fn a_reply_that_is_withheld_inside_leaves_the_array_whole() {
    let host = Host::memory();
    let mut client = host.connect();
    client.expect(&[("MULTI", "+OK"), ("CLIENT REPLY SKIP", "+QUEUED"), ("PING", "+QUEUED")]);
    client.expect(&[("EXEC", "*2 $-1 +PONG")]);
}

#[test]
fn a_queue_has_bounds() {
    let host = Host::memory();
    let mut client = host.connect();
    client.expect(&[("MULTI", "+OK")]);
    let large = vec![b'v'; 8 << 20];
    let set = crate::support::encode(&[b"SET".as_slice(), b"a", &large]);
    let mut replies = Vec::new();
    for _ in 0..8 {
        client.local.talk(&set, &mut replies);
    }
    let seven = "+QUEUED ".repeat(7);
    let expected = format!("{seven}-ERR the transaction is too large");
    assert_eq!(crate::support::shown(&replies), expected);
    client.expect(&[("EXEC", ABORTED), ("GET a", "$-1")]);
}
