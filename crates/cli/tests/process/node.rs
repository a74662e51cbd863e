//! Server processes: Shoal's, and Redis' to compare with.
//!
//! Holds: a process that was started is ended, whatever becomes of the test.

use std::io::{BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a start may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Small, so that what happens when buffers fill happens often.
pub(crate) const MEMORY_LIMIT: &str = "64MiB";

/// How a node is started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// A program, and its first arguments, that is to start the node.
    by: Vec<String>,
    data: PathBuf,
    listen: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

/// A start that came to nothing: the process has ended.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

/// A running process.
pub(crate) struct Node {
    process: Child,
    pub(crate) address: String,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Launch {
    /// A node with its data in this folder.
    pub(crate) fn new(data: &Path) -> Self {
        let listen = "127.0.0.1:0".to_owned();
        Self {
            by: Vec::new(),
            data: data.to_path_buf(),
            listen,
            arguments: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// The same, started by a program with these words before the node's own. It is to become
    /// the node, not to stay beside it.
    pub(crate) fn by(self, words: Vec<String>) -> Self {
        Self { by: words, ..self }
    }

    /// The same with clients at this address.
    pub(crate) fn listening(self, at: &str) -> Self {
        Self { listen: at.to_owned(), ..self }
    }

    /// The same with one more argument.
    pub(crate) fn with(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// The same with one more variable in its environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The process, without waiting for anything.
    fn spawn(&self) -> Child {
        let words = self.by.iter().map(String::as_str);
        let mut words = words.chain([env!("CARGO_BIN_EXE_shoal")]);
        let mut command = Command::new(words.next().expect("there is the binary"));
        command.args(words);
        // Settings of the developer's own must not reach the node.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SHOAL_") {
                command.env_remove(name);
            }
        }
        command
            .args(["serve", "--listen", &self.listen, "--memory-limit", MEMORY_LIMIT])
            .arg("--data")
            .arg(&self.data)
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts")
    }

    /// Starts the node and waits until it serves.
    pub(crate) fn start(&self) -> Result<Node, Refused> {
        Node::wait(self.spawn(), |line| {
            let (_, address) = line.split_once("listening on ")?;
            let address = address.split([' ', ',']).next()?.trim();
            address.parse::<SocketAddr>().is_ok().then(|| address.to_owned())
        })
    }

    /// Starts the node and waits until it logs this.
    pub(crate) fn start_until(&self, text: &'static str) -> Result<Node, Refused> {
        Node::wait(self.spawn(), move |line| line.contains(text).then(String::new))
    }

    /// Starts the node and kills it after a while, wherever it has got to.
    pub(crate) fn start_and_kill(&self, after: Duration) {
        let mut process = self.spawn();
        std::thread::sleep(after);
        let _ended_already = process.kill();
        process.wait().expect("the process was ours");
    }
}

impl Node {
    fn wait(
        mut process: Child,
        ready: impl Fn(&str) -> Option<String> + Send + Clone + 'static,
    ) -> Result<Self, Refused> {
        let log = Arc::new(Mutex::new(String::new()));
        let (tell, told) = mpsc::channel();
        let mut readers = Vec::new();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            process.stderr.take().map(|output| Box::new(output) as _),
            process.stdout.take().map(|output| Box::new(output) as _),
        ];
        for output in outputs.into_iter().flatten() {
            let (log, tell, ready) = (Arc::clone(&log), tell.clone(), ready.clone());
            readers.push(std::thread::spawn(move || {
                let mut lines = BufReader::new(output);
                let mut line = Vec::new();
                while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
                    let text = String::from_utf8_lossy(&line).into_owned();
                    if let Some(address) = ready(&text) {
                        let _nobody_waits_any_more = tell.send(address);
                    }
                    log.lock().expect("no reader panics").push_str(&text);
                    line.clear();
                }
            }));
        }
        drop(tell);
        let mut node = Self { process, address: String::new(), log, readers };
        match told.recv_timeout(PATIENCE) {
            Ok(address) => {
                node.address = address;
                Ok(node)
            }
            // Both outputs were closed: it has ended.
            Err(RecvTimeoutError::Disconnected) => {
                let status = node.process.wait().expect("the process was ours");
                Err(Refused { status, log: node.log() })
            }
            Err(RecvTimeoutError::Timeout) => {
                panic!("the node was not ready after {PATIENCE:?}:\n{}", node.log())
            }
        }
    }

    /// A real Redis without persistence, whose longest value is Shoal's; `None` where there is
    /// none.
    pub(crate) fn redis(folder: &Path) -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = free.expect("a free port").port();
        let process = Command::new("redis-server")
            .args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"])
            .args(["--appendfsync", "always", "--proto-max-bulk-len", "8mb", "--port"])
            .arg(port.to_string())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let ready = move |line: &str| {
            line.contains("Ready to accept connections").then(|| format!("127.0.0.1:{port}"))
        };
        match Self::wait(process, ready) {
            Ok(node) => Some(node),
            Err(refused) => panic!("redis-server: {}", refused.log),
        }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no reader panics").clone()
    }

    /// Sends it a signal, named as `kill` wants it. Whether that could be done.
    pub(crate) fn signal(&self, signal: &str) -> bool {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        sent.is_ok_and(|status| status.success())
    }

    /// Ends it with SIGKILL, and checks that its log tells of no panic and no error.
    pub(crate) fn kill(mut self) {
        self.end();
        self.check_log();
    }

    /// Asks it to stop with SIGTERM and waits for it, and checks its log.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let status = self.terminate();
        self.check_log();
        status
    }

    /// The same where errors are expected; a panic is not. How it ended, and its log.
    pub(crate) fn stop_in_trouble(mut self) -> (ExitStatus, String) {
        let status = self.terminate();
        let log = self.log();
        assert!(!log.contains("panicked at"), "the node panicked:\n{log}");
        (status, log)
    }

    fn terminate(&mut self) -> ExitStatus {
        let sent = self.signal("-TERM");
        let ended = self.process.try_wait().expect("the process was ours").is_some();
        assert!(ended || sent, "it cannot be told to stop");
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().expect("the process was ours") {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not stop:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        };
        self.end();
        status
    }

    fn end(&mut self) {
        let _ended_already = self.process.kill();
        let _reaped_already = self.process.wait();
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
    }

    /// Ends it with SIGKILL. Errors in its log are expected; a panic is not.
    pub(crate) fn kill_in_trouble(mut self) {
        self.end();
        let log = self.log();
        assert!(!log.contains("panicked at"), "the node panicked:\n{log}");
    }

    fn check_log(&self) {
        let log = self.log();
        let bad = log.contains("panicked at") || log.contains("ERROR");
        assert!(!bad, "the node logged an error:\n{log}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _reaped_already = self.process.wait();
    }
}
