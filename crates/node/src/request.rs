//! What can be asked of a node, and what it answers: one vocabulary for every interface.
//!
//! Holds: a request borrows from the buffer it was read into; an answer borrows from the place
//! where the bytes live. The interfaces translate; they decide nothing.

use shoal_core::update::{Outcome, Update};
use shoal_core::version::Millis;
use shoal_core::{Record, Version};
use std::sync::Arc;

/// The keyspace a request is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The keyspace bound to this database number, as `SELECT n` chooses it.
    Database(u16),
    /// The keyspace of this name.
    Named(Arc<str>),
}

impl Target {
    /// The keyspace that a client finds itself in.
    pub const DEFAULT: Self = Self::Database(0);
}

impl Default for Target {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// One question about one key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Request<'a> {
    /// What is there?
    Read {
        /// The key.
        key: &'a [u8],
    },
    /// Change what is there.
    Update {
        /// The key.
        key: &'a [u8],
        /// The change.
        update: Update<'a>,
        /// The caller's own time of the change, which becomes its version.
        event_time: Option<Millis>,
        /// Whether the answer has to tell what was there before, even where that costs a question
        /// to other nodes.
        look: bool,
    },
}

impl<'a> Request<'a> {
    /// The key the request is about.
    #[must_use]
    pub const fn key(&self) -> &'a [u8] {
        match self {
            Self::Read { key } | Self::Update { key, .. } => key,
        }
    }
}

/// What came of a request.
#[derive(Debug)]
pub enum Answer<'a> {
    /// The record a reader may see: live, not expired.
    Found(Option<Record<'a>>),
    /// What an update did.
    Updated(Updated<'a>),
}

/// What an update did.
#[derive(Debug)]
pub struct Updated<'a> {
    /// Its outcome.
    pub outcome: Outcome,
    /// What a reader saw before it: live, not expired.
    pub before: Option<Record<'a>>,
    /// The version of what is there now; `None` if nothing is.
    pub version: Option<Version>,
    /// Whether it was written without a look at what was there: `before` says nothing then.
    pub blind: bool,
}

/// Where answers go. Each interface has its own: bytes for a socket, fields of a JSON document.
///
/// Called at most once per request. A refusal may still follow; what was written for a refused
/// request is discarded by whoever owns the sink.
pub trait Sink {
    /// Takes the answer, copying what it needs.
    fn answer(&mut self, answer: Answer<'_>);
}

impl<F: FnMut(Answer<'_>)> Sink for F {
    fn answer(&mut self, answer: Answer<'_>) {
        self(answer);
    }
}
