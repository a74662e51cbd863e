//! What stock clients say when they connect, as it was recorded, and what they are answered.

use crate::support::{Host, shown};

/// Replays a recording, whose form it describes itself.
fn replay(recording: &str) {
    for host in [Host::memory(), Host::disk()] {
        let mut client = host.connect();
        for exchange in recording.split("\n\n") {
            let side = |mark| {
                exchange.lines().filter_map(move |line| line.strip_prefix(mark)).map(unescape)
            };
            let request: Vec<u8> = side("> ").flatten().collect();
            let expected: Vec<u8> = side("< ").flatten().collect();
            let reply = client.local.ask(&request);
            assert!(
                is_like(&reply, &expected),
                "to {}\ncame {}\ninstead of {}",
                shown(&request),
                shown(&reply),
                shown(&expected)
            );
        }
    }
}

/// The bytes of a line that is escaped as in C.
fn unescape(line: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), line.as_bytes());
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let [kind, tail @ ..] = rest else { panic!("{line} ends in a backslash") };
        rest = tail;
        bytes.push(match kind {
            b'r' => b'\r',
            b'n' => b'\n',
            b'\\' => b'\\',
            other => panic!("\\{} is not expected in {line}", char::from(*other)),
        });
    }
    bytes
}

/// Whether `reply` is `expected`, where `{int}` stands for any integer and `{text}` for as many
/// bytes as the integer on the line before says, less what of them is there already.
fn is_like(mut reply: &[u8], mut expected: &[u8]) -> bool {
    let (mut integer, mut on_line) = (0, 0);
    while !expected.is_empty() {
        if let Some(rest) = expected.strip_prefix(b"{int}") {
            expected = rest;
            let digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
            let (digits, rest) =
                reply.split_at(reply.iter().take_while(|byte| digit(byte)).count());
            let Some(found) = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok())
            else {
                return false;
            };
            (integer, reply) = (found, rest);
        } else if let Some(rest) = expected.strip_prefix(b"{text}") {
            expected = rest;
            let Some(rest) = reply.get(integer.max(on_line) - on_line..) else { return false };
            reply = rest;
        } else {
            if reply.first() != expected.first() {
                return false;
            }
            on_line = if expected[0] == b'\n' { 0 } else { on_line + 1 };
            (reply, expected) = (&reply[1..], &expected[1..]);
        }
    }
    reply.is_empty()
}

#[test]
fn recordings_are_compared_byte_by_byte() {
    assert!(is_like(b"$5\r\nhello\r\n:1\r\n", b"${int}\r\n{text}\r\n:{int}\r\n"));
    assert!(is_like(b"=9\r\ntxt:hello\r\n", b"={int}\r\ntxt:{text}\r\n"));
    for other in [&b"$5\r\nhell\r\n"[..], b"$5\r\nhello\r\nx", b"$x\r\nhello\r\n", b""] {
        assert!(!is_like(other, b"${int}\r\n{text}\r\n"), "{other:?}");
    }
}

#[test]
fn redis_py() {
    replay(include_str!("../handshakes/redis-py.txt"));
}

#[test]
fn redis_py_in_the_second_version() {
    replay(include_str!("../handshakes/redis-py-resp2.txt"));
}

#[test]
fn ioredis() {
    replay(include_str!("../handshakes/ioredis.txt"));
}

#[test]
fn ioredis_in_the_second_version() {
    replay(include_str!("../handshakes/ioredis-resp2.txt"));
}

#[test]
fn go_redis() {
    replay(include_str!("../handshakes/go-redis.txt"));
}

#[test]
fn go_redis_in_the_second_version() {
    replay(include_str!("../handshakes/go-redis-resp2.txt"));
}

#[test]
fn go_redis_with_a_user() {
    replay(include_str!("../handshakes/go-redis-auth.txt"));
}

#[test]
fn redis_rs() {
    replay(include_str!("../handshakes/redis-rs.txt"));
}

#[test]
fn redis_rs_in_the_third_version() {
    replay(include_str!("../handshakes/redis-rs-resp3.txt"));
}
