//! Commands whose answers other nodes have: a connection's thread leaves them, and runs them again
//! when they are answered.

use crate::support::{Client, Host, pipeline, shown};
use shoal_core::map::{EngineKind, KeyspaceSpec};
use shoal_node::cluster::memory::{MemoryPeer, MemoryPost};
use shoal_node::cluster::{First, Peers};
use shoal_node::secret::ClusterSecret;
use shoal_node::transport::memory::MemoryNetwork;
use shoal_node::{Node, NodeConfig};
use shoal_server::config::{Origin, Raw, resolve};
use shoal_server::connection::Shared;
use shoal_server::resp::{Local, Run};
use shoal_storage::Patience;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How often the second node is looked at before the first must be up for it.
const LOOKS: usize = 2_000;

/// Two nodes of one cluster; conversations are with the second, which owns nothing to begin with.
struct Pair {
    nodes: [Arc<Node>; 2],
    shared: Arc<Shared>,
    _folder: TempDir,
    _runtime: Runtime,
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = Runtime::new().expect("a runtime");
        let network = MemoryNetwork::new(runtime.handle().clone(), 1);
        let post = MemoryPost::new(1);
        let address = |node: u8| SocketAddr::new([127, 0, 0, node].into(), 7_401);
        let start = |node: u8, first: First| {
            let (network, post) = (Arc::clone(&network), Arc::clone(&post));
            let peers = Peers {
                network: Arc::new(MemoryPeer::new(network, post, address(node))),
                secret: ClusterSecret::none(),
                profile: shoal_core::map::Profile::default(),
                first,
            };
            let node = Node::start(NodeConfig {
                data: folder.path().join(format!("n{node}")),
                name: format!("n{node}"),
                memory_limit: 64 << 20,
                min_free: Some(0),
                peers: Some(peers),
                ..NodeConfig::default()
            });
            node.expect("it starts")
        };
        let one = start(1, First::Found);
        let seeds = vec![address(1).to_string()];
        let two = start(2, First::Join { seeds, replace: false });
        let config = resolve(&[(Origin::Flag, Raw::default())]).expect("the settings are sound");
        let shared = Arc::new(Shared::new(Arc::clone(&two), Arc::new(config), Vec::new()));
        let pair = Self { nodes: [one, two], shared, _folder: folder, _runtime: runtime };
        pair.acquainted();
        pair
    }

    /// Waits until the second has heard that the first is up.
    fn acquainted(&self) {
        let mut client = self.connect();
        for _ in 0..LOOKS {
            if client.ask("GET nothing") == "$-1" {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("they never meet");
    }

    fn connect(&self) -> Client {
        Client { local: Local::new(&self.shared) }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for node in self.nodes.iter().rev() {
            node.stop().expect("it stops cleanly");
        }
    }
}

#[test]
fn what_leaves_goes_on_where_it_was_and_keeps_its_order() {
    let pair = Pair::new();
    let mut client = pair.connect();
    let lines = ["PING", "SET a 1", "INCR a", "INCR a", "GET a", "GET b", "PING"];
    client.local.feed(&pipeline(lines));
    let mut left = 0;
    loop {
        match client.local.run(Patience::Inline) {
            Run::Away => {
                assert!(client.local.output().starts_with(b"+PONG\r\n"), "what was done stays");
                left += 1;
                client.local.wait();
            }
            run => break assert_eq!(run, Run::Idle),
        }
    }
    assert_eq!(shown(client.local.output()), "+PONG +OK :2 :3 $1 3 $-1 +PONG");
    assert!(left >= 1, "another node owns the keys");
    client.local.sent();
}

#[test]
fn commands_of_many_keys_and_transactions_work_where_others_own_the_keys() {
    let pair = Pair::new();
    let mut client = pair.connect();
    client.expect(&[
        ("MSET a 1 b 2 c 3", "+OK"),
        ("MGET a b nope c", "*4 $1 1 $1 2 $-1 $1 3"),
        ("EXISTS a b nope", ":2"),
        ("SET a 5 GET", "$1 1"),
        ("DEL b ''", "-ERR a key is 1 to 16384 bytes long"),
        ("UNLINK '' b", "-ERR a key is 1 to 16384 bytes long"),
        ("DEL b c nope", ":2"),
        ("MSETNX x 1 y 2", "-CROSSSLOT Keys in request don't hash to the same slot"),
        ("MSETNX x 1", ":1"),
        ("MSETNX x 2", ":0"),
        ("RENAME a d", "+OK"),
        ("MGET a d", "*2 $-1 $1 5"),
        ("WATCH d", "+OK"),
        ("MULTI", "+OK"),
        ("INCR d", "+QUEUED"),
        ("INCR d", "+QUEUED"),
        ("SET e 1", "+QUEUED"),
        ("EXEC", "*3 :6 :7 +OK"),
        ("MGET d e", "*2 $1 7 $1 1"),
        ("WATCH d", "+OK"),
    ]);
    pair.connect().expect(&[("INCR d", ":8")]);
    client.expect(&[("MULTI", "+OK"), ("SET e 2", "+QUEUED"), ("EXEC", "*-1"), ("GET e", "$1 1")]);
}

#[test]
fn a_pipeline_of_plain_writes_waits_once() {
    let pair = Pair::new();
    let mut client = pair.connect();
    let keys: Vec<String> = (0..10).map(|number| format!("k{number}")).collect();
    let sets: Vec<String> = keys.iter().map(|key| format!("SET {key} {key}")).collect();
    client.local.feed(&pipeline(sets.iter().map(String::as_str)));
    assert_eq!(client.local.run(Patience::Inline), Run::Away);
    client.local.wait();
    assert_eq!(client.local.run(Patience::Inline), Run::Idle, "all were begun together");
    assert_eq!(shown(client.local.output()), ["+OK"; 10].join(" "));
    client.local.sent();
    for key in &keys {
        assert_eq!(pair.connect().ask(&format!("GET {key}")), format!("$2 {key}"));
    }
}

#[test]
fn a_pipeline_gives_the_replies_that_one_node_gives() {
    let (pair, host) = (Pair::new(), Host::memory());
    let (mut several, mut alone) = (pair.connect(), host.connect());
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..150 {
        let mut lines = Vec::new();
        for number in 0..random.usize(1..40) {
            let key = ["a", "b", "c", "d", "e", "f"][random.usize(..6)];
            lines.push(match random.u8(..16) {
                0..8 => format!("SET {key} {number}"),
                8..10 => format!("GET {key}"),
                10 => format!("INCR {key}"),
                11 => format!("DEL {key}"),
                12 => format!("SET {key} {number} GET"),
                13 => format!("MGET {key} a b"),
                14 => "MULTI".to_owned(),
                _ => ["EXEC", "DISCARD"][random.usize(..2)].to_owned(),
            });
        }
        // None goes on within a transaction.
        lines.push("RESET".to_owned());
        let bytes = pipeline(lines.iter().map(String::as_str));
        let (found, expected) = (several.local.ask(&bytes), alone.local.ask(&bytes));
        assert_eq!(shown(&found), shown(&expected), "round {round}: {lines:?}");
    }
}

#[test]
fn a_database_is_known_to_all_nodes_once_one_has_made_it() {
    let pair = Pair::new();
    let other = Arc::new(Shared::new(
        Arc::clone(&pair.nodes[0]),
        Arc::clone(&pair.shared.config),
        Vec::new(),
    ));
    let mut first = Client { local: Local::new(&other) };
    let mut second = pair.connect();
    for number in 1..=15 {
        let select = format!("SELECT {number}");
        first.expect(&[(&select, "+OK"), ("SET k v", "+OK")]);
        second.expect(&[(&select, "+OK")]);
        let question = ["GET k", "DBSIZE", "DEL k", "EXISTS k", "WATCH k"][number % 5];
        let there = ["$1 v", ":1", ":1", ":1", "+OK"][number % 5];
        second.expect(&[(question, there)]);
    }
    let spec = KeyspaceSpec::new(EngineKind::Memory);
    pair.nodes[0].create_keyspace("mine", spec, Some(77)).expect("it is made");
    second.expect(&[("SELECT 77", "+OK"), ("GET k", "$-1"), ("SET k v", "+OK")]);
    second.expect(&[("USE theirs", "-NOKEYSPACE there is no keyspace 'theirs'")]);
}

#[test]
fn a_transaction_has_one_level() {
    let pair = Pair::new();
    let mut client = pair.connect();
    let refused = "-ERR Command not allowed inside a transaction";
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    for command in ["CONSISTENCY one", "CONSISTENCY", "AT one GET k", "AT one EXEC"] {
        client.expect(&[("MULTI", "+OK"), (command, refused), ("EXEC", aborted)]);
    }
    client.expect(&[
        ("CONSISTENCY", "$7 default"),
        ("AT one MULTI", "-ERR AT sets the level of one command that reads or writes keys"),
    ]);
}

#[test]
fn long_values_of_a_pipeline_do_not_stand_in_each_others_way() {
    let pair = Pair::new();
    let mut client = pair.connect();
    let value = "v".repeat(7 << 20);
    let keys: Vec<String> = (0..10).map(|number| format!("k{number}")).collect();
    for key in &keys {
        // Written as often as it takes: where a disk is slow so much may be unknown first.
        let set = format!("SET {key} {value}");
        let written = (0..10).any(|_| client.ask(&set) == "+OK");
        assert!(written, "{key}");
    }
    // More than the answers to commands to come may hold, and than those to one command may.
    let gets: Vec<String> = keys.iter().map(|key| format!("GET {key}")).collect();
    let replies = client.local.ask(&pipeline(gets.iter().map(String::as_str)));
    let whole = format!("${}\r\n{value}\r\n", value.len()).repeat(keys.len());
    assert!(replies == whole.as_bytes(), "{} bytes", replies.len());
}
