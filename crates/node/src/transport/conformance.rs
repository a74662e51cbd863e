//! The suite that every transport passes: the contract's promises, as tests.
//!
//! Checks who hears what: every question one answer, each refusal by its name, and whether it may
//! have been done. What only one transport can do (cuts in memory, damage on a wire) is tested
//! with it.
//!
//! Does not know: how a transport is made; a [`Subject`] does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "to fail is how a test answers")]

mod standing;

use super::{
    Admission, Answerer, Denied, Identity, Kind, LinkStatus, MAX_BODY, Serve, Transport,
    Unreachable,
};
use bytes::Bytes;
use parking_lot::Mutex;
use shoal_core::{ClusterId, NodeId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How a transport is made.
pub trait Subject {
    /// Opens a transport and tells the address at which others find it.
    fn open(&self, identity: Identity, serve: Arc<dyn Serve>) -> (Arc<dyn Transport>, String);
}

/// More patience than a test should ever need.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(150);

const CLUSTER: ClusterId = ClusterId(0xc1);

/// Who node `n` of the suite's cluster is.
#[must_use]
pub const fn identity(n: u32) -> Identity {
    Identity { cluster: CLUSTER, node: NodeId(n), token: 1_000 + n as u64 }
}

/// A node of the suite. It answers by what the question begins with: `e` with the same again, `d`
/// not at all, `k` never (it keeps the question), `w` with who asked and what kind it was.
pub struct Host {
    denied: Mutex<Option<Denied>>,
    control_only: Mutex<bool>,
    /// Tokens that are not on record.
    stale: Mutex<BTreeSet<u64>>,
    kept: Mutex<Vec<Answerer>>,
    seen: Mutex<Vec<Bytes>>,
    /// Held, as a node holds its transport.
    holds: Mutex<Option<Arc<dyn Transport>>>,
    links: mpsc::UnboundedSender<(NodeId, bool)>,
}

impl Host {
    fn answer(&self, body: Bytes, who: &str, answer: Answerer) {
        self.seen.lock().push(body.clone());
        match body.first() {
            Some(b'e') => answer.send(body),
            Some(b'w') => answer.send(Bytes::from(who.to_owned())),
            Some(b'k') => self.kept.lock().push(answer),
            _ => drop(answer),
        }
    }

    /// Lets go of the questions it kept, unanswered.
    pub fn let_go(&self) {
        let kept = std::mem::take(&mut *self.kept.lock());
        drop(kept);
    }

    /// How many questions came to it.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.seen.lock().len()
    }

    /// Denies everybody from now on, or nobody.
    pub fn deny(&self, why: Option<Denied>) {
        *self.denied.lock() = why;
    }

    /// Takes whoever presents this token for stale from now on, or no longer.
    pub fn take_for_stale(&self, token: u64, stale: bool) {
        let mut tokens = self.stale.lock();
        if stale {
            tokens.insert(token)
        } else {
            tokens.remove(&token)
        };
    }

    /// Lets others in for control only from now on, or for everything.
    pub fn let_in_for_control_only(&self, only: bool) {
        *self.control_only.lock() = only;
    }
}

impl Serve for Host {
    fn serve(&self, from: NodeId, kind: Kind, body: Bytes, answer: Answerer) {
        self.answer(body, &format!("{from} {}", kind.name()), answer);
    }

    fn admit(&self, who: Identity) -> Result<Admission, Denied> {
        let stale = self.stale.lock().contains(&who.token).then_some(Denied::StaleNode);
        let denied = self.denied.lock().or(stale);
        let control_only = who.node.0 == 0 || *self.control_only.lock();
        let admission = if control_only { Admission::ControlOnly } else { Admission::Whole };
        denied.map_or(Ok(admission), Err)
    }

    fn linked(&self, node: NodeId, up: bool) {
        // The test may be over.
        let _ = self.links.send((node, up));
    }
}

/// A node of the suite with its transport.
pub struct Station {
    /// What carries its questions.
    pub transport: Arc<dyn Transport>,
    /// Where it is found.
    pub address: String,
    /// What answers.
    pub host: Arc<Host>,
    links: mpsc::UnboundedReceiver<(NodeId, bool)>,
}

impl Station {
    /// Opens one.
    pub fn open(subject: &impl Subject, identity: Identity) -> Self {
        let (sender, links) = mpsc::unbounded_channel();
        let host = Arc::new(Host {
            denied: Mutex::default(),
            control_only: Mutex::default(),
            stale: Mutex::default(),
            holds: Mutex::default(),
            kept: Mutex::default(),
            seen: Mutex::default(),
            links: sender,
        });
        let (transport, address) = subject.open(identity, Arc::clone(&host) as Arc<dyn Serve>);
        Self { transport, address, host, links }
    }

