//! Decimal 64-bit integers, read as strictly and written as plainly as Redis does.
//!
//! Holds: `parse` accepts exactly what [`Digits`] writes, so a value that reads as an integer can be
//! stored as one and come back byte for byte.

pub use shoal_core::update::parse_integer as parse;

/// The longest integer in digits, its sign included.
pub const MAX_DIGITS: usize = 20;

/// Two digits for every number below 100: half the divisions.
const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// The decimal digits of an integer, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct Digits {
    /// The digits, right-aligned.
    text: [u8; MAX_DIGITS],
    /// Where they begin.
    start: usize,
}

impl Digits {
    /// The digits of `value`.
    #[must_use]
    pub fn signed(value: i64) -> Self {
        let mut digits = Self::unsigned(value.unsigned_abs());
        if value < 0 {
            digits.start -= 1;
            digits.text[digits.start] = b'-';
        }
        digits
    }

    /// The digits of `value`.
    #[must_use]
    pub fn unsigned(mut value: u64) -> Self {
        let mut text = [0; MAX_DIGITS];
        let mut start = MAX_DIGITS;
        while value >= 10 {
            let pair = usize::try_from(value % 100).unwrap_or_default() * 2;
            value /= 100;
            start -= 2;
            text[start] = PAIRS[pair];
            text[start + 1] = PAIRS[pair + 1];
        }
        if value > 0 || start == MAX_DIGITS {
            start -= 1;
            text[start] = b'0' + u8::try_from(value).unwrap_or_default();
        }
        Self { text, start }
    }

    /// The length of the longest line that [`Digits::line`] makes.
    pub const MAX_LINE: usize = MAX_DIGITS + 3;

    /// The digits between a byte and a line break, as the protocol has them, and how long that is.
    #[must_use]
    pub fn line(&self, kind: u8) -> ([u8; Self::MAX_LINE], usize) {
        let digits = self.as_bytes();
        let mut line = [0; Self::MAX_LINE];
        line[0] = kind;
        line[1..=digits.len()].copy_from_slice(digits);
        line[digits.len() + 1..digits.len() + 3].copy_from_slice(b"\r\n");
        (line, digits.len() + 3)
    }

    /// The digits as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_form_is_a_number() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
            ("1\0", None),
        ] {
            assert_eq!(parse(text.as_bytes()), value, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any::<i64>(), shift in 0..64) {
            for value in [value >> shift, i64::MIN, i64::MAX] {
                let (digits, expected) = (Digits::signed(value), value.to_string());
                prop_assert_eq!(digits.as_bytes(), expected.as_bytes());
                prop_assert_eq!(parse(digits.as_bytes()), Some(value));
            }
        }

        #[test]
        fn unsigned_digits_are_those_of_the_standard_library(value in any::<u64>(), shift in 0..64) {
            let value = value >> shift;
            let (digits, expected) = (Digits::unsigned(value), value.to_string());
            prop_assert_eq!(digits.as_bytes(), expected.as_bytes());
        }

        #[test]
        fn parse_agrees_with_the_standard_library_on_digits(text in "-?[1-9][0-9]{0,20}") {
            prop_assert_eq!(parse(text.as_bytes()), text.parse().ok());
        }
    }
}
