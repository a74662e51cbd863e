//! Clients that write and read at quorum, and the judge of what they are answered.
//!
//! Every key is written by one client, one write after the other, through whichever node. So a
//! read must find the last write that was acknowledged, or one whose outcome was never told: that
//! one may be seen, overwritten and seen again for ever, but once it was seen, what was before it
//! is not.
//!
//! Holds: `NOQUORUM` says that nothing was sent, so the write counts as never made.

use super::rig::Rig;
use crate::client::{Client, Words};
use crate::reply::Reply;
use fastrand::Rng;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Keys of each client.
const KEYS: usize = 40;
/// How long a client rests whose node does not answer, so that others get on.
const REST: Duration = Duration::from_millis(5);

/// What a key may hold: a numbered value, or nothing.
type State = Option<u64>;

/// The history of a key.
#[derive(Debug, Default)]
struct History {
    /// The last that was acknowledged, or seen since.
    last: State,
    /// Those whose outcome was not told.
    open: BTreeSet<State>,
    /// The number of the last write.
    count: u64,
}

impl History {
    fn judge(&mut self, found: State) -> bool {
        if found == self.last {
            return true;
        }
        let possible = self.open.contains(&found);
        self.last = found;
        possible
    }
}

/// What all clients share.
struct Common {
    addresses: Vec<String>,
    /// Nodes that the odd clients keep away from.
    avoided: Vec<AtomicBool>,
    stop: AtomicBool,
    acknowledged: AtomicU64,
    /// What the odd ones did of it.
    beside: AtomicU64,
}

/// Clients at work.
pub(crate) struct Load {
    common: Arc<Common>,
    clients: Vec<JoinHandle<Worker>>,
}

/// What clients that have stopped know.
pub(crate) struct Known {
    workers: Vec<Worker>,
    /// Operations that were answered.
    pub(crate) acknowledged: u64,
}

struct Worker {
    number: usize,
    keys: Vec<History>,
    rng: Rng,
    /// A connection and the place of its node.
    client: Option<(Client, usize)>,
    common: Arc<Common>,
}

