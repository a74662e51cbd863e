//! A network of its own for every node, and links between them that can be cut, each way by
//! itself.
//!
//! A test that cuts links runs once more in a process of its own, in a namespace of the network
//! where it may do as it likes without being root. Every node gets a namespace besides, joined to
//! the test's by one wire, and the test hands on what nodes send to each other. A link that is cut
//! swallows packets of its direction without a word, as a broken network does; that is done by a
//! rule of the routing. Wires to clients stay.
//!
//! Holds: nothing of the machine's own network is touched, and everything goes with the last
//! process of the test.
//!
//! Does not know: what nodes say, or where one process starts another.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Says that a process is the one inside.
const INSIDE: &str = "SHOAL_TEST_INSIDE";
/// How a namespace is made: by anybody, where that is allowed, else by root.
const WAYS: [&[&str]; 2] = [&["--user", "--map-root-user", "--net"], &["--net"]];
/// What the test must be able to do in it.
const PROBE: &str = "ip link set lo up && ip link add shoal0 type veth peer name shoal1 && \
                     ip link del shoal0 && ip rule add from 10.78.1.2 to 10.78.2.2 blackhole && \
                     ip rule del from 10.78.1.2 to 10.78.2.2 blackhole && unshare --net true && \
                     echo 1 >/proc/sys/net/ipv4/ip_forward";

/// The networks of nodes, which are counted from 1.
pub(super) struct Networks {
    hosts: Vec<Host>,
    cut: BTreeSet<(usize, usize)>,
}

/// The network of one node, kept by a process that ends with the test.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped_already = self.0.wait();
    }
}

/// How a namespace can be made here.
pub(super) fn way() -> Option<&'static [&'static str]> {
    let works = |way: &&&[&str]| {
        let probe = Command::new("unshare").args(**way).args(["--", "sh", "-c", PROBE]).output();
        probe.is_ok_and(|output| output.status.success())
    };
    WAYS.iter().find(works).copied()
}

/// Whether this is the process inside.
pub(super) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs the test of this full name once more, in a process inside.
pub(super) fn run_inside(way: &[&str], name: &str) {
    let this = std::env::current_exe().expect("a test runs from a file");
    let output = Command::new("unshare")
        .args(way)
        .arg("--")
        .arg(this)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("what worked a moment ago still does");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{}\n{said}", output.status);
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("it was there before");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
}

impl Networks {
    /// Networks for nodes 1 to `nodes`, all of them linked.
    pub(super) fn new(nodes: usize) -> Self {
        run("ip", &["link", "set", "lo", "up"]);
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("this network is ours");
        Self { hosts: (1..=nodes).map(Host::new).collect(), cut: BTreeSet::new() }
    }

    /// Where a node is.
    pub(super) fn address(number: usize) -> String {
        format!("10.78.{number}.2")
    }

    /// The program and its first arguments that start another in a node's network.
    pub(super) fn entrance(&self, number: usize) -> Vec<String> {
        let network = format!("--net=/proc/{}/ns/net", self.hosts[number - 1].0.id());
        vec!["nsenter".to_owned(), network, "--".to_owned()]
    }

    /// Lets nothing through any more that `from` sends to `to`.
    pub(super) fn cut(&mut self, from: usize, to: usize) {
        if self.cut.insert((from, to)) {
            Self::rule("add", from, to);
        }
    }

    /// Lets everything through again.
    pub(super) fn heal(&mut self) {
        for (from, to) in std::mem::take(&mut self.cut) {
            Self::rule("del", from, to);
        }
    }

    fn rule(change: &str, from: usize, to: usize) {
        let (from, to) = (Self::address(from), Self::address(to));
        run("ip", &["rule", change, "from", &from, "to", &to, "blackhole"]);
    }
}

impl Host {
    fn new(number: usize) -> Self {
        // It ends when its input does: with this process, whatever becomes of it.
        let holder = Command::new("unshare")
            .args(["--net", "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("it was there before");
        let host = Self(holder);
        let id = host.0.id().to_string();
        let network =
            |id: &str| std::fs::read_link(Path::new("/proc").join(id).join("ns/net")).ok();
        while network(&id) == network("self") {
            std::thread::yield_now();
        }
        let (wire, here) = (format!("shoal{number}"), format!("10.78.{number}.1"));
        run("ip", &["link", "add", &wire, "type", "veth", "peer", "name", "eth0", "netns", &id]);
        run("ip", &["addr", "add", &format!("{here}/24"), "dev", &wire]);
        run("ip", &["link", "set", &wire, "up"]);
        let there = format!("{}/24", Networks::address(number));
        for words in [
            &["link", "set", "lo", "up"][..],
            &["addr", "add", &there, "dev", "eth0"],
            &["link", "set", "eth0", "up"],
            &["route", "add", "default", "via", &here],
        ] {
            let within = format!("--net=/proc/{id}/ns/net");
            run("nsenter", &[&[within.as_str(), "--", "ip"], words].concat());
        }
        host
    }
}
