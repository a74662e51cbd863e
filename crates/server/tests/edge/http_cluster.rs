//! A node alone, seen as the cluster of one that it is, and its listener for clients that know the
//! cluster.

use crate::support::{Connection, Host};
use serde_json::json;

#[test]
fn a_node_alone_is_a_whole_cluster() {
    let host = Host::start();
    for path in ["/v1/cluster/status", "/_cluster_status"] {
        let status = host.get(path).json();
        assert_eq!(
            (&status["health"], &status["fully_replicated"]),
            (&json!("whole"), &json!(true))
        );
        assert_eq!(status["members"].as_array().map(Vec::len), Some(1));
        assert_eq!(status["keyspaces"]["default"]["partitions"], 256);
        assert_eq!(status["leader"], status["node"]);
    }
    let nodes = host.get("/v1/cluster/nodes").json();
    let node = &nodes["nodes"][0];
    assert_eq!((&node["state"], &node["this"]), (&json!("up"), &json!(true)));
    assert_eq!(node["partitions"], 256);
    let map = host.get("/v1/cluster/map?keyspace=default").json();
    assert_eq!(map["keyspaces"][0]["partitions"][255]["slots"], json!([16_320, 16_383]));
    assert_eq!(host.get("/v1/cluster/map?keyspace=nope").code(), "no_keyspace");
    assert_eq!(host.get("/v1/cluster/events").status, 200);
}

#[test]
fn clients_discover_the_addresses() {
    let host = Host::start();
    let address = host.address().to_string();
    let plain = host.get("/_nodes_discovery_plain");
    assert_eq!(plain.body, format!("{address}\n").as_bytes());
    let listed = host.get("/_nodes_discovery").json();
    assert_eq!(listed[0]["address"], address.as_str());
    let owners = host.get("/_nodes/some/key").json();
    assert_eq!(owners["nodes"][0]["address"], address.as_str());
    assert_eq!(
        (&owners["nodes"][0]["leads"], &owners["keyspace"]),
        (&json!(true), &json!("default"))
    );
    assert_eq!(host.get("/_nodes/key?keyspace=nope").code(), "no_keyspace");
}

#[test]
fn a_key_is_explained() {
    let host = Host::start();
    let path = "/v1/keyspaces/default/explain/foo";
    let before = host.get(path).json();
    assert_eq!(
        (&before["slot"], &before["replicas"][0]["holds"]),
        (&json!(12_182), &json!("nothing"))
    );
    assert_eq!(host.put("/foo", b"bar").status, 201);
    let after = host.get(path).json();
    assert_eq!((&after["key"], &after["replicas"][0]["holds"]), (&json!("foo"), &json!("value")));
    assert_eq!(after["replicas"].as_array().map(Vec::len), Some(1));
    assert_eq!(host.get("/v1/keyspaces/nope/explain/foo").code(), "no_keyspace");
}

#[test]
fn local_keys_are_listed_in_pages() {
    let host = Host::start();
    for key in ["a", "b", "c"] {
        assert_eq!(host.put(&format!("/{key}"), b"1").status, 201);
    }
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/keyspaces/default/local-keys?limit=2{after}");
        let page = host.get(&path).json();
        let keys = page["keys"].as_array().expect("a list").clone();
        found.extend(keys.iter().filter_map(|key| key["key"].as_str().map(str::to_owned)));
        if page["more"] == false || keys.is_empty() {
            break;
        }
        after = format!("&after={}", found.last().expect("there was one"));
    }
    found.sort();
    assert_eq!(found, ["a", "b", "c"]);
    assert_eq!(host.get("/v1/keyspaces/default/local-keys?limit=0").code(), "bad_request");
    assert_eq!(host.get("/v1/keyspaces/nope/local-keys").code(), "no_keyspace");
}

#[test]
fn who_is_up_is_not_forgotten_and_nothing_waits_for_a_loss_to_be_accepted() {
    let host = Host::start();
    let name = host.get("/v1/cluster/nodes").json()["nodes"][0]["name"].clone();
    let path = format!("/v1/cluster/forget/{}", name.as_str().expect("a name"));
    assert_eq!(host.ask("POST", &path, &[], b"").code(), "node_in_place");
    assert_eq!(host.ask("POST", "/v1/cluster/forget/nobody", &[], b"").code(), "unknown_node");
    let accepted = host.ask("POST", "/v1/cluster/accept-loss", &[], b"").json();
    assert_eq!(accepted["partitions"], 0);
}

#[test]
fn a_level_is_taken_where_keys_are_read_or_written() {
    let host = Host::start();
    assert_eq!(host.put("/a?consistency=all", b"1").status, 201);
    assert_eq!(host.get("/a?consistency=one").status, 200);
    assert_eq!(host.get("/a?consistency=two").code(), "bad_option");
    let path = "/v1/keyspaces/default/keys?consistency=quorum";
    assert_eq!(host.get(path).status, 200);
    assert_eq!(host.get("/_health?consistency=one").code(), "bad_request");
}

#[test]
fn the_listener_for_clients_that_know_the_cluster_says_so() {
    // A loopback address of this process's own, on which every port is free.
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = format!("127.{high}.{low}.9:7402");
    let host = Host::with(&[("cluster_listen", &address)]);
    host.put("/a", b"1");
    let address = address.parse().expect("an address");
    let ask = |to, line: &str| {
        let mut client = Connection::to(to);
        client.send(format!("{line}\r\nQUIT\r\n").as_bytes());
        String::from_utf8_lossy(&client.rest()).into_owned()
    };
    assert!(ask(address, "INFO cluster").contains("cluster_enabled:1"));
    assert!(ask(host.address(), "INFO cluster").contains("cluster_enabled:0"));
    assert!(ask(address, "HELLO").contains("\r\ncluster\r\n"));
    assert!(ask(address, "DBSIZE").starts_with(":1\r\n"), "this node leads all slots");
    assert!(ask(address, "KEYS *").starts_with("*1\r\n$1\r\na\r\n"));
    assert!(ask(address, "SCAN 0").contains("$1\r\na\r\n"));
    assert!(ask(address, "RANDOMKEY").starts_with("$1\r\na\r\n"));
}