impl Load {
    /// Sets `clients` to work on `nodes`.
    pub(crate) fn start(rig: &Rig, nodes: &[usize], clients: usize, seed: u64) -> Self {
        let common = Arc::new(Common {
            addresses: nodes.iter().map(|number| rig.address(*number)).collect(),
            avoided: nodes.iter().map(|_| AtomicBool::new(false)).collect(),
            stop: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            beside: AtomicU64::new(0),
        });
        let clients = (0..clients).map(|number| {
            let mut worker = Worker {
                number,
                keys: (0..KEYS).map(|_| History::default()).collect(),
                rng: Rng::with_seed(seed ^ number as u64),
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
    pub(crate) fn avoid(&self, place: usize, yes: bool) {
        self.common.avoided[place].store(yes, Ordering::Relaxed);
    }

    /// Waits until so many more operations are acknowledged.
    pub(crate) fn wait(&self, rig: &Rig, more: u64) {
        self.wait_for(rig, &self.common.acknowledged, more);
    }

    /// The same for the odd clients alone.
    pub(crate) fn wait_beside(&self, rig: &Rig, more: u64) {
        self.wait_for(rig, &self.common.beside, more);
    }

    fn wait_for(&self, rig: &Rig, count: &AtomicU64, more: u64) {
        let wanted = count.load(Ordering::Relaxed) + more;
        rig.wait("clients get on", || {
            // A client that has found something wrong says so when it is joined.
            count.load(Ordering::Relaxed) >= wanted
                || self.clients.iter().any(JoinHandle::is_finished)
        });
    }

    /// Ends the work. Panics with what a client found wrong.
    pub(crate) fn stop(self, rig: &Rig) -> Known {
        self.common.stop.store(true, Ordering::Relaxed);
        let ended: Vec<_> = self.clients.into_iter().map(JoinHandle::join).collect();
        assert!(ended.iter().all(Result::is_ok), "a client found something wrong\n{}", rig.logs());
        let workers = ended.into_iter().flatten().collect();
        Known { workers, acknowledged: self.common.acknowledged.load(Ordering::Relaxed) }
    }
}

impl Known {
    /// Reads every key at quorum from each of `nodes`, and waits until the copy of each holds the
    /// same.
    pub(crate) fn check(&mut self, rig: &Rig, nodes: &[usize]) {
        for node in nodes {
            let mut client = rig.client(*node);
            for worker in &mut self.workers {
                worker.check(&mut client, &format!("n{node}"));
            }
        }
        for node in nodes {
            let mut client = rig.client(*node);
            for (key, last) in self.workers.iter().flat_map(Worker::last) {
                rig.wait(&format!("n{node} itself holds {last:?} in {key}"), || {
                    let found = client.line(&format!("AT one GET {key}")).expect("it answers");
                    state_of(&found).expect("a copy that is whole") == last
                });
            }
        }
    }
}

impl Worker {
    fn key(&self, place: usize) -> String {
        format!("key:{}:{place}", self.number)
    }

    fn last(&self) -> impl Iterator<Item = (String, State)> + '_ {
        self.keys.iter().enumerate().map(|(place, history)| (self.key(place), history.last))
    }

    fn check(&mut self, client: &mut Client, node: &str) {
        for place in 0..self.keys.len() {
            let key = self.key(place);
            let answer = client.line(&format!("AT quorum GET {key}")).expect("it answers");
            self.judge(place, &answer, node);
        }
    }

    fn judge(&mut self, place: usize, answer: &Reply, node: &str) {
        let key = self.key(place);
        let Some(found) = state_of(answer) else { panic!("{node}, {key}: {answer:?}") };
        let before = format!("{:?}", self.keys[place]);
        let fine = self.keys[place].judge(found);
        assert!(fine, "{node} answered {found:?} for {key}; known was {before}");
    }

    /// One operation at a node that answers.
    fn step(&mut self) {
        let Some((mut client, at)) = self.connect() else {
            std::thread::sleep(REST);
            return;
        };
        let place = self.rng.usize(..self.keys.len());
        let key = self.key(place);
        let history = &mut self.keys[place];
        let (command, wanted) = match self.rng.u8(..10) {
            0..5 => {
                history.count += 1;
                (format!("SET {key} {}", history.count), Some(Some(history.count)))
            }
            5 => (format!("DEL {key}"), Some(None)),
            _ => (format!("GET {key}"), None),
        };
        let words: Words = crate::client::words(&command);
        let answer = client.ask(&words);
        let node = self.common.addresses[at].clone();
        match (answer, wanted) {
            (Ok(Reply::Error(text)), _) if text.starts_with("NOQUORUM") => {}
            // A first node that was alone a moment ago may have to wait for its own clock.
            (Ok(Reply::Error(text)), Some(_)) if text.starts_with("ERR the clock is ") => {}
            (Ok(Reply::Error(text)), wanted) => {
                let known = ["UNKNOWN", "TRYAGAIN"].iter().any(|code| text.starts_with(code));
                assert!(known, "{node} answered {command} with {text}");
                self.keys[place].open.extend(wanted);
            }
            // The connection is of no use any more.
            (Err(_), wanted) => {
                self.keys[place].open.extend(wanted);
                return;
            }
            (Ok(answer), None) => {
                self.judge(place, &answer, &node);
                self.count();
            }
            (Ok(_), Some(state)) => {
                self.keys[place].last = state;
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
        Some((Client::connect(&self.common.addresses[at]).ok()?, at))
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

#[test]
fn a_stale_or_lost_value_is_noticed_and_an_open_one_allowed() {
    let mut history = History { last: Some(4), ..History::default() };
    assert!(history.judge(Some(4)));
    assert!(!history.judge(Some(3)), "stale");
    let mut history = History { last: Some(4), open: [Some(5), None].into(), count: 5 };
    assert!(history.judge(Some(5)), "it may have been made");
    assert!(!history.judge(Some(4)), "a later one was seen already");
    let mut history = History { last: Some(4), ..History::default() };
    assert!(!history.judge(None), "lost");
}
