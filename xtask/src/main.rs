//! `cargo xtask`: everything a developer runs, and the same that continuous integration runs.
//!
//! Holds: `verify` never writes into the tree, `fix` does. Every call of cargo that means the
//! workspace says so, since the default member is the binary alone.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for a person at a terminal")]

mod bench;
mod cargo;
mod fix;
mod readme;
mod report;
mod root;
mod tidy;
mod verify;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  verify         format, clippy, tidy, tests, docs; writes nothing into the tree
  verify --full  the same, then crash, differential and fuzz runs and the README's examples
  fix            format, apply clippy's suggestions, lower the ratchet where code shrank
  tidy           layering, licences, bans, versions, sizes and manners of the source
  readme         run the examples of README.md that are marked for it
  bench          measure Redis and Shoal in turns; writes bench/RESULTS.md, see bench/README.md
  bench cluster  three Shoal nodes beside etcd and replicated Redis; writes bench/CLUSTER.md
  bench scale    plan placements of 3 to 1,000 nodes; writes bench/SCALE.md
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["verify"] => verify::run(verify::Depth::Everyday),
        ["verify", "--full"] => verify::run(verify::Depth::Full),
        ["fix"] => fix::run(),
        ["tidy"] => tidy::run(),
        ["readme"] => readme::run(),
        ["bench", words @ ..] => bench::run(words),
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(true)
        }
        other => {
            eprintln!("xtask: no such command: {}\n\n{HELP}", other.join(" "));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
