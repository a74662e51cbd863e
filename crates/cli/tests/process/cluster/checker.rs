//! Clients that write, delete and read at quorum, all of them the same keys, and the judge of
//! what they are answered.
//!
//! Holds: what a node refuses by a name that says that nothing was done counts as never made, and
//! must not be seen. Answers that mean neither that nor an open outcome are a fault.

use super::register::{Moment, Operation, Register, State, What};
use super::rig::Rig;
use crate::client::Client;
use crate::reply::Reply;
use crate::settings::number;
use fastrand::Rng;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Keys of all clients together: few enough that they often meet at one.
const KEYS: usize = 96;
/// How many nodes hold a key, where there are so many.
const COPIES: usize = 3;
/// How long a client rests whose node does not answer, so that others get on.
const REST: Duration = Duration::from_millis(5);
/// Refusals by which nothing was done.
const UNDONE: [&str; 3] = ["NOQUORUM ", "CONFLICT ", "TRYAGAIN "];

/// How many operations a scenario is judged by at least.
pub(super) fn floor() -> u64 {
    number("SHOAL_CLUSTER_OPERATIONS", 1_000, 20_000)
}

/// What all clients share.
struct Common {
    addresses: Vec<String>,
    keyspace: String,
    /// Whether values go by themselves, so that a read of nothing shows nothing.
    forgets: bool,
    /// Nodes that the odd clients keep away from.
    avoided: Vec<AtomicBool>,
    stop: AtomicBool,
    origin: Instant,
    acknowledged: AtomicU64,
    /// What the odd ones did of it.
    beside: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
}

impl Common {
    /// Now. The clock of the machine, so the same for all clients.
    fn now(&self) -> Moment {
        // No run takes centuries.
        self.origin.elapsed().as_nanos() as Moment + 1
    }
}

/// Clients at work.
pub(super) struct Load {
    common: Arc<Common>,
    clients: Vec<JoinHandle<Worker>>,
}

/// What clients that have stopped know.
pub(super) struct Known {
    common: Arc<Common>,
    registers: Vec<Register>,
    /// Operations that were done and answered.
    pub(super) acknowledged: u64,
}

struct Worker {
    number: usize,
    done: Vec<(usize, Operation)>,
    rng: Rng,
    /// The number of the last write.
    count: u64,
    /// A connection and the place of its node.
    client: Option<(Client, usize)>,
    common: Arc<Common>,
}

impl Load {
    /// Sets `clients` to work on `nodes`.
    pub(super) fn start(rig: &Rig, nodes: &[usize], clients: usize, seed: u64) -> Self {
        Self::start_in(rig, "default", nodes, clients, seed)
    }

    /// The same in a keyspace of this name.
    pub(super) fn start_in(
        rig: &Rig,
        keyspace: &str,
        nodes: &[usize],
        clients: usize,
        seed: u64,
    ) -> Self {
        Self::start_with(rig, (keyspace, false), nodes, clients, seed)
    }

    /// The same in a keyspace of this name that evicts.
    pub(super) fn start_in_cache(
        rig: &Rig,
        keyspace: &str,
        nodes: &[usize],
        clients: usize,
        seed: u64,
    ) -> Self {
        Self::start_with(rig, (keyspace, true), nodes, clients, seed)
    }

    fn start_with(
        rig: &Rig,
        (keyspace, forgets): (&str, bool),
        nodes: &[usize],
        clients: usize,
        seed: u64,
    ) -> Self {
        let common = Arc::new(Common {
            addresses: nodes.iter().map(|number| rig.address(*number)).collect(),
            keyspace: keyspace.to_owned(),
            forgets,
            avoided: nodes.iter().map(|_| AtomicBool::new(false)).collect(),
            stop: AtomicBool::new(false),
            origin: Instant::now(),
            acknowledged: AtomicU64::new(0),
            beside: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        });
        let clients = (0..clients).map(|number| {
            let mut worker = Worker {
                number,
                done: Vec::new(),
                rng: Rng::with_seed(seed ^ number as u64),
                count: 0,
                client: None,
                common: Arc::clone(&common),
            };
            std::thread::spawn(move || {
                while !worker.common.stop.load(Ordering::Relaxed) {
                    worker.step();
                }
                worker
            })
        });
        Self { clients: clients.collect(), common }
    }

    /// Has the odd clients keep away from the node at this place of the list, or not any more.
    pub(super) fn avoid(&self, place: usize, yes: bool) {
        self.common.avoided[place].store(yes, Ordering::Relaxed);
    }

