//! A binary logarithm in fixed point, the same on every machine.
//!
//! The logarithm of a platform's mathematics library may differ from another's in its last bit,
//! and two nodes that differ in one bit could place a partition differently. This one is a table,
//! computed when the crate is compiled, and straight lines between its entries.
//!
//! Holds: integers only; a greater hash never has a greater result. The lines run below the
//! curve by less than 2^-22.

/// Bits behind the point of every result.
pub(super) const FRACTION_BITS: u32 = 48;
/// The table has two to this many steps between one and two.
const STEP_BITS: u32 = 10;
const STEPS: usize = 1 << STEP_BITS;
/// Bits of a normalised number below its leading one and the index into the table.
const REST_BITS: u32 = 63 - STEP_BITS;

/// `log2(1 + i / STEPS)` for every `i` up to `STEPS`, which stands for the 1 of `log2(2)`.
static TABLE: [u64; STEPS + 1] = table();

/// `-log2(hash / 2^64)`: from just above 0 for the greatest hash to 64 for the smallest. For a
/// hash drawn evenly it is distributed as the wait for an event that comes at a steady rate.
pub(super) fn negative_log2(hash: u64) -> u64 {
    let hash = hash.max(1);
    let zeros = hash.leading_zeros();
    let normal = hash << zeros;
    // The leading one is not part of the index.
    let index = (normal >> REST_BITS) as usize & (STEPS - 1);
    let rest = normal & ((1 << REST_BITS) - 1);
    let (low, high) = (TABLE[index], TABLE[index + 1]);
    let rise = (u128::from(high - low) * u128::from(rest)) >> REST_BITS;
    let whole = u64::from(zeros + 1) << FRACTION_BITS;
    // The rise is at most the step between two entries, far below 64 bits.
    whole - low - u64::try_from(rise).unwrap_or(0)
}

const fn table() -> [u64; STEPS + 1] {
    let mut table = [0; STEPS + 1];
    let mut at = 0;
    while at < STEPS {
        table[at] = log2_of_one_to_two((1 << 63) + ((at as u64) << REST_BITS));
        at += 1;
    }
    table[STEPS] = 1 << FRACTION_BITS;
    table
}

/// `log2(x / 2^63)` for an `x` with its leading bit set, one bit per squaring: the square passes 2
/// exactly when the next bit of the logarithm is 1.
const fn log2_of_one_to_two(x: u64) -> u64 {
    let mut x = x as u128;
    let mut bits = 0;
    let mut done = 0;
    while done < FRACTION_BITS {
        x = (x * x) >> 63;
        bits <<= 1;
        if x >= 1 << 64 {
            bits |= 1;
            x >>= 1;
        }
        done += 1;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_f64(fixed: u64) -> f64 {
        fixed as f64 / (1_u64 << FRACTION_BITS) as f64
    }

    #[test]
    fn powers_of_two_are_exact() {
        for power in 0..64_u32 {
            assert_eq!(negative_log2(1 << power), u64::from(64 - power) << FRACTION_BITS);
        }
        assert_eq!(negative_log2(0), 64 << FRACTION_BITS);
        assert_eq!(negative_log2(u64::MAX), 1, "just above nothing");
    }

    #[test]
    fn it_is_near_the_logarithm_everywhere() {
        let mut hash = 1_u64;
        for _ in 0..100_000 {
            hash = hash.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let exact = 64.0 - (hash as f64).log2();
            let off = as_f64(negative_log2(hash)) - exact;
            assert!((-1e-9..2.4e-7).contains(&off), "{hash}: off by {off:e}");
        }
    }

    #[test]
    fn it_never_rises_with_the_hash() {
        for base in (0..64).map(|power| 1_u64 << power).chain([0, u64::MAX - 5_000]) {
            for step in [1, 1 << 20, 1 << 40] {
                for at in 0..2_000_u64 {
                    let here = base.saturating_add(at.saturating_mul(step));
                    let next = here.saturating_add(step);
                    assert!(negative_log2(next) <= negative_log2(here), "{here} {next}");
                }
            }
        }
    }
}
