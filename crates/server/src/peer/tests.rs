//! Peers over loopback: the suite, who is refused, and what bad input does to a link and to the
//! others.

use super::handshake::{Dialer, Packet};
use super::*;
use crate::listener::{Sniffed, sniff};
use bytes::BytesMut;
use shoal_core::ClusterId;
use shoal_node::transport::conformance::{self, Station, Subject, identity, pair};
use shoal_node::transport::{Denied, MAX_BODY};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LONG: Duration = Duration::from_secs(60);
const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

/// Opens transports on the loopback.
struct Loopback {
    secret: ClusterSecret,
    limits: Limits,
    opened: Mutex<Vec<Arc<TcpTransport>>>,
}

impl Loopback {
    fn new() -> Self {
        let secret = ClusterSecret::generate([6; 32]);
        Self { secret, limits: Limits::default(), opened: Mutex::default() }
    }

    fn setup(&self, identity: Identity) -> Setup {
        Setup { identity, secret: self.secret.clone(), limits: self.limits.clone() }
    }

    /// The transport that was opened as the nth.
    fn nth(&self, nth: usize) -> Arc<TcpTransport> {
        Arc::clone(&self.opened.lock()[nth])
    }
}

impl Subject for Loopback {
    fn open(&self, identity: Identity, serve: Arc<dyn Serve>) -> (Arc<dyn Transport>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let setup = self.setup(identity);
        let opened = TcpTransport::start(Handle::current(), listener, setup, serve);
        let transport = Arc::new(opened.expect("it starts"));
        self.opened.lock().push(Arc::clone(&transport));
        let address = transport.address().to_string();
        (transport, address)
    }
}

/// Waits until something holds that another task is about to do.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn it_passes_the_suite() {
    conformance::run(&Loopback::new()).await;
}

#[test]
fn it_can_be_asked_from_any_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let loopback = Loopback::new();
    let (one, _two) = runtime.block_on(pair(&loopback));
    let (sender, receiver) = std::sync::mpsc::channel();
    let asking: Vec<_> = (0..4_u8)
        .map(|thread| {
            let (sender, transport) = (sender.clone(), Arc::clone(&one.transport));
            std::thread::spawn(move || {
                for number in 0..250_u8 {
                    let sender = sender.clone();
                    let body = Bytes::from(vec![b'e', thread, number]);
                    let expected = body.clone();
                    let reply = Box::new(move |told| sender.send(told == Ok(expected)).unwrap());
                    transport.ask(TWO, Kind::Data, body, LONG, reply);
                }
            })
        })
        .collect();
    drop(sender);
    let answered = runtime.spawn_blocking(move || receiver.iter().filter(|right| *right).count());
    assert_eq!(runtime.block_on(answered).unwrap(), 1_000);
    for thread in asking {
        thread.join().unwrap();
    }
}

#[tokio::test]
async fn one_who_does_not_know_the_secret_is_refused_and_hears_it() {
    let loopback = Loopback::new();
    let one = Station::open(&loopback, identity(1));
    for secret in [ClusterSecret::generate([7; 32]), ClusterSecret::none()] {
        let stranger = Loopback { secret, ..Loopback::new() };
        let two = Station::open(&stranger, identity(2));
        let told = two.introduce(&one.address, b"echo").await;
        assert_eq!(told, Err(Unreachable::Denied(Denied::WrongSecret)));
    }
    let counts = || loopback.nth(0).counts();
    until("both were counted", || counts().refused_by_others(Denied::WrongSecret) == 2).await;
    assert_eq!(one.host.seen(), 0);
}

#[tokio::test]
async fn one_who_asks_where_no_node_listens_hears_where_nodes_do() {
    let loopback = Loopback::new();
    let one = Station::open(&loopback, identity(1));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        // As the port for clients takes it.
        assert_eq!(sniff(&hello), Some(Sniffed::Peer));
        stream.write_all(b"-ERR this port is for clients\r\n").await.unwrap();
    };
    let (told, ()) = tokio::join!(one.introduce(&address, b"echo"), serve);
    assert_eq!(told, Err(Unreachable::Stranger));
    assert!(!Unreachable::Stranger.may_be_done());
}

