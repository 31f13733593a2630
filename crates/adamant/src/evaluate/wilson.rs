//! How far a measured accuracy may lie from the true one.

use serde::{Deserialize, Serialize};

/// Some of `total` images, and what that says about the share among all images of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proportion {
    /// Images that count.
    pub count: usize,
    /// Images looked at.
    pub total: usize,
}

/// The two ends of a confidence interval, in `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Interval(pub [f64; 2]);

impl Proportion {
    /// The share measured; of no images at all, 0.
    pub fn share(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.count as f64 / self.total as f64 }
    }

    /// The Wilson score interval at 95 %, without continuity correction.
    ///
    /// Unlike the normal interval it stays inside `[0, 1]` and does not collapse at 0 and 1, where robust accuracies
    /// of undefended networks lie. Of no images at all the interval is everything.
    ///
    /// Source: Wilson 1927; Newcombe 1998, method 3.
    pub fn wilson95(&self) -> Interval {
        if self.total == 0 {
            return Interval([0.0, 1.0]);
        }
        /// The 97.5 % quantile of the standard normal.
        const Z: f64 = 1.959_963_984_540_054;
        let n = self.total as f64;
        let p = self.share();
        let centre = p + Z * Z / (2.0 * n);
        let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        // The ends at 0 and 1 are exact; rounding would leave them at 1e-17 or above 1.
        let low = if self.count == 0 { 0.0 } else { (centre - spread) / scale };
        let high = if self.count == self.total { 1.0 } else { (centre + spread) / scale };
        Interval([low, high])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcombe 1998, "Two-sided confidence intervals for the single proportion", Table I, method 3; four digits.
    #[test]
    fn intervals_are_those_of_newcombes_table() {
        for (count, total, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let Interval([found_low, found_high]) = Proportion { count, total }.wilson95();
            assert!((found_low - low).abs() < 5e-5, "{count}/{total}: {found_low} for {low}");
            assert!((found_high - high).abs() < 5e-5, "{count}/{total}: {found_high} for {high}");
        }
    }

    #[test]
    fn the_ends_are_exact_and_nothing_measured_says_nothing() {
        assert_eq!(Proportion { count: 0, total: 7 }.wilson95().0[0], 0.0);
        assert_eq!(Proportion { count: 7, total: 7 }.wilson95().0[1], 1.0);
        assert_eq!(Proportion { count: 0, total: 0 }.wilson95(), Interval([0.0, 1.0]));
    }

    #[test]
    fn right_and_wrong_mirror_each_other() {
        for count in 0..=40 {
            let Interval([low, high]) = Proportion { count, total: 40 }.wilson95();
            let Interval([wrong_low, wrong_high]) =
                Proportion { count: 40 - count, total: 40 }.wilson95();
            assert!((low - (1.0 - wrong_high)).abs() < 1e-12);
            assert!((high - (1.0 - wrong_low)).abs() < 1e-12);
        }
    }
}