    /// Waits until so many more operations are acknowledged.
    pub(super) fn wait(&self, rig: &Rig, more: u64) {
        let wanted = self.common.acknowledged.load(Ordering::Relaxed) + more;
        self.reach(rig, &self.common.acknowledged, wanted);
    }

    /// The same for the odd clients alone.
    pub(super) fn wait_beside(&self, rig: &Rig, more: u64) {
        let wanted = self.common.beside.load(Ordering::Relaxed) + more;
        self.reach(rig, &self.common.beside, wanted);
    }

    /// Waits until this share, in percent, of all operations that there are to be is done.
    pub(super) fn wait_share(&self, rig: &Rig, percent: u64) {
        self.reach(rig, &self.common.acknowledged, floor() * percent / 100);
    }

    fn reach(&self, rig: &Rig, count: &AtomicU64, wanted: u64) {
        let mut before = 0;
        // However slow the machine is: in vain it is only while nothing is done at all.
        while before < wanted {
            rig.wait("clients get on", || {
                let now = count.load(Ordering::Relaxed);
                // A client that has found something wrong says so when it is joined.
                now > before || self.clients.iter().any(JoinHandle::is_finished)
            });
            if self.clients.iter().any(JoinHandle::is_finished) {
                return;
            }
            before = count.load(Ordering::Relaxed);
        }
    }

    /// Ends the work once there is enough of it to judge by. Panics with what a client found
    /// wrong.
    pub(super) fn finish(self, rig: &Rig) -> Known {
        self.wait_share(rig, 100);
        self.stop(rig)
    }

    /// Ends the work. Panics with what a client found wrong.
    pub(super) fn stop(self, rig: &Rig) -> Known {
        self.common.stop.store(true, Ordering::Relaxed);
        let ended: Vec<_> = self.clients.into_iter().map(JoinHandle::join).collect();
        assert!(ended.iter().all(Result::is_ok), "a client found something wrong\n{}", rig.logs());
        let mut registers = vec![Register::default(); KEYS];
        for (place, operation) in ended.into_iter().flatten().flat_map(|worker| worker.done) {
            registers[place].note(operation);
        }
        let acknowledged = self.common.acknowledged.load(Ordering::Relaxed);
        Known { common: self.common, registers, acknowledged }
    }
}

impl Known {
    /// Reads every key at quorum through each of `nodes`, judges all that was ever read, and waits
    /// until the copies of `nodes` are the same, record by record.
    pub(super) fn check(&mut self, rig: &Rig, nodes: &[usize]) {
        let mut last = vec![None; KEYS];
        for node in nodes {
            let mut client = rig.client(*node);
            let chosen = client.line(&format!("USE {}", self.common.keyspace));
            assert_eq!(chosen.expect("it answers"), Reply::ok());
            for (place, register) in self.registers.iter_mut().enumerate() {
                let begun = self.common.now();
                let answer = client.line(&format!("AT quorum GET {}", key(place)));
                let answer = answer.expect("it answers");
                let Some(state) = state_of(&answer) else {
                    panic!("n{node} answered {answer:?} for {}\n{}", key(place), rig.logs())
                };
                let ended = self.common.now();
                register.note(Operation { what: What::Saw, state, begun, ended });
                last[place] = state;
            }
        }
        self.judge(rig);
        for (place, state) in last.into_iter().enumerate() {
            self.compare(rig, nodes, place, state);
        }
    }

    /// Judges all that was ever read.
    pub(super) fn judge(&self, rig: &Rig) {
        for (place, register) in self.registers.iter().enumerate() {
            if let Err(why) = register.judge() {
                panic!("{}: {why}\n{}", key(place), rig.logs());
            }
        }
    }

