//! More connections than any process may open: the limit holds, and those who administer get in.
//!
//! The sockets are opened by processes of their own, since one process may rarely have as many
//! descriptors; where even that is not allowed, the test says loudly what was possible.

use crate::support::{Connection, Host};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Sockets in all.
const SOCKETS: usize = 20_000;

/// The processes that open them.
const PARTS: usize = 2;

/// What the server allows.
const ALLOWED: usize = 10_000;

/// Descriptors that a process needs beside its share of the sockets.
const OTHERS: usize = 1_200;

/// Where the flood goes.
const ADDRESS: &str = "SHOAL_TEST_FLOOD";

/// Raises the limit of descriptors as far as this process may; what it is then.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let have = setrlimit(Resource::Nofile, raised).map_or(limit.current, |()| limit.maximum);
    have.map_or(usize::MAX, |have| usize::try_from(have).unwrap_or(usize::MAX))
}

/// Opens its share of the sockets, half of them silent and half in the middle of a command, and
/// holds them until its input ends.
#[test]
#[ignore = "a part of the flood below, which starts it in a process of its own"]
fn a_part_of_the_flood() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    descriptors();
    let mut held = Vec::new();
    for n in 0..SOCKETS / PARTS {
        let mut stream = TcpStream::connect(&address).expect("somebody listens");
        if n % 2 == 1 {
            // Refused ones may be gone already.
            let _ = stream.write(b"*1\r\n$4\r\nPI");
        }
        held.push(stream);
    }
    println!("\nflooded");
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).expect("it ends");
}

fn part(address: &str) -> Child {
    let program = std::env::current_exe().expect("a test is a program");
    let child = Command::new(program)
        .args(["--exact", "flood::a_part_of_the_flood", "--ignored", "--nocapture"])
        .env(ADDRESS, address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    child.expect("it starts")
}

#[test]
fn twenty_thousand_sockets_meet_the_limit_and_the_reserve() {
    let have = descriptors();
    if have < ALLOWED + OTHERS {
        // Around the capture of output, so that it is seen although the test passes.
        let needed = ALLOWED + OTHERS;
        let _unseen = writeln!(
            std::io::stderr(),
            "skipped: {needed} descriptors are needed, {have} are allowed"
        );
        return;
    }
    let allowed = ALLOWED.to_string();
    let host = Host::with(&[("max_clients", &allowed), ("slow_request", "1s")]);
    let registry = &host.running.shared().registry;
    let mut other = host.connect();
    let mut undisturbed = || {
        other.send(b"PING\r\n");
        assert_eq!(other.line(), "+PONG");
        assert!(registry.count() <= ALLOWED, "{}", registry.count());
    };
    undisturbed();

    let address = host.address().to_string();
    let parts: Vec<Child> = (0..PARTS).map(|_| part(&address)).collect();
    let parts: Vec<(Child, BufReader<ChildStdout>)> = parts
        .into_iter()
        .map(|mut part| {
            let mut out = BufReader::new(part.stdout.take().expect("it is piped"));
            let mut lines = out.by_ref().lines();
            assert!(lines.any(|line| line.is_ok_and(|l| l == "flooded")), "it opened them all");
            undisturbed();
            (part, out)
        })
        .collect();
    let all = registry.accepted() + registry.refused();
    while registry.accepted() + registry.refused() <= SOCKETS as u64 {
        undisturbed();
    }
    assert!(registry.refused() > 0, "{all} came, and all were taken");

    // Those in the middle of a command are cut, and where it is crowded the silent ones, too.
    while registry.count() > host.running.shared().client_limit() {
        undisturbed();
    }
    assert_eq!(host.get("/_health").status, 200);
    for (mut part, mut out) in parts {
        drop(part.stdin.take());
        std::io::copy(&mut out, &mut std::io::sink()).expect("it ends");
        assert!(part.wait().expect("it was started").success());
    }
    while registry.count() > 1 {
        undisturbed();
    }
    let mut after = Connection::to(host.address());
    after.send(b"PING\r\n");
    assert_eq!(after.line(), "+PONG");
}
