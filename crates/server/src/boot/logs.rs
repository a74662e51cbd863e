//! Where log lines go: to standard error, as text or as JSON.
//!
//! Holds: keys and values are never logged, so a log may be shown to anyone who may see the
//! machine.

use crate::config::{LogFormat, Resolved};
use tracing_subscriber::EnvFilter;

/// Begins to write log lines. An embedding program that has set up its own lines keeps them.
pub(super) fn start(config: &Resolved) {
    // Libraries speak up only where something is wrong.
    let filter = format!("warn,{}", levels(config.log_level.name()));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_target(false);
    let outcome = match config.log_format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(colours).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // Somebody else's lines are set up already; ours go there.
    drop(outcome);
}

fn levels(level: &str) -> String {
    let ours = ["shoal", "shoal_cli", "shoal_server", "shoal_node", "shoal_meta", "shoal_storage"];
    ours.map(|name| format!("{name}={level}")).join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_makes_a_filter() {
        for level in ["error", "warn", "info", "debug", "trace"] {
            let filter = format!("warn,{}", levels(level));
            assert!(filter.parse::<EnvFilter>().is_ok(), "{filter}");
        }
    }
}
