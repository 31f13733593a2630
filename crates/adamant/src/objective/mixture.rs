//! Clean and adversarial images together: the objective that mixture batch norm is made for.

use super::cross_entropy::{LabelSmoothing, mean_cross_entropy};
use super::{Demand, Loss, Objective, ObjectiveError, Part, StepDraw, StepLogits, check_share};
use crate::image::Logits;
use crate::stream::{Key, Purpose};

/// How the clean and the adversarial mean enter the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weighting {
    /// Mean over all images present, so that a clean image counts as much as an attacked one.
    ///
    /// The paper does not say; this equals the mixture at fraction 1 and adversarial-only at fraction 0.
    ByPresence,
    /// This weight for the clean mean, the rest for the adversarial one, where any clean image is present.
    Fixed(f64),
}

/// All attacked images and a fraction of their clean counterparts.
///
/// Source: Xie & Yuille 2020, figure 1; the kept counterparts are drawn per (seed, step, rank).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixture {
    clean_fraction: f64,
    weighting: Weighting,
    smoothing: LabelSmoothing,
}

impl Mixture {
    /// Keeps `round(clean_fraction * N)` clean counterparts of N attacked images.
    ///
    /// Errors: `ObjectiveError` for a fraction or weight outside `[0, 1]`.
    pub fn new(
        clean_fraction: f64,
        weighting: Weighting,
        smoothing: LabelSmoothing,
    ) -> Result<Self, ObjectiveError> {
        check_share("clean_fraction", clean_fraction)?;
        if let Weighting::Fixed(clean_weight) = weighting {
            check_share("clean_weight", clean_weight)?;
        }
        Ok(Self { clean_fraction, weighting, smoothing })
    }

    /// The weights of the clean and of the adversarial mean.
    fn weights(&self, clean: usize, adversarial: usize) -> (f64, f64) {
        match self.weighting {
            _ if clean == 0 => (0.0, 1.0),
            Weighting::Fixed(weight) => (weight, 1.0 - weight),
            Weighting::ByPresence => {
                let all = (clean + adversarial) as f64;
                (clean as f64 / all, adversarial as f64 / all)
            }
        }
    }

    /// The mixture's terms, to which logit pairing adds one.
    pub(super) fn terms(&self, step: &StepLogits<'_>) -> Terms {
        let StepLogits { labels, clean, adversarial } = step;
        let (clean_weight, adversarial_weight) =
            self.weights(clean.positions.len(), adversarial.positions.len());
        let mut terms = Terms::zero(step);
        let mean = mean_cross_entropy;
        let value = mean(labels, clean, self.smoothing, clean_weight, &mut terms.by_clean);
        // Without clean images there is no clean loss to report, and 0 would look like a perfect one.
        if !clean.positions.is_empty() {
            terms.add("clean", value, clean_weight);
        }
        let gradient = &mut terms.by_adversarial;
        let value = mean(labels, adversarial, self.smoothing, adversarial_weight, gradient);
        terms.add("adversarial", value, adversarial_weight);
        terms
    }
}

impl Objective for Mixture {
    fn name(&self) -> &'static str {
        "mixture"
    }

    fn demand(&self, count: usize, draw: &StepDraw) -> Demand {
        let kept = (self.clean_fraction * count as f64).round() as usize;
        Demand { clean: some_of(count, kept, draw), adversarial: all_of(count) }
    }

    fn loss(&self, step: &StepLogits<'_>) -> Loss {
        self.terms(step).into_loss(step)
    }
}

pub(super) fn all_of(count: usize) -> Vec<usize> {
    (0..count).collect()
}

/// `kept` of `count` positions, each subset equally likely, rising.
fn some_of(count: usize, kept: usize, draw: &StepDraw) -> Vec<usize> {
    let mut positions = all_of(count);
    let mut draws = draw.stream.draws(Key {
        purpose: Purpose::CleanFraction,
        time: draw.step,
        index: draw.rank,
        restart: 0,
    });
    // The first steps of a Fisher-Yates shuffle.
    for chosen in 0..kept.min(count) {
        let rest = u32::try_from(count - chosen).expect("a batch has fewer than 2^32 images");
        positions.swap(chosen, chosen + draws.below(rest) as usize);
    }
    positions.truncate(kept);
    positions.sort_unstable();
    positions
}

/// A loss under construction, in double precision.
#[derive(Debug)]
pub(super) struct Terms {
    parts: Vec<Part>,
    pub(super) by_clean: Vec<f64>,
    pub(super) by_adversarial: Vec<f64>,
}

impl Terms {
    pub(super) fn zero(step: &StepLogits<'_>) -> Self {
        Self {
            parts: Vec::new(),
            by_clean: vec![0.0; step.clean.logits.values.len()],
            by_adversarial: vec![0.0; step.adversarial.logits.values.len()],
        }
    }

    pub(super) fn add(&mut self, name: &'static str, value: f64, weight: f64) {
        self.parts.push(Part { name, value, weight });
    }

    pub(super) fn into_loss(self, step: &StepLogits<'_>) -> Loss {
        let total = self.parts.iter().map(|part| part.weight * part.value).sum();
        let rounded = |gradient: Vec<f64>, like: &Logits| Logits {
            count: like.count,
            classes: like.classes,
            values: gradient.into_iter().map(|g| g as f32).collect(),
        };
        Loss {
            total,
            parts: self.parts,
            by_clean: rounded(self.by_clean, step.clean.logits),
            by_adversarial: rounded(self.by_adversarial, step.adversarial.logits),
        }
    }
}
