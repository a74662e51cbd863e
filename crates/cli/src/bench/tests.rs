//! The load writer against a small server in the same process.
//!
//! Holds: the server counts what it was sent, so that the report can be checked against it.

use super::*;
use crate::client::ConnectArgs;
use crate::reply::Reply;
use clap::Parser;
use std::collections::BTreeMap;
use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    bench: Bench,
    #[command(flatten)]
    connect: ConnectArgs,
}

fn parse(options: &str) -> Line {
    let words = std::iter::once("bench").chain(options.split_whitespace());
    Line::try_parse_from(words).unwrap()
}

fn planned(options: &str) -> Plan {
    let line = parse(options);
    line.bench.plan(&line.connect)
}

/// How often each command was sent with each key.
type Counts = BTreeMap<(String, String), u64>;

/// A server that answers every command rightly, until its patience ends.
struct Server {
    address: Address,
    seen: Arc<Mutex<Counts>>,
}

impl Server {
    /// Starts it; each connection is closed after `most` commands. The thread ends with the test
    /// process.
    fn start(most: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let seen = Arc::new(Mutex::new(Counts::new()));
        let counts = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, counts) = (stream.unwrap(), Arc::clone(&counts));
                std::thread::spawn(move || converse(stream, most, &counts));
            }
        });
        Self { address, seen }
    }

    fn bench(&self, options: &str) -> (Plan, Result<(Tally, Instant), Failure>) {
        let mut line = parse(options);
        line.connect.addr = self.address.clone();
        let plan = line.bench.plan(&line.connect);
        let found = line.bench.measure(&plan, &line.connect, &Output { json: true });
        (plan, found)
    }

    fn total(&self, command: &str) -> u64 {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|((name, _), _)| name == command).map(|(_, count)| count).sum()
    }
}

fn converse(mut stream: TcpStream, most: usize, counts: &Mutex<Counts>) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..most {
        let Ok(command) = Reply::read(&mut reader) else { return };
        let words: Vec<String> = command
            .elements()
            .unwrap()
            .iter()
            .map(|word| String::from_utf8_lossy(word.text().unwrap()).into_owned())
            .collect();
        let key = words.get(1).cloned().unwrap_or_default();
        *counts.lock().unwrap().entry((words[0].clone(), key)).or_default() += 1;
        let answer: Vec<u8> = match words[0].as_str() {
            "GET" => b"$-1\r\n".to_vec(),
            "SET" | "MSET" => b"+OK\r\n".to_vec(),
            "DEL" => b":1\r\n".to_vec(),
            "INCR" => b"-ERR not today\r\n".to_vec(),
            "PING" => b"$4\r\nPONG\r\n".to_vec(),
            "MGET" => [format!("*{}\r\n", words.len() - 1), "$1\r\nx\r\n".repeat(words.len() - 1)]
                .concat()
                .into_bytes(),
            _ => b"-ERR unknown command\r\n".to_vec(),
        };
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

fn operations(tally: &Tally) -> u64 {
    tally.latency_ns.iter().map(hdrhistogram::Histogram::len).sum()
}

#[test]
fn loading_sets_every_key_once() {
    let server = Server::start(usize::MAX);
    let (_, found) = server.bench("--load 1003 --clients 7 --threads 3 --pipeline 16");
    let tally = found.unwrap().0;
    assert_eq!((operations(&tally), tally.errors), (1_003, 0));
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen.len(), 1_003, "every key was set");
    assert!(seen.values().all(|count| *count == 1), "and none twice");
    assert!(seen.contains_key(&("SET".to_owned(), "key:000000001002".to_owned())));
}

#[test]
fn a_count_is_kept_to_the_command() {
    for (options, command) in [
        ("--op get --pipeline 1", "GET"),
        ("--op del --pipeline 7", "DEL"),
        ("--op mget --batch 3 --pipeline 2", "MGET"),
        ("--op mset --batch 3 --pipeline 2 --key-distribution same", "MSET"),
    ] {
        let server = Server::start(usize::MAX);
        let (_, found) = server.bench(&format!("{options} -n 501 --clients 5 --threads 2"));
        let tally = found.unwrap().0;
        assert_eq!((operations(&tally), tally.errors), (501, 0), "{options}");
        assert_eq!(server.total(command), 501, "{options}");
        assert_eq!(tally.misses, if command == "GET" { 501 } else { 0 });
    }
}

#[test]
fn values_larger_than_the_sockets_buffers_arrive() {
    let server = Server::start(usize::MAX);
    let (_, found) = server.bench("--op set -n 40 --value-size 1MiB --pipeline 8 --clients 2");
    assert_eq!(operations(&found.unwrap().0), 40);
    assert_eq!(server.total("SET"), 40);
}

#[test]
fn errors_and_wrong_replies_are_counted_apart() {
    let server = Server::start(usize::MAX);
    for (op, first) in [("incr", "ERR not today"), ("ping", "ping was answered with `$`")] {
        let (_, found) = server.bench(&format!("--op {op} -n 100 --clients 3 --pipeline 4"));
        let tally = found.unwrap().0;
        assert_eq!((operations(&tally), tally.errors), (0, 100));
        assert_eq!(tally.first_error.as_deref(), Some(first));
    }
}

#[test]
fn a_closed_connection_fails_the_run() {
    let server = Server::start(50);
    let (_, found) = server.bench("--op get -n 100k --clients 4 --threads 2 --pipeline 8");
    assert_eq!(found.err().map(|failure| failure.code).as_deref(), Some("connection_lost"));
}

#[test]
fn a_warm_up_is_not_counted() {
    let server = Server::start(usize::MAX);
    let (plan, found) = server.bench("--op get --duration 50ms --warm-up 50ms --clients 2");
    let (tally, start) = found.unwrap();
    assert!(operations(&tally) < server.total("GET"), "the warm-up sent commands too");
    assert!(tally.finished > start);
    assert_eq!(plan.warm_up, Duration::from_millis(50));
}

#[test]
fn loading_fills_every_key_once() {
    let plan = planned("--load 5k --value-size 1KiB");
    assert_eq!((plan.count, plan.workload.keys), (Some(5_000), 5_000));
    assert_eq!(plan.workload.distribution, Distribution::Sequential);
    assert_eq!((plan.workload.op, plan.pipeline), (Op::Set, 32));
    assert_eq!(plan.warm_up, Duration::ZERO);
}

#[test]
fn counters_have_their_own_keys() {
    assert_eq!(planned("--op incr").workload.prefix, "counter:");
    assert_eq!(planned("--op incr --key-prefix key:").workload.prefix, "key:");
    assert_eq!(planned("--op get --threads 9 --clients 4").threads, 4);
}

#[test]
fn value_sizes() {
    assert_eq!(value_size("10..1KiB"), Ok(10..=1024));
    assert_eq!(value_size("0"), Ok(0..=0));
    for text in ["9..3", "x", "1..", "1GiB"] {
        assert!(value_size(text).is_err(), "{text}");
    }
}
