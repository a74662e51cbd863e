//! The binary as its users meet it: a real process, killed, cut from power, damaged, filled to the
//! brim, and compared with a real Redis, answer by answer.
//!
//! Holds: what must be true is decided here, outside the process, from the replies it gave before
//! it was hurt. Every choice comes from one printed seed; `SHOAL_SEED=N` makes the same ones.
//!
//! `SHOAL_FULL=1` asks for the long runs, `SHOAL_KILLS`, `SHOAL_IMAGES`, `SHOAL_SEQUENCES` for a
//! number of one's own.

#![allow(clippy::print_stderr, reason = "a test tells what it does")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code; a failure ends it"
)]
#![allow(clippy::cast_possible_truncation, reason = "the numbers here are made small")]

mod client;
mod folder;
mod node;
mod reply;
mod settings;

mod history;
mod workload;

mod disk;
mod shim;
mod trace;

mod clients;
mod cluster;
mod damage;
mod dev;
mod differential;
mod disk_full;
mod kill;
mod parts;
mod power_cut;
mod shim_fail;
