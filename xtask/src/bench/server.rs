//! One server under measurement, Redis or Shoal, started alike.
//!
//! Holds: a server listens on a free loopback port, keeps its data in a folder of its own, and is
//! ended by its process id when its guard goes.

use super::client::{Client, Reply};
use super::proc;
use super::tool;
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a server that is starting or ending is looked at.
const POLL_EVERY: Duration = Duration::from_millis(1);
/// How long a server may take to answer with an empty folder.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long any one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// Whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Side {
    Redis,
    Shoal,
    /// An older Shoal.
    Old,
}

impl Side {
    /// How it is called in the results.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Shoal => "Shoal",
            Self::Old => "Old Shoal",
        }
    }
}

/// What a server does with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    /// Nothing reaches the disk.
    Memory,
    /// Every acknowledged write has been synced.
    Disk,
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    process: Child,
    side: Side,
    port: u16,
    log: PathBuf,
}

impl Server {
    /// Starts one on the data in `folder`, without waiting for it. `more` goes to its command line.
    pub(super) fn start(
        side: Side,
        keeping: Keeping,
        shoal: &Path,
        folder: &Path,
        more: &[&str],
    ) -> Result<Self> {
        let port = free_port()?;
        let data = folder.join("data");
        // Shoal refuses a folder that is open to others.
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(&data).with_context(|| data.display().to_string())?;
        let mut command = match side {
            Side::Redis => redis_server(port, keeping, &data),
            Side::Shoal | Side::Old => shoal_serve(shoal, port, keeping, &data),
        };
        let log = folder.join("server.log");
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let process = command
            .args(more)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", side.name()))?;
        Ok(Self { process, side, port, log })
    }

    /// The process id.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whose it is.
    pub(super) const fn side(&self) -> Side {
        self.side
    }

    /// The loopback port it listens on.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// The CPU time it has used.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        proc::cpu_seconds(self.pid())
    }

    /// A connection.
    pub(super) fn client(&self) -> Result<Client> {
        Client::connect(self.port, ANSWER_WITHIN)
    }

    /// Waits until the server answers `words` with what is no error and not nil.
    pub(super) fn wait_for(&mut self, words: &[&str], within: Duration) -> Result<Client> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended with {status}: {}", self.side.name(), self.last_words());
            }
            // Until it listens, and while it loads, there is nothing to be had.
            if let Ok(mut client) = self.client()
                && let Ok(reply) = client.call(words)
                && !matches!(reply, Reply::Error(_) | Reply::Nil)
            {
                return Ok(client);
            }
            if Instant::now() >= deadline {
                bail!("{} is not ready: {}", self.side.name(), self.last_words());
            }
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Brings everything written into the form it has at rest: Redis rewrites its log, Shoal
    /// compacts.
    pub(super) fn compact(&self, shoal: &Path, within: Duration) -> Result<()> {
        match self.side {
            Side::Shoal | Side::Old => {
                let address = format!("127.0.0.1:{}", self.port);
                let mut command = tool::shoal(shoal);
                command.args(["--addr", &address, "--timeout", "600s", "compact"]);
                tool::run(&mut command, within).map(drop)
            }
            Side::Redis => {
                let deadline = Instant::now() + within;
                let mut client = self.client()?;
                wait_for_rewrite(&mut client, deadline)?;
                client.call(&["BGREWRITEAOF"])?;
                wait_for_rewrite(&mut client, deadline)
            }
        }
    }

    /// Asks the server to end and waits until it has.
    pub(super) fn stop(mut self, within: Duration) -> Result<()> {
        // The shell's own `kill`, since the standard library knows no signal but SIGKILL.
        let pid = self.pid().to_string();
        let mut command = Command::new("sh");
        tool::run(command.args(["-c", "kill -TERM \"$0\"", &pid]), Duration::from_secs(10))?;
        let deadline = Instant::now() + within;
        loop {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    bail!("{} ended with {status}: {}", self.side.name(), self.last_words())
                }
                None if Instant::now() >= deadline => {
                    bail!("{} does not end: {}", self.side.name(), self.last_words())
                }
                None => std::thread::sleep(POLL_EVERY),
            }
        }
    }

    /// Ends the server with SIGKILL.
    pub(super) fn kill(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        // Redis rewrites its log in a process of its own, which would go on writing.
        let helpers = proc::children(self.pid());
        self.process.kill()?;
        self.process.wait()?;
        for helper in helpers {
            let pid = helper.to_string();
            // It may have ended by itself, which is all that is wanted.
            let _ended = Command::new("sh")
                .args(["-c", "kill -KILL \"$0\" 2>&1", &pid])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status();
            let deadline = Instant::now() + Duration::from_secs(5);
            while proc::is_running(helper) && Instant::now() < deadline {
                std::thread::sleep(POLL_EVERY);
            }
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("bench: {} may still run: {error}", self.side.name());
        }
    }
}

fn redis_server(port: u16, keeping: Keeping, data: &Path) -> Command {
    let mut command = Command::new("redis-server");
    let port = port.to_string();
    command.args(["--port", &port, "--bind", "127.0.0.1", "--loglevel", "warning", "--save", ""]);
    command.arg("--dir").arg(data);
    match keeping {
        Keeping::Memory => command.args(["--appendonly", "no"]),
        Keeping::Disk => command.args(["--appendonly", "yes", "--appendfsync", "always"]),
    };
    command
}

fn shoal_serve(program: &Path, port: u16, keeping: Keeping, data: &Path) -> Command {
    let mut command = tool::shoal(program);
    command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(data);
    if keeping == Keeping::Memory {
        command.arg("--memory");
    }
    command
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn wait_for_rewrite(client: &mut Client, deadline: Instant) -> Result<()> {
    loop {
        let Reply::Bulk(info) = client.call(&["INFO", "persistence"])? else {
            bail!("INFO answered no text");
        };
        let info = String::from_utf8_lossy(&info);
        let resting = ["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
        if resting.iter().all(|line| info.contains(line)) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("Redis does not finish rewriting its log");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
