//! Commands on keys whatever their value.

use crate::support::{Client, both};
use std::collections::BTreeSet;

#[test]
fn expiry_is_set_asked_for_and_taken_away() {
    for host in both() {
        host.connect().expect(&[
            ("EXPIRE a 100", ":0"),
            ("TTL a", ":-2"),
            ("PERSIST a", ":0"),
            ("SET a 1", "+OK"),
            ("EXPIRE a 100 XX", ":0"),
            ("EXPIRE a 100 GT", ":0"),
            ("EXPIRE a 100 LT", ":1"),
            ("EXPIRE a 50 NX", ":0"),
            ("EXPIRE a 50 XX GT", ":0"),
            ("EXPIRE a 200 XX GT", ":1"),
            ("TTL a", ":200"),
            ("EXPIREAT a 9999999999", ":1"),
            ("EXPIRETIME a", ":9999999999"),
            ("PEXPIREAT a 9999999999500", ":1"),
            ("EXPIRETIME a", ":10000000000"),
            ("PEXPIRETIME a", ":9999999999500"),
            ("PERSIST a", ":1"),
            ("PTTL a", ":-1"),
            ("EXPIRE a x", "-ERR value is not an integer or out of range"),
            ("EXPIRE a 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
            ("EXPIRE a 1 FOO", "-ERR Unsupported option FOO"),
            (
                "EXPIRE a 1 NX GT",
                "-ERR NX and XX, GT or LT options at the same time are not compatible",
            ),
            ("EXPIRE a 1 GT LT", "-ERR GT and LT options at the same time are not compatible"),
            ("EXPIRE a -1", ":1"),
            ("EXISTS a", ":0"),
        ]);
    }
}

#[test]
fn keys_are_renamed_copied_and_moved_with_their_expiry() {
    let same = "-ERR source and destination objects are the same";
    for host in both() {
        host.connect().expect(&[
            ("RENAME a b", "-ERR no such key"),
            ("RENAMENX a b", "-ERR no such key"),
            ("SET a 1 PXAT 9999999999999", "+OK"),
            ("RENAME a a", "+OK"),
            ("RENAMENX a a", ":0"),
            ("RENAME a b", "+OK"),
            ("PEXPIRETIME b", ":9999999999999"),
            ("COPY b c", ":1"),
            ("PEXPIRETIME c", ":9999999999999"),
            ("SET c 2", "+OK"),
            ("COPY b c", ":0"),
            ("COPY b c REPLACE", ":1"),
            ("GET c", "$1 1"),
            ("COPY nope c REPLACE", ":0"),
            ("COPY b b", same),
            ("COPY b b DB 0", same),
            ("COPY b b DB 1", ":1"),
            ("COPY b c DB 16 FOO", "-ERR DB index is out of range"),
            ("RENAMENX b c", ":0"),
            ("MOVE b 0", same),
            ("MOVE b 1", ":0"),
            ("MOVE b 2", ":1"),
            ("MOVE b 2", ":0"),
            ("MOVE c 16", "-ERR DB index is out of range"),
            ("MOVE c x", "-ERR value is not an integer or out of range"),
            ("DBSIZE", ":1"),
            ("SELECT 2", "+OK"),
            ("PEXPIRETIME b", ":9999999999999"),
        ]);
    }
}

#[test]
fn numbered_keyspaces_are_emptied_and_exchanged() {
    for host in both() {
        host.connect().expect(&[
            ("SET a 0", "+OK"),
            ("SWAPDB 0 9", "+OK"),
            ("DBSIZE", ":0"),
            ("SELECT 9", "+OK"),
            ("GET a", "$1 0"),
            ("SWAPDB 9 9", "+OK"),
            ("SWAPDB x 1", "-ERR invalid first DB index"),
            ("SWAPDB 1 x", "-ERR invalid second DB index"),
            ("SWAPDB 0 16", "-ERR DB index is out of range"),
            ("FLUSHDB nope", "-ERR syntax error"),
            ("FLUSHDB ASYNC", "+OK"),
            ("DBSIZE", ":0"),
            ("SET a 1", "+OK"),
            ("SELECT 11", "+OK"),
            ("FLUSHDB", "+OK"),
            ("FLUSHALL SYNC", "+OK"),
            ("SELECT 9", "+OK"),
            ("DBSIZE", ":0"),
        ]);
    }
}

#[test]
fn objects_tell_of_themselves() {
    for host in both() {
        let long = "x".repeat(45);
        host.connect().expect(&[
            ("OBJECT ENCODING a", "$-1"),
            ("OBJECT FREQ a", "$-1"),
            ("SET a 12", "+OK"),
            ("OBJECT ENCODING a", "$3 int"),
            ("OBJECT REFCOUNT a", ":2147483647"),
            ("OBJECT IDLETIME a", ":0"),
            (
                "OBJECT FREQ a",
                "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
                 Please note that when switching between policies at runtime LRU and LFU data \
                 will take some time to adjust.",
            ),
            ("SET a 012", "+OK"),
            ("OBJECT ENCODING a", "$6 embstr"),
            ("OBJECT REFCOUNT a", ":1"),
            (&format!("SET a {long}"), "+OK"),
            ("OBJECT ENCODING a", "$3 raw"),
            ("TYPE a", "+string"),
            ("TYPE nope", "+none"),
            ("TOUCH a a nope", ":2"),
            ("OBJECT nope a", "-ERR unknown subcommand 'nope'. Try OBJECT HELP."),
        ]);
    }
}

/// Everything that SCAN with `options` gives, and in how many calls.
fn scan(client: &mut Client, options: &str) -> (BTreeSet<String>, usize) {
    let (mut found, mut cursor, mut calls) = (BTreeSet::new(), "0".to_owned(), 0);
    loop {
        let reply = client.ask(&format!("SCAN {cursor} {options}"));
        let words: Vec<&str> = reply.split(' ').collect();
        assert_eq!(words[0], "*2");
        cursor = words[2].to_owned();
        for key in words[4..].chunks(2) {
            assert!(found.insert(key[1].to_owned()), "{} came twice", key[1]);
        }
        calls += 1;
        if cursor == "0" {
            return (found, calls);
        }
    }
}

#[test]
fn scanning_finds_every_key_once() {
    for host in both() {
        let mut client = host.connect();
        // All in one slot, and spread over many.
        let all: BTreeSet<String> =
            (0..300).map(|n| format!("{{t}}{n}")).chain((0..300).map(|n| n.to_string())).collect();
        for key in &all {
            client.expect(&[(&format!("SET {key} v"), "+OK")]);
        }
        for options in ["", "COUNT 1", "COUNT 1000000000", "TYPE string", "MATCH *"] {
            let (found, calls) = scan(&mut client, options);
            assert_eq!(found, all, "{options}");
            assert!(options != "COUNT 1" || calls >= 300, "{calls}");
        }
        let (found, _) = scan(&mut client, "MATCH {t}1? TYPE STRING");
        assert_eq!(found.len(), 10);
        assert!(scan(&mut client, "TYPE hash").0.is_empty());
        let keys = client.ask("KEYS {t}*");
        assert!(keys.starts_with("*300 "), "{keys}");
        let key = client.ask("RANDOMKEY");
        assert!(all.contains(key.split(' ').nth(1).expect("a key")), "{key}");
        client.expect(&[
            ("SCAN x", "-ERR invalid cursor"),
            ("SCAN 0 COUNT 0", "-ERR syntax error"),
            ("SCAN 0 COUNT x", "-ERR value is not an integer or out of range"),
            ("SCAN 18446744073709551615", "*2 $1 0 *0"),
            ("FLUSHDB", "+OK"),
            ("SCAN 0", "*2 $1 0 *0"),
            ("RANDOMKEY", "$-1"),
            ("KEYS *", "*0"),
        ]);
    }
}
