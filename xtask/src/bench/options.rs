//! What the command line asks for, and the sizes that follow from it.

use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;

/// The options of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Only rows whose name contains this.
    pub(super) rows: Option<String>,
    /// Counted runs of each server; one more of each warms up.
    pub(super) runs: usize,
    /// Small sizes and short runs, to see that everything works.
    pub(super) quick: bool,
    /// Measure this program instead of building one.
    pub(super) binary: Option<PathBuf>,
}

impl Options {
    /// Reads the words after `bench`; unless they say otherwise, so many runs are counted.
    pub(super) fn parse(words: &[&str], runs_otherwise: usize) -> Result<Self> {
        let mut options = Self { rows: None, runs: runs_otherwise, quick: false, binary: None };
        let mut runs = None;
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            let (name, joined) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            let mut value = || {
                joined
                    .or_else(|| words.next().copied())
                    .with_context(|| format!("{name} wants a value; see --help"))
            };
            match name {
                "--rows" => options.rows = Some(value()?.to_owned()),
                "--runs" => {
                    let number: usize = value()?.parse().context("--runs wants a number")?;
                    runs = Some(number.max(1));
                }
                "--binary" => options.binary = Some(PathBuf::from(value()?)),
                "--quick" if joined.is_none() => options.quick = true,
                _ => bail!("bench: no such option: {word}; see --help"),
            }
        }
        options.runs = runs.unwrap_or(if options.quick { 1 } else { options.runs });
        Ok(options)
    }

    /// Whether this row was asked for.
    pub(super) fn wants(&self, row: &str) -> bool {
        self.rows.as_deref().is_none_or(|part| row.contains(part))
    }

    /// The sizes of this call.
    pub(super) fn sizes(&self) -> Sizes {
        if self.quick { Sizes::QUICK } else { Sizes::COMMITTED }
    }
}

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sizes {
    /// How long one measurement takes, in seconds.
    pub(super) seconds: f64,
    /// Different keys of 100-byte values.
    pub(super) keys: u64,
    /// Different keys of values of 1 KiB.
    pub(super) kib_keys: u64,
    /// Different keys of values of 16 KiB.
    pub(super) large_value_keys: u64,
    /// Keys that are loaded, compacted and then overwritten.
    pub(super) cold_keys: u64,
    /// Keys of the scan and of the start-up.
    pub(super) many_keys: u64,
    /// Values of 1 KiB loaded under the memory limit.
    pub(super) limit_keys: u64,
    /// Reads, and overwrites, under the memory limit.
    pub(super) limit_operations: u64,
}

impl Sizes {
    /// The sizes whose results are committed.
    const COMMITTED: Self = Self {
        seconds: 3.0,
        keys: 1_000_000,
        kib_keys: 100_000,
        large_value_keys: 10_000,
        cold_keys: 2_000_000,
        many_keys: 10_000_000,
        limit_keys: 2 << 20,
        limit_operations: 1_000_000,
    };

    /// The sizes of `--quick`.
    const QUICK: Self = Self {
        seconds: 1.0,
        keys: 200_000,
        kib_keys: 20_000,
        large_value_keys: 2_000,
        cold_keys: 200_000,
        many_keys: 200_000,
        limit_keys: 200_000,
        limit_operations: 50_000,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_is_the_committed_run() {
        let options = Options::parse(&[], 5).unwrap();
        assert_eq!(options.runs, 5);
        assert_eq!(options.sizes(), Sizes::COMMITTED);
    }

    #[test]
    fn options_are_read_in_both_spellings() {
        let options = Options::parse(&["--rows", "disk", "--runs=7", "--binary=a/b"], 5).unwrap();
        assert_eq!(options.rows.as_deref(), Some("disk"));
        assert_eq!(options.runs, 7);
        assert_eq!(options.binary, Some(PathBuf::from("a/b")));
        let quick = Options::parse(&["--quick"], 9).unwrap();
        assert_eq!((quick.runs, quick.sizes()), (1, Sizes::QUICK));
        assert_eq!(Options::parse(&["--runs", "3", "--quick"], 5).unwrap().runs, 3);
    }

    #[test]
    fn what_is_not_an_option_is_refused() {
        for words in [&["--row", "a"][..], &["--runs"], &["--runs", "x"], &["--quick=1"], &["a"]] {
            assert!(Options::parse(words, 5).is_err(), "{words:?}");
        }
    }
}
