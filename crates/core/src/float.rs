//! Addition in 80-bit floats, as Redis' INCRBYFLOAT computes on x86: what `strtold` reads, what
//! an x87 adds, and what `%.17Lf` prints, without the trailing zeros.
//!
//! Holds: every step rounds once, to the nearest, ties to even, from the exact value. What a
//! number may cost is bounded by [`MAX_TEXT`], the length of Redis' own buffer.

use crate::update::UpdateError;
use num_bigint::BigUint;

/// Texts from this length on are not read as numbers.
pub const MAX_TEXT: usize = 5 * 1024;

/// The exponent of the lowest bit of the smallest numbers: 2^-16445 is the least above zero.
const MIN_EXPONENT: i64 = -16_445;
/// The exponent of the highest bit of the greatest numbers.
const MAX_TOP_EXPONENT: i64 = 16_383;
/// Decimal exponents beyond these, of the first digit that is not zero, leave the range for sure.
const DECIMAL_BOUNDS: std::ops::RangeInclusive<i64> = -5_000..=5_000;

/// The sum of two numbers, as Redis writes it.
///
/// # Errors
/// [`UpdateError::NotFloat`] where `strtold` would not read all of one as a number in its range;
/// [`UpdateError::NotFinite`] where the sum is infinite or no number.
pub fn add(value: &[u8], delta: &[u8]) -> Result<String, UpdateError> {
    let value = parse(value).ok_or(UpdateError::NotFloat)?;
    let delta = parse(delta).ok_or(UpdateError::NotFloat)?;
    match (value, delta) {
        (Number::Finite(a), Number::Finite(b)) => {
            let sum = a.plus(b).ok_or(UpdateError::NotFinite)?;
            Ok(sum.to_text())
        }
        _ => Err(UpdateError::NotFinite),
    }
}

/// What a text can say. Infinity may be written; a number too great for the format may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Finite(Extended),
    Infinite,
}

/// `±mantissa × 2^exponent`. The mantissa has its highest bit set, unless the exponent is the
/// least there is; zero has mantissa 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i64,
}

impl Extended {
    const fn zero(negative: bool) -> Self {
        Self { negative, mantissa: 0, exponent: MIN_EXPONENT }
    }

    /// `bits × 2^exponent`, rounded; `sticky` says that the exact value lies a little above, by
    /// less than the lowest bit. `None` where it is too great. With `sticky`, `bits` has at
    /// least 66 bits, or is far below the least number.
    fn round(negative: bool, bits: u128, exponent: i64, sticky: bool) -> Option<Self> {
        if bits == 0 {
            return Some(Self::zero(negative));
        }
        let width = i64::from(128 - bits.leading_zeros());
        let drop = (width - 64).max(MIN_EXPONENT - exponent);
        let (mut mantissa, mut exponent) = (shift_rounded(bits, drop, sticky), exponent + drop);
        if mantissa == 1 << 64 {
            mantissa >>= 1;
            exponent += 1;
        }
        let mantissa = u64::try_from(mantissa).expect("rounded to 64 bits");
        if mantissa != 0 && exponent + 63 > MAX_TOP_EXPONENT {
            return None;
        }
        Some(Self { negative, mantissa, exponent })
    }

    /// The rounded sum, `None` where it is infinite.
    fn plus(self, other: Self) -> Option<Self> {
        if self.mantissa == 0 || other.mantissa == 0 {
            let sum = if self.mantissa == 0 { other } else { self };
            let negative = if self.mantissa == other.mantissa {
                self.negative && other.negative
            } else {
                sum.negative
            };
            return Some(Self { negative, ..sum });
        }
        let (high, low) =
            if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        // 62 more bits below the higher one are more than rounding can look at: what lies below
        // them of the lower one only matters as being there.
        let gap = high.exponent - low.exponent;
        let lift = gap.min(62);
        let base = high.exponent - lift;
        let above = u128::from(high.mantissa) << lift;
        let (below, sticky) = shift_down(u128::from(low.mantissa), gap - lift);
        if high.negative == low.negative {
            return Self::round(high.negative, above + below, base, sticky);
        }
        // With a gap that wide the higher one is normal, hence greater; it loses the part that
        // was cut off too, which borrows one and leaves the rest above.
        let below = below + u128::from(sticky);
        match above.cmp(&below) {
            std::cmp::Ordering::Equal => Some(Self::zero(false)),
            std::cmp::Ordering::Greater => Self::round(high.negative, above - below, base, sticky),
            std::cmp::Ordering::Less => Self::round(low.negative, below - above, base, sticky),
        }
    }

    /// The number with 17 decimals, rounded, without the zeros at the end.
    fn to_text(self) -> String {
        let sign = if self.negative { "-" } else { "" };
        if self.mantissa == 0 {
            return "0".to_owned();
        }
        if self.exponent >= 0 {
            return format!("{sign}{}", BigUint::from(self.mantissa) << self.exponent);
        }
        const SCALE: u128 = 10_u128.pow(17);
        let scaled = shift_rounded(u128::from(self.mantissa) * SCALE, -self.exponent, false);
        let (whole, decimals) = (scaled / SCALE, scaled % SCALE);
        match (whole, decimals) {
            (0, 0) => "0".to_owned(),
            (_, 0) => format!("{sign}{whole}"),
            _ => {
                let text = format!("{sign}{whole}.{decimals:017}");
                text.trim_end_matches('0').to_owned()
            }
        }
    }
}

