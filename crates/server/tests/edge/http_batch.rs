//! Many keys over HTTP: batches and listings.

use crate::support::Host;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn batch(host: &Host, ops: &Value) -> Value {
    let body = json!({ "ops": ops }).to_string();
    let answer = host.ask("POST", "/v1/keyspaces/default/batch", &[], body.as_bytes());
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()["results"].clone()
}

#[test]
fn every_operation_has_its_result_in_order() {
    let host = Host::start();
    let results = batch(
        &host,
        &json!([
            { "op": "put", "key": "a", "value": "1" },
            { "op": "put", "key_b64": "/w==", "value_b64": "/w==", "ttl": "1h" },
            { "op": "put", "key": "a", "value": "ä" },
            { "op": "get", "key": "a" },
            { "op": "get", "key_b64": "/w==" },
            { "op": "get", "key": "none" },
            { "op": "delete", "key": "a" },
            { "op": "delete", "key": "a" },
            { "op": "put", "key": "", "value": "x" },
        ]),
    );
    let statuses: Vec<&str> = results
        .as_array()
        .expect("a list")
        .iter()
        .map(|result| result["status"].as_str().expect("a status"))
        .collect();
    assert_eq!(
        statuses,
        [
            "created", "created", "replaced", "found", "found", "absent", "removed", "absent",
            "refused"
        ]
    );
    assert_eq!(results[3]["value"], "ä");
    assert_eq!(results[3]["version"], results[2]["version"]);
    assert_eq!(results[4]["value_b64"], "/w==");
    assert!(results[4]["expires_at"].is_u64());
    assert_eq!(results[8]["error"]["code"], "bad_key");
}

#[test]
fn a_malformed_batch_changes_nothing() {
    let host = Host::start();
    let body = r#"{"ops":[{"op":"put","key":"a","value":"1"},{"op":"put","key":"b"}]}"#;
    let answer = host.ask("POST", "/v1/keyspaces/default/batch", &[], body.as_bytes());
    assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"));
    assert_eq!(host.get("/a").status, 404);
}

#[test]
fn a_batch_asks_for_a_keyspace_that_there_is() {
    let host = Host::start();
    let body = r#"{"ops":[{"op":"put","key":"a","value":"1"}]}"#;
    let answer = host.ask("POST", "/v1/keyspaces/none/batch", &[], body.as_bytes());
    assert_eq!(answer.json()["results"][0]["error"]["code"], "no_keyspace");
}

#[test]
fn an_answer_stays_within_its_bound() {
    let host = Host::start();
    for key in 0..3 {
        assert_eq!(host.put(&format!("/big{key}"), &vec![b'x'; 7 << 20]).status, 201);
    }
    let results = batch(
        &host,
        &json!([
            { "op": "get", "key": "big0" },
            { "op": "get", "key": "big1" },
            { "op": "get", "key": "big2" },
        ]),
    );
    assert_eq!(results[1]["status"], "found");
    assert_eq!(results[2]["error"]["code"], "too_large");
}

#[test]
fn a_listing_gives_every_key_once_in_order() {
    let host = Host::start();
    let ops: Vec<Value> = (0..250)
        .map(|n| json!({ "op": "put", "key": format!("user:{n}"), "value": n.to_string() }))
        .collect();
    batch(&host, &json!(ops));
    host.put("/%ff", b"other");
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!(
            "/v1/keyspaces/default/keys?prefix=user%3A&limit=7&values=true&cursor={cursor}"
        );
        let path = if cursor.is_empty() { path.replace("&cursor=", "") } else { path };
        let page = host.get(&path).json();
        assert_eq!(page["order"], "slot, then key");
        for item in page["keys"].as_array().expect("a list") {
            let key = item["key"].as_str().expect("text").to_owned();
            assert_eq!(format!("user:{}", item["value"].as_str().expect("text")), key);
            seen.push((shoal_core::Slot::of(key.as_bytes()), key));
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert!(seen.is_sorted(), "by slot, then key");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 250);
    assert_eq!(seen.len(), 250);
}

#[test]
fn a_listing_says_what_is_wrong() {
    let host = Host::start();
    for (query, code) in [
        ("limit=0", "bad_option"),
        ("limit=1025", "bad_option"),
        ("limit=x", "bad_request"),
        ("cursor=0", "bad_option"),
        ("values=maybe", "bad_request"),
        ("match=*", "bad_request"),
    ] {
        assert_eq!(
            host.get(&format!("/v1/keyspaces/default/keys?{query}")).code(),
            code,
            "{query}"
        );
    }
    assert_eq!(host.get("/v1/keyspaces/none/keys").code(), "no_keyspace");
    let empty = host.get("/v1/keyspaces/default/keys").json();
    assert_eq!(empty, json!({ "order": "slot, then key", "keys": [], "cursor": null }));
}

#[test]
fn a_page_of_long_values_ends_early_and_goes_on() {
    let host = Host::start();
    for key in 0..5 {
        assert_eq!(host.put(&format!("/big{key}"), &vec![b'x'; 6 << 20]).status, 201);
    }
    let page = host.get("/v1/keyspaces/default/keys?values=true").json();
    assert_eq!(page["keys"].as_array().map(Vec::len), Some(3));
    let cursor = page["cursor"].as_str().expect("there is more");
    let rest = host.get(&format!("/v1/keyspaces/default/keys?cursor={cursor}")).json();
    assert_eq!(rest["keys"].as_array().map(Vec::len), Some(2));
    assert!(rest["cursor"].is_null());
}
