//! The control machine: what the leader of the cluster map does of its own accord.
//!
//! [`Control`] is told what nodes report of their copies ([`Report`]), looks at the map and at who
//! is up ([`View`]), and lists the commands that bring the cluster nearer to what it is to be: lost
//! copies renewed, the places of nodes that are gone taken by others, partitions grown to the
//! number of replicas they are to have, proven changes cut over. [`Control::status`] says how far
//! the cluster is from that. [`voters`] chooses who decides the map, [`executor`] says which owner
//! of a key leads its read-modify-writes.
//!
//! Holds: whoever leads may be replaced at any moment. What `Control` knows is the map and what
//! nodes repeat to it, so a new leader that starts with an empty one comes to the same decisions.
//! Every command is compare-and-set on the epoch it was planned at: planning twice, or by two
//! leaders at once, does no harm. A healthy owner is never asked to leave, and being down is not
//! being gone: gossip moves no data by itself.
//!
//! Does not know: how the map is agreed on, how reports travel, how records are copied.

mod happened;
mod limits;
mod plan;
mod report;
mod room;
mod standing;
mod status;
mod survey;
mod view;
mod wish;

pub mod executor;
pub mod voters;

pub use happened::{Happened, Plan, Step};
pub use limits::Limits;
pub use plan::Control;
pub use report::Report;
pub use status::{ClusterStatus, Figures, Health};
pub use view::View;

#[cfg(test)]
mod tests;
