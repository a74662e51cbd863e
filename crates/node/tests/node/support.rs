//! A node in a directory of its own, with a clock that the test moves.

use shoal_core::update::{Outcome, SetExpiry, Update, When};
use shoal_core::{Body, Record};
use shoal_node::{Access, Halt, Node, NodeConfig, Refusal, Target, TimeSource};
use shoal_storage::Patience;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// When the clocks of the tests start.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// A node, and what it stands on.
pub(crate) struct Bench {
    pub(crate) node: Arc<Node>,
    clock: Arc<AtomicU64>,
    config: NodeConfig,
    _directory: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(in_memory: bool) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(AtomicU64::new(START_MS));
        let hand = Arc::clone(&clock);
        let config = NodeConfig {
            data: directory.path().join("data"),
            default_in_memory: in_memory,
            memory_limit: 64 << 20,
            min_free: Some(0),
            time: TimeSource::new(move || hand.load(Ordering::SeqCst)),
            ..NodeConfig::default()
        };
        let node = Node::start(config.clone()).expect("a new node starts");
        Self { node, clock, config, _directory: directory }
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn access(&self) -> Access<'_> {
        self.node.access(Patience::Block)
    }

    /// Stops the node and starts it again on the same directory.
    pub(crate) fn restart(&mut self) {
        self.node.stop().expect("a healthy node stops");
        // The directory's lock goes with the last handle, which the sweep may hold for a moment.
        let weak = Arc::downgrade(&self.node);
        let spare = Bench::spare();
        drop(std::mem::replace(&mut self.node, spare));
        while weak.strong_count() > 0 {
            std::thread::yield_now();
        }
        self.node = Node::start(self.config.clone()).expect("the directory opens again");
    }

    fn spare() -> Arc<Node> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = NodeConfig {
            data: directory.path().join("spare"),
            default_in_memory: true,
            min_free: Some(0),
            ..NodeConfig::default()
        };
        Node::start(config).expect("a new node starts")
    }
}

pub(crate) fn value(record: Option<Record<'_>>) -> Option<Vec<u8>> {
    match record?.body {
        Body::Live { bytes, .. } => Some(bytes.to_vec()),
        Body::Tombstone => panic!("a reader never sees a tombstone"),
    }
}

pub(crate) fn get(access: &mut Access<'_>, target: &Target, key: &[u8]) -> Option<Vec<u8>> {
    access.read(target, key, value).expect("a healthy node reads")
}

pub(crate) fn set(access: &mut Access<'_>, target: &Target, key: &[u8], value: &[u8]) {
    let update = Update::Set { value, expiry: SetExpiry::Never, when: When::Always };
    let outcome = access.update(target, key, &update, |updated| updated.outcome);
    assert_eq!(outcome.expect("a healthy node writes"), Outcome::Done);
}

pub(crate) fn delete(access: &mut Access<'_>, target: &Target, key: &[u8]) -> bool {
    let update = Update::Delete { when: When::Always };
    access.update(target, key, &update, |u| u.outcome == Outcome::Done).expect("it deletes")
}

pub(crate) fn refusal<R: std::fmt::Debug>(result: Result<R, Halt>) -> Refusal {
    match result {
        Err(Halt::Refused(refusal)) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}