#[tokio::test]
async fn without_a_secret_only_the_loopback_is_dialled() {
    let public = Loopback { secret: ClusterSecret::none(), ..Loopback::new() };
    let (one, _two) = pair(&public).await;
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
    // An address of the documentation; nothing is sent to it.
    let told = one.introduce("192.0.2.1:7401", b"echo").await;
    assert_eq!(told, Err(Unreachable::Denied(Denied::NotLoopback)));
}

#[tokio::test]
async fn without_a_secret_only_the_loopback_is_taken_in() {
    let loopback = Loopback { secret: ClusterSecret::none(), ..Loopback::new() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let me = Me {
        identity: identity(2),
        boot: 78,
        secret: loopback.secret.clone(),
        protocols: PROTOCOLS,
    };
    for (from, taken) in [
        ("127.0.0.1:9", true),
        ("127.8.8.8:9", true),
        ("[::1]:9", true),
        ("[::ffff:127.0.0.1]:9", true),
        ("192.0.2.1:9", false),
        ("[2001:db8::1]:9", false),
        ("[::ffff:192.0.2.1]:9", false),
    ] {
        let dialled = TcpStream::connect(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        // Says nothing: whoever may speak is waited for.
        drop(dialled);
        let met = meet::greet(stream, from.parse().unwrap(), &me).await;
        let why = met.err().and_then(|why| why.denied());
        assert_eq!(why.is_none(), taken, "{from}: {why:?}");
        assert!(why.is_none_or(|why| why == Denied::NotLoopback));
    }
    let one = Station::open(&loopback, identity(1));
    for address in ["[::ffff:192.0.2.1]:7401", "[2001:db8::1]:7401", "0.0.0.0:7401"] {
        let told = one.introduce(address, b"echo").await;
        assert_eq!(told, Err(Unreachable::Denied(Denied::NotLoopback)), "{address}");
    }
}

#[tokio::test]
async fn without_a_secret_both_families_of_the_loopback_are_taken_in() {
    // A machine may have no addresses of the newer kind.
    let Ok(listener) = TcpListener::bind("[::]:0") else { return };
    let loopback = Loopback { secret: ClusterSecret::none(), ..Loopback::new() };
    let port = listener.local_addr().unwrap().port();
    let listening = Station::open(&On(&loopback, Mutex::new(Some(listener))), identity(2));
    let one = Station::open(&loopback, identity(1));
    for address in [format!("[::1]:{port}"), format!("127.0.0.1:{port}")] {
        assert_eq!(one.introduce(&address, b"echo").await.as_deref(), Ok(&b"echo"[..]));
    }
    assert_eq!(listening.host.seen(), 2);
}

/// Opens one transport on a listener that was bound before.
struct On<'l>(&'l Loopback, Mutex<Option<TcpListener>>);

impl Subject for On<'_> {
    fn open(&self, identity: Identity, serve: Arc<dyn Serve>) -> (Arc<dyn Transport>, String) {
        let listener = self.1.lock().take().expect("it opens once");
        let setup = self.0.setup(identity);
        let opened = TcpTransport::start(Handle::current(), listener, setup, serve);
        let transport = Arc::new(opened.expect("it starts"));
        let address = transport.address().to_string();
        (transport, address)
    }
}

#[tokio::test]
async fn another_node_than_the_one_looked_for_is_no_peer() {
    let loopback = Loopback::new();
    let one = Station::open(&loopback, identity(1));
    let two = Station::open(&loopback, identity(2));
    one.transport.know(NodeId(3), &two.address);
    one.transport.know(ONE, &one.address);
    let failure = |index: usize| one.transport.links().get(index)?.last_failure.clone();
    until("it was refused", || failure(1).is_some_and(|why| why.contains("another node"))).await;
    until("it met itself", || failure(0).is_some_and(|why| why.contains("itself"))).await;
    assert_eq!(one.ask(3, Kind::Data, b"echo", LONG).await, Err(Unreachable::Down));
    assert_eq!(two.host.seen(), 0);
}

