//! Whether a figure rises or falls along the arms.

use super::quantity::Quantity;
use super::record::CellRecord;

/// Spearman's rank correlation over the arms, seed by seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Mean over seeds.
    pub correlation: f64,
    /// The mean divided by its standard deviation if order were chance, `1 / sqrt(seeds (places - 1))`.
    pub z: f64,
    /// Figure at the greatest `x` less that at the smallest, mean over seeds.
    pub range: f64,
    /// Seeds that have every place.
    pub seeds: usize,
    /// Arms on the axis.
    pub places: usize,
    /// Images behind each figure, the fewest.
    pub samples: usize,
}

/// The trend of `quantity` over arms with their places; none without a seed that has all of them, or with fewer than
/// three.
pub fn trend(
    arms: &[(String, f64)],
    quantity: &Quantity,
    records: &[&CellRecord],
) -> Option<Trend> {
    let places = arms.len();
    if places < 3 {
        return None;
    }
    let mut arms = arms.to_vec();
    arms.sort_by(|a, b| a.1.total_cmp(&b.1));
    let xs: Vec<f64> = arms.iter().map(|arm| arm.1).collect();
    let mut seeds: Vec<u64> = records.iter().map(|record| record.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let (mut sum, mut range, mut count, mut samples) = (0.0, 0.0, 0, usize::MAX);
    for seed in seeds {
        let at = |(arm, _): &(String, f64)| {
            quantity.of(records.iter().find(|r| r.seed == seed && r.arm == *arm)?)
        };
        let measured: Option<Vec<_>> = arms.iter().map(at).collect();
        let Some(measured) = measured else { continue };
        let values: Vec<f64> = measured.iter().map(|m| m.value).collect();
        samples = measured.iter().map(|m| m.samples).fold(samples, usize::min);
        sum += correlation(&ranks(&xs), &ranks(&values));
        range += values[places - 1] - values[0];
        count += 1;
    }
    (count > 0).then(|| {
        let n = count as f64;
        let correlation = sum / n;
        let z = correlation * (n * (places - 1) as f64).sqrt();
        Trend { correlation, z, range: range / n, seeds: count, places, samples }
    })
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        below as f64 + 0.5 * (equal + 1) as f64
    };
    values.iter().map(rank).collect()
}

/// Pearson's correlation; 0 where one side does not vary.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(&x, &y)| f(x - ma, y - mb)).sum()
    };
    let scale = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    if scale > 0.0 { sum(&|x, y| x * y) / scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::{record, robust};
    use super::*;

    #[test]
    fn equal_values_share_their_ranks() {
        assert_eq!(ranks(&[0.3, 0.1, 0.3, 0.5]), [2.5, 1.0, 2.5, 4.0]);
        assert_eq!(correlation(&[1.0, 2.0], &[3.0, 3.0]), 0.0);
    }

    #[test]
    fn a_figure_that_falls_in_every_seed_has_correlation_minus_one() {
        let arms: Vec<(String, f64)> = (0..4).map(|i| (format!("arm-{i}"), f64::from(i))).collect();
        let cells: Vec<CellRecord> = (0..3)
            .flat_map(|seed| (0..4).map(move |i| (seed, i)))
            .map(|(seed, i)| record(&format!("arm-{i}"), seed, 0.6 - 0.05 * f64::from(i)))
            .collect();
        let cells: Vec<&CellRecord> = cells.iter().collect();
        let trend = trend(&arms, &robust(), &cells).unwrap();
        assert!((trend.correlation + 1.0).abs() < 1e-12);
        assert!((trend.z + 3.0).abs() < 1e-12, "sqrt(3 seeds x 3) = 3, found {}", trend.z);
        assert!((trend.range + 0.15).abs() < 1e-12);
        assert_eq!((trend.seeds, trend.places), (3, 4));
        assert_eq!(super::trend(&arms[..2], &robust(), &cells), None);
    }
}
