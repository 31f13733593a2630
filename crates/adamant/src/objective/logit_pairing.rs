//! Adversarial logit pairing, on top of a mixture.

use super::mixture::Terms;
use super::{Demand, Loss, Mixture, Objective, ObjectiveError, StepDraw, StepLogits};

/// Adversarial logit pairing: the mixture, and the mean squared difference between an image's two rows of logits.
///
/// The mean runs over all elements of all kept pairs; its gradient flows into both branches. A positive control: it
/// looks robust to short attacks only (Engstrom et al. 2018).
/// Source: Kannan et al. 2018; weights of .25 to .5 in its public code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitPairing {
    mixture: Mixture,
    weight: f64,
}

impl LogitPairing {
    /// `weight` times the pairing on top of `mixture`.
    ///
    /// Errors: `ObjectiveError` for a weight that is negative or no number.
    pub fn new(mixture: Mixture, weight: f64) -> Result<Self, ObjectiveError> {
        if !(weight.is_finite() && weight >= 0.0) {
            let (setting, expected) = ("logit_pairing", "a weight that is not negative");
            return Err(ObjectiveError { setting, found: weight, expected });
        }
        Ok(Self { mixture, weight })
    }
}

impl Objective for LogitPairing {
    fn name(&self) -> &'static str {
        "logit-pairing"
    }

    fn demand(&self, count: usize, draw: &StepDraw) -> Demand {
        self.mixture.demand(count, draw)
    }

    fn loss(&self, step: &StepLogits<'_>) -> Loss {
        let mut terms = self.mixture.terms(step);
        let pairing = add_pairing(step, self.weight, &mut terms);
        terms.add("pairing", pairing, self.weight);
        terms.into_loss(step)
    }
}

fn add_pairing(step: &StepLogits<'_>, weight: f64, terms: &mut Terms) -> f64 {
    let classes = step.clean.logits.classes;
    let elements = step.clean.positions.len() * classes;
    let mut sum = 0.0;
    for (clean, position) in step.clean.positions.iter().enumerate() {
        let adversarial = step
            .adversarial
            .positions
            .binary_search(position)
            .expect("a mixture attacks every image, and demands positions in rising order");
        for class in 0..classes {
            let (c, a) = (clean * classes + class, adversarial * classes + class);
            let difference = f64::from(step.clean.logits.values[c])
                - f64::from(step.adversarial.logits.values[a]);
            sum += difference * difference;
            let slope = weight * 2.0 * difference / elements as f64;
            terms.by_clean[c] += slope;
            terms.by_adversarial[a] -= slope;
        }
    }
    if elements == 0 { 0.0 } else { sum / elements as f64 }
}
