//! Other people's cluster clients, unmodified, against three nodes: each finds its way by the map
//! that the second listener shows, and writes, reads, counts and scans every key exactly once.
//!
//! Each is skipped, loudly, where it is not installed, as in `clients`.

use super::rig::Rig;
use crate::clients::{run_against, script, works};
use crate::settings::skipped;
use redis::Commands as _;
use redis::cluster::ClusterClient;
use std::collections::BTreeSet;
use std::process::Command;

/// How many keys each client writes.
const KEYS: usize = 300;

/// Where clients that know the map are told to begin: the host and the port of a node.
fn seed(rig: &Rig) -> (String, String) {
    let address = rig.cluster_address(1);
    let (host, port) = address.rsplit_once(':').expect("an address has a port");
    (host.to_owned(), port.to_owned())
}

#[test]
fn cluster_clients_write_read_count_and_scan_each_key_once() {
    let rig = Rig::of_three("cluster-clients");
    let (host, port) = seed(&rig);
    redis_crate(&rig);

    let python = std::env::var("SHOAL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if works(Command::new(&python).args(["-c", "import redis.cluster"])) {
        let mut command = Command::new(&python);
        command.arg(script("redis_py_cluster.py")).args([&host, &port]);
        run_against(&mut command, || rig.logs());
    } else {
        skipped("redis-py is not installed");
    }

    let mut node = Command::new("node");
    if let Ok(path) = std::env::var("SHOAL_NODE_PATH") {
        node.env("NODE_PATH", path);
    }
    let mut probe = Command::new("node");
    if let Ok(path) = std::env::var("SHOAL_NODE_PATH") {
        probe.env("NODE_PATH", path);
    }
    if works(probe.args(["-e", "require('ioredis')"])) {
        node.arg(script("ioredis_cluster.js")).args([&host, &port]);
        run_against(&mut node, || rig.logs());
    } else {
        skipped("ioredis is not installed");
    }
}

/// The `redis` crate in its cluster mode.
fn redis_crate(rig: &Rig) {
    let url = format!("redis://{}/", rig.cluster_address(1));
    let client = ClusterClient::new(vec![url]).expect("the address is one");
    let mut redis = client.get_connection().expect("the map is shown");
    let _: () = redis::cmd("FLUSHALL").query(&mut redis).expect("it is emptied");
    for number in 0..KEYS {
        let _: () = redis.set(format!("k:{number}"), number).expect("it is written");
    }
    for number in 0..KEYS {
        assert_eq!(redis.get(format!("k:{number}")), Ok(number));
        assert_eq!(redis.incr(format!("k:{number}"), 1), Ok(number + 1));
    }
    let keys: Vec<String> = (0..KEYS).map(|number| format!("k:{number}")).collect();
    let values: Vec<usize> = redis.mget(&keys).expect("they are read");
    assert!(values.into_iter().eq(1..=KEYS), "each was incremented once");

    // The crate asks every primary, and puts their answers together.
    let counted: usize = redis::cmd("DBSIZE").query(&mut redis).expect("it is counted");
    assert_eq!(counted, KEYS);
    let listed: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis).expect("it is listed");
    assert_eq!(listed.len(), KEYS, "each key is listed by one node");
    assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), KEYS);
    assert_eq!(redis.del("k:0"), Ok(1));
    assert_eq!(redis.get("k:0"), Ok(None::<usize>));
}
