//! Shoal's storage engines and the contract they share.
//!
//! Holds: an engine moves bytes under addresses; what the bytes mean is the node's business.
//! Nothing here knows records, versions, the network or an async runtime.

pub mod engine;
pub mod conformance;
pub mod memory;
pub mod disk;
pub mod files;
pub mod directory;
pub mod fault;

pub use engine::{
    Address, Answer, Commit, Durability, Engine, EngineError, Op, Parts, Patience, Policy,
    SpaceOptions, Status, Tally,
};
