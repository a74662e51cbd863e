//! Redis clients that mean harm or cannot keep up: they end, and nobody else notices.

use crate::support::{Connection, Host};
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a connection may hold of replies that nobody takes: one turn's, generously.
const ONE_TURN_BYTES: usize = 4 << 20;

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A client that asks for gigabytes and reads nothing is closed, holds one turn's replies at most,
/// and leaves others undisturbed.
#[test]
fn a_client_that_reads_nothing_is_closed_and_holds_little() {
    let host = Host::with(&[("slow_reader", "1s")]);
    let mut other = host.connect();
    other.send(&command(&[b"SET", b"big", &[b'x'; 10_240]]));
    assert_eq!(other.line(), "+OK");

    let greedy = TcpStream::connect(host.address()).expect("somebody listens");
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let pipeline = command(&[b"GET", b"big"]).repeat(1_000);
            let mut stream = &greedy;
            // A million replies of 10 KiB; the server stops reading long before, then closes.
            for _ in 0..1_000 {
                match stream.write_all(&pipeline) {
                    Ok(()) => {}
                    Err(error) => {
                        let closed = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                        assert!(closed.contains(&error.kind()), "{error}");
                        break;
                    }
                }
            }
            ended.store(true, Ordering::SeqCst);
        });
        while !ended.load(Ordering::SeqCst) {
            other.send(&command(&[b"PING"]));
            assert_eq!(other.line(), "+PONG");
            for client in host.running.shared().registry.clients() {
                let held = client.shown().output_bytes;
                assert!(held <= ONE_TURN_BYTES, "{held} bytes wait");
            }
        }
    });
    while host.running.shared().registry.count() > 1 {
        std::thread::yield_now();
    }
}

/// Commands that never end are cut; those who wait with nothing begun are not.
#[test]
fn a_trickling_command_is_cut_and_an_idle_connection_is_not() {
    let host = Host::with(&[("slow_request", "1s")]);
    let mut idle = host.connect();
    let mut trickling = host.connect();
    trickling.send(b"*2\r\n$3\r\nGET\r\n$100\r\n");
    assert!(trickling.rest().is_empty(), "it is closed without a word");
    idle.send(&command(&[b"PING"]));
    assert_eq!(idle.line(), "+PONG");
}

/// Many at once, half of them silent in the middle of a header: the limit holds, and what is
/// left of it serves.
#[test]
fn a_flood_of_connections_stops_at_the_limit() {
    let host = Host::with(&[("max_clients", "100"), ("slow_request", "1s")]);
    let mut held: Vec<Connection> = (0..300).map(|_| host.connect()).collect();
    for connection in held.iter_mut().step_by(2) {
        // Refused ones may be gone already.
        let _ = connection.try_send(b"*1\r\n$4\r\nPI");
    }
    assert!(host.running.shared().registry.count() <= 100);
    drop(held);
    while host.running.shared().registry.count() > 0 {
        std::thread::yield_now();
    }
    // Those that were not accepted before they were dropped still have to come and go.
    let served = (0..10_000).any(|_| {
        std::thread::yield_now();
        let mut after = host.connect();
        after.try_send(&command(&[b"PING"])).is_ok()
            && after.try_line().is_ok_and(|line| line == "+PONG")
    });
    assert!(served, "there is room again");
}

/// Silent connections are welcome until it is crowded; then they make room.
#[test]
fn those_who_never_speak_make_room_where_it_is_crowded() {
    let host = Host::with(&[("max_clients", "20"), ("slow_request", "1s")]);
    let silent: Vec<Connection> = (0..20).map(|_| host.connect()).collect();
    let limit = host.running.shared().client_limit();
    while host.running.shared().registry.accepted() < 20 {
        std::thread::yield_now();
    }
    while host.running.shared().registry.count() > limit {
        std::thread::yield_now();
    }
    assert_eq!(host.get("/_health").status, 200);
    drop(silent);
}

/// Requests that a web page can make a browser send end the connection at once.
#[test]
fn http_words_sent_as_commands_end_the_connection() {
    let host = Host::start();
    for first in [&b"POST / x\r\nHost: evil\r\n\r\nSET k v\r\n"[..], b"Host: evil\r\nSET k v\r\n"] {
        let mut connection = host.connect();
        connection.send(first);
        let said = connection.rest();
        assert!(!said.windows(3).any(|bytes| bytes == b"+OK"), "{said:?}");
    }
    assert_eq!(host.get("/k").status, 404, "nothing was written");
}

/// A node that takes the port for clients for another's is told so at once.
#[test]
fn a_node_that_dials_the_port_for_clients_is_told_so() {
    let host = Host::start();
    let mut connection = host.connect();
    connection.send(b"SHPR\x01\x00\x10");
    let said = "-ERR this port is for clients; nodes have one of their own\r\n";
    assert_eq!(String::from_utf8_lossy(&connection.rest()), said);
    assert_eq!(host.get("/_health").status, 200);
}

/// What the protocol forbids ends the connection with Redis' words.
#[test]
fn malformed_requests_end_the_connection_with_a_reason() {
    let host = Host::start();
    for (sent, said) in [
        (&b"*2147483647\r\n"[..], "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$-2\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$2147483648\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"),
        (b"GET \"k\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ] {
        let mut connection = host.connect();
        connection.send(sent);
        assert_eq!(String::from_utf8_lossy(&connection.rest()), said);
    }
    let mut long = host.connect();
    let _ = long.try_send(&vec![b'x'; 1 << 20]);
    assert_eq!(
        String::from_utf8_lossy(&long.rest()),
        "-ERR Protocol error: too big inline request\r\n"
    );
}
