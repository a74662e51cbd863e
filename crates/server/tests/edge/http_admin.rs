//! Administration over HTTP: keyspaces, health, figures, documents.

use crate::support::Host;
use serde_json::json;
use shoal_server::http::ROUTES;
use shoal_server::metrics::{KEYSPACE_METRICS, METRICS};

#[test]
fn a_keyspace_lives_from_creation_to_drop() {
    let host = Host::start();
    let body = r#"{"engine":"memory","partitions":16,"db":20,"default_ttl_ms":60000}"#;
    let made = host.put("/v1/keyspaces/cache", body.as_bytes());
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    assert_eq!(made.json()["engine"], "memory");
    assert_eq!(host.put("/v1/keyspaces/cache", b"").code(), "keyspace_exists");

    assert_eq!(host.put("/v1/keyspaces/cache/keys/a/b", b"v").status, 201);
    let read = host.get("/v1/keyspaces/cache/keys/a/b");
    assert_eq!(read.body, b"v");
    assert!(read.header("shoal-expires-at").is_some(), "the default expiry is taken");
    assert_eq!(host.get("/a/b").status, 404, "another keyspace");

    let body = r#"{"default_ttl_ms":null,"max_memory":1000000,"eviction":"lru"}"#;
    let altered = host.ask("PATCH", "/v1/keyspaces/cache", &[], body.as_bytes());
    assert_eq!(altered.status, 200, "{}", String::from_utf8_lossy(&altered.body));
    let described = host.get("/v1/keyspaces/cache").json();
    assert_eq!(described, altered.json());
    for (field, value) in [
        ("name", json!("cache")),
        ("db", json!(20)),
        ("partitions", json!(16)),
        ("keys", json!(1)),
        ("default_ttl_ms", json!(null)),
        ("max_memory", json!(1_000_000)),
        ("eviction", json!("lru")),
        ("sync", json!("always")),
        ("replication", json!(3)),
        ("placement", json!("rendezvous")),
        ("zones", json!("spread")),
        ("read_level", json!("quorum")),
        ("write_level", json!("quorum")),
    ] {
        assert_eq!(described[field], value, "{field}");
    }
    let listed = host.get("/v1/keyspaces").json();
    let names: Vec<&str> = listed["keyspaces"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|keyspace| keyspace["name"].as_str())
        .collect();
    assert_eq!(names, ["cache", "default"]);

    assert_eq!(host.ask("DELETE", "/v1/keyspaces/cache", &[], b"").status, 204);
    assert_eq!(host.get("/v1/keyspaces/cache").code(), "no_keyspace");
    assert_eq!(host.get("/v1/keyspaces/cache/keys/a").code(), "no_keyspace");
}

#[test]
fn wrong_options_are_refused_by_name() {
    let host = Host::start();
    for (body, code) in [
        ("{\"engine\":\"disk\",\"eviction\":\"lru\"}", "bad_option"),
        ("{\"partitions\":3}", "bad_option"),
        ("{\"db\":5000}", "bad_option"),
        ("{\"colour\":\"red\"}", "bad_request"),
        ("nonsense", "bad_request"),
    ] {
        assert_eq!(host.put("/v1/keyspaces/ks", body.as_bytes()).code(), code, "{body}");
    }
    assert_eq!(host.put("/v1/keyspaces/no%20good", b"").code(), "bad_name");
    assert_eq!(host.put("/v1/keyspaces/%ff", b"").code(), "bad_name");
    assert_eq!(host.ask("DELETE", "/v1/keyspaces/none", &[], b"").code(), "no_keyspace");
}

#[test]
fn the_node_says_how_it_is() {
    let host = Host::start();
    for path in ["/_health", "/_ready"] {
        let answer = host.get(path);
        assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("ok")), "{path}");
    }
    assert_eq!(host.ask("POST", "/v1/compact", &[], b"").status, 204);
    assert_eq!(host.put("/_health", b"x").status, 405);
    assert_eq!(host.put("/_health", b"x").header("allow"), Some("GET"));
}

