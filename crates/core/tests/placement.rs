//! The laws of placement: who may hold what, how even the loads are, how little moves.
//!
//! The loads and moves of many sizes and seeds are swept in `balance`, the laws of every mixture
//! of weights, zones and present owners are searched by proptest in `laws`, `golden` holds plans
//! that must never change unnoticed, and `scale` measures what `cargo xtask bench scale` writes
//! down.

#[path = "placement/balance.rs"]
mod balance;
#[path = "placement/cluster.rs"]
mod cluster;
#[path = "placement/golden.rs"]
mod golden;
#[path = "placement/laws.rs"]
mod laws;
#[path = "placement/scale.rs"]
mod scale;
