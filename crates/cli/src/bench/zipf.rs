//! Numbers that follow Zipf's law: rank `k` is drawn in proportion to `1 / (k + 1)^exponent`.
//!
//! By rejection-inversion (W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates
//! from monotone discrete distributions", 1996): constant time and no tables, whatever the number
//! of ranks, and any exponent above zero.
//!
//! Holds: every drawn rank is below the number of ranks.
//! Does not know: keys.

/// A distribution over the ranks `0 .. ranks`.
#[derive(Clone, Debug)]
pub(crate) struct Zipf {
    ranks: f64,
    last: u64,
    exponent: f64,
    /// The integral of the hat function at 1.5, less the first bar.
    lower: f64,
    /// The integral of the hat function behind the last bar.
    upper: f64,
    /// Draws closer than this to their rank are accepted without a second look.
    sure: f64,
}

impl Zipf {
    /// A distribution over `ranks` ranks, at least one; `exponent` is above zero.
    #[expect(clippy::cast_precision_loss, reason = "ranks beyond 2^53 do not occur")]
    pub(crate) fn new(ranks: u64, exponent: f64) -> Self {
        let count = ranks.max(1) as f64;
        let lower = hat_integral(1.5, exponent) - 1.0;
        let upper = hat_integral(count + 0.5, exponent);
        let back = hat_inverse(hat_integral(2.5, exponent) - hat(2.0, exponent), exponent);
        Self { ranks: count, last: ranks.max(1) - 1, exponent, lower, upper, sure: 2.0 - back }
    }

    /// Draws a rank; `uniform` yields numbers in 0.0 .. 1.0.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
    pub(crate) fn draw(&self, mut uniform: impl FnMut() -> f64) -> u64 {
        loop {
            let area = self.upper + uniform() * (self.lower - self.upper);
            let x = hat_inverse(area, self.exponent);
            let rank = x.round().clamp(1.0, self.ranks);
            let bar = hat_integral(rank + 0.5, self.exponent) - hat(rank, self.exponent);
            if rank - x <= self.sure || area >= bar {
                return (rank as u64 - 1).min(self.last);
            }
        }
    }
}

/// The density's shape.
fn hat(x: f64, exponent: f64) -> f64 {
    (-exponent * x.ln()).exp()
}

/// Its integral: `(x^(1 - exponent) - 1) / (1 - exponent)`, which is `ln x` for exponent 1.
fn hat_integral(x: f64, exponent: f64) -> f64 {
    let log = x.ln();
    exp_m1_over((1.0 - exponent) * log) * log
}

/// The inverse of the integral.
fn hat_inverse(area: f64, exponent: f64) -> f64 {
    // Rounding may leave the domain of the logarithm; -1 is its edge.
    let t = (area * (1.0 - exponent)).max(-1.0);
    (ln_1p_over(t) * area).exp()
}

/// `(e^x - 1) / x`, also near zero.
fn exp_m1_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x / 2.0 * (1.0 + x / 3.0) }
}

/// `ln(1 + x) / x`, also near zero.
fn ln_1p_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.ln_1p() / x } else { 1.0 - x * (0.5 - x / 3.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws follow the law: each rank's share, and the tail's, is near what it should be.
    #[test]
    fn shares_follow_the_law() {
        for exponent in [0.5, 0.99, 1.0, 1.5] {
            let (ranks, draws) = (1_000_usize, 400_000_u32);
            let zipf = Zipf::new(ranks as u64, exponent);
            let mut rng = fastrand::Rng::with_seed(7);
            let mut seen = vec![0_u32; ranks];
            for _ in 0..draws {
                seen[usize::try_from(zipf.draw(|| rng.f64())).unwrap()] += 1;
            }
            let weight = |rank: usize| (rank as f64 + 1.0).powf(-exponent);
            let total: f64 = (0..ranks).map(weight).sum();
            let check = |from: usize, to: usize| {
                let share = (from..to).map(weight).sum::<f64>() / total;
                let got = seen[from..to].iter().sum::<u32>();
                let expected = share * f64::from(draws);
                // Six standard deviations: a right sampler passes, a wrong one does not.
                let slack = 6.0 * (expected * (1.0 - share)).sqrt() + 1.0;
                let off = (f64::from(got) - expected).abs();
                assert!(off < slack, "s {exponent} {from}..{to}: {got} for {expected}");
            };
            (0..10).for_each(|rank| check(rank, rank + 1));
            check(10, 100);
            check(100, 1_000);
        }
    }

    #[test]
    fn draws_stay_below_the_number_of_ranks() {
        for ranks in [1, 2, 3, 1_000_000_000] {
            let zipf = Zipf::new(ranks, 0.99);
            // The edges of the uniform numbers are the edges of the ranks.
            for u in [0.0, f64::EPSILON, 0.25, 0.5, 1.0 - f64::EPSILON] {
                let mut first = Some(u);
                let mut rng = fastrand::Rng::with_seed(1);
                assert!(zipf.draw(|| first.take().unwrap_or_else(|| rng.f64())) < ranks);
            }
        }
    }
}
