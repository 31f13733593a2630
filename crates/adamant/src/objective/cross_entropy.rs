//! Cross-entropy with smoothed labels, as training uses it.

use super::{ObjectiveError, Shown};
use crate::attack::loss::{add_cross_entropy_gradient, log_sum_exp};

/// The share of label mass spread evenly over all classes, the true one included: at 0.1 and 1,000 classes the true
/// class keeps .9 + .1/1000. Training only; attacks and evaluation use plain cross-entropy.
///
/// Source: Szegedy et al. 2016; FAIR code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelSmoothing(f64);

impl LabelSmoothing {
    /// Plain cross-entropy.
    pub const NONE: Self = Self(0.0);

    /// This share.
    ///
    /// Errors: `ObjectiveError` outside `[0, 1]`.
    pub fn new(share: f64) -> Result<Self, ObjectiveError> {
        super::check_share("label_smoothing", share).map(|()| Self(share))
    }

    /// The share.
    pub fn share(self) -> f64 {
        self.0
    }
}

/// The mean smoothed cross-entropy of `shown`; adds `weight` times its gradient by the logits to `gradient`.
///
/// Zero for no images. Shapes: `gradient` is `[images shown * classes]`.
pub(super) fn mean_cross_entropy(
    labels: &[u32],
    shown: &Shown<'_>,
    smoothing: LabelSmoothing,
    weight: f64,
    gradient: &mut [f64],
) -> f64 {
    let (count, classes) = (shown.logits.count, shown.logits.classes);
    assert_eq!(shown.positions.len(), count, "one row of logits per image shown");
    let mut sum = 0.0;
    for (image, &position) in shown.positions.iter().enumerate() {
        let (row, label) = (shown.logits.row(image), labels[position]);
        let by_row = &mut gradient[image * classes..(image + 1) * classes];
        sum += smoothed_cross_entropy(row, label, smoothing);
        add_smoothed_gradient(row, label, smoothing, weight / count as f64, by_row);
    }
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// `-sum(q ln softmax(row))` with `q = (1 - s) one_hot(label) + s / classes`.
fn smoothed_cross_entropy<T: Copy + Into<f64>>(
    row: &[T],
    label: u32,
    LabelSmoothing(share): LabelSmoothing,
) -> f64 {
    let mean = row.iter().map(|&z| z.into()).sum::<f64>() / row.len() as f64;
    log_sum_exp(row) - (1.0 - share) * row[label as usize].into() - share * mean
}

/// Adds `factor * (softmax(row) - q)`.
fn add_smoothed_gradient<T: Copy + Into<f64>>(
    row: &[T],
    label: u32,
    LabelSmoothing(share): LabelSmoothing,
    factor: f64,
    gradient: &mut [f64],
) {
    add_cross_entropy_gradient(row, label, factor, gradient);
    // softmax - q = (softmax - one_hot) + s (one_hot - 1 / classes); the first term stays exact when s is 0.
    let even = factor * share / row.len() as f64;
    gradient.iter_mut().for_each(|g| *g -= even);
    gradient[label as usize] += factor * share;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g27_smoothing_is_the_formula_of_the_recipe() {
        let row = [0.3, -1.2, 2.5, 0.9_f64];
        let share = LabelSmoothing::new(0.1).expect("a share");
        let log_softmax: Vec<f64> = row.iter().map(|z| z - log_sum_exp(&row)).collect();
        let expected: f64 = (0..4)
            .map(|class| {
                let q = if class == 1 { 0.9 + 0.1 / 4.0 } else { 0.1 / 4.0 };
                -q * log_softmax[class]
            })
            .sum();
        assert!((smoothed_cross_entropy(&row, 1, share) - expected).abs() < 1e-12);
    }

    #[test]
    fn g28_the_smoothed_gradient_is_its_central_difference() {
        let row = [0.3, -1.2, 2.5, 0.9_f64];
        for share in [0.0, 0.1, 1.0] {
            let smoothing = LabelSmoothing::new(share).expect("a share");
            let mut gradient = [0.0; 4];
            add_smoothed_gradient(&row, 2, smoothing, 3.0, &mut gradient);
            for position in 0..4 {
                let shifted = |h: f64| {
                    let mut moved = row;
                    moved[position] += h;
                    3.0 * smoothed_cross_entropy(&moved, 2, smoothing)
                };
                let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                assert!((gradient[position] - difference).abs() < 1e-8, "{share}");
            }
        }
    }
}
