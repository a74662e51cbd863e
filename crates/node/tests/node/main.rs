//! The node against models: what it answers, whatever the engine, the time and the order.

#![allow(clippy::panic, reason = "a test's helpers fail it")]

mod keyspaces;
mod model;
mod support;
mod transactions;
