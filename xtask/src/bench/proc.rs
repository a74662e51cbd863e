//! What Linux tells about a process: CPU time and resident memory.

use anyhow::{Context as _, Result};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How the kernel counts CPU time in `/proc/PID/stat`: hundredths of a second on every
/// architecture that Linux runs servers on.
const TICKS_PER_SECOND: f64 = 100.0;
/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// The CPU time that a process has used by itself, all its threads together, in seconds.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    parse_cpu_seconds(&text).with_context(|| format!("{path}: not understood"))
}

fn parse_cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the program's name in parentheses, which may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    // After the name: state is field 3, utime 14, stime 15.
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

/// The processes that this one's main thread has started and not yet seen end.
pub(super) fn children(pid: u32) -> Vec<u32> {
    // A process that has ended has none.
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    text.unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Whether a process still does anything.
pub(super) fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !matches!(rest.trim().bytes().next(), Some(b'Z' | b'X')))
}

/// A size of `/proc/PID/status`, in KiB.
pub(super) fn status_kib(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    parse_kib(&text, name).with_context(|| format!("{path}: no {name}"))
}

/// The size called `name` in a text of `Name:   1234 kB` lines.
pub(super) fn parse_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

enum Word {
    Watch(Option<u32>),
    Phase(&'static str),
}

/// The largest resident anonymous memory in one phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peak {
    pub(super) phase: &'static str,
    pub(super) kib: u64,
    /// How often it was looked at.
    pub(super) samples: u64,
}

/// A thread that looks at a process's `RssAnon` every 50 ms and keeps the largest per phase.
#[derive(Debug)]
pub(super) struct Sampler {
    words: Sender<Word>,
    thread: JoinHandle<Vec<Peak>>,
}

impl Sampler {
    /// Starts with no process to watch.
    pub(super) fn start() -> Self {
        let (words, heard) = channel();
        Self { words, thread: std::thread::spawn(move || sample(&heard)) }
    }

    /// Watches this process from now on, or none.
    pub(super) fn watch(&self, pid: Option<u32>) {
        // The thread lives until `finish`.
        let _heard = self.words.send(Word::Watch(pid));
    }

    /// Begins a phase.
    pub(super) fn phase(&self, name: &'static str) {
        let _heard = self.words.send(Word::Phase(name));
    }

    /// Ends, and gives the phases in order.
    pub(super) fn finish(self) -> Vec<Peak> {
        drop(self.words);
        self.thread.join().unwrap_or_default()
    }
}

fn sample(words: &Receiver<Word>) -> Vec<Peak> {
    let mut peaks: Vec<Peak> = Vec::new();
    let mut pid = None;
    let mut next = Instant::now();
    loop {
        match words.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Word::Watch(process)) => pid = process,
            Ok(Word::Phase(phase)) => peaks.push(Peak { phase, kib: 0, samples: 0 }),
            Err(RecvTimeoutError::Timeout) => {
                next = Instant::now() + SAMPLE_EVERY;
                // A process that is just ending has no memory to tell of.
                let kib = pid.and_then(|pid| status_kib(pid, "RssAnon").ok());
                if let (Some(kib), Some(peak)) = (kib, peaks.last_mut()) {
                    peak.kib = peak.kib.max(kib);
                    peak.samples += 1;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return peaks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let after = "S 1 2 3 4 5 6 7 8 9 10 250 75 0 0 20 0 4 0 100";
        assert_eq!(parse_cpu_seconds(&format!("17 (shoal) {after}")), Some(3.25));
        assert_eq!(parse_cpu_seconds(&format!("17 (a) b (c)) {after}")), Some(3.25));
        assert_eq!(parse_cpu_seconds("17 (shoal) S 1 2"), None);
        assert_eq!(parse_cpu_seconds(""), None);
    }

    #[test]
    fn sizes_are_found_by_their_whole_name() {
        let text = "Name:\tshoal\nVmRSS:\t   29232 kB\nRssAnon:\t   21284 kB\nThreads:\t4\n";
        assert_eq!(parse_kib(text, "VmRSS"), Some(29_232));
        assert_eq!(parse_kib(text, "RssAnon"), Some(21_284));
        assert_eq!(parse_kib(text, "Rss"), None);
        assert_eq!(parse_kib(text, "Threads"), None);
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        assert!(status_kib(pid, "VmRSS").unwrap() > 0);
    }

    #[test]
    fn phases_keep_their_order() {
        let sampler = Sampler::start();
        sampler.phase("load");
        sampler.watch(Some(std::process::id()));
        sampler.phase("read");
        let phases: Vec<&str> = sampler.finish().iter().map(|peak| peak.phase).collect();
        assert_eq!(phases, ["load", "read"]);
    }
}
