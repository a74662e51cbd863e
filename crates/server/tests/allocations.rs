//! How often the usual commands allocate on their way through a conversation with a keyspace in
//! memory, once its buffers have grown: a read never, a write once for a new entry at most.
#![allow(unsafe_code, reason = "an allocator can only be counted by being one")]

use shoal_node::{Node, NodeConfig};
use shoal_server::config::resolve;
use shoal_server::connection::Shared;
use shoal_server::resp::{Local, Run};
use shoal_storage::Patience;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

/// Counts what the thread asks for, and asks the system.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has nothing left to count with, nor anybody who asks.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on as it is to the system's allocator, which keeps the contract;
// the counter is a thread's own and neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `alloc` gave out the block.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`, and `alloc` gave out the block.
        unsafe { System.realloc(block, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Commands in a pipeline.
const PIPELINE: usize = 16;
/// Pipelines that are counted.
const ROUNDS: usize = 64;
/// Keys that fill the table, so that most new ones find room in it. Its growth comes on top of a
/// key's own allocation, seldom and in steps.
const FILLER: usize = 200_000;
/// What a conversation keeps of its buffers.
const KEPT: usize = 64 << 10;

/// How many allocations the commands that `line` gives for each number take, all together, when
/// as many others like them have been executed before.
fn allocations(local: &mut Local, line: impl Fn(usize) -> String) -> usize {
    let mut pipelines = (0..2 * ROUNDS).map(|round| {
        let commands = (0..PIPELINE).map(|nth| line(round * PIPELINE + nth));
        commands.map(|command| command + "\r\n").collect::<String>()
    });
    let mut turn = |text: String| {
        let before = ALLOCATIONS.get();
        local.feed(text.as_bytes());
        assert_eq!(local.run(Patience::Inline), Run::Idle);
        let after = ALLOCATIONS.get();
        let replies = String::from_utf8_lossy(local.output());
        assert!(!replies.contains("-ERR"), "{replies}");
        drop(replies);
        local.sent();
        after - before
    };
    for text in pipelines.by_ref().take(ROUNDS) {
        turn(text);
    }
    pipelines.map(turn).sum()
}

#[test]
fn reads_allocate_nothing_and_writes_once_at_most() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = resolve(&[]).expect("the settings are sound");
    let node = Node::start(NodeConfig {
        data: folder.path().join("data"),
        memory_limit: 256 << 20,
        default_in_memory: true,
        ..NodeConfig::default()
    });
    let node = node.expect("it starts");
    let shared = Arc::new(Shared::new(Arc::clone(&node), Arc::new(config), Vec::new()));
    let mut local = Local::new(&shared);
    let commands = PIPELINE * ROUNDS;

    assert_eq!(allocations(&mut local, |_| "PING".to_owned()), 0, "PING");
    let set = |n: usize| format!("SET key:{n:06} {n:0100}");
    let filler: String = (0..FILLER).map(|n| format!("SET filler:{n} x\r\n")).collect();
    for part in filler.as_bytes().chunks(KEPT / 2) {
        local.ask(part);
    }
    let growing = allocations(&mut local, set);
    assert!(growing <= 2 * commands, "{growing} allocations for {commands} keys in a full table");
    for n in 0..2 * commands {
        local.ask(format!("DEL key:{n:06}\r\n").as_bytes());
    }
    let new = allocations(&mut local, set);
    assert!((1..=commands).contains(&new), "{new} allocations for {commands} new keys");
    for (what, line) in [
        ("GET", (|n| format!("GET key:{n:06}")) as fn(usize) -> String),
        ("GET of nothing", |n| format!("GET nope:{n:06}")),
        ("SET of the same length", |n| format!("SET key:{n:06} {:0100}", n + 1)),
        ("EXISTS", |n| format!("EXISTS key:{n:06}")),
        ("STRLEN", |n| format!("STRLEN key:{n:06}")),
        ("MGET", |n| format!("MGET key:{n:06} key:000001 nope")),
        ("DEL", |n| format!("DEL key:{n:06}")),
    ] {
        assert_eq!(allocations(&mut local, line), 0, "{what}");
    }
    drop((local, shared));
    node.stop().expect("it stops cleanly");
}
