//! Reading the clock, and what is said of several readings.

use std::time::Instant;

/// Milliseconds of each of `runs` calls, after one that is not measured.
///
/// Errors: the first of `work`.
pub fn milliseconds(
    runs: usize,
    mut work: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<f64>> {
    work()?;
    let mut samples = Vec::with_capacity(runs);
    for _ in 0..runs {
        let start = Instant::now();
        work()?;
        samples.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(samples)
}

/// The middle of the samples, or the mean of the two in the middle.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// The smallest sample.
pub fn least(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The largest sample.
pub fn most(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_first_call_is_not_measured() {
        assert_eq!(median(&[3.0, 1.0, 10.0]), 3.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 10.0]), 3.0);
        let mut calls = 0;
        let samples = milliseconds(3, || {
            calls += 1;
            Ok(())
        });
        assert_eq!((samples.unwrap().len(), calls), (3, 4));
    }
}
