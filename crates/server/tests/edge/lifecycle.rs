//! Starting, stopping, and what a restart finds.

use crate::support::{Connection, Host, address, settings};
use shoal_server::{BootError, Server};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

#[test]
fn a_stopped_server_has_kept_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    for round in 0..3 {
        let running = Server::start(settings(folder.path(), &[])).expect("it starts");
        let mut connection = Connection::to(address(&running));
        if round > 0 {
            let path = format!("/key{}", round - 1);
            assert_eq!(connection.ask("GET", &path, &[], b"").body, b"value");
        }
        let stored = connection.ask("PUT", &format!("/key{round}"), &[], b"value");
        assert_eq!(stored.status, 201);
        running.shutdown().expect("it stops cleanly");
        assert!(connection.rest().is_empty(), "connections end");
    }
}

#[test]
fn one_directory_and_one_port_have_one_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let running = Server::start(settings(folder.path(), &[])).expect("it starts");
    let second = Server::start(settings(folder.path(), &[]));
    assert!(matches!(second, Err(BootError::Node(_))), "{second:?}");
    let other = tempfile::tempdir().expect("a folder");
    let port = address(&running).to_string();
    let third = Server::start(settings(other.path(), &[("listen", &port)]));
    assert!(matches!(third, Err(BootError::Bind(_))), "{third:?}");
    let mut connection = Connection::to(address(&running));
    assert_eq!(connection.ask("GET", "/_health", &[], b"").status, 200, "the first lives");
}

#[test]
fn a_unix_socket_serves_and_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shoal.sock");
    let listen = format!("unix:{}", path.display());
    let data = folder.path().join("data");
    let running = Server::start(settings(&data, &[("listen", &listen)])).expect("it starts");
    let mut stream = UnixStream::connect(&path).expect("it listens");
    stream
        .write_all(b"GET /none HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    running.shutdown().expect("it stops cleanly");
    assert!(!path.exists());
}

#[test]
fn a_stopping_server_finishes_what_it_began() {
    let host = Host::start();
    let mut connection = host.connect();
    connection.send(b"PUT /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nabc");
    // The request is under way once the server has taken the connection for HTTP.
    while host
        .running
        .shared()
        .registry
        .clients()
        .iter()
        .all(|client| client.shown().protocol != shoal_server::connection::Protocol::Http)
    {
        std::thread::yield_now();
    }
    let shared = std::sync::Arc::clone(host.running.shared());
    let stopping = std::thread::spawn(move || host.running.shutdown());
    while !shared.is_stopping() {
        std::thread::yield_now();
    }
    connection.send(b"def");
    let answer = connection.answer(false);
    assert_eq!((answer.status, answer.header("connection")), (201, Some("close")));
    assert!(connection.rest().is_empty());
    stopping.join().expect("no panic").expect("it stops cleanly");
}

#[test]
fn a_killed_connection_ends_and_others_do_not() {
    let host = Host::start();
    let mut one = host.connect();
    let mut two = host.connect();
    for connection in [&mut one, &mut two] {
        assert_eq!(connection.ask("GET", "/_health", &[], b"").status, 200);
    }
    let clients = host.running.shared().registry.clients();
    assert_eq!(clients.len(), 2);
    clients[0].kill();
    let ended = clients[0].address.clone();
    assert!(ended.starts_with("127.0.0.1:"));
    assert!(one.rest().is_empty());
    assert_eq!(two.ask("GET", "/_health", &[], b"").status, 200);
}
