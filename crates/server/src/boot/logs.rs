//! Where log lines go: to standard error, as text or as JSON.
//!
//! Holds: keys and values are never logged, so a log may be shown to anyone who may see the
//! machine. No thread that serves ever waits for whoever reads the log: lines go through a
//! bounded queue to a thread of their own; what the queue has no room for is dropped, and a
//! standard error that is full or gone changes nothing.

use crate::config::{LogFormat, Resolved};
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written.
const WAITING: usize = 1_024;
/// How long the last lines may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Raft's library warns of every voter that it does not reach, several times a second, for as long as
/// a majority is missing. The node says that once, and once that it is back; what is left of the
/// library's warnings tells nobody anything to do. Its errors are heard.
const QUIET: &str = "openraft";

/// Parts of libraries that call it an error when something ends because the node stops: a compaction
/// of the sorted store, and a question to Raft that was under way. Every one that really fails is
/// returned to us.
const UNHEARD: [&str; 2] = ["lsm_tree::compaction", "openraft::raft::raft_inner"];

/// The queue, once there is one.
static QUEUE: OnceLock<SyncSender<Item>> = OnceLock::new();

enum Item {
    Line(Vec<u8>),
    /// Everything before it was written once it is dropped.
    Mark(#[expect(dead_code, reason = "its end is the message")] SyncSender<()>),
}

/// Makes writers of one line each.
struct Lines(SyncSender<Item>);

/// One line, sent off when it is dropped.
struct Line {
    queue: SyncSender<Item>,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { queue: self.0.clone(), bytes: Vec::new() }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.bytes);
        // Without room the line is lost; waiting would let a reader of logs stop the server.
        let _ = self.queue.try_send(Item::Line(line));
    }
}

fn write_lines(queue: &Receiver<Item>) {
    for item in queue {
        if let Item::Line(line) = item {
            // Nobody may be there to read it.
            let _ = io::stderr().write_all(&line);
        }
    }
}

/// Waits, for a moment, until the lines so far are written.
pub(super) fn finish() {
    let Some(queue) = QUEUE.get() else { return };
    let (mark, written) = sync_channel(0);
    if queue.try_send(Item::Mark(mark)).is_ok() {
        // It ends by the mark being dropped, or by the time.
        let _ = written.recv_timeout(LAST_WORDS);
    }
}

/// Begins to write log lines. An embedding program that has set up its own lines keeps them.
pub(super) fn start(config: &Resolved) {
    let (sender, receiver) = sync_channel(WAITING);
    let writer = std::thread::Builder::new().name("shoal-logs".to_owned());
    if writer.spawn(move || write_lines(&receiver)).is_err() {
        return;
    }
    let queue = QUEUE.get_or_init(|| sender).clone();
    let filter = filter(config.log_level.name());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(Lines(queue))
        .with_target(false);
    let outcome = match config.log_format {
        LogFormat::Text => {
            let colours = io::IsTerminal::is_terminal(&io::stderr());
            lines.with_ansi(colours).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // Somebody else's lines are set up already; ours go there.
    drop(outcome);
}

/// What is logged: our own lines from `level` on, and those of libraries that say that something
/// is wrong.
fn filter(level: &str) -> String {
    let ours = ["shoal", "shoal_cli", "shoal_server", "shoal_node", "shoal_meta", "shoal_storage"];
    let ours = ours.map(|name| format!("{name}={level}")).join(",");
    let unheard = UNHEARD.map(|name| format!("{name}=off")).join(",");
    format!("warn,{unheard},{QUIET}=error,{ours}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::sync::Arc;

    #[test]
    fn lines_without_a_reader_are_dropped_and_nobody_waits() {
        let (queue, _nobody_reads) = sync_channel(2);
        let lines = Lines(queue);
        for _ in 0..100 {
            lines.make_writer().write_all(b"a line").expect("a line takes everything");
        }
    }

    #[test]
    fn every_level_makes_a_filter() {
        for level in ["error", "warn", "info", "debug", "trace"] {
            let filter = filter(level);
            assert!(filter.parse::<EnvFilter>().is_ok(), "{filter}");
        }
    }

    #[test]
    fn a_compaction_told_to_stop_is_no_error_to_look_after() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let there = Arc::clone(&lines);
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter("info")))
            .with_writer(move || Kept(Arc::clone(&there)))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "lsm_tree::compaction::worker", "stopped");
            tracing::error!(target: "openraft::raft::raft_inner", "raft stopped");
            tracing::error!(target: "lsm_tree::version", "another part");
            tracing::error!(target: "shoal_storage::disk::workers", "compaction failed");
        });
        let text = String::from_utf8(lines.lock().clone()).expect("text");
        assert!(!text.contains("stopped"), "{text}");
        assert!(text.contains("another part") && text.contains("compaction failed"), "{text}");
    }

    #[test]
    fn a_missing_majority_is_not_told_by_the_library_again_and_again() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let there = Arc::clone(&lines);
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter("info")))
            .with_writer(move || Kept(Arc::clone(&there)))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "openraft::replication", "unreachable");
            tracing::error!(target: "openraft::core", "storage failed");
            tracing::warn!(target: "shoal_node::cluster::majority", "n2 cannot be reached");
        });
        let text = String::from_utf8(lines.lock().clone()).expect("text");
        assert!(!text.contains("unreachable"), "{text}");
        assert!(text.contains("storage failed") && text.contains("n2 cannot"), "{text}");
    }

    /// Keeps what is written.
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
