//! Shoal's storage engines and the contract they share.
//!
//! Holds: an engine moves bytes under addresses; what the bytes mean is the node's business.
//! Nothing here knows records, versions, the network or an async runtime.

pub mod conformance;
pub mod directory;
pub mod disk;
pub mod engine;
pub mod fault;
pub mod files;
pub mod memory;

pub use engine::{
    Address, Answer, Commit, Decide, Durability, Engine, EngineError, Op, Parts, Patience, Policy,
    SpaceOptions, Status, Tally, Turn,
};
