//! The Redis protocol: requests in, replies out, and the table of commands between them.
//!
//! Everything here is sans-IO: a parser over bytes that someone else read, an encoder into bytes
//! that someone else writes, and between them the commands, which ask the node.
//!
//! Does not know: sockets, threads, engines.

mod ahead;
pub mod arguments;
mod commands;
pub mod describe;
pub mod docs;
pub(crate) mod figures;
pub mod frame;
pub mod inline;
pub mod integer;
mod layout;
pub(crate) mod levels;
mod local;
pub mod manual;
pub mod reply;
mod session;
mod state;
pub mod table;
pub mod words;

pub use local::Local;
pub use session::Run;
pub(crate) use session::Session;