    /// Waits for the next time that a link comes up or goes.
    pub async fn link(&mut self) -> (NodeId, bool) {
        tokio::time::timeout(LONG, self.links.recv()).await.expect("in time").expect("it lives")
    }

    /// Waits until what the transport says of its first link is so.
    pub async fn until(&self, what: &str, so: impl Fn(&LinkStatus) -> bool) {
        let wait = async {
            while !self.transport.links().first().is_some_and(&so) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LONG, wait).await.unwrap_or_else(|_| panic!("{what}"));
    }

    /// Begins to ask; the receiver hears what comes of it.
    pub fn begin(
        &self,
        to: u32,
        kind: Kind,
        body: &[u8],
    ) -> oneshot::Receiver<Result<Bytes, Unreachable>> {
        let (sender, receiver) = oneshot::channel();
        // Nobody listens once the test is over.
        let reply = Box::new(move |told| drop(sender.send(told)));
        self.transport.ask(NodeId(to), kind, Bytes::copy_from_slice(body), LONG, reply);
        receiver
    }

    /// Asks, and waits for what comes of it.
    pub async fn ask(
        &self,
        to: u32,
        kind: Kind,
        body: &[u8],
        patience: Duration,
    ) -> Result<Bytes, Unreachable> {
        let (sender, receiver) = oneshot::channel();
        let reply = Box::new(move |told| sender.send(told).unwrap());
        let body = Bytes::copy_from_slice(body);
        self.transport.ask(NodeId(to), kind, body, patience, reply);
        receiver.await.expect("every question is answered")
    }

    /// Introduces itself, and waits for what comes of it.
    pub async fn introduce(&self, address: &str, body: &[u8]) -> Result<Bytes, Unreachable> {
        let (sender, receiver) = oneshot::channel();
        let reply = Box::new(move |told| sender.send(told).unwrap());
        self.transport.introduce(address, Bytes::copy_from_slice(body), LONG, reply);
        receiver.await.expect("every question is answered")
    }
}

/// Two nodes that can ask each other.
pub async fn pair(subject: &impl Subject) -> (Station, Station) {
    let mut one = Station::open(subject, identity(1));
    let mut two = Station::open(subject, identity(2));
    one.transport.know(NodeId(2), &two.address);
    two.transport.know(NodeId(1), &one.address);
    assert_eq!(one.link().await, (NodeId(2), true));
    assert_eq!(two.link().await, (NodeId(1), true));
    (one, two)
}

/// Runs the whole suite.
pub async fn run(subject: &impl Subject) {
    questions_are_answered(subject).await;
    many_questions_find_their_own_answers(subject).await;
    long_bodies_arrive_whole_and_longer_ones_are_refused(subject).await;
    what_is_not_answered_is_told_by_name(subject).await;
    a_full_share_leaves_the_others_theirs(subject).await;
    a_forgotten_node_is_unknown_and_comes_back(subject).await;
    closing_tells_everybody(subject).await;
    strangers_are_refused_by_name(subject).await;
    a_newcomer_can_introduce_itself_and_no_more(subject).await;
    a_member_that_is_not_on_record_waits_for_it(subject).await;
    another_identity_ends_the_links(subject).await;
    standing::run(subject).await;
}

