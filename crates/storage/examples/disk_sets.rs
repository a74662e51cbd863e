//! Sets random keys in a disk engine the way a node does it, and prints the processor time that
//! an op costs, for each thread.
//!
//! Two threads with 25 clients each. A client has `PIPELINE` ops executed, each a read of the
//! old value and a submit of the new one, and goes on once the last of them is settled.
//!
//! `cargo run --release -p shoal-storage --example disk_sets -- DIR [OPS] [PIPELINE] [KEYS]
//! [MEMORY_LIMIT_MIB]`; `DIR` must be empty or not there.
#![allow(clippy::print_stdout, reason = "to print is what it is for")]

use shoal_storage::disk::{DiskEngine, DiskOptions};
use shoal_storage::engine::{Engine, Upkeep};
use shoal_storage::files::RealFiles;
use shoal_storage::{
    Address, Commit, Durability, EngineError, Op, Parts, Patience, Policy, SpaceOptions, Tally,
};

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Clients of one thread.
const CLIENTS: usize = 25;
/// Bytes of a value, with the head that a record has.
const VALUE: usize = 112;

/// No value ever falls due.
struct Plain;

impl Policy for Plain {
    fn is_dead(&self, _space: u32) -> bool {
        false
    }

    fn due(&self, _space: u32, _value: &[u8]) -> Option<u64> {
        None
    }
}

/// The clients of one thread that may go on.
struct Ready {
    clients: Mutex<Vec<usize>>,
    thread: Thread,
}

/// Wakes one client.
struct Bell {
    ready: Arc<Ready>,
    client: usize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let mut clients = self.ready.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.push(self.client);
        let first = clients.len() == 1;
        drop(clients);
        if first {
            self.ready.thread.unpark();
        }
    }
}

/// What all threads share.
struct Load {
    engine: DiskEngine,
    /// Ops not begun yet.
    left: AtomicU64,
    pipeline: u64,
    keys: u64,
}

impl Load {
    /// A read and a submit, as a SET does them.
    fn set(&self, random: &mut fastrand::Rng) -> Result<Commit, EngineError> {
        let number = random.u64(..self.keys);
        let mut key = *b"key:000000000000";
        let mut rest = number;
        for digit in key[4..].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        let slot = u16::try_from((number.wrapping_mul(0x9E37_79B9_7F4A_7C15)) >> 50).unwrap_or(0);
        let mut value = [b'x'; VALUE];
        value[..8].copy_from_slice(&random.u64(..).to_le_bytes());
        let at = Address { space: 1, slot, key: &key };
        let mut found = false;
        self.engine.read(at, Patience::Block, &mut |old| found = old.is_some())?;
        let put = Some(Parts { head: &value[..12], body: &value[12..] });
        let tally = Tally { keys: i64::from(!found), expiring: 0 };
        self.engine.submit(&[Op { at, put, tally }])
    }

    /// One thread's work.
    fn run(&self, seed: u64) -> Result<(), EngineError> {
        let ready = Arc::new(Ready {
            clients: Mutex::new((0..CLIENTS).collect()),
            thread: std::thread::current(),
        });
        let wakers: Vec<Waker> = (0..CLIENTS)
            .map(|client| Waker::from(Arc::new(Bell { ready: Arc::clone(&ready), client })))
            .collect();
        let mut commits = [Commit::DONE; CLIENTS];
        let mut ended = 0;
        let mut random = fastrand::Rng::with_seed(seed);
        let mut taken = Vec::new();
        while ended < CLIENTS {
            std::mem::swap(
                &mut *ready.clients.lock().unwrap_or_else(PoisonError::into_inner),
                &mut taken,
            );
            if taken.is_empty() {
                std::thread::park();
            }
            for client in taken.drain(..) {
                loop {
                    match self.engine.settle(commits[client], &wakers[client]) {
                        Poll::Pending => break,
                        Poll::Ready(settled) => settled?,
                    }
                    let less = |left: u64| left.checked_sub(self.pipeline);
                    if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err() {
                        ended += 1;
                        break;
                    }
                    for _ in 0..self.pipeline {
                        commits[client] = commits[client].join(self.set(&mut random)?);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The processor time of every thread so far, in ticks of 10 ms, by its name.
fn ticks() -> Result<BTreeMap<String, u64>, Box<dyn Error>> {
    let mut found = BTreeMap::new();
    for thread in std::fs::read_dir("/proc/self/task")? {
        let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
        let (name, rest) = stat.rsplit_once(") ").ok_or("a stat without a name")?;
        let name = name.split_once('(').ok_or("a stat without a name")?.1.to_owned();
        let times = rest.split(' ').skip(11).take(2).map(str::parse::<u64>);
        *found.entry(name).or_default() += times.sum::<Result<u64, _>>()?;
    }
    Ok(found)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let dir = args.get(1).ok_or("name a folder")?;
    let number =
        |at: usize, default: u64| args.get(at).map_or(Ok(default), |text| text.parse::<u64>());
    let (ops, pipeline) = (number(2, 2_000_000)?, number(3, 16)?);
    let (keys, limit) = (number(4, 1_000_000)?, number(5, 512)?);
    std::fs::create_dir_all(dir)?;
    let options = DiskOptions { memory_limit_bytes: limit << 20, ..DiskOptions::default() };
    let engine = DiskEngine::open(Arc::new(RealFiles), Path::new(dir), &options, Arc::new(Plain))?;
    let durability = Durability::Always;
    let space = SpaceOptions { partitions: 256, durability, max_memory: None, evict: false };
    engine.open_space(1, space)?;
    let load = Load { engine, left: AtomicU64::new(ops), pipeline, keys };
    let begun = Instant::now();
    let times = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|seed| {
                let load = &load;
                let builder = std::thread::Builder::new().name("net".to_owned());
                // Its time is taken before the thread goes, and its line with it.
                builder.spawn_scoped(scope, move || load.run(seed).map(|()| std::thread::park()))
            })
            .collect::<Result<_, _>>()?;
        while load.left.load(Ordering::Relaxed) >= pipeline
            && !threads.iter().any(std::thread::ScopedJoinHandle::is_finished)
        {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        load.engine.sync()?;
        std::thread::sleep(std::time::Duration::from_millis(20));
        let times = ticks();
        let took = begun.elapsed();
        for thread in threads {
            while !thread.is_finished() {
                thread.thread().unpark();
                std::thread::yield_now();
            }
            thread.join().map_err(|_| "a thread panicked")??;
        }
        println!("{ops} ops in {took:.1?}; {:?}", load.engine.status());
        times
    })?;
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let each = |ticks: u64| ticks as f64 * 10_000.0 / ops as f64;
    let mut sum = 0;
    for (name, ticks) in times {
        println!("{name:>18} {:6.2} us per op", each(ticks));
        sum += ticks;
    }
    println!("{:>18} {:6.2} us per op", "all", each(sum));
    Ok(())
}
