//! Keys over HTTP: bytes in and out, conditions, expiry.

use crate::support::Host;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use shoal_server::http::path::{is_reserved, percent_encode};

#[test]
fn a_value_is_stored_read_and_removed() {
    let host = Host::start();
    let mut connection = host.connect();
    let absent = connection.ask("GET", "/key", &[], b"");
    assert_eq!((absent.status, absent.code().as_str()), (404, "not_found"));
    let created = connection.ask("PUT", "/key", &[], b"value");
    assert_eq!(created.status, 201);
    let read = connection.ask("GET", "/key", &[], b"");
    assert_eq!((read.status, read.body.as_slice()), (200, &b"value"[..]));
    assert_eq!(read.etag(), created.etag());
    assert_eq!(read.header("shoal-expires-at"), None);
    let replaced = connection.ask("POST", "/key", &[], b"");
    assert_eq!(replaced.status, 204);
    let read = connection.ask("GET", "/key", &[], b"");
    assert_eq!((read.status, read.body.len()), (200, 0), "empty is not absent");
    assert_eq!(connection.ask("DELETE", "/key", &[], b"").status, 204);
    assert_eq!(connection.ask("DELETE", "/key", &[], b"").status, 404);
    assert_eq!(connection.ask("GET", "/key", &[], b"").status, 404);
}

#[test]
fn head_tells_the_length_without_the_value() {
    let host = Host::start();
    let mut connection = host.connect();
    connection.ask("PUT", "/key", &[], &[7; 5000]);
    let head = connection.ask("HEAD", "/key", &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("5000")));
    assert_eq!(connection.ask("HEAD", "/none", &[], b"").status, 404);
    assert_eq!(connection.ask("GET", "/key", &[], b"").body, [7; 5000], "still in step");
}

#[test]
fn any_key_and_any_value_round_trip() {
    let host = Host::start();
    let connection = std::cell::RefCell::new(host.connect());
    let mut runner = TestRunner::new(Config { cases: 200, ..Config::default() });
    let bytes = |most| proptest::collection::vec(any::<u8>(), 1..most);
    let outcome = runner.run(&(bytes(60), bytes(300)), |(key, value)| {
        let root = format!("/{}", percent_encode(&key));
        let full = format!("/v1/keyspaces/default/keys/{}", percent_encode(&key));
        let mut connection = connection.borrow_mut();
        let stored = connection.ask("PUT", &full, &[], &value);
        prop_assert!(matches!(stored.status, 201 | 204));
        prop_assert_eq!(&connection.ask("GET", &full, &[], b"").body, &value);
        let at_root = connection.ask("GET", &root, &[], b"");
        if is_reserved(&key) {
            prop_assert_eq!(at_root.status, 404);
        } else {
            prop_assert_eq!(&at_root.body, &value);
        }
        Ok(())
    });
    outcome.expect("every key keeps its value");
}

#[test]
fn hostile_spellings_name_different_keys() {
    let host = Host::start();
    let mut connection = host.connect();
    let paths = [
        "/a",
        "//a",
        "/a/",
        "/./a",
        "/../a",
        "/%2e%2e%2fa%2f",
        "/%252e",
        "/a%00",
        "/a%2500",
        "/a//b",
        "/a/b",
        "/%FF",
        "/%C3%BF",
        "/a+b",
        "/a%20b",
        "/v1",
        "/a;b",
        "/a=b&c",
    ];
    for path in paths {
        assert_eq!(connection.ask("PUT", path, &[], path.as_bytes()).status, 201, "{path}");
    }
    for path in paths {
        assert_eq!(connection.ask("GET", path, &[], b"").body, path.as_bytes(), "{path}");
    }
}

#[test]
fn keys_have_their_limits() {
    let host = Host::start();
    let long = "k".repeat(16_384);
    assert_eq!(host.put(&format!("/{long}"), b"v").status, 201);
    assert_eq!(host.get(&format!("/{long}")).body, b"v");
    let encoded = "%6B".repeat(16_384);
    assert_eq!(host.get(&format!("/{encoded}")).body, b"v", "the longest path of a key");
    let longer = host.put(&format!("/{long}k"), b"v");
    assert_eq!((longer.status, longer.code().as_str()), (400, "bad_key"));
    assert_eq!(host.put("/", b"v").code(), "bad_key");
    assert_eq!(host.put("/%zz", b"v").code(), "bad_request");
}

#[test]
fn conditions_are_kept() {
    let host = Host::start();
    let mut connection = host.connect();
    let mut ask = |method: &str, header: &str, body: &[u8]| {
        let headers: &[&str] = if header.is_empty() { &[] } else { &[header] };
        connection.ask(method, "/key", headers, body)
    };
    assert_eq!(ask("PUT", "If-Match: *", b"a").code(), "condition_failed");
    let first = ask("PUT", "If-None-Match: *", b"a");
    assert_eq!(first.status, 201);
    assert_eq!(ask("PUT", "If-None-Match: *", b"b").status, 412);
    let first_tag = first.etag().to_owned();
    assert_eq!(ask("GET", &format!("If-None-Match: {first_tag}"), b"").status, 304);
    assert_eq!(ask("GET", &format!("If-None-Match: W/{first_tag}"), b"").status, 304);
    let second = ask("PUT", &format!("If-Match: \"x\", {first_tag}"), b"b");
    assert_eq!(second.status, 204);
    let second_tag = second.etag().to_owned();
    assert_ne!(second_tag, first_tag);
    assert_eq!(ask("PUT", &format!("If-Match: {first_tag}"), b"c").status, 412);
    assert_eq!(ask("GET", &format!("If-None-Match: {first_tag}"), b"").body, b"b");
    assert_eq!(ask("GET", &format!("If-Match: {first_tag}"), b"").status, 412);
    assert_eq!(ask("PUT", &format!("If-Match: W/{second_tag}"), b"c").code(), "bad_request");
    assert_eq!(ask("DELETE", &format!("If-Match: {first_tag}"), b"").status, 412);
    assert_eq!(ask("DELETE", &format!("If-Match: {second_tag}"), b"").status, 204);
    assert_eq!(ask("DELETE", "If-Match: *", b"").status, 412);
}