#[tokio::test]
async fn the_latest_link_of_a_node_replaces_the_one_before() {
    let loopback = Loopback::new();
    let (mut one, two) = pair(&loopback).await;
    let again = Station::open(&loopback, identity(1));
    again.transport.know(TWO, &two.address);
    // The link of the first is ended there; it dials again, and so on. Both go on to work.
    assert_eq!(one.link().await, (TWO, false));
    let counts = || loopback.nth(1).counts();
    until("it was replaced", || counts().ended(Ending::Replaced) > 0).await;
    again.transport.close();
    until("only one is left", || one.transport.links()[0].up).await;
}

#[tokio::test]
async fn a_link_that_breaks_comes_back_by_itself() {
    let loopback = Loopback::new();
    let (mut one, two) = pair(&loopback).await;
    loopback.nth(1).shared.end_inward(Ending::Broken);
    assert_eq!(one.link().await, (TWO, false));
    assert_eq!(one.link().await, (TWO, true));
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
    let status = &one.transport.links()[0];
    assert_eq!((status.connects, two.host.seen()), (2, 1));
    assert!(status.last_failure.is_some());
}

#[tokio::test]
async fn pings_measure_the_way() {
    let limits = Limits { ping_every: Duration::from_millis(10), ..Limits::default() };
    let loopback = Loopback { limits, ..Loopback::new() };
    let (one, _two) = pair(&loopback).await;
    until("it was measured", || one.transport.links()[0].round_trip.is_some()).await;
}

/// A connection that did its handshake by hand and says what it likes.
struct Raw {
    stream: TcpStream,
    sealer: frame::Sealer,
}

impl Raw {
    async fn open(loopback: &Loopback, identity: Identity, address: &str) -> Self {
        let secret = loopback.secret.clone();
        let me = Me { identity, boot: 77, secret, protocols: PROTOCOLS };
        let within = Duration::from_secs(5);
        let judge = |_| Ok(Admission::Whole);
        let dial = meet::dial(address, me, NodeId(0), within, within, judge);
        let (met, _) = dial.await.expect("it is taken in");
        Self { stream: met.stream, sealer: frame::Sealer::new(met.agreed.send) }
    }

    fn frame(&mut self, kind: Kind, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut pieces = body.chunks(frame::PIECE).peekable();
        while let Some(piece) = pieces.next() {
            let body = Bytes::copy_from_slice(piece);
            let what = frame::What::Question(kind);
            let frame = frame::Frame { what, id: 0, more: pieces.peek().is_some(), body };
            bytes.extend(self.sealer.head(&frame));
            bytes.extend(frame.body);
        }
        bytes
    }

