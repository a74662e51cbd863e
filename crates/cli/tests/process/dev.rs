//! `shoal dev`: a cluster in one process, as somebody who tries it out meets it.

use crate::client::Client;
use crate::folder::Folder;
use crate::reply::Reply;
use crate::settings::say;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::JoinHandle;

/// A running `shoal dev`, and what it said.
struct Dev {
    process: Child,
    output: BufReader<ChildStdout>,
    log: Option<JoinHandle<String>>,
    data: PathBuf,
    clients: Vec<String>,
    cluster_clients: Vec<String>,
    ready: String,
}

impl Dev {
    /// Starts one with free ports, and waits until it welcomes requests.
    fn start(arguments: &[&str], folder: Option<&Path>) -> Self {
        let mut command = command();
        command.args(["--json", "dev"]).args(arguments);
        if let Some(folder) = folder {
            command.arg("--keep").arg(folder);
        }
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut errors = process.stderr.take().expect("it is piped");
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).expect("the log is text");
            text
        });
        let mut dev = Self {
            output: BufReader::new(process.stdout.take().expect("it is piped")),
            process,
            log: Some(log),
            data: PathBuf::new(),
            clients: Vec::new(),
            cluster_clients: Vec::new(),
            ready: String::new(),
        };
        dev.listen();
        dev
    }

    fn listen(&mut self) {
        loop {
            let mut line = String::new();
            if matches!(self.output.read_line(&mut line), Ok(0) | Err(_)) {
                let _ended_already = self.process.kill();
                panic!("it has ended: {}", self.log());
            }
            let said: serde_json::Value = serde_json::from_str(&line).expect("a document a line");
            let text = |name: &str| said[name].as_str().expect("it is there").to_owned();
            if said["data"].is_string() {
                self.data = text("data").into();
            } else if said["node"].is_string() {
                assert_eq!(text("node"), format!("n{}", self.clients.len() + 1));
                assert_ne!(text("peers"), text("client"));
                self.clients.push(text("client"));
                self.cluster_clients.push(text("cluster"));
            } else {
                assert_eq!(said["ready"], self.clients.len());
                assert_eq!(said["fully_replicated"], true, "{line}");
                self.ready = line.trim().to_owned();
                return;
            }
        }
    }

    fn client(&self, node: usize) -> Client {
        Client::connect(&self.clients[node]).expect("it listens")
    }

    fn log(&mut self) -> String {
        self.log.take().map(|log| log.join().expect("it reads")).unwrap_or_default()
    }

    /// Presses Ctrl-C, and waits for an orderly end.
    fn stop(mut self) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().expect("kill runs");
        assert!(sent.success(), "kill -INT {id}");
        let status = self.process.wait().expect("the process was ours");
        let log = self.log();
        assert!(status.success(), "{status}: {log}");
        assert!(!log.contains("panicked at") && !log.contains("ERROR"), "{log}");
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _reaped_already = self.process.wait();
    }
}

/// The binary, without settings of the developer's own.
fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SHOAL_") {
            command.env_remove(name);
        }
    }
    command
}

/// What the command line says when it asks this address.
fn ask(address: &str, arguments: &[&str]) -> Output {
    command().args(["--addr", address]).args(arguments).output().expect("the binary runs")
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

#[test]
fn three_nodes_in_one_process_are_a_cluster() {
    let dev = Dev::start(&["--nodes", "3", "--port", "0"], None);
    say(&format!("dev: {}", dev.ready));
    assert_eq!(dev.clients.len(), 3);
    assert!(dev.data.join("n3").is_dir(), "each has a directory of its own");
    // What any node took any node gives.
    for writer in 0..3 {
        let set = dev.client(writer).line(&format!("SET key{writer} from{writer}"));
        assert_eq!(set.unwrap(), Reply::ok());
        for reader in 0..3 {
            let got = dev.client(reader).line(&format!("GET key{writer}")).unwrap();
            assert_eq!(got, bulk(&format!("from{writer}")), "key{writer} at {reader}");
        }
    }
    for (client, cluster) in dev.clients.iter().zip(&dev.cluster_clients) {
        let explained = ask(client, &["--json", "explain", "key0"]);
        let text = String::from_utf8_lossy(&explained.stdout);
        assert!(explained.status.success(), "{text}");
        for name in ["n1", "n2", "n3"] {
            assert!(text.contains(&format!("\"{name}\"")), "{name} holds it: {text}");
        }
        let status = ask(client, &["cluster", "status"]);
        let text = String::from_utf8_lossy(&status.stdout);
        assert!(text.contains("fully replicated"), "{text}");
        let slots = Client::connect(cluster).unwrap().line("CLUSTER SLOTS").unwrap();
        assert!(matches!(slots, Reply::Array(ranges) if !ranges.is_empty()));
    }
    let data = dev.data.clone();
    dev.stop();
    assert!(!data.exists(), "nothing is left behind");
}

#[test]
fn a_kept_cluster_goes_on_where_it_was() {
    let folder = Folder::new("dev");
    let data = folder.path().join("data");
    let dev = Dev::start(&["--nodes", "3", "--port", "0"], Some(&data));
    assert_eq!(dev.client(1).line("SET kept value").unwrap(), Reply::ok());
    let clients = dev.clients.clone();
    dev.stop();
    // Neither how many nodes nor where: the directory knows.
    let dev = Dev::start(&[], Some(&data));
    say(&format!("dev again: {}", dev.ready));
    assert_eq!(dev.clients, clients);
    for node in 0..3 {
        assert_eq!(dev.client(node).line("GET kept").unwrap(), bulk("value"), "at {node}");
    }
    assert_eq!(dev.client(2).line("SET kept again").unwrap(), Reply::ok());
    dev.stop();
    let fewer = command().args(["dev", "--nodes", "2", "--keep"]).arg(&data).output().unwrap();
    assert_eq!(fewer.status.code(), Some(2));
    let said = String::from_utf8_lossy(&fewer.stderr);
    assert!(said.contains("has 3 nodes"), "{said}");
}
