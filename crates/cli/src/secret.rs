//! `shoal cluster secret`: a fresh secret for the nodes of a cluster.
//!
//! Does not know: where it is kept; whoever asked puts it where only the nodes can read it.

use crate::failure::{Failure, Outcome};
use crate::output::Output;
use clap::Args;
use serde_json::json;

/// `shoal cluster secret`.
#[derive(Args, Debug)]
pub(crate) struct Secret {}

impl Secret {
    /// Prints a secret that nobody could guess.
    pub(crate) fn run(&self, out: &Output) -> Result<Outcome, Failure> {
        let secret = shoal_server::network::fresh_secret().map_err(|error| {
            Failure::new("secret", format!("there are no random bytes: {error}"))
        })?;
        out.either(&json!({ "secret": secret }), &secret)?;
        Ok(Outcome::Done)
    }
}
