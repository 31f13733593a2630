//! Training objectives: from logits to a loss, its named parts and its gradient by each set of logits.
//!
//! One training method a file. A loss needs only logits, so its gradient is written in closed form here and the engine
//! does the rest. Begin with [`Mixture`], which contains the others as its ends.

mod adversarial_only;
mod cross_entropy;
mod logit_pairing;
mod mixture;
mod standard;

pub use adversarial_only::AdversarialOnly;
pub use cross_entropy::LabelSmoothing;
pub use logit_pairing::LogitPairing;
pub use mixture::{Mixture, Weighting};
pub use standard::Standard;

use crate::image::Logits;
use crate::stream::Stream;
use thiserror::Error;

/// What a network is trained to lower.
pub trait Objective: Send + Sync {
    /// The name in recipes, such as `mixture`.
    fn name(&self) -> &'static str;

    /// Which of `count` images this step shows to the network, clean and attacked.
    fn demand(&self, count: usize, draw: &StepDraw) -> Demand;

    /// The loss of what the network answered.
    fn loss(&self, step: &StepLogits<'_>) -> Loss;
}

/// What the draws of one step are keyed by.
#[derive(Clone, Copy, Debug)]
pub struct StepDraw {
    /// The run's randomness.
    pub stream: Stream,
    /// The step.
    pub step: u32,
    /// The rank; 0 on one machine.
    pub rank: u32,
}

/// Positions in the batch, rising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Images shown as they are.
    pub clean: Vec<usize>,
    /// Images shown after the attack; empty if the objective needs none.
    pub adversarial: Vec<usize>,
}

/// The logits of one step, with the labels they should have.
#[derive(Clone, Copy, Debug)]
pub struct StepLogits<'a> {
    /// The true classes of the whole batch.
    pub labels: &'a [u32],
    /// What the network said to the clean images.
    pub clean: Shown<'a>,
    /// What it said to the attacked ones.
    pub adversarial: Shown<'a>,
}

/// Images that were shown and the logits they got.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Positions in the batch, as demanded.
    pub positions: &'a [usize],
    /// One row each.
    pub logits: &'a Logits,
}

/// A loss and its gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// The sum over `parts` of weight times value.
    pub total: f64,
    /// What it consists of.
    pub parts: Vec<Part>,
    /// The gradient by the clean images' logits.
    pub by_clean: Logits,
    /// The gradient by the attacked images' logits.
    pub by_adversarial: Logits,
}

/// One named term of a loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// `clean`, `adversarial`, `pairing`.
    pub name: &'static str,
    /// The term before weighting.
    pub value: f64,
    /// Its factor in the total.
    pub weight: f64,
}

impl Loss {
    /// A part's value, where the loss has it.
    pub fn part(&self, name: &str) -> Option<f64> {
        self.parts.iter().find(|part| part.name == name).map(|part| part.value)
    }

    /// The first part that is NaN or infinite (T51).
    pub fn non_finite_part(&self) -> Option<&'static str> {
        self.parts.iter().find(|part| !part.value.is_finite()).map(|part| part.name)
    }
}

/// A setting that makes no objective.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("objective: {setting} is {found}, expected {expected}")]
pub struct ObjectiveError {
    /// The setting.
    pub setting: &'static str,
    /// What was given.
    pub found: f64,
    /// What makes sense.
    pub expected: &'static str,
}

/// Errors: `ObjectiveError` unless `found` lies in `[0, 1]`.
fn check_share(setting: &'static str, found: f64) -> Result<(), ObjectiveError> {
    if (0.0..=1.0).contains(&found) {
        return Ok(());
    }
    Err(ObjectiveError { setting, found, expected: "a share in [0, 1]" })
}