async fn questions_are_answered(subject: &impl Subject) {
    let (one, two) = pair(subject).await;
    for kind in Kind::ALL {
        assert_eq!(one.ask(2, kind, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
        let who = format!("n1 {}", kind.name());
        assert_eq!(one.ask(2, kind, b"who", LONG).await.as_deref(), Ok(who.as_bytes()));
    }
    assert_eq!(two.ask(1, Kind::Data, b"who", LONG).await.as_deref(), Ok(&b"n2 data"[..]));
    let status = &one.transport.links()[0];
    assert_eq!((status.node, status.up, status.connects), (NodeId(2), true, 1));
    assert_eq!((status.asked, status.answered, status.unanswered), (8, 8, 0));
    assert_eq!(two.host.seen(), 8);
}

async fn many_questions_find_their_own_answers(subject: &impl Subject) {
    let (one, _two) = pair(subject).await;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    for number in 0..2_000_u32 {
        let kind = Kind::ALL[number as usize % 4];
        // Some of them long, so that short ones come between.
        let mut body = format!("e{number} ").into_bytes();
        body.resize(body.len() + if number % 50 == 0 { 40_000 } else { 0 }, b'.');
        let sender = sender.clone();
        let expected = Bytes::from(body);
        let asked = expected.clone();
        let reply = Box::new(move |told: Result<Bytes, Unreachable>| {
            sender.send((number, told == Ok(expected))).unwrap();
        });
        one.transport.ask(NodeId(2), kind, asked, LONG, reply);
    }
    drop(sender);
    let mut answered = BTreeSet::new();
    while let Some((number, right)) = receiver.recv().await {
        assert!(right, "question {number}");
        assert!(answered.insert(number), "question {number} was answered twice");
    }
    assert_eq!(answered.len(), 2_000);
}

async fn long_bodies_arrive_whole_and_longer_ones_are_refused(subject: &impl Subject) {
    let (one, _two) = pair(subject).await;
    let mut body: Vec<u8> = (0..=250).cycle().take(MAX_BODY).collect();
    body[0] = b'e';
    let told = one.ask(2, Kind::Data, &body, LONG).await;
    assert!(told.as_deref() == Ok(&body[..]), "{:?}", told.err());
    body.push(0);
    assert_eq!(one.ask(2, Kind::Data, &body, LONG).await, Err(Unreachable::TooLong));
    assert_eq!(one.ask(2, Kind::Data, b"", LONG).await, Err(Unreachable::Failed));
    // Several of several kinds at the same time, and short ones beside them.
    body.pop();
    let long = Kind::ALL.map(|kind| (kind, one.begin(2, kind, &body[..5 << 20])));
    let short = Kind::ALL.map(|kind| one.begin(2, kind, b"echo"));
    for told in short {
        assert_eq!(told.await, Ok(Ok(Bytes::from_static(b"echo"))));
    }
    for (kind, told) in long {
        let told = told.await.expect("every question is answered");
        assert!(told.as_deref() == Ok(&body[..5 << 20]), "{}: {:?}", kind.name(), told.err());
    }
}

async fn what_is_not_answered_is_told_by_name(subject: &impl Subject) {
    let (one, mut two) = pair(subject).await;
    assert_eq!(one.ask(3, Kind::Data, b"echo", LONG).await, Err(Unreachable::Unknown));
    assert_eq!(one.ask(2, Kind::Data, b"drop", LONG).await, Err(Unreachable::Failed));
    assert_eq!(one.ask(2, Kind::Data, b"keep", SHORT).await, Err(Unreachable::Late));
    // The late answer comes to nobody, and harms nothing.
    two.host.let_go();
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
    one.transport.close();
    assert_eq!(two.link().await, (NodeId(1), false));
    assert_eq!(two.ask(1, Kind::Data, b"echo", LONG).await, Err(Unreachable::Down));
    assert!(!two.transport.links()[0].up);
}

async fn a_full_share_leaves_the_others_theirs(subject: &impl Subject) {
    let (one, two) = pair(subject).await;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let mut asked = 0;
    loop {
        let sender = sender.clone();
        let reply = Box::new(move |told| {
            // Nobody listens once the test is over.
            let _ = sender.send(told);
        });
        one.transport.ask(NodeId(2), Kind::Data, Bytes::from_static(b"keep"), LONG, reply);
        asked += 1;
        if let Ok(told) = receiver.try_recv() {
            assert_eq!(told, Err(Unreachable::Busy), "after {asked}");
            break;
        }
        assert!(asked < 1_000_000, "there must be a bound");
    }
    for kind in [Kind::Control, Kind::Meta, Kind::Forward] {
        assert_eq!(one.ask(2, kind, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
    }
    // The bound holds, and what is answered makes room.
    while two.host.seen() < asked - 1 + 3 {
        tokio::task::yield_now().await;
    }
    two.host.let_go();
    for _ in 1..asked {
        assert_eq!(receiver.recv().await, Some(Err(Unreachable::Failed)));
    }
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
}

async fn a_forgotten_node_is_unknown_and_comes_back(subject: &impl Subject) {
    let (mut one, mut two) = pair(subject).await;
    let (sender, receiver) = oneshot::channel();
    let reply = Box::new(move |told| sender.send(told).unwrap());
    one.transport.ask(NodeId(2), Kind::Data, Bytes::from_static(b"keep"), LONG, reply);
    while two.host.seen() == 0 {
        tokio::task::yield_now().await;
    }
    two.host.deny(Some(Denied::UnknownNode));
    one.host.deny(Some(Denied::UnknownNode));
    one.transport.forget(NodeId(2));
    assert_eq!(receiver.await, Ok(Err(Unreachable::Lost)));
    assert_eq!(one.link().await, (NodeId(2), false));
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await, Err(Unreachable::Unknown));
    assert_eq!(two.link().await, (NodeId(1), false));
    assert!(one.transport.links().is_empty());
    // Known and admitted again, both sides find each other without being told more.
    two.host.deny(None);
    one.host.deny(None);
    one.transport.know(NodeId(2), &two.address);
    assert_eq!(one.link().await, (NodeId(2), true));
    assert_eq!(two.link().await, (NodeId(1), true));
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
    assert_eq!(two.ask(1, Kind::Data, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
}

async fn closing_tells_everybody(subject: &impl Subject) {
    let (one, mut two) = pair(subject).await;
    let mut waiting = Vec::new();
    for station in [&one, &two] {
        let (sender, receiver) = oneshot::channel();
        let to = if waiting.is_empty() { 2 } else { 1 };
        let reply = Box::new(move |told| sender.send(told).unwrap());
        station.transport.ask(NodeId(to), Kind::Data, Bytes::from_static(b"keep"), LONG, reply);
        waiting.push(receiver);
    }
    while one.host.seen() + two.host.seen() < 2 {
        tokio::task::yield_now().await;
    }
    one.transport.close();
    for receiver in waiting {
        let told = receiver.await.expect("every question is answered");
        assert!(told.as_ref().is_err_and(|why| why.may_be_done()), "{told:?}");
    }
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await, Err(Unreachable::Closed));
    assert_eq!(one.introduce(&two.address, b"echo").await, Err(Unreachable::Closed));
    assert_eq!(two.link().await, (NodeId(1), false));
    // The same node elsewhere, with its next token, is found once it is known to be there.
    let next = Identity { token: 2_000, ..identity(1) };
    let again = Station::open(subject, next);
    two.transport.know(NodeId(1), &again.address);
    assert_eq!(two.link().await, (NodeId(1), true));
    assert_eq!(two.ask(1, Kind::Data, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
}

async fn strangers_are_refused_by_name(subject: &impl Subject) {
    let one = Station::open(subject, identity(1));
    let foreign = Identity { cluster: ClusterId(7), ..identity(2) };
    let two = Station::open(subject, foreign);
    let told = two.introduce(&one.address, b"echo").await;
    assert_eq!(told, Err(Unreachable::Denied(Denied::ForeignCluster)));
    let told = one.introduce(&one.address, b"echo").await;
    assert_eq!(told, Err(Unreachable::Denied(Denied::SelfConnection)));
    for why in [Denied::UnknownNode, Denied::StaleNode] {
        one.host.deny(Some(why));
        let newcomer = Station::open(subject, Identity { token: 9, ..Identity::default() });
        let told = newcomer.introduce(&one.address, b"echo").await;
        assert_eq!(told, Err(Unreachable::Denied(why)));
    }
    assert_eq!(one.host.seen(), 0);
}

async fn a_newcomer_can_introduce_itself_and_no_more(subject: &impl Subject) {
    let one = Station::open(subject, identity(1));
    let nobody = Identity { token: 5, ..Identity::default() };
    let newcomer = Station::open(subject, nobody);
    let told = newcomer.introduce(&one.address, b"who").await;
    assert_eq!(told.as_deref(), Ok(&b"n0 control"[..]));
    assert_eq!(newcomer.introduce(&one.address, b"drop").await, Err(Unreachable::Failed));
    newcomer.transport.know(NodeId(1), &one.address);
    let told = newcomer.ask(1, Kind::Data, b"echo", SHORT).await;
    assert_eq!(told, Err(Unreachable::Down), "without an id there is no link");
    assert_eq!(one.host.seen(), 2);
}

async fn a_member_that_is_not_on_record_waits_for_it(subject: &impl Subject) {
    let mut one = Station::open(subject, identity(1));
    let two = Station::open(subject, identity(2));
    *two.host.control_only.lock() = true;
    one.transport.know(NodeId(2), &two.address);
    assert_eq!(one.link().await, (NodeId(2), true));
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await, Err(Unreachable::Busy));
    assert_eq!(one.ask(2, Kind::Control, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
    *two.host.control_only.lock() = false;
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
    assert_eq!(one.transport.links()[0].connects, 1);
}

async fn another_identity_ends_the_links(subject: &impl Subject) {
    let mut newcomer = Station::open(subject, Identity { token: 5, ..Identity::default() });
    let mut one = Station::open(subject, identity(1));
    newcomer.transport.know(NodeId(1), &one.address);
    one.transport.know(NodeId(2), &newcomer.address);
    newcomer.transport.assume(identity(2));
    assert_eq!(newcomer.link().await, (NodeId(1), true));
    assert_eq!(one.link().await, (NodeId(2), true));
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
    newcomer.transport.assume(identity(3));
    assert_eq!(newcomer.link().await, (NodeId(1), false));
    assert_eq!(one.link().await, (NodeId(2), false));
    assert_eq!(newcomer.link().await, (NodeId(1), true));
    assert_eq!(newcomer.ask(1, Kind::Data, b"who", LONG).await.as_deref(), Ok(&b"n3 data"[..]));
}
