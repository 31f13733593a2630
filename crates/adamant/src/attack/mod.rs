//! Attacks: each proposes images, none judges. An attack knows a [`Victim`], never a network or an engine.

use crate::image::{Batch, Images, Logits};
use crate::stream::Stream;
use thiserror::Error;

/// All an attack may know of the network under attack.
///
/// Image `i`'s logits and gradient depend on image `i` alone, unless the recipe asks for batch statistics.
pub trait Victim {
    /// Length of the logits.
    fn classes(&self) -> usize;

    /// The logits of `images`. Counts one forward per image.
    fn logits(&mut self, images: &Images) -> Result<Logits, VictimError>;

    /// Logits, and the gradient by the pixels of a loss given by its gradient by the logits.
    ///
    /// `loss` receives the logits of some consecutive images, the position of the first of them in `images`, and a
    /// zeroed gradient of the same shape to fill; per-image losses are summed, never averaged (T33). Counts one
    /// forward and one backward per image.
    fn input_gradient(
        &mut self,
        images: &Images,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
    ) -> Result<(Logits, Images), VictimError>;

    /// Passes so far.
    fn passes(&self) -> Passes;
}

/// Work done, in passes of one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passes {
    /// Forward passes.
    pub forward: u64,
    /// Backward passes.
    pub backward: u64,
}

/// A victim that could not answer.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct VictimError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// The randomness of one use of an attack: draws are keyed by (seed, purpose, time, image index, restart).
#[derive(Clone, Copy, Debug)]
pub struct AttackStream {
    /// The run's randomness.
    pub stream: Stream,
    /// Training step; 0 in evaluation.
    pub time: u32,
    /// Rank, the key of per-batch draws; 0 on one machine.
    pub rank: u32,
    /// Number of the first restart.
    pub first_restart: u32,
}

/// A search for perturbations; plain data such as `Pgd { threat, goal, steps, step_size, start, restarts }`.
pub trait Attack: Send + Sync {
    /// The name users know, such as `pgd-20`.
    fn name(&self) -> String;

    /// Perturbed images for `batch`, one each. What is returned is proposed, not judged.
    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Perturbed, AttackError>;
}

/// What an attack proposes.
#[derive(Clone, Debug, PartialEq)]
pub struct Perturbed {
    /// One image for each of the batch.
    pub images: Images,
    /// The class the attack wanted, where it wanted one.
    pub targets: Option<Vec<u32>>,
    /// Which restart each image comes from.
    pub restarts: Vec<u32>,
}

/// What can go wrong in an attack.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttackError {
    /// The victim failed.
    #[error(transparent)]
    Victim(#[from] VictimError),
    /// The gradient of an image is NaN or infinite.
    #[error("attack {attack}, step {step}: the gradient of image {index} is not finite")]
    NonFinite {
        /// The attack's name.
        attack: String,
        /// Its step.
        step: usize,
        /// The image's position in the data set.
        index: u64,
    },
}