    /// Waits until every one of `nodes` has the same record, and it says `state`.
    fn compare(&self, rig: &Rig, nodes: &[usize], place: usize, state: State) {
        let path = format!("/v1/keyspaces/{}/explain/{}", self.common.keyspace, key(place));
        rig.wait(&format!("the copies of {} are the same and say {state:?}", key(place)), || {
            let Some(explained) = rig.get(nodes[0], &path) else { return false };
            let replicas = explained["replicas"].as_array().into_iter().flatten();
            let held: Vec<_> = replicas.filter(|replica| replica["up"] == true).collect();
            if held.len() != nodes.len().min(COPIES) {
                return false;
            }
            let fields = ["holds", "version", "written", "expires_at"];
            let same = |one: &&Value| fields.iter().all(|field| one[field] == held[0][field]);
            let says = |one: &&Value| (one["holds"] == "value") == state.is_some();
            held.iter().all(same) && held.iter().all(says) && held[0]["holds"] != "unknown"
        });
        // Records of one version are told apart by their values.
        for node in nodes {
            let mut client = rig.client(*node);
            client.line(&format!("USE {}", self.common.keyspace)).expect("it answers");
            let found = client.line(&format!("AT one GET {}", key(place))).expect("it answers");
            assert_eq!(state_of(&found), Some(state), "n{node}, {}\n{}", key(place), rig.logs());
        }
    }

    /// One line about the run.
    pub(super) fn summary(&self) -> String {
        let Common { refused, unknown, .. } = &*self.common;
        let (refused, unknown) = (refused.load(Ordering::Relaxed), unknown.load(Ordering::Relaxed));
        let done = self.acknowledged;
        format!("{done} operations acknowledged, {refused} refused, {unknown} unknown")
    }
}

fn key(place: usize) -> String {
    format!("key:{place}")
}

impl Worker {
    /// One operation at a node that answers.
    fn step(&mut self) {
        let Some((mut client, at)) = self.connect() else {
            std::thread::sleep(REST);
            return;
        };
        let place = self.rng.usize(..KEYS);
        let key = key(place);
        let (command, wanted) = match self.rng.u8(..10) {
            0..5 => {
                self.count += 1;
                let value = (self.number as u64) << 32 | self.count;
                (format!("SET {key} {value}"), Some(Some(value)))
            }
            5 => (format!("DEL {key}"), Some(None)),
            _ => (format!("GET {key}"), None),
        };
        let begun = self.common.now();
        let answer = client.line(&command);
        let ended = self.common.now();
        let forgets = self.common.forgets;
        let mut note = |what, state| {
            if !forgets || (what, state) != (What::Saw, None) {
                self.done.push((place, Operation { what, state, begun, ended }));
            }
        };
        match (answer, wanted) {
            (Ok(Reply::Error(text)), _) if UNDONE.iter().any(|code| text.starts_with(code)) => {
                self.common.refused.fetch_add(1, Ordering::Relaxed);
            }
            (Ok(Reply::Error(text)), wanted) => {
                let node = &self.common.addresses[at];
                assert!(text.starts_with("UNKNOWN "), "{node} answered {command} with {text}");
                self.common.unknown.fetch_add(1, Ordering::Relaxed);
                wanted.into_iter().for_each(|state| note(What::Open, state));
            }
            // The connection is of no use any more.
            (Err(_), wanted) => {
                wanted.into_iter().for_each(|state| note(What::Open, state));
                return;
            }
            (Ok(answer), wanted) => {
                match (wanted, &answer) {
                    // What was missed is removed all the same.
                    (Some(None), Reply::Integer(0)) if !forgets => note(What::Saw, None),
                    (Some(state), _) => note(What::Wrote, state),
                    (None, _) => {
                        let Some(state) = state_of(&answer) else { panic!("{key}: {answer:?}") };
                        note(What::Saw, state);
                    }
                }
                self.count();
            }
        }
        // Another node every now and then.
        if self.rng.u8(..8) != 0 {
            self.client = Some((client, at));
        }
    }

    fn count(&self) {
        self.common.acknowledged.fetch_add(1, Ordering::Relaxed);
        if self.number % 2 == 1 {
            self.common.beside.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn connect(&mut self) -> Option<(Client, usize)> {
        let may = |at: usize| {
            self.number.is_multiple_of(2) || !self.common.avoided[at].load(Ordering::Relaxed)
        };
        if let Some(held) = self.client.take().filter(|(_, at)| may(*at)) {
            return Some(held);
        }
        let at = self.rng.usize(..self.common.addresses.len());
        if !may(at) {
            return None;
        }
        let mut client = Client::connect(&self.common.addresses[at]).ok()?;
        let chosen = client.line(&format!("USE {}", self.common.keyspace)).ok()?;
        (chosen == Reply::ok()).then_some((client, at))
    }
}

/// What a GET found.
fn state_of(answer: &Reply) -> Option<State> {
    match answer {
        Reply::Nil(_) => Some(None),
        Reply::Bulk(bytes) => Some(Some(std::str::from_utf8(bytes).ok()?.parse().ok()?)),
        _ => None,
    }
}
