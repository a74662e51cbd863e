//! How many acknowledged entries a second the commit log takes from clients that wait.
//!
//! `cargo bench -p shoal-storage --bench log [-- SECONDS [NAME]]`. Each client appends 100 bytes, waits
//! until they are synced, and does so again. Clients are either threads of their own, or are
//! spread over a few workers that also spend some time on each request, like a server's. Writes
//! to the folder in `TMPDIR`, which should be on the disk in question.

#![expect(clippy::print_stdout, reason = "a bench reports to whoever runs it")]

use shoal_storage::disk::log::{Log, LogOptions};
use shoal_storage::files::RealFiles;
use shoal_storage::{Commit, Durability};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

const ENTRY: [u8; 100] = [7; 100];

/// Wakes the worker of a client and says that the client can go on.
struct Bell {
    worker: Thread,
    rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.worker.unpark();
    }
}

struct Client {
    bell: Arc<Bell>,
    waker: Waker,
    waits_for: Option<(Commit, Instant)>,
}

/// Serves `clients` until `stop`, spending `work` on each request; returns all waiting times in
/// microseconds.
fn serve(log: &Log, clients: usize, work: Duration, stop: &AtomicBool) -> Vec<u64> {
    let mut clients: Vec<Client> = (0..clients)
        .map(|_| {
            let bell =
                Arc::new(Bell { worker: std::thread::current(), rung: AtomicBool::new(true) });
            Client { waker: Waker::from(Arc::clone(&bell)), bell, waits_for: None }
        })
        .collect();
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut idle = true;
        for client in &mut clients {
            if !client.bell.rung.swap(false, Ordering::AcqRel) {
                continue;
            }
            idle = false;
            if let Some((commit, began)) = client.waits_for {
                if log.settle(commit, &client.waker).is_pending() {
                    continue;
                }
                times.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            let began = Instant::now();
            while began.elapsed() < work {
                std::hint::spin_loop();
            }
            let began = Instant::now();
            let commit = log.append(&[&ENTRY], Durability::Always).expect("the disk is fine");
            client.waits_for = Some((commit, began));
            if log.settle(commit, &client.waker).is_ready() {
                client.bell.rung.store(true, Ordering::Release);
            }
        }
        if idle {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
    times
}

fn run(name: &str, workers: usize, clients: usize, work: Duration, time: Duration) {
    let dir = tempfile::tempdir().expect("a folder");
    let files = Arc::new(RealFiles);
    let (log, _) =
        Log::open(files, &dir.path().join("log"), LogOptions::default(), 1, &mut |_, _| Ok(()))
            .expect("the log opens");
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    let mut times: Vec<u64> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    let times = serve(&log, clients / workers, work, &stop);
                    done.fetch_add(times.len() as u64, Ordering::Relaxed);
                    times
                })
            })
            .collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        handles.into_iter().flat_map(|handle| handle.join().expect("a worker")).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 1000).copied().unwrap_or(0);
    let syncs = log.status().syncs;
    let count = done.load(Ordering::Relaxed);
    println!(
        "{name:<28} {:>8.0}/s  p50 {:>5} us  p99 {:>5} us  {:>6.0} syncs/s  {:>5.1} entries a sync",
        count as f64 / seconds,
        at(500),
        at(990),
        syncs as f64 / seconds,
        count as f64 / syncs.max(1) as f64,
    );
    log.close().expect("the log closes");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let seconds = arguments.first().and_then(|it| it.parse().ok()).unwrap_or(2);
    let wanted = arguments.get(1).map_or("", String::as_str);
    let (time, micros) = (Duration::from_secs(seconds), Duration::from_micros);
    for (name, workers, clients, work) in [
        ("1 client", 1, 1, micros(0)),
        ("50 threads", 50, 50, micros(0)),
        ("2 workers, 50 clients, 0 us", 2, 50, micros(0)),
        ("2 workers, 50 clients, 5 us", 2, 50, micros(5)),
        ("2 workers, 50 clients, 15 us", 2, 50, micros(15)),
        ("1 worker, 50 clients, 10 us", 1, 50, micros(10)),
        ("2 workers, 1000 clients, 5 us", 2, 1000, micros(5)),
    ] {
        if name.contains(wanted) {
            run(name, workers, clients, work, time);
        }
    }
}
