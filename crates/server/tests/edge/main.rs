//! The server as its clients meet it: over real sockets, in one process.

mod support;
mod docs;
mod http_keys;
mod http_batch;
mod http_admin;
mod http_abuse;
mod lifecycle;
