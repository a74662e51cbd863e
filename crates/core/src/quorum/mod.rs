//! How a request is carried out on the replicas of its key: the machines of a coordinator.
//!
//! Each request is a small state machine that takes [`Event`]s and lists [`Effect`]s: [`Write`]
//! for plain writes, [`Read`] for reads, [`Execute`] for read-modify-writes, [`Batch`] for several
//! keys that are judged and written as one. Whoever drives one sends what it asks to be sent and
//! feeds back what comes of it.
//!
//! Holds: no machine mixes answers of two epochs: a refusal for a stale epoch voids every answer
//! so far. A write that was answered to its client is never stamped again.
//!
//! Does not know: how messages travel, how long a deadline is, what else goes on at the node.

mod answers;
mod attempt;
mod batch;
mod effect;
mod execute;
mod forward;
mod found;
mod level;
mod message;
mod owners;
mod read;
mod write;

pub use attempt::{Decide, Executed};
pub use batch::{Batch, BatchOutcome, Condition, Part};
pub use effect::{Effect, Event, Stamps};
pub use execute::Execute;
pub use forward::{Forward, ForwardBatch, Forwarded};
pub use found::{Found, ReadOutcome};
pub use level::{Level, quorum};
pub use message::{
    Answer, Ask, Base, Envelope, Full, Guarded, Header, Item, Origin, Refusal, Reply, Shown,
};
pub use owners::{Member, NoQuorum, Owners};
pub use read::Read;
pub use write::{Restamp, Write, WriteOutcome};

#[cfg(test)]
mod tests;
