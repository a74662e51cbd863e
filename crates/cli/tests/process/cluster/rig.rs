//! A cluster of processes, each at an address of its own.

use super::links::{Links, Way};
use super::networks::Networks;
use super::relay::{Place, Relay};
use crate::client::Client;
use crate::folder::Folder;
use crate::node::{Launch, Node, Refused};
use crate::reply::Reply;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Far longer than anything takes that a healthy cluster does by itself.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a node is asked how it is.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a node may take to say how it is before it counts as silent.
const STATUS_WITHIN: Duration = Duration::from_secs(10);
/// More nodes than any test has.
const MOST_NODES: u8 = 10;

/// Waits until no other cluster runs.
pub(super) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nodes by number; the node 1 is called `n1`. Those that still run at the end are ended.
pub(crate) struct Rig {
    nodes: Vec<Option<Node>>,
    folder: Folder,
    network: [u8; 4],
    links: Option<Links>,
    _turn: MutexGuard<'static, ()>,
}

impl Rig {
    /// No node is started yet.
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let turn = turn();
        // An address of its own for every node of every run: a node that is started again finds
        // its ports as it left them, and no other test comes upon them.
        let [.., high, low] = std::process::id().to_be_bytes();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let network = [127, high.max(1), low, count.wrapping_mul(MOST_NODES)];
        let nodes = (0..MOST_NODES).map(|_| None).collect();
        Self { nodes, folder: Folder::new(name), network, links: None, _turn: turn }
    }

    /// So many nodes that run, with links that can be cut; only for a test that runs
    /// [`inside`](super::links::inside).
    pub(crate) fn apart(way: Way, name: &str, nodes: usize) -> Self {
        let mut rig = Self::new(name);
        rig.links = Some(match way {
            Way::Networks => Links::Networks(Networks::new(nodes)),
            Way::Relay => Links::Relay(Relay::new((1..=nodes).map(|at| rig.place(at)).collect())),
        });
        let numbers: Vec<_> = (1..=nodes).collect();
        // The first three hold everything.
        for begun in [1, 3, nodes] {
            let started = rig.nodes.iter().flatten().count();
            rig.start(&numbers[started..begun]);
            rig.wait_whole(&numbers[..begun]);
        }
        rig
    }

    /// Lets nothing through any more that `from` sends to `to`.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.links.as_mut().expect("the nodes are apart").cut(from, to);
    }

    /// Lets everything through again.
    pub(crate) fn heal(&mut self) {
        self.links.as_mut().expect("the nodes are apart").heal();
    }

    /// Three nodes that hold everything threefold.
    pub(crate) fn of_three(name: &str) -> Self {
        let mut rig = Self::new(name);
        rig.start(&[1]);
        rig.start(&[2, 3]);
        rig.wait_whole(&[1, 2, 3]);
        rig
    }

    fn host(&self, number: usize) -> String {
        if let Some(Links::Networks(_)) = self.links {
            return Networks::address(number);
        }
        let [a, b, c, d] = self.network;
        format!("{a}.{b}.{c}.{}", usize::from(d) + number)
    }

    /// Where clients reach a node.
    pub(crate) fn address(&self, number: usize) -> String {
        format!("{}:7400", self.host(number))
    }

    /// Where other nodes reach it.
    pub(crate) fn peer(&self, number: usize) -> String {
        match self.links {
            Some(Links::Relay(_)) => self.place(number).said.to_string(),
            _ => format!("{}:7401", self.host(number)),
        }
    }

    /// Where clients reach it that know the cluster's map.
    pub(crate) fn cluster_address(&self, number: usize) -> String {
        format!("{}:7402", self.host(number))
    }

    /// Where a relay finds it.
    fn place(&self, number: usize) -> Place {
        let at = |port: u16| {
            format!("{}:{port}", self.host(number)).parse().expect("an address and a port")
        };
        Place { real: at(7_401), said: at(7_501), data: self.data(number) }
    }

    /// Where it keeps its files.
    pub(crate) fn data(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("n{number}"))
    }

    /// How a node is started at the place of another, without saying what for.
    pub(crate) fn launch_as(&self, number: usize, name: &str) -> Launch {
        let launch = Launch::new(&self.data(number)).listening(&self.address(number));
        let launch = launch.with("--name").with(name);
        match &self.links {
            None => launch,
            Some(Links::Relay(_)) => launch.with("--advertise").with(&self.peer(number)),
            // It can be reached from elsewhere, so it wants to be told that this is meant.
            Some(Links::Networks(networks)) => launch
                .by(networks.entrance(number))
                .with("--insecure-open")
                .variable("SHOAL_CLUSTER_SECRET", &"5".repeat(64)),
        }
    }

    /// How a node is started that joins another.
    pub(crate) fn launch_joining(&self, number: usize, name: &str, seed: usize) -> Launch {
        self.launch_as(number, name).with("--join").with(&self.peer(seed))
    }

    /// The command line of a node: the first founds the cluster, the others join it.
    pub(crate) fn launch(&self, number: usize) -> Launch {
        let name = format!("n{number}");
        match number {
            1 if self.links.is_some() => self.launch_as(1, &name).with("--bootstrap"),
            1 => self.launch_as(1, &name),
            _ => self.launch_joining(number, &name, 1),
        }
    }

    /// Starts nodes side by side and waits until each serves.
    pub(crate) fn start(&mut self, numbers: &[usize]) {
        let launches = numbers.iter().map(|number| (*number, self.launch(*number)));
        self.start_by(launches.collect());
    }

    /// The same with command lines of their own.
    pub(crate) fn start_by(&mut self, launches: Vec<(usize, Launch)>) {
        let starting: Vec<_> = launches
            .into_iter()
            .map(|(number, launch)| (number, std::thread::spawn(move || launch.start())))
            .collect();
        for (number, started) in starting {
            match started.join().expect("a start that is too slow has told why") {
                Ok(node) => self.nodes[number] = Some(node),
                Err(Refused { status, log }) => panic!("n{number} does not start: {status}\n{log}"),
            }
        }
    }

    /// Takes in a node that was started elsewhere.
    pub(crate) fn take_in(&mut self, number: usize, node: Node) {
        self.nodes[number] = Some(node);
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, number: usize) {
        self.nodes[number].take().expect("it was started").kill();
    }

    /// SIGTERM; it is to end well.
    pub(crate) fn stop(&mut self, number: usize) {
        let status = self.nodes[number].take().expect("it was started").stop();
        assert!(status.success(), "n{number} ended with {status}");
    }

    /// Lets a node stand still.
    pub(crate) fn pause(&self, number: usize) {
        assert!(self.node(number).signal("-STOP"), "n{number} is there to be paused");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self, number: usize) {
        assert!(self.node(number).signal("-CONT"), "n{number} is there to go on");
    }

    fn node(&self, number: usize) -> &Node {
        self.nodes[number].as_ref().expect("it was started")
    }

    /// What the nodes say of the cluster, and have logged lately.
    pub(crate) fn logs(&self) -> String {
        const LINES: usize = 40;
        let mut text = String::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            let log = node.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
            let says = self.status(number).unwrap_or_default();
            text.push_str(&format!("--- n{number}\n{says}\n{last}\n"));
        }
        text
    }

    /// A connection to a node.
    pub(crate) fn client(&self, number: usize) -> Client {
        Client::connect(&self.address(number)).expect("a node that runs can be reached")
    }

    /// One command, asked of a node over a connection of its own.
    pub(crate) fn ask(&self, number: usize, line: &str) -> Reply {
        self.client(number).line(line).expect("a node that runs answers")
    }

    /// What a node says about the cluster; nothing where it says nothing.
    pub(crate) fn status(&self, number: usize) -> Option<Value> {
        self.get(number, "/_cluster_status")
    }

    /// The code with which a node answers a path.
    pub(crate) fn code(&self, number: usize, path: &str) -> u16 {
        self.http(number, "GET", path, "").expect("it answers").0
    }

    /// The document that a node has at this path; nothing where it says nothing.
    pub(crate) fn get(&self, number: usize, path: &str) -> Option<Value> {
        let (_, document) = self.http(number, "GET", path, "")?;
        serde_json::from_str(&document).ok()
    }

    /// What a node answers over HTTP: the number of the status, and the body. Nothing where it
    /// does not answer.
    pub(crate) fn http(
        &self,
        number: usize,
        method: &str,
        path: &str,
        body: &str,
    ) -> Option<(u16, String)> {
        http(&self.address(number), method, path, body)
    }

    /// Whether a node has noted an event of this kind whose sentence contains `text`.
    pub(crate) fn happened(&self, number: usize, what: &str, text: &str) -> bool {
        let Some(noted) = self.get(number, "/v1/cluster/events") else { return false };
        noted["events"].as_array().into_iter().flatten().any(|event| {
            event["what"] == what && event["text"].as_str().is_some_and(|said| said.contains(text))
        })
    }

    /// Waits until `is` holds.
    pub(crate) fn wait(&self, what: &str, mut is: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is() {
            assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}\n{}", self.logs());
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until each of `running` knows all members of the cluster, sees them up, has a link to
    /// each, and everything is held as often as it should be.
    pub(crate) fn wait_whole(&self, running: &[usize]) {
        for number in running {
            self.wait(&format!("n{number} sees {running:?} and everything whole"), || {
                let Some(status) = self.status(*number) else { return false };
                let none = |what: &str| status[what].as_array().is_some_and(Vec::is_empty);
                let members = status["members"].as_array().map_or(0, Vec::len);
                let voters = status["voters"].as_array().map_or(0, Vec::len);
                let links = status["links"].as_array().into_iter().flatten();
                members == running.len()
                    && voters == [1, 3, 5][(members.clamp(1, 5) - 1) / 2]
                    && links.filter(|link| link["up"] == true).count() + 1 == running.len()
                    && none("down")
                    && none("joining")
                    && status["fully_replicated"] == true
                    && status["leader"].is_string()
            });
        }
    }

    /// Waits until a node sees these down, and no others. Which of two that join at once is let
    /// in first, and so named first, is left to chance.
    pub(crate) fn wait_down(&self, number: usize, down: &[&str]) {
        self.wait(&format!("n{number} sees {down:?} down"), || {
            let Some(status) = self.status(number) else { return false };
            let seen = status["down"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let mut seen: Vec<&str> = seen.collect();
            seen.sort_unstable();
            seen == down
        });
    }
}

/// What is answered over HTTP at an address: the number of the status, and the body.
pub(crate) fn http(address: &str, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let address = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, STATUS_WITHIN).ok()?;
    stream.set_read_timeout(Some(STATUS_WITHIN)).ok()?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
