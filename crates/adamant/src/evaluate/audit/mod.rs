//! The evaluation doubts itself: when should its figures not be believed?
//!
//! [`Audit::run`] looks at the network (`outputs`, `gradients`), at the question (`units`), and, if it is to be
//! thorough, at how attacks behave on some images the network is right on (`sweeps`). `figures` reads doubts off an
//! evaluation that has ended. Each doubt is a [`Flag`]: what was found, why it matters, what to do (G12, T41).
//!
//! Thresholds are set so that chance alone does not cross them: an image is compared with itself under two attacks, and
//! a difference counts from `few` images on.

pub mod figures;
mod gradients;
mod outputs;
mod sweeps;
mod units;

use super::evaluator::stream;
use super::{EvaluateError, Evaluator, Flag, judge};
use crate::attack::AttackStream;
use crate::image::Batch;
use engine::Frozen;

/// How an evaluation is doubted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// How much work the audit may be.
    pub depth: Depth,
}

/// How much work an audit may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// A few passes: outputs, gradients, units.
    Quick,
    /// Also attacks under other radii, steps, restarts and losses, noise, queries and transfer: some 600 passes an image.
    Thorough,
}

/// Images that an audit looks at.
pub const AUDITED: usize = 64;

/// The networks of an evaluation, and those they are compared with.
pub struct Networks<'a, A, J, S> {
    /// The network the attack sees.
    pub attacked: &'a A,
    /// The network that is judged.
    pub judged: &'a J,
    /// The attacked network in single precision, where the attack computes in another.
    pub reference: Option<&'a J>,
    /// Another network for the same images: adversarial images crafted on it should be weaker.
    pub surrogate: Option<&'a S>,
}

impl<'a, A, J> Networks<'a, A, J, J> {
    /// Nothing to compare with.
    pub fn new(attacked: &'a A, judged: &'a J) -> Self {
        Self { attacked, judged, reference: None, surrogate: None }
    }
}

impl Depth {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Thorough => "thorough",
        }
    }
}

impl Audit {
    /// Doubts about what `evaluator` says of `networks`, from the images of `batch`, of which as many as [`AUDITED`].
    ///
    /// Errors: those of the engine and of attacks, but for a gradient that is no number, which is a doubt.
    pub fn run<A: Frozen, J: Frozen, S: Frozen>(
        &self,
        evaluator: &Evaluator,
        networks: &Networks<'_, A, J, S>,
        batch: &Batch,
    ) -> Result<Vec<Flag>, EvaluateError> {
        let batch = first(batch, AUDITED);
        let mut flags = units::of_pixels(&batch);
        flags.extend(units::of_threat(&evaluator.threat, batch.images.shape));
        flags.extend(units::of_branches(evaluator.branch, evaluator.attack_branch));
        let outputs = outputs::measure(networks.judged, &batch, evaluator.seed)?;
        flags.extend(outputs.flags());
        // A network without numbers has neither gradients nor predictions to doubt.
        if outputs.is_finite() {
            let right = right_ones(networks.judged, &batch)?;
            if right.images.count > 0 {
                let stream = stream(evaluator.seed, 0);
                flags.extend(gradients::measure(networks, &right, &stream)?.flags());
                if self.depth == Depth::Thorough {
                    let sweep = sweeps::Sweep { evaluator, networks, batch: &right, stream };
                    flags.extend(sweep.flags()?);
                }
            }
        }
        Ok(flags)
    }
}

/// Differences of so many images among `total` are chance.
fn few(total: usize, percent: usize) -> usize {
    (total * percent).div_ceil(100).max(2)
}

fn first(batch: &Batch, count: usize) -> Batch {
    batch.select(&(0..batch.images.count.min(count)).collect::<Vec<_>>())
}

/// Those that `judged` is right on.
fn right_ones(judged: &impl Frozen, batch: &Batch) -> Result<Batch, EvaluateError> {
    let predictions = judge(judged, &batch.images, batch)?;
    let right = (0..batch.images.count).filter(|&image| predictions[image] == batch.labels[image]);
    Ok(batch.select(&right.collect::<Vec<_>>()))
}

/// The draws of the audit's own noise.
fn signs(stream: &AttackStream, image: u64, length: usize) -> Vec<f32> {
    use crate::stream::{Key, Purpose};
    let index = u32::try_from(image).expect("fewer than 2^32 images in a data set");
    let key = Key { purpose: Purpose::AttackStart, time: stream.time, index, restart: AUDIT_DRAWS };
    let mut draws = stream.stream.draws(key);
    (0..length).map(|_| if draws.bits() & 1 == 0 { 1.0 } else { -1.0 }).collect()
}

/// No attack makes so many restarts: the audit's draws are its own.
const AUDIT_DRAWS: u32 = (1 << 24) - 1;
