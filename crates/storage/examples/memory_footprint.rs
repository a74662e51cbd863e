//! Prints what a million keys of 16 bytes with values of 110 bytes take in memory, as the
//! operating system, the allocator and the engine see it.
//!
//! `cargo run --release -p shoal-storage --example memory_footprint [keys]`
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use shoal_storage::engine::{Engine, Upkeep};
use shoal_storage::memory::{MemoryEngine, MemoryOptions};
use shoal_storage::{Address, Durability, Op, Parts, Policy, SpaceOptions, Tally};

use std::sync::Arc;

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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keys: u32 = std::env::args().nth(1).map_or(Ok(1_000_000), |keys| keys.parse())?;
    let before = (resident()?, allocated()?);
    let engine = MemoryEngine::new(Arc::new(Plain), MemoryOptions::default());
    let durability = Durability::Os;
    engine.open_space(
        1,
        SpaceOptions { partitions: 256, durability, max_memory: None, evict: false },
    )?;
    for number in 0..keys {
        let key = format!("key:{number:012}");
        let slot = (number.wrapping_mul(0x9E37_79B9) >> 18) as u16;
        let at = Address { space: 1, slot, key: key.as_bytes() };
        let put = Some(Parts { head: &[7; 10], body: &[8; 100] });
        engine.submit(&[Op { at, put, tally: Tally { keys: 1, expiring: 0 } }])?;
    }
    let per_key = |bytes: u64| bytes as f64 / f64::from(keys);
    let counted = engine.status().memory_bytes;
    let (resident, allocated) = (resident()?, allocated()?);
    println!("{keys} keys of 16 bytes with values of 110 bytes, 256 partitions");
    for (what, bytes) in [
        ("resident, all of the process", resident),
        ("resident, more than before", resident - before.0),
        ("allocated, more than before", allocated - before.1),
        ("counted by the engine", counted),
    ] {
        println!("{what:30} {bytes:12} bytes  {:6.1} per key", per_key(bytes));
    }
    Ok(())
}

/// Bytes of resident anonymous memory.
fn resident() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no RssAnon")?;
    Ok(kibibytes.parse::<u64>()? * 1_024)
}

/// Bytes this thread has from the allocator.
fn allocated() -> Result<u64, Box<dyn std::error::Error>> {
    let taken = tikv_jemalloc_ctl::thread::allocatedp::read().map_err(|error| error.to_string())?;
    let given =
        tikv_jemalloc_ctl::thread::deallocatedp::read().map_err(|error| error.to_string())?;
    Ok(taken.get() - given.get())
}
