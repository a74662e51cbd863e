//! A cluster of processes, each at an address of its own.

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

/// One cluster at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Nodes by number; the node 1 is called `n1`. Those that still run at the end are ended.
pub(crate) struct Rig {
    nodes: Vec<Option<Node>>,
    folder: Folder,
    network: [u8; 4],
    _turn: MutexGuard<'static, ()>,
}

impl Rig {
    /// No node is started yet.
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // An address of its own for every node of every run: a node that is started again finds
        // its ports as it left them, and no other test comes upon them.
        let [.., high, low] = std::process::id().to_be_bytes();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let network = [127, high.max(1), low, count.wrapping_mul(MOST_NODES)];
        let nodes = (0..MOST_NODES).map(|_| None).collect();
        Self { nodes, folder: Folder::new(name), network, _turn: turn }
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
        let [a, b, c, d] = self.network;
        format!("{a}.{b}.{c}.{}", usize::from(d) + number)
    }

    /// Where clients reach a node.
    pub(crate) fn address(&self, number: usize) -> String {
        format!("{}:7400", self.host(number))
    }

    /// Where other nodes reach it.
    pub(crate) fn peer(&self, number: usize) -> String {
        format!("{}:7401", self.host(number))
    }

    /// Where it keeps its files.
    pub(crate) fn data(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("n{number}"))
    }

    /// How a node is started at the place of another, without saying what for.
    pub(crate) fn launch_as(&self, number: usize, name: &str) -> Launch {
        let launch = Launch::new(&self.data(number)).listening(&self.address(number));
        launch.with("--name").with(name)
    }

    /// How a node is started that joins another.
    pub(crate) fn launch_joining(&self, number: usize, name: &str, seed: usize) -> Launch {
        self.launch_as(number, name).with("--join").with(&self.peer(seed))
    }

    /// The command line of a node: the first founds the cluster, the others join it.
    pub(crate) fn launch(&self, number: usize) -> Launch {
        let name = format!("n{number}");
        match number {
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
        let address = self.address(number).parse().expect("an address");
        let mut stream = TcpStream::connect_timeout(&address, STATUS_WITHIN).ok()?;
        stream.set_read_timeout(Some(STATUS_WITHIN)).ok()?;
        let request =
            "GET /_cluster_status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }

    /// Waits until `is` holds.
    pub(crate) fn wait(&self, what: &str, mut is: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is() {
            assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}\n{}", self.logs());
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until each of `running` knows all members of the cluster, sees them up, and
    /// everything is held as often as it should be.
    pub(crate) fn wait_whole(&self, running: &[usize]) {
        for number in running {
            self.wait(&format!("n{number} sees {running:?} and everything whole"), || {
                let Some(status) = self.status(*number) else { return false };
                let none = |what: &str| status[what].as_array().is_some_and(Vec::is_empty);
                let members = status["members"].as_array().map_or(0, Vec::len);
                members == running.len()
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
