//! Arms against arms, seed by seed: one number with an interval.

use super::quantity::Quantity;
use super::record::CellRecord;
use super::written::{Study, Test, Weights};
use crate::spread::{summary, t975};

/// A weighted sum of arms.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    /// Arms, their weights, and which of their figures.
    pub terms: Vec<(String, f64, Quantity)>,
}

/// A number with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Mean over seeds.
    pub value: f64,
    /// Ends of the 95 % interval.
    pub interval: [f64; 2],
    /// Seeds that have every arm.
    pub seeds: usize,
    /// Images behind each figure, the fewest.
    pub samples: usize,
}

impl Contrast {
    /// The arms of `plus` less those of `minus`, each side made one number by `weights`.
    ///
    /// Only arms that some record has count towards a slope: depths that were not run shorten it. None where an arm has
    /// no `x` that a slope needs, or a slope has fewer than two places.
    pub fn new(
        study: &Study,
        test: &Test,
        records: &[&CellRecord],
        plus: &[String],
        minus: &[String],
        weights: Weights,
    ) -> Option<Self> {
        let mut terms = Vec::new();
        let less = test.minus_quantity.as_ref().unwrap_or(&test.quantity);
        for (side, sign, quantity) in [(plus, 1.0, &test.quantity), (minus, -1.0, less)] {
            if side.is_empty() {
                continue;
            }
            let side: Vec<&String> = match weights {
                Weights::Mean | Weights::Sum => side.iter().collect(),
                Weights::SlopePerDoubling => {
                    let is_there = |arm: &&String| records.iter().any(|r| r.arm == **arm);
                    side.iter().filter(is_there).collect()
                }
            };
            let own = match weights {
                Weights::Mean => vec![1.0 / side.len() as f64; side.len()],
                Weights::Sum => vec![1.0; side.len()],
                Weights::SlopePerDoubling => {
                    let places: Option<Vec<f64>> =
                        side.iter().map(|arm| Some(study.arm(arm)?.x?.log2())).collect();
                    slope(&places?)?
                }
            };
            let term =
                |(arm, weight): (&String, f64)| (arm.clone(), sign * weight, quantity.clone());
            terms.extend(side.into_iter().zip(own).map(term));
        }
        Some(Self { terms })
    }

    /// The number over the seeds that have every arm; none without such a seed.
    ///
    /// Two chances add up, each as half an interval: that of training, t times the standard error over seeds of the
    /// paired sums, and that of the judged images, 1.96 times the root of the weighted sum of binomial variances. The
    /// second is not divided by the seeds, whose test images are the same or overlap; arms are taken as independent,
    /// which overstates it, since they are judged on the same images.
    pub fn estimate(&self, records: &[&CellRecord]) -> Option<Estimate> {
        let mut seeds: Vec<u64> = records.iter().map(|record| record.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let (mut sums, mut variances, mut samples) = (Vec::new(), Vec::new(), usize::MAX);
        for seed in seeds {
            let terms: Option<Vec<_>> = self
                .terms
                .iter()
                .map(|(arm, weight, quantity)| {
                    let cell = records.iter().find(|r| r.seed == seed && r.arm == *arm)?;
                    Some((weight, quantity.of(cell)?))
                })
                .collect();
            let Some(terms) = terms else { continue };
            sums.push(terms.iter().map(|(weight, m)| *weight * m.value).sum::<f64>());
            variances.push(terms.iter().map(|(weight, m)| weight.powi(2) * m.variance).sum());
            samples = terms.iter().map(|(_, m)| m.samples).fold(samples, usize::min);
        }
        let over_seeds = summary(&sums)?;
        let images = summary(&variances)?.mean;
        let n = over_seeds.n;
        let training = t975(n - 1) * over_seeds.sd / (n as f64).sqrt();
        // One seed has no spread to multiply: its interval is everything.
        let half = match n {
            1 => f64::INFINITY,
            _ => training.hypot(1.96 * images.sqrt()),
        };
        let value = over_seeds.mean;
        Some(Estimate { value, interval: [value - half, value + half], seeds: n, samples })
    }
}

/// The weights whose sum with values is their least-squares slope over `places`.
fn slope(places: &[f64]) -> Option<Vec<f64>> {
    let mean = summary(places)?.mean;
    let squares: f64 = places.iter().map(|x| (x - mean).powi(2)).sum();
    (squares > 0.0).then(|| places.iter().map(|x| (x - mean) / squares).collect())
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::{record, robust};
    use super::*;

    fn of(terms: &[(&str, f64)]) -> Contrast {
        Contrast { terms: terms.iter().map(|&(arm, w)| (arm.to_string(), w, robust())).collect() }
    }

    #[test]
    fn differences_are_paired_by_seed_and_a_seed_without_an_arm_does_not_count() {
        let all = [
            record("a", 0, 0.50),
            record("b", 0, 0.40),
            record("a", 1, 0.70),
            record("b", 1, 0.60),
            record("a", 2, 0.90),
        ];
        let all: Vec<&CellRecord> = all.iter().collect();
        let estimate = of(&[("a", 1.0), ("b", -1.0)]).estimate(&all).unwrap();
        assert!((estimate.value - 0.1).abs() < 1e-12);
        assert_eq!((estimate.seeds, estimate.samples), (2, 10_000));
        // Both differences are 0.1: only the images' chance is left, 1.96 sqrt(mean of sums of p q / n).
        let images = (0.25 + 0.24 + 0.21 + 0.24) / 2.0 / 10_000.0_f64;
        let half = estimate.interval[1] - estimate.value;
        assert!((half - 1.96 * images.sqrt()).abs() < 1e-9, "{half}");
    }

    #[test]
    fn the_spread_over_seeds_widens_the_interval_by_students_t() {
        let all = [record("a", 0, 0.5), record("a", 1, 0.6), record("a", 2, 0.7)];
        let all: Vec<&CellRecord> = all.iter().collect();
        let estimate = of(&[("a", 1.0)]).estimate(&all).unwrap();
        let training = 4.303 * 0.1 / 3.0_f64.sqrt();
        let images = (0.25 + 0.24 + 0.21) / 3.0 / 10_000.0_f64;
        let half = training.hypot(1.96 * images.sqrt());
        assert!((estimate.interval[1] - 0.6 - half).abs() < 1e-9);
    }

    #[test]
    fn one_seed_has_an_interval_without_ends() {
        let all = [record("a", 0, 0.5)];
        let all: Vec<&CellRecord> = all.iter().collect();
        let estimate = of(&[("a", 1.0)]).estimate(&all).unwrap();
        assert_eq!(estimate.interval, [f64::NEG_INFINITY, f64::INFINITY]);
        assert_eq!(of(&[("c", 1.0)]).estimate(&all), None);
    }

    #[test]
    fn slope_weights_give_the_slope_of_a_line_and_ignore_its_height() {
        let weights = slope(&[3.0, 4.0, 5.0, 7.0]).unwrap();
        let line: f64 =
            weights.iter().zip([3.0, 4.0, 5.0, 7.0]).map(|(w, x)| w * (2.0 * x + 9.0)).sum();
        assert!((line - 2.0).abs() < 1e-12, "{line}");
        assert_eq!(slope(&[3.0, 3.0]), None);
    }
}