/// A node that takes no writes says so wherever it is asked, by the code that the writes get.
#[test]
fn a_full_disk_shows_in_readiness_info_and_metrics() {
    let host = Host::with(&[("min_free", "1000TiB")]);
    assert_eq!(host.put("/key", b"v").code(), "disk_full");
    let ready = host.get("/_ready");
    assert_eq!((ready.status, ready.code().as_str()), (503, "disk_full"));
    assert_eq!(ready.json()["status"], "refusing_writes");
    assert_eq!(ready.json()["error"]["retry_helps"], true);
    let health = host.get("/_health");
    assert_eq!((health.status, health.code().as_str()), (200, "disk_full"), "no restart helps");
    let mut redis = host.connect();
    redis.send(b"INFO persistence\r\nQUIT\r\n");
    let info = String::from_utf8(redis.rest()).expect("text");
    for field in ["aof_last_write_status:err", "shoal_refusing_writes:disk_full"] {
        assert!(info.contains(&format!("\r\n{field}\r\n")), "{info}");
    }
    let metrics = String::from_utf8(host.get("/metrics").body).expect("text");
    for line in ["shoal_ready 0", "shoal_refusing_writes 1"] {
        assert!(metrics.contains(&format!("\n{line}\n")), "{metrics}");
    }
    let fine = Host::start();
    let mut redis = fine.connect();
    redis.send(b"INFO persistence\r\nQUIT\r\n");
    let info = String::from_utf8(redis.rest()).expect("text");
    assert!(info.contains("\r\naof_last_write_status:ok\r\n"), "{info}");
    assert!(info.contains("\r\nshoal_refusing_writes:none\r\n"), "{info}");
}

/// A catalogue that was half replaced takes no change until a restart, and that is told; what is
/// stored is read and written all the same.
#[test]
fn a_map_in_doubt_shows_in_readiness_info_and_metrics() {
    let host = Host::start();
    assert_eq!(host.put("/key", b"v").status, 201);
    // A folder in the place of the map's file: the new one cannot be put there, by nobody.
    let map = host.running.node().data().join("map");
    std::fs::remove_file(&map).expect("it is there");
    std::fs::create_dir(&map).expect("there is room");
    assert_eq!(host.get("/_ready").status, 200, "nobody has noticed yet");
    assert_eq!(host.put("/v1/keyspaces/books", b"{}").code(), "map_in_doubt");
    for path in ["/_ready", "/_health"] {
        let told = host.get(path);
        assert_eq!((told.status, told.code().as_str()), (503, "map_in_doubt"), "{path}");
        assert_eq!(told.json()["status"], "refusing_writes");
    }
    let mut redis = host.connect();
    redis.send(b"INFO persistence\r\nQUIT\r\n");
    let info = String::from_utf8(redis.rest()).expect("text");
    assert!(info.contains("\r\nshoal_refusing_writes:map_in_doubt\r\n"), "{info}");
    let metrics = String::from_utf8(host.get("/metrics").body).expect("text");
    for line in ["shoal_ready 0", "shoal_refusing_writes 1"] {
        assert!(metrics.contains(&format!("\n{line}\n")), "{metrics}");
    }
    assert_eq!(host.put("/key", b"w").status, 204);
    assert_eq!(host.get("/key").body, b"w");
}

#[test]
fn the_documents_are_complete() {
    let host = Host::start();
    let errors = host.get("/v1/errors").json();
    assert_eq!(errors["errors"].as_array().map(Vec::len), Some(shoal_node::Code::ALL.len()));
    let openapi = host.get("/v1/openapi.json").json();
    for route in ROUTES {
        assert!(openapi["paths"][route.path][route.method.to_ascii_lowercase()].is_object());
    }
}

#[test]
fn every_metric_is_there_and_none_names_a_key() {
    let host = Host::start();
    host.put("/a-very-secret-key", b"v");
    host.get("/a-very-secret-key");
    let answer = host.get("/metrics");
    assert_eq!(answer.status, 200);
    let text = String::from_utf8(answer.body).expect("text");
    for metric in METRICS {
        let name = if metric.is_counter {
            format!("{}_total", metric.name)
        } else {
            metric.name.to_owned()
        };
        assert!(text.contains(&format!("\n{name} ")), "{name} is missing");
        assert!(text.contains(&format!("# HELP {} ", metric.name)), "{}", metric.name);
    }
    for metric in KEYSPACE_METRICS {
        assert!(text.contains(&format!("\n{}{{keyspace=\"default\"}} ", metric.name)));
    }
    assert!(text.contains("\nshoal_keyspace_keys{keyspace=\"default\"} 1\n"), "{text}");
    assert!(text.contains("\nshoal_writes_total 1\n"), "{text}");
    assert!(!text.contains("secret"));
}

#[test]
fn every_route_answers() {
    let host = Host::start();
    host.put("/v1/keyspaces/ks", b"");
    for route in ROUTES {
        let path = route.path.replace("{keyspace}", "ks").replace("{key}", "k");
        let path = path.replace("{name}", &host.running.node().config().name);
        let answer = host.ask(route.method, &path, &[], b"{}");
        let answers: Vec<u16> = route.answers.iter().map(|(status, _)| *status).collect();
        let expected = answers.contains(&answer.status)
            || answer.status == 404 && path.ends_with("/k")
            || matches!(answer.status, 400 | 409);
        assert!(expected, "{} {path}: {}", route.method, answer.status);
        if route.method == "DELETE" && route.path == "/v1/keyspaces/{keyspace}" {
            host.put("/v1/keyspaces/ks", b"");
        }
    }
}
