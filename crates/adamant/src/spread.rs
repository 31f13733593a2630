//! Mean and spread of few values: seeds of a study, batches of a diagnosis.

/// Mean and spread of a few values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, over `n - 1`; 0 for one value.
    pub sd: f64,
}

/// Mean and spread; none of no values.
pub fn summary(values: &[f64]) -> Option<Summary> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let sd = if n > 1 { (squares / (n - 1) as f64).sqrt() } else { 0.0 };
    Some(Summary { n, mean, sd })
}

/// The 97.5 % quantile of Student's t, by degrees of freedom; beyond 30 that of 30, which is on the safe side.
///
/// Source: the usual table, such as NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2.
pub fn t975(degrees: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    match degrees {
        0 => f64::INFINITY,
        _ => TABLE[degrees.min(30) - 1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_spread_are_those_of_the_textbook() {
        let of = summary(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((of.n, of.mean), (8, 5.0));
        assert!((of.sd - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(summary(&[0.5]).unwrap().sd, 0.0);
        assert_eq!(summary(&[]), None);
    }

    #[test]
    fn one_seed_says_nothing_about_others() {
        assert_eq!(t975(0), f64::INFINITY);
        assert_eq!([t975(1), t975(2), t975(30), t975(99)], [12.706, 4.303, 2.042, 2.042]);
    }
}
