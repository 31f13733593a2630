//! Ordinary training: the clean images alone.

use super::cross_entropy::{LabelSmoothing, mean_cross_entropy};
use super::mixture::{Terms, all_of};
use super::{Demand, Loss, Objective, StepDraw, StepLogits};

/// Ordinary training: cross-entropy of the images as they are, no attack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standard {
    /// Of the labels.
    pub smoothing: LabelSmoothing,
}

impl Objective for Standard {
    fn name(&self) -> &'static str {
        "standard"
    }

    fn demand(&self, count: usize, _: &StepDraw) -> Demand {
        Demand { clean: all_of(count), adversarial: Vec::new() }
    }

    fn loss(&self, step: &StepLogits<'_>) -> Loss {
        let mut terms = Terms::zero(step);
        let by_clean = &mut terms.by_clean;
        let value = mean_cross_entropy(step.labels, &step.clean, self.smoothing, 1.0, by_clean);
        terms.add("clean", value, 1.0);
        terms.into_loss(step)
    }
}
