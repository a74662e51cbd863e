//! The Redis protocol as a client meets it, without sockets: bytes into a conversation, bytes out
//! of it, over a real node in a folder of its own.

mod support;
mod table;
mod pipelines;
mod cold;
mod settle;
mod transactions;
mod clients;
mod strings;
mod keys;
mod server;
mod handshakes;
mod docs;
