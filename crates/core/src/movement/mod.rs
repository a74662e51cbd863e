//! How owners change while a partition serves.
//!
//! The map names the owners to be (`next`); from then on reads and writes need their level in
//! both sets. Every member of `next` proves that it dominates the present owners; then one map
//! command makes them the owners.
//!
//! Holds: a proof is worth something only at the epoch that named its `next`.

mod intake;

pub use intake::{Intake, IntakeEffect};
