//! Scenarios: faults that are known from other stores, played out step by step on a stage where
//! nothing else happens. `docs/faults.toml` says which row each of them shows.

mod clocks;
mod deletes;
mod evictions;
mod hints;
mod moves;
mod stage;
mod trees;
mod writes;