/// `bits / 2^by`, cut off, and whether anything was cut off.
fn shift_down(bits: u128, by: i64) -> (u128, bool) {
    if by >= 128 {
        return (0, bits != 0);
    }
    let kept = bits >> by;
    (kept, kept << by != bits)
}

/// `bits / 2^by`, to the nearest, ties to even; `sticky` adds a little. A negative `by` shifts up.
fn shift_rounded(bits: u128, by: i64, sticky: bool) -> u128 {
    if by <= 0 {
        return bits << -by;
    }
    let (kept, _) = shift_down(bits, by);
    let (half, rest) = shift_down(bits, by - 1);
    let (half, rest) = (half & 1 == 1, rest || sticky);
    kept + u128::from(half && (rest || kept & 1 == 1))
}

/// Reads a text as `strtold` does, and refuses as Redis does: surrounding spaces, anything left
/// over, NaN, and what is too great or too small for the format.
fn parse(text: &[u8]) -> Option<Number> {
    if text.len() >= MAX_TEXT {
        return None;
    }
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.eq_ignore_ascii_case(b"inf") || digits.eq_ignore_ascii_case(b"infinity") {
        return Some(Number::Infinite);
    }
    let number = match digits {
        [b'0', b'x' | b'X', hex @ ..] => parse_hex(negative, hex),
        _ => parse_decimal(negative, digits),
    };
    number.map(Number::Finite)
}

/// The digits of a number around its point, and its exponent.
struct Scanned {
    /// Without zeros at the front.
    digits: Vec<u8>,
    /// How many of them, with the zeros left out, stand behind the point.
    decimals: i64,
    exponent: i64,
}

/// Cuts `digits[.digits][mark[±]exponent]`, of which there is at least one digit.
fn scan(text: &[u8], is_digit: fn(&u8) -> bool, mark: u8) -> Option<Scanned> {
    let (number, exponent) = match text.iter().position(|byte| byte.to_ascii_lowercase() == mark) {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (whole, decimals) = match number.iter().position(|byte| *byte == b'.') {
        Some(at) => (&number[..at], &number[at + 1..]),
        None => (number, &[][..]),
    };
    let mut digits = [whole, decimals].concat();
    if digits.is_empty() || !digits.iter().all(is_digit) {
        return None;
    }
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.drain(..zeros);
    let decimals = i64::try_from(decimals.len()).ok()?;
    Some(Scanned { digits, decimals, exponent })
}

/// A decimal exponent, held within bounds that no text's other digits can make up for.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    const FAR: i64 = 1_000_000;
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0, |sum, digit| FAR.min(sum * 10 + i64::from(digit - b'0')));
    Some(sign * size)
}

fn parse_decimal(negative: bool, text: &[u8]) -> Option<Extended> {
    let Scanned { digits, decimals, exponent } = scan(text, u8::is_ascii_digit, b'e')?;
    if digits.is_empty() {
        return Some(Extended::zero(negative));
    }
    let power = exponent - decimals;
    if let Some(number) = short_decimal(negative, &digits, power) {
        return Some(number);
    }
    let first = power + i64::try_from(digits.len()).ok()? - 1;
    if !DECIMAL_BOUNDS.contains(&first) {
        return None;
    }
    let tens = BigUint::from(10_u8).pow(u32::try_from(power.unsigned_abs()).ok()?);
    let digits = BigUint::parse_bytes(&digits, 10)?;
    if power >= 0 {
        ratio(negative, &(digits * tens), &BigUint::from(1_u8), 0)
    } else {
        ratio(negative, &digits, &tens, 0)
    }
}

/// The common case without big integers: up to 19 digits, and as many decimals.
fn short_decimal(negative: bool, digits: &[u8], power: i64) -> Option<Extended> {
    if digits.len() > 19 || !(-19..=0).contains(&power) {
        return None;
    }
    let number = digits.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let tens = 10_u128.pow(u32::try_from(-power).ok()?);
    // Both below 2^64, the number moved up to the top: the quotient has 64 bits or more, and
    // two more below them unless the division by less than 2^62 left them over anyway.
    let lift = number.leading_zeros() + 64;
    let lifted = u128::from(number) << lift;
    let (quotient, rest) = (lifted / tens, lifted % tens);
    if rest != 0 && quotient >> 66 == 0 {
        return None;
    }
    Extended::round(negative, quotient, -i64::from(lift), rest != 0)
}

fn parse_hex(negative: bool, text: &[u8]) -> Option<Extended> {
    let Scanned { digits, decimals, exponent } = scan(text, u8::is_ascii_hexdigit, b'p')?;
    if digits.is_empty() {
        return Some(Extended::zero(negative));
    }
    let bits = BigUint::parse_bytes(&digits, 16)?;
    ratio(negative, &bits, &BigUint::from(1_u8), exponent - 4 * decimals)
}

/// `over / under × 2^exponent`, rounded once; `None` where that is too great or rounds to zero.
fn ratio(negative: bool, over: &BigUint, under: &BigUint, exponent: i64) -> Option<Extended> {
    let width = |number: &BigUint| i64::try_from(number.bits()).ok();
    // Shifted so that the quotient has 66 or 67 bits.
    let lift = 66 - (width(over)? - width(under)?);
    let lifted = if lift >= 0 { over << lift } else { over.clone() };
    let under = if lift >= 0 { under.clone() } else { under << -lift };
    let quotient = &lifted / &under;
    let sticky = &quotient * &under != lifted;
    let bits = u128::try_from(quotient).ok()?;
    let number = Extended::round(negative, bits, exponent - lift, sticky)?;
    (number.mantissa != 0).then_some(number)
}

#[cfg(test)]
mod tests;
