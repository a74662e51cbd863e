//! Commands that would have to wait for a disk: on a connection's own thread they leave no trace,
//! and on a thread that may wait they do what they were asked, once.

use crate::support::{Client, Host, pipeline, shown};
use shoal_server::resp::Run;
use shoal_storage::Patience;

/// Runs what was fed on the connection's own thread, then where it may wait: both outputs.
fn in_two_steps(client: &mut Client, lines: &[&str]) -> (String, String) {
    client.local.feed(&pipeline(lines.iter().copied()));
    assert_eq!(client.local.run(Patience::Inline), Run::Cold);
    let first = shown(client.local.output());
    // Asking in vain once more changes nothing either.
    assert_eq!(client.local.run(Patience::Inline), Run::Cold);
    assert_eq!(shown(client.local.output()), first);
    assert_eq!(client.local.run(Patience::Block), Run::Idle);
    let all = shown(client.local.output());
    client.local.sent();
    let second = all.strip_prefix(&first).expect("what was written stays").trim_start();
    (first, second.to_owned())
}

#[test]
fn a_cold_command_is_done_once_and_what_surrounds_it_stays_in_order() {
    let host = Host::disk();
    let mut client = host.connect();
    let (first, second) = in_two_steps(&mut client, &["INCR n", "KEYS *", "INCR n"]);
    assert_eq!((&*first, &*second), (":1", "*1 $1 n :2"));
}

#[test]
fn the_first_write_to_a_numbered_keyspace_makes_it() {
    let host = Host::disk();
    let mut client = host.connect();
    let (first, second) = in_two_steps(&mut client, &["SELECT 3", "GET a", "INCR a", "INCR a"]);
    assert_eq!((&*first, &*second), ("+OK $-1", ":1 :2"));
    // Now it is there.
    client.local.feed(&pipeline(["INCR a"]));
    assert_eq!(client.local.run(Patience::Inline), Run::Idle);
}

#[test]
fn a_cold_transaction_begins_again_with_its_queue_and_what_it_watches() {
    let host = Host::disk();
    let mut client = host.connect();
    client.expect(&[("WATCH w", "+OK")]);
    let lines = ["MULTI", "INCR n", "SELECT 2", "SET b 1", "SELECT 0", "FLUSHDB", "INCR n", "EXEC"];
    let (first, second) = in_two_steps(&mut client, &lines);
    assert_eq!(first, ["+OK", "+QUEUED +QUEUED +QUEUED +QUEUED +QUEUED +QUEUED"].join(" "));
    assert_eq!(second, "*6 :1 +OK +OK +OK +OK :1");
    client.expect(&[("GET n", "$1 1"), ("SELECT 2", "+OK"), ("GET b", "$1 1")]);

    client.expect(&[("SELECT 0", "+OK"), ("WATCH w", "+OK")]);
    host.connect().expect(&[("SET w 1", "+OK")]);
    let (_, second) = in_two_steps(&mut client, &["MULTI", "FLUSHDB", "INCR n", "EXEC"]);
    assert_eq!(second, "*-1");
    client.expect(&[("GET n", "$1 1")]);
}

#[test]
fn removing_several_keys_counts_each_once_though_it_begins_again() {
    let host = Host::disk();
    let mut client = host.connect();
    client.expect(&[("MSET a 1 b 2 c 3", "+OK")]);
    host.shared.node.compact().expect("what is buffered is written");
    // Whatever a read finds in the cache: the answer is the same.
    client.expect(&[("DEL a b a nope c", ":3"), ("DBSIZE", ":0")]);
}

#[test]
fn nothing_is_cold_in_memory_but_changes_of_the_catalogue() {
    let host = Host::memory();
    let mut client = host.connect();
    client.local.feed(&pipeline(["SET a 1", "KEYS *", "SCAN 0", "RANDOMKEY", "DEL a b"]));
    assert_eq!(client.local.run(Patience::Inline), Run::Idle);
    client.local.sent();
    let (first, second) = in_two_steps(&mut client, &["SET a 1", "FLUSHALL", "DBSIZE"]);
    assert_eq!((&*first, &*second), ("+OK", "+OK :0"));
}
