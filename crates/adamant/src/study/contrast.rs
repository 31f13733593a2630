//! Arms against arms, seed by seed: one number with an interval.

use super::quantity::Quantity;
use super::record::CellRecord;
use super::written::{Study, Test, Weights};
use crate::spread::{summary, t975};
use std::collections::BTreeMap;

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
    /// paired sums, and that of the judged images, 1.96 times its standard error.
    pub fn estimate(&self, records: &[&CellRecord]) -> Option<Estimate> {
        let mut seeds: Vec<u64> = records.iter().map(|record| record.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let of = |seed| self.of_seed(records, seed);
        let seeds: Vec<OfSeed> = seeds.into_iter().filter_map(of).collect();
        let sums: Vec<f64> = seeds.iter().map(|seed| seed.sum).collect();
        let over_seeds = summary(&sums)?;
        let n = over_seeds.n;
        let training = t975(n - 1) * over_seeds.sd / (n as f64).sqrt();
        let images = paired_variance(&seeds).unwrap_or_else(|| independent_variance(&seeds));
        // One seed has no spread to multiply: its interval is everything.
        let half = match n {
            1 => f64::INFINITY,
            _ => training.hypot(1.96 * images.sqrt()),
        };
        let value = over_seeds.mean;
        let samples = seeds.iter().map(|seed| seed.samples).min()?;
        Some(Estimate { value, interval: [value - half, value + half], seeds: n, samples })
    }

    /// None where an arm is missing.
    fn of_seed(&self, records: &[&CellRecord], seed: u64) -> Option<OfSeed> {
        let mut own = OfSeed { sum: 0.0, variance: 0.0, samples: usize::MAX, images: None };
        let mut images: Vec<Option<Vec<(usize, bool)>>> = Vec::new();
        for (arm, weight, quantity) in &self.terms {
            let cell = records.iter().find(|r| r.seed == seed && r.arm == *arm)?;
            let measured = quantity.of(cell)?;
            own.sum += weight * measured.value;
            own.variance += weight.powi(2) * measured.variance;
            own.samples = own.samples.min(measured.samples);
            images.push(quantity.each_image(cell));
        }
        let images: Option<Vec<_>> = images.into_iter().collect();
        own.images = images.and_then(|images| self.sums_by_image(&images));
        Some(own)
    }

    /// The weighted sum of every image's bits, one list a term; none where terms were judged on different images.
    fn sums_by_image(&self, terms: &[Vec<(usize, bool)>]) -> Option<Vec<(usize, f64)>> {
        let positions: Vec<usize> = terms.first()?.iter().map(|image| image.0).collect();
        let mut sums = vec![0.0; positions.len()];
        for ((_, weight, _), images) in self.terms.iter().zip(terms) {
            if !images.iter().map(|image| image.0).eq(positions.iter().copied()) {
                return None;
            }
            for (sum, (_, counts)) in sums.iter_mut().zip(images) {
                *sum += if *counts { *weight } else { 0.0 };
            }
        }
        Some(positions.into_iter().zip(sums).collect())
    }
}

/// A contrast in one seed.
struct OfSeed {
    sum: f64,
    /// As if arms had been judged on different images.
    variance: f64,
    samples: usize,
    /// What each judged image adds: its position, the weighted sum of its bits; none where some record does not tell.
    images: Option<Vec<(usize, f64)>>,
}

/// The variance of the mean over seeds because the judged images are only some of all, from what each image adds to it in all
/// seeds that judged it; none where some record does not tell image by image.
fn paired_variance(seeds: &[OfSeed]) -> Option<f64> {
    let mut parts = BTreeMap::<usize, f64>::new();
    for seed in seeds {
        let images = seed.images.as_ref()?;
        for (position, sum) in images {
            let share = (seeds.len() * images.len()) as f64;
            *parts.entry(*position).or_default() += (sum - seed.sum) / share;
        }
    }
    Some(parts.values().map(|part| part.powi(2)).sum())
}

/// The same, arms taken as independent, which overstates it; not divided by the seeds, whose images overlap.
fn independent_variance(seeds: &[OfSeed]) -> f64 {
    seeds.iter().map(|seed| seed.variance).sum::<f64>() / seeds.len() as f64
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
    use super::super::images::{Bits, ImageRecord};
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

    /// A record of four images at `positions` of which those with a 1 stood.
    fn told(arm: &str, seed: u64, positions: &[usize], stood: [u8; 4]) -> CellRecord {
        let mut record =
            record(arm, seed, stood.iter().map(|bit| f64::from(*bit)).sum::<f64>() / 4.0);
        let judged = (0..=positions[3]).map(|position| positions.contains(&position)).collect();
        let stood: Bits = stood.iter().map(|bit| *bit == 1).collect();
        record.evaluations[0].samples = 4;
        record.evaluations[0].images = Some(ImageRecord { judged, right: stood.clone(), stood });
        record
    }

    #[test]
    fn images_that_fare_alike_in_both_arms_bring_no_chance() {
        let seed =
            |seed, a, b| [told("a", seed, &[0, 1, 2, 5], a), told("b", seed, &[0, 1, 2, 5], b)];
        let half = |records: &[CellRecord]| {
            let records: Vec<&CellRecord> = records.iter().collect();
            let e = of(&[("a", 1.0), ("b", -1.0)]).estimate(&records).unwrap();
            (e.value, e.interval[1] - e.value)
        };
        let same = [seed(0, [1, 1, 0, 0], [1, 1, 0, 0]), seed(1, [1, 1, 1, 0], [1, 1, 1, 0])];
        assert_eq!(half(&same.concat()), (0.0, 0.0));
        // One image differs in both seeds: sums 1, 0, 0, 0 of mean 1/4; the same images in both, so seeds do not divide it.
        let one = [seed(0, [1, 1, 0, 0], [0, 1, 0, 0]), seed(1, [1, 1, 0, 1], [0, 1, 0, 1])];
        let variance = (0.75_f64.powi(2) + 3.0 * 0.25_f64.powi(2)) / 16.0;
        let (value, found) = half(&one.concat());
        assert_eq!(value, 0.25);
        assert!((found - 1.96 * variance.sqrt()).abs() < 1e-12, "{found}");
        // Other images in the second seed: independent, and half the variance.
        let [first, _] = one;
        let other = |arm, stood| told(arm, 1, &[3, 4, 6, 7], stood);
        let apart = [first, [other("a", [1, 1, 0, 1]), other("b", [0, 1, 0, 1])]].concat();
        let (_, found) = half(&apart);
        assert!((found - 1.96 * (variance / 2.0).sqrt()).abs() < 1e-12, "{found}");
    }

    #[test]
    fn arms_judged_on_different_images_are_taken_as_independent() {
        let records = [
            told("a", 0, &[0, 1, 2, 3], [1, 1, 0, 0]),
            told("b", 0, &[4, 5, 6, 7], [1, 0, 0, 0]),
            told("a", 1, &[0, 1, 2, 3], [1, 1, 0, 0]),
            told("b", 1, &[4, 5, 6, 7], [1, 0, 0, 0]),
        ];
        let records: Vec<&CellRecord> = records.iter().collect();
        let e = of(&[("a", 1.0), ("b", -1.0)]).estimate(&records).unwrap();
        let variance = 0.25 / 4.0 + 0.1875 / 4.0_f64;
        assert!((e.interval[1] - 0.25 - 1.96 * variance.sqrt()).abs() < 1e-12);
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