    async fn send(&mut self, bytes: &[u8]) {
        // The other side may have closed already.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Reads until the other side closes.
    async fn closed(&mut self) {
        let mut all = Vec::new();
        let read = self.stream.read_to_end(&mut all);
        let _ = tokio::time::timeout(LONG, read).await.expect("it is closed");
    }
}

#[tokio::test]
async fn bad_frames_end_their_link_by_name_and_disturb_no_other() {
    let loopback = Loopback::new();
    let (one, two) = pair(&loopback).await;
    type Spoil = fn(&mut Vec<u8>);
    let spoils: [(Spoil, Ending); 5] = [
        (|bytes| bytes[0] = 9, Ending::BadFormat),
        (|bytes| bytes[9] ^= 1, Ending::BadChecksum),
        (|bytes| *bytes.last_mut().unwrap() ^= 1, Ending::BadChecksum),
        (|bytes| bytes[30] ^= 1, Ending::Forged),
        (|bytes| bytes.extend_from_within(..), Ending::Forged),
    ];
    let mut expected = BTreeMap::new();
    for (spoil, why) in spoils {
        let mut raw = Raw::open(&loopback, identity(9), &two.address).await;
        let mut bytes = raw.frame(Kind::Data, b"drop");
        spoil(&mut bytes);
        raw.send(&bytes).await;
        raw.closed().await;
        *expected.entry(why.name()).or_insert(0) += 1;
        let counted = || loopback.nth(1).counts().ended(why) == expected[why.name()];
        until("it was counted", counted).await;
        assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
    }
    assert_eq!(one.transport.links()[0].connects, 1, "the other link never went");
}

#[tokio::test]
async fn a_newcomer_that_asks_for_data_is_cut_off() {
    let loopback = Loopback::new();
    let two = Station::open(&loopback, identity(2));
    let nobody = Identity { token: 3, ..Identity::default() };
    let mut raw = Raw::open(&loopback, nobody, &two.address).await;
    let bytes = raw.frame(Kind::Data, b"echo");
    raw.send(&bytes).await;
    raw.closed().await;
    let counts = || loopback.nth(0).counts();
    until("it was counted", || counts().ended(Ending::NotAllowed) == 1).await;
    assert_eq!(two.host.seen(), 0);
}

#[tokio::test]
async fn what_is_no_handshake_is_closed_and_what_is_none_in_time_too() {
    let limits = Limits { handshake: Duration::from_millis(100), ..Limits::default() };
    let loopback = Loopback { limits, ..Loopback::new() };
    let one = Station::open(&loopback, identity(1));
    let counts = || loopback.nth(0).counts();
    for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"*1\r\n$4\r\nPING\r\n", &[0; 5_000]] {
        let mut stream = TcpStream::connect(&one.address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"");
    }
    until("all were counted", || counts().garbled == 3).await;
    let mut silent = TcpStream::connect(&one.address).await.unwrap();
    silent.write_all(b"SHPR").await.unwrap();
    let mut answer = Vec::new();
    let _ = silent.read_to_end(&mut answer).await;
    until("it was counted", || counts().late == 1).await;
}

#[tokio::test]
async fn handshakes_under_way_are_bounded() {
    let limits = Limits { half_open: 2, ..Limits::default() };
    let loopback = Loopback { limits, ..Loopback::new() };
    let one = Station::open(&loopback, identity(1));
    let counts = || loopback.nth(0).counts();
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(TcpStream::connect(&one.address).await.unwrap());
    }
    until("the oldest were cut off", || counts().refused(Denied::Crowded) == 8).await;
    // Whoever knows what to say gets through a crowd that says nothing.
    let two = Station::open(&loopback, identity(2));
    let told = two.introduce(&one.address, b"who").await;
    assert_eq!(told.as_deref(), Ok(&b"n0 control"[..]));
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_cut_off_and_costs_little() {
    let limits = Limits { stalled_after: Duration::from_millis(200), ..Limits::default() };
    let loopback = Loopback { limits, ..Loopback::new() };
    let (one, two) = pair(&loopback).await;
    let mut raw = Raw::open(&loopback, identity(9), &two.address).await;
    let mut body = vec![b'.'; MAX_BODY / 2];
    body[0] = b'e';
    // It asks for more than any socket buffer holds, and never reads.
    for _ in 0..4 {
        let bytes = raw.frame(Kind::Data, &body);
        raw.send(&bytes).await;
    }
    let counts = || loopback.nth(1).counts();
    until("it was found out", || counts().ended(Ending::Stalled) == 1).await;
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await.as_deref(), Ok(&b"echo"[..]));
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_given_up() {
    let quiet = Duration::from_millis(300);
    let limits = Limits { silent_after: quiet, ..Limits::default() };
    let loopback = Loopback { limits, ..Loopback::new() };
    let mut one = Station::open(&loopback, identity(1));
    // It takes the link and then says nothing: no pong, no sign of life, no answer.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    one.transport.know(TWO, &listener.local_addr().unwrap().to_string());
    let secret = loopback.secret.clone();
    let me = Me { identity: identity(2), boot: 78, secret, protocols: PROTOCOLS };
    let (stream, from) = listener.accept().await.unwrap();
    let met = meet::greet(stream, from, &me).await.unwrap().welcome().await.unwrap();
    assert_eq!(one.link().await, (TWO, true));
    assert_eq!(one.ask(2, Kind::Data, b"echo", LONG).await, Err(Unreachable::Lost));
    assert_eq!(one.link().await, (TWO, false));
    assert_eq!(loopback.nth(0).counts().ended(Ending::Silent), 1);
    drop(met);
}

