//! The simulator: whole clusters of the machines that production runs, in virtual time.
//!
//! One seed decides everything: the cluster, the network's and the clocks' mischief, who crashes
//! when, what clients ask. Faults first, then a calm phase in which the cluster must converge. The
//! [`oracle`] watches from outside: it knows what clients asked and were answered, and what the
//! stores hold in the end.
//!
//! Holds: a run depends on its [`Options`] alone, so a failing seed fails again.
//!
//! Does not know: real time, files, sockets, threads.

mod client;
mod copy;
mod layout;
mod map_log;
mod network;
mod node;
mod options;
pub mod oracle;
mod run;
#[cfg(test)]
mod scenarios;
mod shelf;
mod world;

pub use options::{Family, Faults, Options};
pub use run::{Failure, Report, run};
