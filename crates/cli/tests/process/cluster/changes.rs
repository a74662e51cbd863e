//! Many changes of the map at once, through every node, some of whose answers are lost.

use super::rig::{Rig, http};
use crate::settings::{number, say, seed};
use fastrand::Rng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Barrier};

/// Clients, two at every node.
const CLIENTS: usize = 6;
/// Changes that a client asks for in one round: its own keyspace is made, altered and dropped, and
/// one that all of them want is made and dropped.
const CHANGES: u64 = 5;
/// One of so many answers is lost.
const LOST: u8 = 4;
/// How often a change is asked for again where the map is busy.
const ATTEMPTS: usize = 20;

/// A client of one node.
struct Changer {
    address: String,
    rng: Rng,
    asked: u64,
}

impl Changer {
    /// Asks for a change until it is answered, and now and then once more before without waiting
    /// for the answer. What was answered, and whether an answer was lost.
    fn change(&mut self, method: &str, keyspace: &str, body: &str) -> (u16, bool) {
        let path = format!("/v1/keyspaces/{keyspace}");
        let unread = (self.rng.u8(..LOST) == 0).then(|| self.send(method, &path, body));
        let lost = unread.is_some();
        let mut again = false;
        for _ in 0..ATTEMPTS {
            self.asked += 1;
            let answer = http(&self.address, method, &path, body);
            let (status, said) = answer.unwrap_or_else(|| panic!("{method} {path}: no answer"));
            if status != 503 {
                // It is over before anything else is asked for, whatever it said.
                unread.map(|mut unread| unread.read_to_end(&mut Vec::new()));
                return (status, lost || again);
            }
            let said: Value = serde_json::from_str(&said).expect("refusals are documents");
            again |= said["error"]["may_have_happened"] == true;
        }
        panic!("{method} {path} is refused again and again");
    }

    /// Asks for a change without waiting for the answer.
    fn send(&mut self, method: &str, path: &str, body: &str) -> TcpStream {
        self.asked += 1;
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("it takes what is sent");
        stream
    }

    /// One round of changes. Whether the keyspace that all want was made by this client.
    fn round(&mut self, own: &str, common: &str, all: &Barrier) -> (bool, bool) {
        let expect = |what: &str, (status, lost): (u16, bool), done, before| {
            let fits = status == done || (lost && status == before);
            assert!(fits, "{what} {own}: {status}, an answer was lost: {lost}");
        };
        expect("PUT", self.change("PUT", own, r#"{"partitions":1}"#), 201, 409);
        let altered = self.change("PATCH", own, r#"{"default_ttl_ms":1000}"#);
        expect("PATCH", altered, 200, 200);
        expect("DELETE", self.change("DELETE", own, ""), 204, 404);
        all.wait();
        let (status, lost) = self.change("PUT", common, r#"{"partitions":1}"#);
        assert!([201, 409].contains(&status), "PUT {common}: {status}");
        all.wait();
        // Everybody drops it, and it is gone.
        let dropped = self.change("DELETE", common, "").0;
        assert!([204, 404].contains(&dropped), "DELETE {common}: {dropped}");
        all.wait();
        (status == 201, lost)
    }
}

/// Maps that were seen, by their version.
#[derive(Default)]
struct Chain {
    maps: BTreeMap<String, Value>,
    lives: BTreeMap<u64, String>,
}

impl Chain {
    /// Sees what a node says the map is. A version is one map, and a life belongs to one name.
    fn see(&mut self, rig: &Rig, node: usize) -> Option<String> {
        let map = rig.get(node, "/v1/cluster/map")?;
        let version = map["version"].as_str()?.to_owned();
        for keyspace in map["keyspaces"].as_array()? {
            let (life, name) = (keyspace["incarnation"].as_u64()?, keyspace["name"].as_str()?);
            let held = self.lives.entry(life).or_insert_with(|| name.to_owned());
            assert_eq!(held, name, "life {life} was given twice");
        }
        let held = self.maps.entry(version.clone()).or_insert_with(|| map.clone());
        assert_eq!(*held, map, "n{node} has another map of version {version}");
        Some(version)
    }
}

#[test]
fn a_thousand_changes_at_once_make_one_chain_and_each_happens_at_most_once() {
    let rounds = number("SHOAL_CHANGES", 60, 1_000).div_ceil(CLIENTS as u64 * CHANGES);
    let mut rng = Rng::with_seed(seed("changes"));
    let rig = Rig::of_three("changes");
    let all = Arc::new(Barrier::new(CLIENTS));
    let clients = (0..CLIENTS).map(|number| {
        let rng = Rng::with_seed(rng.u64(..));
        let mut changer = Changer { address: rig.address(1 + number % 3), rng, asked: 0 };
        let all = Arc::clone(&all);
        std::thread::spawn(move || {
            let mut made = Vec::new();
            for round in 0..rounds {
                let (own, common) = (format!("own{number}r{round}"), format!("common{round}"));
                made.push(changer.round(&own, &common, &all));
            }
            (made, changer.asked)
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut chain = Chain::default();
    while !clients.iter().all(std::thread::JoinHandle::is_finished) {
        for node in [1, 2, 3] {
            chain.see(&rig, node);
        }
    }
    let ended = clients.into_iter().map(|client| client.join().expect("it found nothing wrong"));
    let (made, asked): (Vec<_>, Vec<_>) = ended.unzip();
    for round in 0..rounds as usize {
        let by: Vec<_> = made.iter().map(|made| made[round]).collect();
        let makers = by.iter().filter(|(made, _)| *made).count();
        let lost = by.iter().any(|(_, lost)| *lost);
        assert!(makers == 1 || (makers == 0 && lost), "round {round} was made {makers} times");
    }
    rig.wait("all have the same map", || {
        let versions = [1, 2, 3].map(|node| chain.see(&rig, node));
        versions[0].is_some() && versions.iter().all(|version| *version == versions[0])
    });
    let listed = rig.get(1, "/v1/keyspaces").expect("it tells");
    let names = listed["keyspaces"].as_array().into_iter().flatten();
    let left: Vec<_> = names.filter_map(|keyspace| keyspace["name"].as_str()).collect();
    assert!(left.iter().all(|name| !name.starts_with("own") && !name.starts_with("common")));
    let (asked, seen) = (asked.iter().sum::<u64>(), chain.maps.len());
    say(&format!(
        "cluster, changes: {asked} asked for, {seen} maps seen, each the same everywhere"
    ));
}
