//! The running Shoal node: what can be asked of it, how it is carried out, and what goes on in
//! the background.
//!
//! Where a GET goes: [`Access::run`] in `access` finds the keyspace in the routing snapshot, asks
//! its engine, and hands the record to the interface's [`Sink`]. A SET becomes a `Step`
//! in `step`: it takes the partition's lock, lets `shoal_core::update` decide, and submits the new
//! record to the engine.
//!
//! Holds: a partition's lock is never held across a wait for the network; an answer leaves the
//! process only after the commit it depends on is settled.
//!
//! Does not know: sockets, protocols, command lines.

mod access;
mod afar;
mod catalogue;
mod clock;
pub mod cluster;
mod coordinator;
pub mod discovery;
mod errand;
mod gather;
mod health;
mod keyspace;
pub mod membership;
mod naming;
mod node;
mod overlay;
mod refusal;
mod repair;
mod replicas;
mod request;
mod rules;
mod scan;
mod scope;
pub mod secret;
mod seeing;
mod stats;
mod step;
mod sweep;
mod transaction;
pub mod transport;

pub use access::{Access, EVENT_SKEW_MS, FORESEEN, MAX_KEY, removed};
pub use clock::TimeSource;
pub use errand::{AT_ONCE as FORESEEN_AFAR, Errands};
pub use node::{Entry, KeyspaceInfo, Node, NodeConfig, NodeStatus, StartError};
pub use refusal::{Code, Halt, Refusal, Row};
pub use request::{Answer, Request, Sink, Target, Updated};
pub use scan::{Listing, bad_cursor};
pub use scope::Scope;
pub use seeing::{
    ClusterShown, Explained, HeldAnswer, HeldBy, LocalKeys, MemberShown, Presence, Queues,
    REPAIR_FIGURES, RepairFigure, RequestFigure, VerdictShown,
};
pub use stats::Stats;
pub use transaction::{Footprint, Watched};
