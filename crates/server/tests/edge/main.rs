//! The server as its clients meet it: over real sockets, in one process.

#![expect(clippy::panic, reason = "the helpers of tests fail as tests do")]

mod docs;
mod flood;
mod http2;
mod http_abuse;
mod http_admin;
mod http_batch;
mod http_cluster;
mod http_keys;
mod lifecycle;
mod redis_abuse;
mod support;