#[tokio::test]
async fn control_does_not_wait_behind_records() {
    let loopback = Loopback::new();
    let (one, _two) = pair(&loopback).await;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let ask = |kind: Kind, body: Vec<u8>| {
        let sender = sender.clone();
        let reply = Box::new(move |told: Result<Bytes, Unreachable>| {
            // Nobody listens once the test is over.
            let _ = sender.send((kind, told.is_ok()));
        });
        one.transport.ask(TWO, kind, Bytes::from(body), LONG, reply);
    };
    let mut record = vec![b'.'; 1 << 20];
    record[0] = b'e';
    for _ in 0..20 {
        ask(Kind::Data, record.clone());
    }
    ask(Kind::Control, b"echo".to_vec());
    let mut before = 0;
    while receiver.recv().await != Some((Kind::Control, true)) {
        before += 1;
    }
    assert!(before < 10, "{before} records were answered before it");
}

/// A small question goes out after what the system has taken of a long one: counted in frames on
/// the wire.
#[tokio::test]
async fn the_longest_body_under_way_holds_a_small_question_up_by_a_few_frames() {
    let loopback = Loopback::new();
    let mut one = Station::open(&loopback, identity(1));
    // The system of the other side takes little ahead of its reader.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 << 10).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap();
    one.transport.know(TWO, &listener.local_addr().unwrap().to_string());
    let secret = loopback.secret.clone();
    let me = Me { identity: identity(2), boot: 78, secret, protocols: PROTOCOLS };
    let (stream, from) = listener.accept().await.unwrap();
    let met = meet::greet(stream, from, &me).await.unwrap().welcome().await.unwrap();
    let Met { mut stream, first, agreed } = met;
    assert_eq!(one.link().await, (TWO, true));
    let mut opener = frame::Opener::new(agreed.receive, first);
    let mut next = async || loop {
        match opener.next().expect("frames are whole") {
            Some(frame::Frame { what: frame::What::Question(kind), more, .. }) => {
                return (kind, more);
            }
            Some(_) => {}
            None => assert!(stream.read_buf(opener.room()).await.unwrap() > 0),
        }
    };
    let _long = one.begin(2, Kind::Data, &vec![b'.'; MAX_BODY]);
    assert_eq!(next().await, (Kind::Data, true));
    let _short = one.begin(2, Kind::Meta, b"echo");
    let mut before = 0;
    while next().await == (Kind::Data, true) {
        before += 1;
    }
    let frames = MAX_BODY / frame::PIECE;
    assert!(before < 16, "{before} of {frames} frames came before it");
}

#[tokio::test]
async fn a_refusal_is_sent_before_the_connection_is_closed() {
    let loopback = Loopback::new();
    let one = Station::open(&loopback, identity(1));
    let secret = loopback.secret.clone();
    let foreign = Identity { cluster: ClusterId(9), ..identity(4) };
    let me = Me { identity: foreign, boot: 5, secret, protocols: PROTOCOLS };
    let (_, hello) = Dialer::hello(me, ONE, [0; 32]);
    let mut stream = TcpStream::connect(&one.address).await.unwrap();
    stream.write_all(&hello.to_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let refused = Packet::cut(&mut BytesMut::from(&answer[..])).unwrap().unwrap();
    assert_eq!(refused, Packet::refused(Denied::ForeignCluster));
    assert_eq!(loopback.nth(0).counts().refused(Denied::ForeignCluster), 1);
}
