//! Shoal's edge: what clients talk to.
//!
//! Holds: every interface is a translation of the node's one vocabulary, so that the Redis
//! protocol and HTTP see the same keys, the same rules and the same errors. Everything a client
//! can make the server hold (buffers, connections, time) has a bound, and each bound is a named
//! constant or a setting.
//!
//! One request through the files: [`listener`] accepts a connection and decides its protocol from
//! the first bytes; [`connection`] carries it; [`resp`] or [`http`] translate; the node answers.
//!
//! Does not know: how the command line looks, or how anything is stored.

pub mod boot;
pub mod config;
pub mod connection;
pub mod docs;
pub mod http;
pub mod listener;
pub mod metrics;
pub mod network;
pub mod peer;
pub mod resp;

pub use boot::{BootError, Running, Server, run};
