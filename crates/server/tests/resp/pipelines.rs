//! Pipelines: however they are cut into reads, and however long they are.

use crate::support::{both, encode, pipeline, shown};
use shoal_server::resp::Run;
use shoal_storage::Patience;

/// Commands of all kinds, errors among them, that leave nothing behind.
const MIXED: [&str; 26] = [
    "DEL a b c n",
    "SET a 1",
    "SET b two PX 100000",
    "GET a",
    "MGET a b nope",
    "INCR n",
    "INCR b",
    "nonsense x y",
    "GET",
    "MULTI",
    "APPEND a 23",
    "SELECT 1",
    "SET c db1",
    "SELECT 0",
    "GET c",
    "EXEC",
    "HELLO 3",
    "GET nope",
    "CLIENT REPLY SKIP",
    "PING",
    "CLIENT REPLY OFF",
    "SET c 3",
    "CLIENT REPLY ON",
    "GET c",
    "RESET",
    "DEL a b c n",
];

#[test]
fn a_pipeline_gives_the_same_replies_however_it_is_cut() {
    let whole = pipeline(MIXED);
    for host in both() {
        let mut client = host.connect();
        let expected = client.local.ask(&whole);
        assert_eq!(
            expected.iter().filter(|byte| **byte == b'\n').count(),
            59,
            "{}",
            shown(&expected)
        );
        for cut in 0..=whole.len() {
            let (first, second) = whole.split_at(cut);
            let mut replies = client.local.ask(first);
            client.local.talk(second, &mut replies);
            assert_eq!(shown(&replies), shown(&expected), "at {cut}");
        }
        let mut replies = Vec::new();
        for byte in &whole {
            client.local.talk(&[*byte], &mut replies);
        }
        assert_eq!(shown(&replies), shown(&expected));
    }
}

#[test]
fn inline_lines_and_blank_ones_are_requests_too() {
    for host in both() {
        let mut client = host.connect();
        let replies = client.local.ask(b"\r\nPING\r\n\r\n*0\r\nset k \"a b\"\r\nget k\n\r\n");
        assert_eq!(shown(&replies), "+PONG +OK $3 a b");
    }
}

#[test]
fn a_long_pipeline_is_executed_in_slices() {
    for host in both() {
        let mut client = host.connect();
        client.local.feed(&pipeline(["PING"; 2_500]));
        let mut slices = Vec::new();
        loop {
            let run = client.local.run(Patience::Inline);
            slices.push(client.local.output().len() / b"+PONG\r\n".len());
            client.local.sent();
            if run == Run::Idle {
                break;
            }
            assert_eq!(run, Run::Yield);
        }
        assert_eq!(slices, [1_024, 1_024, 452]);
    }
}

#[test]
fn big_replies_leave_in_slices() {
    const LENGTH: usize = 400_000;
    for host in both() {
        let mut client = host.connect();
        let value = vec![b'v'; LENGTH];
        assert_eq!(client.local.ask(&encode(&[b"SET", b"big", value.as_slice()])), b"+OK\r\n");
        client.local.feed(&pipeline(["GET big"; 10]));
        let (mut slices, mut taken, mut patience) = (0, 0, Patience::Inline);
        loop {
            let run = client.local.run(patience);
            patience = if run == Run::Cold { Patience::Block } else { Patience::Inline };
            assert!(client.local.output().len() < (1 << 20) + LENGTH + 16);
            taken += client.local.output().len();
            slices += usize::from(!client.local.output().is_empty());
            client.local.sent();
            if run == Run::Idle {
                break;
            }
        }
        assert_eq!(taken, 10 * (LENGTH + b"$400000\r\n\r\n".len()));
        assert!(slices >= 4, "{slices} slices");
    }
}

#[test]
fn what_is_no_request_ends_the_conversation_once_said() {
    for (request, reply) in [
        (&b"*1\r\n:1\r\n"[..], "-ERR Protocol error: expected '$', got ':'"),
        (b"*-1\r\n*x\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"get 'a\r\n", "-ERR Protocol error: unbalanced quotes in request"),
    ] {
        let host = crate::support::Host::memory();
        let mut client = host.connect();
        let mut replies = Vec::new();
        client.local.feed(b"PING\r\n");
        assert_eq!(client.local.talk(request, &mut replies), Run::Close);
        assert_eq!(shown(&replies), format!("+PONG {reply}"));
    }
}

#[test]
fn a_browser_that_is_made_to_speak_to_the_port_gets_nothing_executed() {
    let host = crate::support::Host::memory();
    for line in ["POST / HTTP/1.1\r\n", "Host: 127.0.0.1:7400\r\n", "MULTI\r\npost\r\n"] {
        let mut client = host.connect();
        let mut replies = Vec::new();
        let request = [line.as_bytes(), b"SET stolen 1\r\n"].concat();
        assert_eq!(client.local.talk(&request, &mut replies), Run::Close);
        assert!(shown(&replies).trim_start_matches("+OK").is_empty());
    }
    host.connect().expect(&[("EXISTS stolen", ":0")]);
}
