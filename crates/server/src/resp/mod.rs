//! The Redis protocol: requests in, replies out, and the table of commands between them.
//!
//! Everything here is sans-IO: a parser over bytes that someone else read, an encoder into bytes
//! that someone else writes.
//!
//! Does not know: sockets, threads, engines.

pub mod arguments;
pub mod describe;
pub mod docs;
pub mod frame;
pub mod inline;
pub mod integer;
pub mod reply;
pub mod table;
pub mod words;
