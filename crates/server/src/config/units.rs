//! How sizes and durations are written, in settings, in `?ttl=` and on the command line.
//!
//! Holds: what a parser accepts is meant exactly; nothing is rounded, nothing overflows silently.
//! A shown value parses back to itself.

use std::fmt;
use std::time::Duration;

/// Why a text is not a size or a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// It does not begin with a decimal number.
    #[error("`{0}` does not begin with a whole number")]
    NoNumber(String),
    /// What follows the number is no unit.
    #[error("`{unit}` is not a unit; use one of {known}")]
    BadUnit {
        /// What was written.
        unit: String,
        /// What may be written.
        known: &'static str,
    },
    /// It is more than 64 bits hold.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

const DURATION_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE_UNITS: &[(&str, u64)] = &[
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
];

/// The milliseconds of `1500ms`, `10s`, `5m`, `2h` or `7d`; a number alone counts seconds.
///
/// # Errors
/// [`UnitError`], which says what was expected.
pub fn parse_millis(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text)?;
    let factor = if unit.is_empty() {
        1_000
    } else {
        let known = DURATION_UNITS.iter().find(|(name, _)| *name == unit);
        let bad = || UnitError::BadUnit { unit: unit.to_owned(), known: "ms, s, m, h, d" };
        known.ok_or_else(bad)?.1
    };
    number.checked_mul(factor).ok_or_else(|| UnitError::TooLarge(text.to_owned()))
}

/// As [`parse_millis`], as a [`Duration`].
///
/// # Errors
/// [`UnitError`], which says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    parse_millis(text).map(Duration::from_millis)
}

/// The bytes of `65536`, `64KiB`, `8MiB`, `2GiB` or `1TiB`. `KB`, `MB`, `GB`, `TB` count in
/// thousands; `K`, `M`, `G`, `T` in 1,024s; upper and lower case are the same.
///
/// # Errors
/// [`UnitError`], which says what was expected.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text)?;
    let lower = unit.to_ascii_lowercase();
    let factor = if unit.is_empty() {
        1
    } else {
        let known = SIZE_UNITS.iter().find(|(name, _)| *name == lower);
        let bad = || UnitError::BadUnit { unit: unit.to_owned(), known: "KiB, MiB, GiB, TiB" };
        known.ok_or_else(bad)?.1
    };
    number.checked_mul(factor).ok_or_else(|| UnitError::TooLarge(text.to_owned()))
}

fn split(text: &str) -> Result<(u64, &str), UnitError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Err(UnitError::NoNumber(text.to_owned()));
    }
    let number = number.parse().map_err(|_| UnitError::TooLarge(text.to_owned()))?;
    Ok((number, unit.trim_start()))
}

/// Shows milliseconds in the largest unit that divides them: `1500ms`, `10s`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownMillis(pub u64);

impl fmt::Display for ShownMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let divides = |(_, factor): &&(&str, u64)| self.0.is_multiple_of(*factor);
        let (name, factor) = DURATION_UNITS.iter().rev().find(divides).unwrap_or(&("ms", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

/// Shows bytes in the largest of KiB, MiB, GiB and TiB that divides them: `8MiB`, `1000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownSize(pub u64);

impl fmt::Display for ShownSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let divides = |(_, shift): &&(&str, u32)| self.0 != 0 && self.0.is_multiple_of(1 << *shift);
        match units.iter().find(divides) {
            Some((name, shift)) => write!(f, "{}{name}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, ms) in [
            ("1500ms", 1_500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("10", 10_000),
            ("0", 0),
            ("5 m", 300_000),
        ] {
            assert_eq!(parse_millis(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [
            ("65536", 65_536),
            ("64KiB", 65_536),
            ("64k", 65_536),
            ("8MiB", 8 << 20),
            ("512 mib", 512 << 20),
            ("2GB", 2_000_000_000),
            ("1t", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "s", "-1s", "1.5s", "1w", "1S", "99999999999999999999", "5d5h"] {
            assert!(parse_millis(text).is_err(), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5g", "1x", "18446744073709551615k"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_back(value in 0..u64::MAX) {
            prop_assert_eq!(parse_millis(&ShownMillis(value).to_string()), Ok(value));
            prop_assert_eq!(parse_size(&ShownSize(value).to_string()), Ok(value));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*") {
            let _ = parse_millis(&text);
            let _ = parse_size(&text);
        }
    }
}
