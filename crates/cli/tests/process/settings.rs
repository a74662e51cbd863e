//! What a run is told from outside, and what it tells when it leaves something out.

use std::io::Write as _;

/// Whether the long runs are wanted.
pub(crate) fn is_full() -> bool {
    std::env::var_os("SHOAL_FULL").is_some_and(|value| value != "0")
}

/// The number in an environment variable, else one of two.
pub(crate) fn number(variable: &str, everyday: u64, full: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")),
        Err(_) if is_full() => full,
        Err(_) => everyday,
    }
}

/// The seed of a run: given, or new; printed either way.
pub(crate) fn seed(test: &str) -> u64 {
    let given = std::env::var("SHOAL_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    say(&format!("{test}: SHOAL_SEED={seed}"));
    seed
}

/// Says that a test does less than its name promises. Goes around the capture of output, so that
/// it is seen although the test passes.
pub(crate) fn skipped(what: &str) {
    say(&format!("skipped: {what}"));
}

/// A line for whoever watches, seen although the test passes.
pub(crate) fn say(line: &str) {
    let _unseen = writeln!(std::io::stderr(), "{line}");
}

/// The wall clock, in milliseconds.
pub(crate) fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("the clock is past 1970").as_millis() as i64
}
