//! The suite that every engine passes: the contract's promises, as tests.
//!
//! Checks promises 1 to 3 and 6, and what the methods say of themselves. Crashes, failed writes
//! and damage (promises 1, 4 and 5 in full) need a file layer that can be made to fail, and are
//! tested with it.
//!
//! Does not know: how an engine is made, closed or opened again; a [`Subject`] does.
#![cfg(any(test, feature = "testing"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "to fail is how a test answers")]

mod cases;
mod model;
mod updates;
mod walks;

use crate::engine::{
    Address, Answer, Commit, Durability, Engine, Op, Parts, Patience, Policy, SpaceOptions, Tally,
};

use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Wake, Waker};

/// An engine under test, and how to do to it what the contract leaves to its owner.
pub trait Subject {
    /// The engine as it is now.
    fn engine(&self) -> Arc<dyn Engine>;

    /// Closes the engine and opens it again on what it left. `false`, with nothing done, if it
    /// keeps nothing.
    fn reopen(&mut self) -> bool {
        false
    }

    /// Brings the engine to where `due` offers everything submitted so far, if that takes more
    /// than calling it.
    fn ripen(&mut self) {}
}

/// What the suite tells the engine of values: one that begins with `@` and eight bytes is due at
/// the time those say, big-endian; no other ever is.
#[derive(Debug, Default)]
pub struct SuitePolicy {
    dead: Mutex<BTreeSet<u32>>,
}

impl Policy for SuitePolicy {
    fn is_dead(&self, space: u32) -> bool {
        self.dead.lock().contains(&space)
    }

    fn due(&self, _space: u32, value: &[u8]) -> Option<u64> {
        let (time, _) = value.strip_prefix(b"@")?.split_first_chunk()?;
        Some(u64::from_be_bytes(*time))
    }
}

/// A value that is due at `time_ms`.
fn timed(time_ms: u64, rest: &[u8]) -> Vec<u8> {
    [&b"@"[..], &time_ms.to_be_bytes(), rest].concat()
}

/// A case: what it shows, and how.
type Case = (&'static str, fn(&mut Bench<'_>));

/// Runs the suite. `make` makes an empty engine, once per case.
///
/// # Panics
/// If the engine breaks a promise.
pub fn check<S: Subject>(make: impl Fn(Arc<dyn Policy>) -> S) {
    let make = |policy: &Arc<SuitePolicy>| make(Arc::clone(policy) as Arc<dyn Policy>);
    for &(name, case) in cases::CASES.iter().chain(updates::CASES).chain(walks::CASES) {
        let policy = Arc::new(SuitePolicy::default());
        let mut bench = Bench { subject: Box::new(make(&policy)), policy, spaces: Vec::new() };
        tracing::debug!(name, "conformance");
        case(&mut bench);
    }
    model::check(&make);
}

/// A subject with what the cases do to it again and again.
struct Bench<'a> {
    subject: Box<dyn Subject + 'a>,
    policy: Arc<SuitePolicy>,
    spaces: Vec<(u32, SpaceOptions)>,
}

impl Bench<'_> {
    fn engine(&self) -> Arc<dyn Engine> {
        self.subject.engine()
    }

    /// Opens a space of `partitions`, and again after each reopening.
    fn open(&mut self, space: u32, partitions: u16) {
        let durability = Durability::Always;
        let options = SpaceOptions { partitions, durability, max_memory: None, evict: false };
        self.engine().open_space(space, options).unwrap();
        self.spaces.push((space, options));
    }

    fn reopen(&mut self) -> bool {
        let reopened = self.subject.reopen();
        if reopened {
            for &(space, options) in &self.spaces {
                self.engine().open_space(space, options).unwrap();
            }
        }
        reopened
    }

    fn retire(&mut self, space: u32) {
        self.policy.dead.lock().insert(space);
        self.engine().retire(space);
        self.spaces.retain(|&(other, _)| other != space);
    }

    /// Submits one change that counts as what it says and waits for it.
    fn change(&self, at: Address<'_>, put: Option<&[u8]>, keys: i64) {
        let put = put.map(halves);
        let tally = Tally { keys, expiring: 0 };
        self.settle(self.engine().submit(&[Op { at, put, tally }]).unwrap());
    }

    fn read(&self, at: Address<'_>) -> Option<Vec<u8>> {
        read(&*self.engine(), at)
    }

    /// Waits until `commit` is settled.
    fn settle(&self, commit: Commit) {
        settle(&*self.engine(), commit);
    }

    /// Everything in a slot, by scanning it in steps of `limit`.
    fn scan(&self, space: u32, slot: u16, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        loop {
            let before = found.len();
            let after = found.last().map(|(key, _)| key.clone());
            let commit = self.engine().scan(space, slot, after.as_deref(), limit, &mut |k, v| {
                found.push((k.to_vec(), v.to_vec()));
                true
            });
            self.settle(commit.unwrap());
            assert!(found.len() - before <= limit, "a scan keeps to its limit");
            if found.len() == before {
                return found;
            }
        }
    }

    /// Everything in a slot, by paging through it; what is shown twice is there twice.
    fn pages(&self, space: u32, slot: u16, count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        let mut position = Some(0);
        while let Some(at) = position {
            let page = self.engine().page(space, slot, at, count, &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                true
            });
            let (next, commit) = page.unwrap();
            self.settle(commit);
            assert!(next.is_none_or(|next| next < 1 << 48), "a position is below 2^48");
            position = next;
        }
        found
    }
}

/// A value in two uneven parts.
fn halves(value: &[u8]) -> Parts<'_> {
    let (head, body) = value.split_at(value.len() / 3);
    Parts { head, body }
}

/// What is at an address; waits for disk and commit.
fn read(engine: &dyn Engine, at: Address<'_>) -> Option<Vec<u8>> {
    let mut found = None;
    let mut calls = 0;
    let answer = engine.read(at, Patience::Block, &mut |value| {
        found = value.map(<[u8]>::to_vec);
        calls += 1;
    });
    assert_eq!(calls, 1, "a read shows its answer once");
    match answer.unwrap() {
        Answer::Given(commit) => settle(engine, commit),
        Answer::Cold => panic!("a read that may block answers"),
    }
    found
}

/// Parks the thread that waits for a commit.
struct Bell {
    thread: std::thread::Thread,
    rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Waits until `commit` is settled, and that nothing before it is left open then.
fn settle(engine: &dyn Engine, commit: Commit) {
    loop {
        let bell = Bell { thread: std::thread::current(), rung: AtomicBool::new(false) };
        let bell = Arc::new(bell);
        match engine.settle(commit, &Waker::from(Arc::clone(&bell))) {
            Poll::Ready(done) => return done.unwrap(),
            Poll::Pending => {
                while !bell.rung.load(Ordering::Acquire) {
                    std::thread::park();
                }
            }
        }
    }
}
