//! Commands on strings: replies of both versions, errors, and edges.

use crate::support::{Host, both, encode, request};

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";

#[test]
fn set_in_all_its_forms() {
    for host in both() {
        host.connect().expect(&[
            ("SET a 1 XX", "$-1"),
            ("SET a 1 NX", "+OK"),
            ("SET a 2 NX", "$-1"),
            ("SET a 2 NX GET", "$1 1"),
            ("SET a 2 XX GET", "$1 1"),
            ("SET b 1 GET", "$-1"),
            ("SET b 1 NX XX", SYNTAX),
            ("SET a 3 EX 1000", "+OK"),
            ("TTL a", ":1000"),
            ("SET a 4 KEEPTTL", "+OK"),
            ("TTL a", ":1000"),
            ("SET a 5", "+OK"),
            ("TTL a", ":-1"),
            ("SET a 6 PXAT 9999999999999", "+OK"),
            ("PEXPIRETIME a", ":9999999999999"),
            ("SET a 6 EX 1 KEEPTTL", SYNTAX),
            ("SET a 6 EX", SYNTAX),
            ("SET a 6 EX 0", "-ERR invalid expire time in 'set' command"),
            ("SET a 6 EX x", NOT_INTEGER),
            ("SETEX a 0 x", "-ERR invalid expire time in 'setex' command"),
            ("PSETEX a 100000 x", "+OK"),
            ("SETNX a y", ":0"),
            ("SETNX c y", ":1"),
            ("GETSET c z", "$1 y"),
            ("GETDEL c", "$1 z"),
            ("GETDEL c", "$-1"),
            ("SET '' x", "-ERR a key is 1 to 16384 bytes long"),
        ]);
    }
}

#[test]
fn getex_changes_the_expiry_alone() {
    for host in both() {
        host.connect().expect(&[
            ("GETEX a EX 0", "$-1"),
            ("SET a 1", "+OK"),
            ("GETEX a EX 0", "-ERR invalid expire time in 'getex' command"),
            ("GETEX a EX 100", "$1 1"),
            ("TTL a", ":100"),
            ("GETEX a", "$1 1"),
            ("TTL a", ":100"),
            ("GETEX a PERSIST", "$1 1"),
            ("TTL a", ":-1"),
            ("GETEX a PERSIST EX 1", SYNTAX),
            ("GETEX a PXAT 1", "$1 1"),
            ("EXISTS a", ":0"),
        ]);
    }
}

#[test]
fn numbers_are_counted_as_redis_counts() {
    for host in both() {
        host.connect().expect(&[
            ("INCR n", ":1"),
            ("DECRBY n 3", ":-2"),
            ("INCRBY n 9223372036854775807", ":9223372036854775805"),
            ("INCRBY n 3", "-ERR increment or decrement would overflow"),
            ("DECRBY n -9223372036854775808", "-ERR decrement would overflow"),
            ("INCRBY n 1.5", NOT_INTEGER),
            ("SET s abc", "+OK"),
            ("INCR s", NOT_INTEGER),
            ("INCRBYFLOAT s 1", "-ERR value is not a valid float"),
            ("INCRBYFLOAT f 0.1", "$3 0.1"),
            ("INCRBYFLOAT f 0.2", "$3 0.3"),
            ("INCRBYFLOAT f 5e3", "$22 5000.29999999999999982"),
            ("INCRBYFLOAT f inf", "-ERR increment would produce NaN or Infinity"),
            ("INCRBYFLOAT f nan", "-ERR value is not a valid float"),
        ]);
    }
}

