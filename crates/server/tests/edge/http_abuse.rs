//! What must be refused over HTTP, and that it disturbs nobody.

use crate::support::{Connection, Host};

#[test]
fn foreign_pages_are_refused() {
    let host = Host::start();
    let mut connection = host.connect();
    connection.send(b"GET /key HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    let refused = connection.answer(false);
    assert_eq!((refused.status, refused.code().as_str()), (403, "foreign_origin"));
    let refused = host.ask("POST", "/key", &["Origin: https://evil.example"], b"v");
    assert_eq!(refused.code(), "foreign_origin");
    assert_eq!(host.get("/key").status, 404, "nothing was stored");
    let local = host.ask("POST", "/key", &["Origin: http://localhost:3000"], b"v");
    assert_eq!(local.status, 201);
}

#[test]
fn absolute_targets_are_understood() {
    let host = Host::start();
    host.put("/a//b", b"v");
    let mut connection = host.connect();
    connection.send(b"GET http://localhost:7400/a//b HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(connection.answer(false).body, b"v");
    connection.send(b"GET http://evil.example/a//b HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(connection.answer(false).status, 403);
}

#[test]
fn old_clients_are_served_and_closed() {
    let host = Host::start();
    host.put("/key", b"v");
    let mut connection = host.connect();
    connection.send(b"GET /key HTTP/1.0\r\n\r\n");
    assert_eq!(connection.answer(false).body, b"v");
    assert!(connection.rest().is_empty(), "closed after the answer");
}

#[test]
fn requests_that_two_readers_would_cut_differently_end_the_connection() {
    let host = Host::start();
    for request in [
        &b"POST /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"POST /key HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        b"POST /key HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"GET /key HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /key HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET /key HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
    ] {
        let mut connection = host.connect();
        connection.send(request);
        let answer = connection.answer(false);
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(request));
    }
    assert_eq!(host.get("/key").status, 404, "nothing of it took effect");
}

#[test]
fn a_smuggled_request_is_never_answered() {
    let host = Host::start();
    let mut connection = host.connect();
    connection.send(
        b"POST /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\
          Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nPUT /smuggled HTTP/1.1\r\n\
          Host: localhost\r\nContent-Length: 1\r\n\r\nx",
    );
    let all = connection.rest();
    let answers = all.windows(9).filter(|window| window == b"HTTP/1.1 ").count();
    assert_eq!(answers, 1, "{}", String::from_utf8_lossy(&all));
    assert_eq!(host.get("/smuggled").status, 404);
}

#[test]
fn heads_have_their_limits() {
    let host = Host::start();
    let many = "X: y\r\n".repeat(100);
    let long = format!("X: {}\r\n", "y".repeat(200 << 10));
    for headers in [many, long] {
        let mut connection = host.connect();
        let head = format!("GET /k HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        connection.send(head.as_bytes());
        let refused = connection.answer(false);
        assert_eq!((refused.status, refused.code().as_str()), (431, "head_too_large"));
        assert!(connection.rest().is_empty(), "closed after the answer");
    }
}

/// What the library below us refuses before we see it has the form of every refusal, whether it
/// comes first or after requests that were served.
#[test]
fn what_is_no_request_is_refused_in_the_one_form() {
    let host = Host::start();
    host.put("/key", b"v");
    let target = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "k".repeat(70_000));
    for (served, said, status, code) in [
        (0, &b"G@T /key HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], 400, "bad_request"),
        (0, b"GET  /key HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "bad_request"),
        (0, b"GET /key HTTP/1.1\r\nno colon\r\n\r\n", 400, "bad_request"),
        (0, b"POST /key HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "bad_request"),
        (0, b"POST /key HTTP/1.1\r\nTransfer-Encoding: zip\r\n\r\n", 400, "bad_request"),
        (1, b"GET /key HTTP/7.0\r\n\r\n", 400, "bad_request"),
        (2, b"\xff\xfe\r\n\r\n", 400, "bad_request"),
        (1, target.as_bytes(), 431, "head_too_large"),
    ] {
        let mut connection = host.connect();
        for _ in 0..served {
            assert_eq!(connection.ask("GET", "/key", &[], b"").body, b"v");
        }
        connection.send(said);
        let refused = connection.answer(false);
        let text = String::from_utf8_lossy(&said[..said.len().min(40)]);
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{text}");
        assert_eq!(refused.header("connection"), Some("close"), "{text}");
        assert!(connection.rest().is_empty(), "closed after the answer: {text}");
    }
    // Sent ahead, before the first answer was read.
    let mut connection = host.connect();
    connection.send(b"GET /key HTTP/1.1\r\nHost: localhost\r\n\r\nnonsense\r\n\r\n");
    assert_eq!(connection.answer(false).body, b"v");
    assert_eq!(connection.answer(false).code(), "bad_request");
    assert!(connection.rest().is_empty());
}

#[test]
fn no_noise_disturbs_anybody() {
    let host = Host::start();
    host.put("/key", b"v");
    for noise in [
        &b"GET\r\n\r\n"[..],
        b"GET /k HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"POST /k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /k HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut connection = host.connect();
        connection.send(noise);
        drop(connection);
        assert_eq!(host.get("/key").body, b"v", "{}", String::from_utf8_lossy(noise));
    }
}

#[test]
fn a_trickling_head_and_a_trickling_body_are_cut() {
    let host = Host::with(&[("slow_request", "1s")]);
    let mut head = host.connect();
    head.send(b"GET /key HTTP/1.1\r\nHost: localhost\r\nX: a");
    let mut first = host.connect();
    first.send(b"GET /ke");
    let mut body = host.connect();
    body.send(b"PUT /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc");
    assert!(head.rest().is_empty());
    assert!(first.rest().is_empty());
    assert_eq!(body.answer(false).code(), "timeout");
    assert_eq!(host.get("/key").status, 404);
}

#[test]
fn an_idle_connection_is_closed() {
    let host = Host::with(&[("http_idle", "1s")]);
    let mut connection = host.connect();
    assert_eq!(connection.ask("GET", "/_health", &[], b"").status, 200);
    assert!(connection.rest().is_empty());
}

#[test]
fn the_last_connections_are_kept_for_administration() {
    let host = Host::with(&[("max_clients", "10")]);
    let mut held: Vec<Connection> = (0..9).map(|_| host.connect()).collect();
    for connection in &mut held {
        assert_eq!(connection.ask("GET", "/_health", &[], b"").status, 200);
    }
    let mut tenth = host.connect();
    assert_eq!(tenth.ask("GET", "/key", &[], b"").code(), "too_many_clients");
    assert_eq!(tenth.ask("GET", "/_ready", &[], b"").status, 200);
    let mut eleventh = host.connect();
    assert_eq!(eleventh.rest(), b"-ERR max number of clients reached\r\n");
    held.pop();
    // The place is free once the server has seen the close.
    while host.running.shared().registry.count() > 9 {
        std::thread::yield_now();
    }
    assert_eq!(tenth.ask("GET", "/key", &[], b"").code(), "not_found");
}