#[test]
fn expiry_is_taken_shown_and_bounded() {
    let host = Host::start();
    let stored = host.put("/key?ttl=1h", b"v");
    let at: u64 = stored.header("shoal-expires-at").expect("it expires").parse().expect("ms");
    let read = host.get("/key");
    assert_eq!(read.header("shoal-expires-at"), Some(at.to_string().as_str()));
    host.put("/key", b"v");
    assert_eq!(host.get("/key").header("shoal-expires-at"), None, "a new value, a new life");
    for (query, code) in [
        ("ttl=0", "bad_option"),
        ("ttl=soon", "bad_option"),
        ("ttl=99999999999999999999", "bad_option"),
        ("tll=1", "bad_request"),
        ("ttl=1&ttl=2", "bad_request"),
        ("event_time=now", "bad_request"),
        ("event_time=0", "bad_option"),
        ("event_time=99999999999999", "too_new"),
        ("event_time=1", "too_old"),
    ] {
        assert_eq!(host.put(&format!("/key?{query}"), b"w").code(), code, "{query}");
    }
    assert_eq!(host.get("/key").body, b"v", "nothing refused took effect");
    assert_eq!(host.get("/key?ttl=1").code(), "bad_request", "a read has no ttl");
}

#[test]
fn the_latest_event_wins() {
    let host = Host::start();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = u64::try_from(now.expect("after 1970").as_millis()).expect("64 bits");
    let newer = format!("/event?event_time={}", now - 1_000);
    let older = format!("/event?event_time={}", now - 2_000);
    assert_eq!(host.put(&newer, b"newer").status, 201);
    let refused = host.put(&older, b"older");
    assert_eq!((refused.status, refused.code().as_str()), (409, "superseded"));
    assert_eq!(host.get("/event").body, b"newer");
    assert_eq!(host.ask("DELETE", &older, &[], b"").code(), "superseded");
}

#[test]
fn writes_of_one_event_time_have_tags_of_their_own() {
    let host = Host::start();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = u64::try_from(now.expect("after 1970").as_millis()).expect("64 bits");
    let event = format!("/event?event_time={now}");
    let stored = host.put(&event, b"a");
    assert_eq!((stored.status, stored.header("etag")), (201, None), "its reader gets the tag");
    let first = host.get("/event").etag().to_owned();
    assert_eq!(host.get("/event").etag(), first);
    // Of two writes of the same time one wins by the digest of its value, the same everywhere.
    let wins = |value: &u8| host.put(&event, &[*value]).status == 204;
    let winner = (b'b'..=b'z').find(wins).expect("one of so many wins over the first");
    let read = host.get("/event");
    assert_eq!(read.body, [winner]);
    let second = read.etag().to_owned();
    assert_ne!(first, second, "other bytes, another tag");
    let ask = |method: &str, header: &str, tag: &str| {
        host.ask(method, "/event", &[&format!("{header}: {tag}")], b"c")
    };
    assert_eq!(ask("PUT", "If-Match", &first).code(), "condition_failed");
    assert_eq!(ask("DELETE", "If-Match", &first).code(), "condition_failed");
    assert_eq!(ask("GET", "If-None-Match", &first).body, [winner]);
    assert_eq!(ask("GET", "If-None-Match", &second).status, 304);
    let third = ask("PUT", "If-Match", &second);
    assert_eq!(third.status, 204);
    assert_eq!(host.get("/event").etag(), third.etag());
}

#[test]
fn values_have_their_limit() {
    let host = Host::with(&[("max_value", "64KiB")]);
    let most = vec![1; 64 << 10];
    assert_eq!(host.put("/key", &most).status, 201);
    assert_eq!(host.get("/key").body, most);
    // Refused from its length alone: nothing of it is ever sent.
    let mut connection = host.connect();
    connection.send(b"PUT /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\n\r\n");
    let refused = connection.answer(false);
    assert_eq!((refused.status, refused.code().as_str()), (413, "value_too_large"));
    // Refused once it is too long, where no length was announced.
    let mut connection = host.connect();
    connection.send(b"PUT /key HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.send(b"10001\r\n");
    connection.send(&vec![2; 0x10001]);
    connection.send(b"\r\n0\r\n\r\n");
    assert_eq!(connection.answer(false).status, 413);
    assert_eq!(host.get("/key").body, most, "nothing refused took effect");
}

#[test]
fn a_body_that_is_refused_while_it_is_sent_is_still_answered() {
    let host = Host::with(&[("max_value", "64KiB")]);
    for _ in 0..20 {
        let refused = host.put("/key", &vec![1; 512 << 10]);
        assert_eq!((refused.status, refused.code().as_str()), (413, "value_too_large"));
    }
}

#[test]
fn chunked_bodies_are_put_together() {
    let host = Host::start();
    let mut connection = host.connect();
    connection.send(b"POST /key HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.send(b"3\r\nabc\r\n");
    connection.send(b"4\r\ndefg\r\n0\r\n\r\n");
    assert_eq!(connection.answer(false).status, 201);
    assert_eq!(connection.ask("GET", "/key", &[], b"").body, b"abcdefg");
}
