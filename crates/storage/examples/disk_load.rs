//! Loads a disk engine with more than its memory, reads and overwrites at random, drops it as a
//! crash would and opens it again; prints how long each took and how much memory was resident.
//!
//! `cargo run --release -p shoal-storage --example disk_load -- DIR [MIB_OF_VALUES] [VALUE_BYTES]
//! [MEMORY_LIMIT_MIB]`; `DIR` must be empty or not there.
#![allow(clippy::print_stdout, reason = "to print is what it is for")]

use shoal_storage::disk::{DiskEngine, DiskOptions};
use shoal_storage::engine::{Engine, Upkeep};
use shoal_storage::files::RealFiles;
use shoal_storage::{Address, Durability, Op, Parts, Patience, Policy, SpaceOptions, Tally};

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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

static PEAK_KIB: AtomicU64 = AtomicU64::new(0);

fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}

fn open(dir: &Path, limit_mib: u64) -> Result<DiskEngine, Box<dyn Error>> {
    let options = DiskOptions { memory_limit_bytes: limit_mib << 20, ..DiskOptions::default() };
    let engine = DiskEngine::open(Arc::new(RealFiles), dir, &options, Arc::new(Plain))?;
    engine.open_space(
        1,
        SpaceOptions {
            partitions: 256,
            durability: Durability::Always,
            max_memory: None,
            evict: false,
        },
    )?;
    Ok(engine)
}

fn place(number: u64) -> ([u8; 16], u16) {
    let mut key = *b"key:000000000000";
    key[8..].copy_from_slice(&number.to_be_bytes());
    let slot = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 50;
    (key, u16::try_from(slot).unwrap_or(0))
}

fn put(
    engine: &DiskEngine,
    number: u64,
    random: &mut fastrand::Rng,
    value: &mut [u8],
    keys: i64,
) -> Result<(), Box<dyn Error>> {
    random.fill(value);
    let (key, slot) = place(number);
    let at = Address { space: 1, slot, key: &key };
    let put = Some(Parts { head: &[], body: value });
    engine.submit(&[Op { at, put, tally: Tally { keys, expiring: 0 } }])?;
    Ok(())
}

/// Does something many times and prints how it went.
fn phase(
    name: &str,
    times: u64,
    mut work: impl FnMut(u64) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    PEAK_KIB.store(0, Ordering::Relaxed);
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    for number in 0..times {
        let each = Instant::now();
        work(number)?;
        slowest = slowest.max(each.elapsed());
    }
    let took = begun.elapsed();
    let rate = Duration::as_secs_f64(&took).recip() * f64::from(u32::try_from(times)?);
    let peak = PEAK_KIB.load(Ordering::Relaxed).max(anonymous_kib()) / 1024;
    println!(
        "{name}: {times} in {took:.1?}, {rate:.0}/s, slowest {slowest:.1?}; at most {peak} MiB"
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let dir = args.get(1).ok_or("name a folder")?;
    let number =
        |at: usize, default: u64| args.get(at).map_or(Ok(default), |text| text.parse::<u64>());
    let (mib, len, limit) = (number(2, 2048)?, number(3, 1024)?, number(4, 512)?);
    let dir = Path::new(dir);
    std::fs::create_dir_all(dir)?;
    let done = Arc::new(AtomicBool::new(false));
    let watch = {
        let done = Arc::clone(&done);
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                PEAK_KIB.fetch_max(anonymous_kib(), Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(10));
            }
        })
    };
    let keys = (mib << 20) / len;
    let mut value = vec![0; usize::try_from(len)?];
    let mut random = fastrand::Rng::with_seed(1);
    let mut engine = open(dir, limit)?;
    phase("load", keys, |number| put(&engine, number, &mut random, &mut value, 1))?;
    phase("sync", 1, |_| Ok(engine.sync()?))?;
    let mut chosen = fastrand::Rng::with_seed(2);
    phase("read", 1_000_000, |_| {
        let (key, slot) = place(chosen.u64(..keys));
        let mut found = false;
        let at = Address { space: 1, slot, key: &key };
        engine.read(at, Patience::Block, &mut |value| found = value.is_some())?;
        if found { Ok(()) } else { Err("a key is missing".into()) }
    })?;
    phase("overwrite", 1_000_000, |_| {
        put(&engine, chosen.u64(..keys), &mut random, &mut value, 0)
    })?;
    engine.sync()?;
    drop(engine);
    let begun = Instant::now();
    engine = open(dir, limit)?;
    let peak = PEAK_KIB.load(Ordering::Relaxed) / 1024;
    println!("opened after a crash in {:.1?}; at most {peak} MiB", begun.elapsed());
    if engine.tally(1, 0..16_384).keys != i64::try_from(keys)? {
        return Err("the tally is wrong".into());
    }
    phase("compact", 1, |_| Ok(engine.compact()?))?;
    println!("{:?}", engine.status());
    phase("close", 1, |_| Ok(engine.close()?))?;
    done.store(true, Ordering::Relaxed);
    watch.thread().unpark();
    watch.join().map_err(|_| "the watch panicked")?;
    Ok(())
}
