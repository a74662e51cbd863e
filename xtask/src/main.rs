//! `cargo xtask`: everything a developer runs, and the same that continuous integration runs.
//!
//! Holds: `verify` never writes into the tree, `fix` does. Every call of cargo that means the
//! workspace says so, since the default member is the binary alone.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for a person at a terminal")]

mod bench;
mod cargo;
mod fix;
mod help;
mod readme;
mod report;
mod root;
mod tidy;
mod verify;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let Some(help) = help::asked(&arguments) {
        print!("{help}");
        return ExitCode::SUCCESS;
    }
    let done = match arguments.as_slice() {
        ["verify"] => verify::run(verify::Depth::Everyday),
        ["verify", "--full"] => verify::run(verify::Depth::Full),
        ["fix"] => fix::run(),
        ["tidy"] => tidy::run(),
        ["readme"] => readme::run(),
        ["bench", words @ ..] => bench::run(words),
        other => {
            eprintln!("xtask: no such command: {}\n\n{}", other.join(" "), help::all());
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
