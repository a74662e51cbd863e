//! Settings: what the user wrote, and what it means.
//!
//! Holds: [`Raw`] is what was written in one place; [`Resolved`] is what it all means, built once
//! by [`resolve`], which reports every problem in a full sentence with its remedy. Later places
//! win: defaults, then the file, then the environment, then the command line.
//!
//! Does not know: what the settings are used for.

mod fields;
mod peers;
mod raw;
mod resolve;
pub mod units;

pub use fields::{DefaultValue, FIELDS, Field, Raw, field};
pub use peers::PeerSettings;
pub(crate) use peers::first_tcp;
pub use raw::{Origin, Problem, Words};
pub use resolve::{LogFormat, LogLevel, Resolved, ShownSetting, load, resolve};

#[cfg(test)]
mod tests;
