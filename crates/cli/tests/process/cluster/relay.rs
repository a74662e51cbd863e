//! Links that can be cut where no networks can be made: everything between nodes goes through
//! here, messages and datagrams, and each direction of each pair has its own gate.
//!
//! A node tells the others an address at which the relay takes what is meant for it. Whose
//! datagram it is shows by where it comes from; whose connection, by which process has its other
//! end. Behind a closed gate datagrams are dropped, and what is sent over a connection waits.
//!
//! Holds: everything ends when the relay is dropped.
//!
//! Does not know: what nodes say.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a thread that waits for datagrams looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);

/// Where a node is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Where it listens for others.
    pub(super) real: SocketAddr,
    /// Where it says it does.
    pub(super) said: SocketAddr,
    /// Its folder, which its command line names.
    pub(super) data: PathBuf,
}

/// Which gates are closed, and whether all is over.
#[derive(Default)]
struct Gates {
    closed: Mutex<(BTreeSet<(usize, usize)>, bool)>,
    changed: Condvar,
}

impl Gates {
    fn change(&self, change: impl FnOnce(&mut (BTreeSet<(usize, usize)>, bool))) {
        change(&mut self.closed.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn lets(&self, from: usize, to: usize) -> bool {
        !self.closed.lock().unwrap_or_else(PoisonError::into_inner).0.contains(&(from, to))
    }

    fn is_over(&self) -> bool {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Waits until the gate is open. Whether things go on.
    fn pass(&self, from: usize, to: usize) -> bool {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let shut = |held: &mut (BTreeSet<_>, bool)| held.0.contains(&(from, to)) && !held.1;
        let held = self.changed.wait_while(closed, shut).unwrap_or_else(PoisonError::into_inner);
        !held.1
    }
}

/// What goes between nodes. They are counted from 1.
pub(super) struct Relay {
    gates: Arc<Gates>,
    places: Arc<Vec<Place>>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Takes what is meant for nodes at these places.
    pub(super) fn new(places: Vec<Place>) -> Self {
        let (gates, places) = (Arc::new(Gates::default()), Arc::new(places));
        let bind = |place: &Place| UdpSocket::bind(place.said).expect("the address is ours");
        let datagrams: Arc<Vec<_>> = Arc::new(places.iter().map(bind).collect());
        let mut threads = Vec::new();
        for to in 1..=places.len() {
            let listener = TcpListener::bind(places[to - 1].said).expect("the address is ours");
            let (gates, places) = (Arc::clone(&gates), Arc::clone(&places));
            let (other_gates, other_places) = (Arc::clone(&gates), Arc::clone(&places));
            let datagrams = Arc::clone(&datagrams);
            threads.push(std::thread::spawn(move || accept(&listener, to, &gates, &places)));
            threads.push(std::thread::spawn(move || {
                pass_on(&datagrams, to, &other_gates, &other_places);
            }));
        }
        Self { gates, places, threads }
    }

    pub(super) fn cut(&self, from: usize, to: usize) {
        self.gates.change(|held| {
            held.0.insert((from, to));
        });
    }

    pub(super) fn heal(&self) {
        self.gates.change(|held| held.0.clear());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.gates.change(|held| held.1 = true);
        for place in self.places.iter() {
            // Whoever waits for connections looks up.
            drop(TcpStream::connect(place.said));
        }
        for thread in self.threads.drain(..) {
            let _what_it_found_is_told_by_then = thread.join();
        }
    }
}

/// Hands on datagrams that are meant for `to`.
fn pass_on(sockets: &[UdpSocket], to: usize, gates: &Gates, places: &[Place]) {
    let own = &sockets[to - 1];
    own.set_read_timeout(Some(LOOK)).expect("a time that is not zero");
    let mut bytes = [0; 65_536];
    while !gates.is_over() {
        let Ok((length, from)) = own.recv_from(&mut bytes) else { continue };
        let Some(from) = places.iter().position(|place| place.real == from) else { continue };
        if gates.lets(from + 1, to) {
            // It comes from where the sender says it is. What is lost was a datagram.
            let _lost = sockets[from].send_to(&bytes[..length], places[to - 1].real);
        }
    }
}

/// Takes in connections that are meant for `to`.
fn accept(listener: &TcpListener, to: usize, gates: &Arc<Gates>, places: &[Place]) {
    while let Ok((near, source)) = listener.accept() {
        if gates.is_over() {
            return;
        }
        // Who has gone meanwhile needs no answer.
        let Some(from) = dialer(source, places[to - 1].said, places) else { continue };
        let Ok(far) = TcpStream::connect(places[to - 1].real) else { continue };
        for stream in [&near, &far] {
            let _slower_only = stream.set_nodelay(true);
        }
        let halves = (near.try_clone(), far.try_clone());
        let (Ok(near_too), Ok(far_too)) = halves else { continue };
        for (mut input, mut output, from, to) in
            [(near, far, from, to), (far_too, near_too, to, from)]
        {
            let gates = Arc::clone(gates);
            // They end with the nodes, at the latest.
            std::thread::spawn(move || pump(&mut input, &mut output, || gates.pass(from, to)));
        }
    }
}

fn pump(input: &mut TcpStream, output: &mut TcpStream, pass: impl Fn() -> bool) {
    let mut bytes = [0; 65_536];
    while let Ok(length @ 1..) = input.read(&mut bytes) {
        if !pass() || output.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _gone_already = (input.shutdown(Shutdown::Both), output.shutdown(Shutdown::Both));
}

/// The node whose process has the other end of a connection that came to `near`.
fn dialer(far: SocketAddr, near: SocketAddr, places: &[Place]) -> Option<usize> {
    // As the kernel writes it: the address as a number in memory, and the port.
    let written = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => {
            let number = u32::from_ne_bytes(v4.ip().octets());
            Some(format!("{number:08X}:{:04X}", v4.port()))
        }
        SocketAddr::V6(_) => None,
    };
    // Ports are given again to whoever goes elsewhere, so both ends count.
    let ends = [written(far)?, written(near)?];
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.get(1..3).is_some_and(|found| found == ends))?;
    let socket = format!("socket:[{}]", row.get(9)?);
    for process in fs::read_dir("/proc").ok()?.filter_map(Result::ok) {
        let Ok(words) = fs::read(process.path().join("cmdline")) else { continue };
        let words = String::from_utf8_lossy(&words).into_owned();
        let named = |place: &Place| words.split('\0').any(|word| place.data.as_os_str() == word);
        let Some(node) = places.iter().position(named) else { continue };
        let mut files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        if files.any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*socket)) {
            return Some(node + 1);
        }
    }
    None
}
