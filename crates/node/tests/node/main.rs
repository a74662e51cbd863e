//! The node against models: what it answers, whatever the engine, the time and the order.

mod keyspaces;
mod model;
mod support;
mod transactions;
