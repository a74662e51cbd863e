//! The binary `shoal`: starts a node, talks to one, and measures one.
//!
//! Data commands speak the Redis protocol, administration the node's `/v1` JSON. Every command
//! takes `--json`, ends with status 0 (done), 1 (nothing there) or 2 (failed), and says on
//! failure what to do.
//!
//! Holds: only this crate and the development tasks print.
//! Does not know: how a node works inside.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line prints")]

mod address;
mod bench;
mod client;
mod cluster;
mod completions;
mod data;
mod dev;
mod failure;
mod http;
mod keyspace;
mod output;
mod reply;
mod scan;
mod secret;
mod serve;
mod shell;
mod table;
mod units;

use clap::{CommandFactory as _, Parser, Subcommand};
use client::ConnectArgs;
use failure::{Failure, Outcome};
use output::Output;
use std::ffi::OsString;
use std::process::ExitCode;

/// Less fragmentation than the system's allocator.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A persistent key/value store that Redis clients and curl talk to
#[derive(Parser)]
#[command(name = "shoal", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Start with `shoal serve`, then `shoal set greeting hello`.\n\
    Status: 0 done, 1 nothing there, 2 failed.")]
struct Cli {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a node
    Serve(serve::Serve),
    /// Start a whole cluster in one process, to try it out
    Dev(dev::Dev),
    /// Print the value of a key
    Get(data::Get),
    /// Store a value
    Set(data::Set),
    /// Delete keys
    Del(data::Keys),
    /// Count the keys that are there
    Exists(data::Keys),
    /// Let a key expire
    Expire(data::Expire),
    /// Print how long a key has left
    Ttl(data::Ttl),
    /// Print the values of several keys
    Mget(data::Keys),
    /// Store several values at once
    Mset(data::Mset),
    /// List keys, slice by slice
    Scan(scan::Scan),
    /// List keys that match a pattern, in one answer
    Keys(scan::Keys),
    /// Add to a number
    Incr(data::Incr),
    /// Print what the node says about itself
    Info(data::Info),
    /// Make, list, change and drop keyspaces
    #[command(subcommand)]
    Keyspace(keyspace::Keyspace),
    /// Look at the cluster, and take the decisions that only people can take
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Show where a key lives and why
    Explain(cluster::Explain),
    /// List keys that the node holds a copy of
    LocalKeys(cluster::LocalKeys),
    /// Have the node reclaim disk space now
    Compact(keyspace::Compact),
    /// Type commands, with history, completion and help
    Shell(shell::Shell),
    /// Measure a node, or a Redis server
    Bench(bench::Bench),
    /// Check or show a node's settings
    #[command(subcommand)]
    Config(serve::Config),
    /// Print a script that completes this command line
    Completions(completions::Completions),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let out = Output { json: cli.json };
    match run(&cli.command, &cli.connect, &out) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Absent) => ExitCode::from(1),
        Err(failure) => {
            out.failure(&failure);
            ExitCode::from(2)
        }
    }
}

/// Ends a call that makes no sense, or that only asks for help or the version.
fn misused(error: &clap::Error) -> ExitCode {
    let is_option = |word: &OsString| word != "--";
    let json = std::env::args_os().take_while(is_option).any(|word| word == "--json");
    if json && error.use_stderr() {
        Output { json }.failure(&Failure::of_usage(error));
        return ExitCode::from(2);
    }
    error.exit()
}

fn run(command: &Command, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
    match command {
        Command::Serve(args) => args.run(out),
        Command::Dev(args) => args.run(out),
        Command::Get(args) => args.run(connect, out),
        Command::Set(args) => args.run(connect, out),
        Command::Del(args) => args.run_del(connect, out),
        Command::Exists(args) => args.run_exists(connect, out),
        Command::Expire(args) => args.run(connect, out),
        Command::Ttl(args) => args.run(connect, out),
        Command::Mget(args) => args.run_mget(connect, out),
        Command::Mset(args) => args.run(connect, out),
        Command::Scan(args) => args.run(connect, out),
        Command::Keys(args) => args.run(connect, out),
        Command::Incr(args) => args.run(connect, out),
        Command::Info(args) => args.run(connect, out),
        Command::Keyspace(command) => command.run(connect, out),
        Command::Cluster(command) => command.run(connect, out),
        Command::Explain(args) => args.run(connect, out),
        Command::LocalKeys(args) => args.run(connect, out),
        Command::Compact(args) => args.run(connect, out),
        Command::Shell(args) => args.run(connect, out),
        Command::Bench(args) => args.run(connect, out),
        Command::Config(command) => command.run(out),
        Command::Completions(args) => args.run(Cli::command(), out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn misuse_becomes_a_failure() {
        let failure = |line: &str| match Cli::try_parse_from(line.split(' ')) {
            Ok(_) => panic!("{line} makes sense"),
            Err(error) => Failure::of_usage(&error),
        };
        for (line, message) in [
            ("shoal bogus", "unrecognized subcommand 'bogus'"),
            ("shoal get", "the following required arguments were not provided: <KEY>"),
            ("shoal expire a 0", "invalid value '0' for '<DURATION>': must be longer than zero"),
            ("shoal keyspace", "a command is missing"),
        ] {
            let expected = Failure::usage(message).hint("see `shoal --help`, also after a command");
            assert_eq!(failure(line), expected, "{line}");
        }
    }
}
