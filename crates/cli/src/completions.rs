//! `shoal completions SHELL`: what makes a shell complete this command line.
//!
//! Does not know: where each shell wants the file.

use crate::failure::{Failure, Outcome};
use crate::output::Output;
use clap::{Args, Command};
use clap_complete::Shell;

/// `shoal completions`.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell to make them for
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    pub(crate) fn run(&self, mut command: Command, out: &Output) -> Result<Outcome, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "shoal", &mut script);
        if out.json {
            let script = String::from_utf8_lossy(&script);
            out.document(&serde_json::json!({ "script": script }))?;
        } else {
            out.bytes(&script, false)?;
        }
        Ok(Outcome::Done)
    }
}
