//! How people write durations, sizes and counts on the command line, and how they are shown.
//!
//! Holds: what a parser accepts is exact (no rounding, no overflow); everything else is refused
//! with a sentence that shows the right form.
//! Does not know: which option a value belongs to.

use std::time::Duration;

/// Parses `1500ms`, `10s`, `5m`, `2h`, `7d`; a bare number means seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_number(text);
    let ms_per_unit: u64 = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(duration_form(text)),
    };
    let number: u64 = number.parse().map_err(|_| duration_form(text))?;
    let ms = number.checked_mul(ms_per_unit).filter(|ms| i64::try_from(*ms).is_ok());
    ms.map(Duration::from_millis).ok_or_else(|| format!("`{text}` is too long a time"))
}

/// Parses a duration that must not be zero, such as a time to live.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than zero".to_owned()),
        some => Ok(some),
    }
}

fn duration_form(text: &str) -> String {
    format!("`{text}` is not a duration; write 1500ms, 10s, 5m, 2h or 7d")
}

/// Parses a number of bytes: `4096`, `512MiB`, `1GiB`; `KB`, `MB`, `GB` count in thousands.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text);
    let bytes_per_unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(size_form(text)),
    };
    let number: u64 = number.parse().map_err(|_| size_form(text))?;
    number.checked_mul(bytes_per_unit).ok_or_else(|| format!("`{text}` is too large a size"))
}

fn size_form(text: &str) -> String {
    format!("`{text}` is not a size; write bytes (1048576) or 64KiB, 512MiB, 1GiB")
}

/// Parses a count: `1000000`, `1_000_000`, `500k`, `1M`, `2G`; never zero.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let form = || format!("`{text}` is not a count; write 1000000, 500k or 1M");
    let plain = text.replace('_', "");
    let (number, unit) = split_number(&plain);
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

fn split_number(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(digits)
}

/// Writes milliseconds in the largest unit that loses nothing: `90000` is `90s`.
pub(crate) fn show_ms(ms: u64) -> String {
    for (unit_ms, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if ms != 0 && ms.is_multiple_of(unit_ms) {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    format!("{ms}ms")
}

/// Writes bytes in the largest binary unit that loses nothing: `536870912` is `512MiB`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
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
    use proptest::prelude::*;

    #[test]
    fn durations_in_every_unit() {
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
        }
    }

    #[test]
    fn durations_refused() {
        for text in ["", "s", "1.5s", "-1s", "10 s", "1w", "1S", "9999999999999999999d", "+1s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(positive_duration("0s").is_err());
        assert!(duration("106751991168d").is_err(), "does not fit an i64 of milliseconds");
    }

    #[test]
    fn sizes_in_every_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4_096),
            ("12B", 12),
            ("64KiB", 65_536),
            ("512MiB", 536_870_912),
            ("1gib", 1_073_741_824),
            ("2TiB", 2_199_023_255_552),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "1.5GiB", "-1", "1 GiB", "1XiB", "99999999TiB"] {
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
    fn counts_are_shown_in_groups() {
        assert_eq!(show_count(0), "0");
        assert_eq!(show_count(999), "999");
        assert_eq!(show_count(1_000), "1,000");
        assert_eq!(show_count(12_345_678), "12,345,678");
    }

    proptest! {
        #[test]
        fn shown_durations_and_sizes_parse_back(n in 0_u64..1 << 52) {
            prop_assert_eq!(duration(&show_ms(n)), Ok(Duration::from_millis(n)));
            prop_assert_eq!(size(&show_bytes(n)), Ok(n));
        }
    }
}
