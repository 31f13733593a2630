//! Losses on the logits of one image, with their gradients in closed form.
//!
//! Computed in double precision whatever the logits are: for a confident network `softmax(z)[y] - 1` cancels in single
//! precision, and the sign of the input gradient would be rounding noise.

use super::dlr::{add_dlr_gradient, add_targeted_dlr_gradient, dlr, targeted_dlr};

/// What an attack raises for a class it wants to leave, or lowers for one it wants to reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttackLoss {
    /// [`cross_entropy`]: smooth, and follows the likeliest other class.
    #[default]
    CrossEntropy,
    /// [`margin`]: follows the strongest other class only, and keeps its gradient however confident the network is.
    ///
    /// Source: Carlini & Wagner 2017, the difference of logits inside their objective.
    Margin,
    /// [`dlr`]: the margin in units of the logits' spread; needs 3 classes, and 4 towards a chosen class.
    Dlr,
}

impl std::fmt::Display for AttackLoss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CrossEntropy => "cross-entropy",
            Self::Margin => "margin",
            Self::Dlr => "difference of logits ratio",
        })
    }
}

impl AttackLoss {
    /// The loss of one class.
    ///
    /// Shapes: `row` is `[classes]`.
    pub fn value<T: Copy + Into<f64>>(self, row: &[T], class: u32) -> f64 {
        match self {
            Self::CrossEntropy => cross_entropy(row, class),
            Self::Margin => margin(row, class),
            Self::Dlr => dlr(row, class),
        }
    }

    /// Adds `factor` times the gradient of [`AttackLoss::value`] by the logits.
    ///
    /// Shapes: `row` and `gradient` are `[classes]`.
    pub fn add_gradient<T: Copy + Into<f64>>(
        self,
        row: &[T],
        class: u32,
        factor: f64,
        gradient: &mut [f64],
    ) {
        match self {
            Self::CrossEntropy => add_cross_entropy_gradient(row, class, factor, gradient),
            Self::Margin => {
                if let Some(rival) = rival(row, class) {
                    gradient[rival] += factor;
                    gradient[class as usize] -= factor;
                }
            }
            Self::Dlr => add_dlr_gradient(row, class, factor, gradient),
        }
    }

    /// What an attack raises to leave `label` in the direction of `rival`.
    ///
    /// The cross-entropy of one class less that of another is the difference of their logits, as the margin is.
    /// Shapes: `row` is `[classes]`.
    pub fn between<T: Copy + Into<f64>>(self, row: &[T], label: u32, rival: u32) -> f64 {
        match self {
            Self::CrossEntropy | Self::Margin => {
                row[rival as usize].into() - row[label as usize].into()
            }
            Self::Dlr => targeted_dlr(row, label, rival),
        }
    }

    /// Adds the gradient of [`AttackLoss::between`] by the logits.
    ///
    /// Shapes: `row` and `gradient` are `[classes]`.
    pub fn add_gradient_between<T: Copy + Into<f64>>(
        self,
        row: &[T],
        label: u32,
        rival: u32,
        gradient: &mut [f64],
    ) {
        match self {
            Self::CrossEntropy | Self::Margin => {
                gradient[rival as usize] += 1.0;
                gradient[label as usize] -= 1.0;
            }
            Self::Dlr => add_targeted_dlr_gradient(row, label, rival, 1.0, gradient),
        }
    }
}

/// How far the strongest other class is above this one: `max(row[k], k != class) - row[class]`.
///
/// Shapes: `row` is `[classes]`.
pub fn margin<T: Copy + Into<f64>>(row: &[T], class: u32) -> f64 {
    let own = row[class as usize].into();
    // With a single class there is none to lose to.
    rival(row, class).map_or(f64::NEG_INFINITY, |rival| row[rival].into() - own)
}

fn rival<T: Copy + Into<f64>>(row: &[T], class: u32) -> Option<usize> {
    let others = (0..row.len()).filter(|&other| other != class as usize);
    others.reduce(|best, other| if row[other].into() > row[best].into() { other } else { best })
}

/// `ln(sum(exp(row)))`, shifted by the largest logit so that no exponential overflows.
///
/// Shapes: `row` is `[classes]`.
pub fn log_sum_exp<T: Copy + Into<f64>>(row: &[T]) -> f64 {
    let largest = row.iter().map(|&z| z.into()).fold(f64::NEG_INFINITY, f64::max);
    largest + row.iter().map(|&z| (z.into() - largest).exp()).sum::<f64>().ln()
}

/// Cross-entropy of one class: `-ln softmax(row)[class]`.
///
/// Shapes: `row` is `[classes]`.
pub fn cross_entropy<T: Copy + Into<f64>>(row: &[T], class: u32) -> f64 {
    log_sum_exp(row) - row[class as usize].into()
}

/// Adds `factor` times the gradient of [`cross_entropy`] by the logits: `softmax(row) - one_hot(class)`.
///
/// Shapes: `row` and `gradient` are `[classes]`.
pub fn add_cross_entropy_gradient<T: Copy + Into<f64>>(
    row: &[T],
    class: u32,
    factor: f64,
    gradient: &mut [f64],
) {
    let normalizer = log_sum_exp(row);
    // For the class itself 1 - softmax is summed from the others: exact even where softmax rounds to 1.
    let mut others = 0.0;
    for (position, (&z, g)) in row.iter().zip(gradient.iter_mut()).enumerate() {
        if position != class as usize {
            let share = (z.into() - normalizer).exp();
            others += share;
            *g += factor * share;
        }
    }
    gradient[class as usize] -= factor * others;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g28_the_gradients_are_central_differences() {
        let row = [1.5, -0.25, 3.0, 0.125, -2.0];
        for (loss, class) in [AttackLoss::CrossEntropy, AttackLoss::Margin]
            .into_iter()
            .flat_map(|loss| (0..5).map(move |class| (loss, class)))
        {
            let mut gradient = [0.0; 5];
            loss.add_gradient(&row, class, 2.0, &mut gradient);
            for position in 0..5 {
                let shifted = |h: f64| {
                    let mut moved = row;
                    moved[position] += h;
                    2.0 * loss.value(&moved, class)
                };
                let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                assert!((gradient[position] - difference).abs() < 1e-9, "{loss:?} {class}");
            }
        }
    }

    #[test]
    fn g28_loss_and_gradient_stay_finite_at_huge_logits() {
        for row in [[1e4_f32, -1e4, 0.0], [-1e4, -1e4, -1e4]] {
            for class in 0..3 {
                let mut gradient = [0.0; 3];
                add_cross_entropy_gradient(&row, class, 1.0, &mut gradient);
                assert!(cross_entropy(&row, class).is_finite());
                assert!(gradient.iter().all(|g| g.is_finite()));
                assert!(gradient.iter().sum::<f64>().abs() < 1e-12);
            }
        }
        assert_eq!(cross_entropy(&[1e4_f32, -1e4, 0.0], 1), 2e4);
    }

    #[test]
    fn a_confident_true_class_keeps_an_exact_gradient() {
        let mut gradient = [0.0; 2];
        add_cross_entropy_gradient(&[60.0_f32, 0.0], 0, 1.0, &mut gradient);
        let exact = (-60.0_f64).exp();
        assert!((gradient[1] / exact - 1.0).abs() < 1e-12, "{gradient:?}");
        assert_eq!(gradient[0], -gradient[1]);
    }
}