#[test]
fn values_are_cut_grown_and_overwritten() {
    for host in both() {
        host.connect().expect(&[
            ("APPEND a Hello", ":5"),
            ("APPEND a World", ":10"),
            ("STRLEN a", ":10"),
            ("STRLEN nope", ":0"),
            ("GETRANGE a 0 4", "$5 Hello"),
            ("SUBSTR a -5 -1", "$5 World"),
            ("GETRANGE a 5 3", "$0"),
            ("GETRANGE nope 0 -1", "$0"),
            ("GETRANGE a x 1", NOT_INTEGER),
            ("SETRANGE a 5 Redis", ":10"),
            ("GET a", "$10 HelloRedis"),
            ("SETRANGE b 3 x", ":4"),
            ("GET b", "$4 \0\0\0x"),
            ("SETRANGE nope 5 ''", ":0"),
            ("EXISTS nope", ":0"),
            ("SETRANGE a -1 x", "-ERR offset is out of range"),
            (
                "SETRANGE a 536870911 xx",
                "-ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            ),
        ]);
    }
}

#[test]
fn several_at_once() {
    for host in both() {
        host.connect().expect(&[
            ("MSET a 1 b 2 a 3", "+OK"),
            ("MGET a b nope a", "*4 $1 3 $1 2 $-1 $1 3"),
            ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
            ("MSETNX c 1 a 2", ":0"),
            ("EXISTS c", ":0"),
            ("MSETNX c 1 d 2", ":1"),
            ("EXISTS a b c d d nope", ":5"),
            ("DEL a a b nope", ":2"),
            ("SELECT 7", "+OK"),
            ("DEL a b", ":0"),
            ("MSETNX a 1", ":1"),
        ]);
    }
}

#[test]
fn a_reply_has_bounds() {
    let host = Host::memory();
    let mut client = host.connect();
    let large = vec![b'v'; 8 << 20];
    client.local.ask(&encode(&[b"SET".as_slice(), b"a", &large]));
    let fitting = client.local.ask(&request("MGET a a a a a a a"));
    assert!(fitting.starts_with(b"*7\r\n$8388608\r\nvvv"), "seven fit");
    assert!(fitting.len() > 7 * large.len());
    let too_long = "-ERR the reply is longer than 67108864 bytes";
    let many = format!("MGET{}", " a".repeat(200_000));
    assert!(client.ask(&many) == too_long);
    client.expect(&[("MGET a a a a a a a a", too_long), ("EXISTS a a", ":2")]);

    // The replies inside EXEC are bounded together, and none of its changes are kept.
    client.expect(&[
        ("MULTI", "+OK"),
        ("SET b 1", "+QUEUED"),
        ("GET a", "+QUEUED"),
        ("MGET a a a", "+QUEUED"),
        ("SET c 1", "+QUEUED"),
        ("MGET a a a a", "+QUEUED"),
        ("EXEC", too_long),
        ("EXISTS a b c", ":1"),
        ("MULTI", "+OK"),
        ("SET b 1", "+QUEUED"),
    ]);
    for _ in 0..8 {
        client.expect(&[("GET a", "+QUEUED")]);
    }
    client.expect(&[("EXEC", too_long), ("EXISTS a b c", ":1"), ("PING", "+PONG")]);
    for what in ["DOCS", "INFO"] {
        let replies = client.ask(&format!("COMMAND {what}{}", " client".repeat(70_000)));
        assert!(replies == too_long, "{what}: {} bytes", replies.len());
    }
}

#[test]
fn what_two_values_share() {
    for host in both() {
        let mut client = host.connect();
        let flat = "*4 $7 matches *2 *3 *2 :4 :7 *2 :5 :8 :4 *3 *2 :2 :3 *2 :0 :1 :2 $3 len :6";
        let mapped = "%2 $7 matches *1 *2 *2 :4 :7 *2 :5 :8 $3 len :6";
        client.expect(&[
            ("MSET a ohmytext b mynewtext", "+OK"),
            ("LCS a b", "$6 mytext"),
            ("LCS a b LEN", ":6"),
            ("LCS a b IDX WITHMATCHLEN", flat),
            ("LCS a nope", "$0"),
            ("LCS a nope IDX", "*4 $7 matches *0 $3 len :0"),
            (
                "LCS a b LEN IDX",
                "-ERR If you want both the length and indexes, please just use IDX.",
            ),
        ]);
        client.ask("HELLO 3");
        client.expect(&[("LCS a b IDX MINMATCHLEN 4", mapped)]);
        let long = "x".repeat(4_096);
        let too_long =
            "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
        client.expect(&[
            (&format!("MSET a {long} b {long}"), "+OK"),
            ("LCS a b LEN", ":4096"),
            (&format!("APPEND a {long}"), ":8192"),
            ("LCS a b LEN", too_long),
        ]);
    }
}
