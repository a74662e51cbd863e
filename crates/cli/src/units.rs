//! How people write durations, sizes and counts on the command line, and how they are shown.
//!
//! Holds: durations and sizes are read and shown as in the server's settings, so that they look
//! alike everywhere.
//! Does not know: which option a value belongs to.

use shoal_server::config::units::{ShownMillis, ShownSize, parse_millis, parse_size};
use std::time::Duration;

/// Parses `1500ms`, `10s`, `5m`, `2h`, `7d`; a bare number means seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let ms = parse_millis(text).map_err(|error| error.to_string())?;
    // The protocol's times are signed.
    if i64::try_from(ms).is_err() {
        return Err(format!("`{text}` is too long a time"));
    }
    Ok(Duration::from_millis(ms))
}

/// Parses a duration that must not be zero, such as a time to live.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than zero".to_owned()),
        some => Ok(some),
    }
}

/// Parses a number of bytes: `4096`, `512MiB`, `1GiB`; `KB`, `MB`, `GB` count in thousands.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| error.to_string())
}

/// Parses a count: `1000000`, `1_000_000`, `500k`, `1M`, `2G`; never zero.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let form = || format!("`{text}` is not a count; write 1000000, 500k or 1M");
    let plain = text.replace('_', "");
    let digits = plain.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = plain.split_at(digits);
    let factor: u64 = match unit {
        "" => 1,
        "k" | "K" => 1_000,
        "m" | "M" => 1_000_000,
        "g" | "G" => 1_000_000_000,
        _ => return Err(form()),
    };
    let number: u64 = number.parse().map_err(|_| form())?;
    match number.checked_mul(factor) {
        Some(0) => Err("must be at least 1".to_owned()),
        Some(count) => Ok(count),
        None => Err(format!("`{text}` is too large a count")),
    }
}

/// Writes milliseconds in the largest unit that loses nothing: `90000` is `90s`.
pub(crate) fn show_ms(ms: u64) -> String {
    ShownMillis(ms).to_string()
}

/// Writes bytes in the largest binary unit that loses nothing: `536870912` is `512MiB`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let shown = ShownSize(bytes).to_string();
    // Without a unit it counts single bytes, which people like to be told.
    if shown.ends_with(|c: char| c.is_ascii_digit()) { format!("{shown}B") } else { shown }
}

/// Writes a count with a comma between thousands.
pub(crate) fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at != 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Milliseconds of a duration; the parsers above keep them within an `i64`.
pub(crate) fn ms_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("1500ms", 1_500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("3", 3_000),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(positive_duration(text).is_ok(), ms > 0, "{text}");
        }
        for text in ["", "s", "1.5s", "-1s", "1w", "1S", "9999999999999999999d", "+1s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("106751991168d").is_err(), "does not fit an i64 of milliseconds");
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("4096", 4_096), ("64KiB", 65_536), ("1GB", 1_000_000_000)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "1.5GiB", "-1", "1XiB", "99999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!(count("1_000_000"), Ok(1_000_000));
        assert_eq!(count("500k"), Ok(500_000));
        assert_eq!(count("2M"), Ok(2_000_000));
        for text in ["0", "0k", "", "M", "-1", "1e6", "99999999999G"] {
            assert!(count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown() {
        for (n, shown) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(show_count(n), shown);
        }
        assert_eq!(show_ms(90_000), "90s");
        assert_eq!((show_bytes(1 << 29).as_str(), show_bytes(100).as_str()), ("512MiB", "100B"));
    }
}
