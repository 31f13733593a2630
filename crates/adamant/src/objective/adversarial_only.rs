//! Adversarial training without clean images, Madry's objective and the paper's baseline.

use super::cross_entropy::{LabelSmoothing, mean_cross_entropy};
use super::mixture::{Terms, all_of};
use super::{Demand, Loss, Objective, StepDraw, StepLogits};

/// Adversarial training: cross-entropy of the attacked images only, "100 % adv + 0 % clean".
///
/// Source: Madry et al. 2018; FAIR code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdversarialOnly {
    /// Of the labels.
    pub smoothing: LabelSmoothing,
}

impl Objective for AdversarialOnly {
    fn name(&self) -> &'static str {
        "adversarial-only"
    }

    fn demand(&self, count: usize, _: &StepDraw) -> Demand {
        Demand { clean: Vec::new(), adversarial: all_of(count) }
    }

    fn loss(&self, step: &StepLogits<'_>) -> Loss {
        let mut terms = Terms::zero(step);
        let (shown, gradient) = (&step.adversarial, &mut terms.by_adversarial);
        let value = mean_cross_entropy(step.labels, shown, self.smoothing, 1.0, gradient);
        terms.add("adversarial", value, 1.0);
        terms.into_loss(step)
    }
}
