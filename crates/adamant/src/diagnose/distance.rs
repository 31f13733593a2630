//! How far apart two channels lie whose values are described by mean and variance.

use serde::{Deserialize, Serialize};

/// Mean and variance of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gaussian {
    /// Mean.
    pub mean: f64,
    /// Variance.
    pub variance: f64,
}

/// Two measures of the same distance; both symmetric, both without unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// Jeffreys' divergence of the two normal distributions, `KL(p, q) + KL(q, p)`, in nats.
    pub divergence: f64,
    /// Difference of the means in standard deviations: `|m1 - m2| / sqrt((v1 + v2) / 2)`.
    pub shift: f64,
}

impl Gaussian {
    /// The distance of two channels; `epsilon`, the batch norm's own, is added to both variances, since a channel whose
    /// values never change would else be infinitely far from any other.
    ///
    /// Source: Jeffreys 1946; for two normal distributions the logarithms of the two directions cancel, which leaves
    /// `(v1/v2 + v2/v1 - 2) / 2 + (m1 - m2)^2 (1/v1 + 1/v2) / 2`.
    pub fn distance(self, other: Self, epsilon: f64) -> Distance {
        let (v1, v2) = (self.variance + epsilon, other.variance + epsilon);
        let difference = self.mean - other.mean;
        let spread = 0.5 * (v1 / v2 + v2 / v1 - 2.0);
        let place = 0.5 * difference * difference * (1.0 / v1 + 1.0 / v2);
        Distance { divergence: spread + place, shift: difference.abs() / (0.5 * (v1 + v2)).sqrt() }
    }
}

/// The value below which this share of `values` lies; between two of them by the line that joins them. NaN of none.
///
/// Source: Hyndman & Fan 1996, definition 7, as NumPy has it.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = share * last as f64;
    let below = (at.floor() as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_closed_forms() {
        let one = Gaussian { mean: 0.0, variance: 1.0 };
        let moved = Gaussian { mean: 2.0, variance: 1.0 };
        let wide = Gaussian { mean: 0.0, variance: 4.0 };
        // Equal variances: the squared shift. Equal means: half of v/w + w/v - 2.
        assert_eq!(one.distance(moved, 0.0), Distance { divergence: 4.0, shift: 2.0 });
        assert_eq!(one.distance(wide, 0.0), Distance { divergence: 1.125, shift: 0.0 });
        assert_eq!(one.distance(wide, 0.5), wide.distance(one, 0.5));
        assert_eq!(one.distance(one, 0.0).divergence, 0.0);
        let still = Gaussian { mean: 0.0, variance: 0.0 };
        assert!(still.distance(moved, 1e-5).divergence.is_finite());
    }

    #[test]
    fn quantiles_are_those_of_numpy() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|q| quantile(&values, q)), [1.0, 1.75, 2.5, 4.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
