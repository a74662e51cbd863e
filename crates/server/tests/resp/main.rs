//! The Redis protocol as a client meets it, without sockets: bytes into a conversation, bytes out
//! of it, over a real node in a folder of its own.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod away;
mod clients;
mod cold;
mod docs;
mod handshakes;
mod keys;
mod pipelines;
mod server;
mod settle;
mod strings;
mod support;
mod table;
mod transactions;
