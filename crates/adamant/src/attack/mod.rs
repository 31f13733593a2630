//! Attacks: each proposes images, none judges. An attack knows a [`Victim`], never a network or an engine.
//!
//! Begin with [`Pgd`]: FGSM and BIM are settings of it. [`parse`] turns a name such as `targeted-pgd-50-10` into an
//! attack. What an attack wants of each image, and what it raises to get it, is [`Aims`].

mod aim;
mod apgd;
mod ask;
mod border;
mod check;
mod clean;
mod cw;
mod deepfool;
pub mod dlr;
mod ensemble;
mod estimate;
mod expectation;
mod fab;
mod hyperplane;
pub mod loss;
mod mifgsm;
mod minimal;
mod name;
mod noise;
mod pgd;
mod rounds;
mod square;
mod start;
mod transfer;
mod worst;

pub use aim::{Aims, Score, prediction};
pub use apgd::{Apgd, ApgdLoss, ApgdSettings};
pub use clean::NoAttack;
pub use cw::{CarliniWagner, CarliniWagnerSettings};
pub use deepfool::{DeepFool, DeepFoolSettings};
pub use ensemble::{AutoAttackVersion, Ensemble};
pub use estimate::{Estimated, EstimatedSettings, Estimator};
pub use expectation::Expectation;
pub use fab::{Fab, FabBoundary, FabSettings};
pub use mifgsm::{MiFgsm, MiFgsmSettings};
pub use minimal::{Closest, MinimalDistance};
pub use name::{AttackDefaults, NAMES, parse, parse_members};
pub use noise::Noise;
pub use pgd::{Pgd, PgdSettings};
pub use square::{Square, SquareSettings};
pub use transfer::{Surrogate, Transfer};

use crate::image::{Batch, Images, Logits, Shape};
use crate::stream::Stream;
use crate::threat::ThreatError;
use thiserror::Error;

/// All an attack may know of the network under attack.
///
/// Image `i`'s logits and gradient depend on image `i` alone, unless the recipe asks for batch statistics.
pub trait Victim {
    /// Length of the logits.
    fn classes(&self) -> usize;

    /// The logits of `images`. Counts one forward per image.
    fn logits(&mut self, images: &Images) -> Result<Logits, VictimError>;

    /// The logits of `images`, which the victim may remember, instead of any before, so that questions about images
    /// like them take less work. Counts one forward per image.
    fn remember(&mut self, images: &Images) -> Result<Logits, VictimError> {
        self.logits(images)
    }

    /// The logits of `images`, each much like the image remembered at its position in `near`; no position comes twice.
    /// Up to rounding the answer is that of [`Victim::logits`]; to the bit it depends on the image alone. Counts one
    /// forward per image, however much of it the victim knew.
    fn logits_near(&mut self, _near: &[usize], images: &Images) -> Result<Logits, VictimError> {
        self.logits(images)
    }

    /// Lets the victim remember, instead of the images at these positions, those it was last asked about.
    fn accept(&mut self, _near: &[usize]) {}

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

    /// Whether an image's answer is its own; with batch statistics it depends on the images beside it, and a search
    /// that drops some changes the answers of the others.
    fn has_independent_images(&self) -> bool {
        true
    }
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

    /// The restarts one by one, where there are several.
    ///
    /// [`Attack::perturb`] chooses among restarts by what its victim says. Where another network judges, or a wrong
    /// class counts that is not the target, the choice is the judge's.
    fn restarts(&self) -> Option<Restarts> {
        None
    }

    /// How many tiles of images the attack best takes at once.
    ///
    /// A search that leaves images behind keeps the victim's tiles full only if it has several. Results do not depend on
    /// it (G7).
    fn tiles_at_once(&self) -> usize {
        1
    }

    /// What the name and the defaults have come to, for reports: such as `("step_size", "0.00392")` (T24, T43).
    ///
    /// Two attacks of the same name and settings do the same.
    fn resolved(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The attack as a search for the nearest adversarial image, where it is one.
    fn minimal(&self) -> Option<&dyn MinimalDistance> {
        None
    }

    /// Where the search may be looked at on its way, by rising steps, the end left out; none where an iterate on the
    /// way is no result.
    fn milestones(&self) -> Vec<Milestone> {
        Vec::new()
    }

    /// What the attack proposes at each of its [`Attack::milestones`], then what it proposes in the end.
    ///
    /// The last is what [`Attack::perturb`] gives, bit for bit.
    fn perturb_along(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Vec<Perturbed>, AttackError> {
        Ok(vec![self.perturb(victim, batch, stream)?])
    }
}

/// A point on the way of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Milestone {
    /// Steps made.
    pub steps: usize,
    /// The attack whose result this is, bit for bit; none where an attack of so many steps would step otherwise.
    pub equals: Option<String>,
}

/// An attack with restarts, taken apart: whoever judges may judge each restart.
pub struct Restarts {
    /// One search; the restart it makes is the stream's first.
    pub single: Box<dyn Attack>,
    /// How many there are.
    pub count: u32,
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
    /// A length is in the wrong unit.
    #[error(transparent)]
    Threat(#[from] ThreatError),
    /// The gradient or the loss of an image is NaN or infinite.
    #[error("attack {attack}, step {step}: the {what} of image {index} is not finite")]
    NonFinite {
        /// The attack's name.
        attack: String,
        /// Its step, or its number of steps where the result is judged.
        step: usize,
        /// Gradient or loss.
        what: &'static str,
        /// The image's position in the data set.
        index: u64,
    },
    /// A setting that makes no attack.
    #[error("attack {attack}: {setting} is {found}, expected {expected}")]
    Setting {
        /// The attack's name.
        attack: String,
        /// The setting.
        setting: &'static str,
        /// What was given.
        found: String,
        /// What makes sense.
        expected: &'static str,
    },
    /// A label that the victim has no class for.
    #[error("image {index}: the label is {label}, expected one below {classes}")]
    Label {
        /// The image's position in the data set.
        index: u64,
        /// What was given.
        label: u32,
        /// The victim's classes.
        classes: usize,
    },
    /// A pixel outside the range that epsilon is measured in.
    #[error(
        "image {index}: a pixel is {found}, expected [0, 1]\n  \
         hint: scaling belongs inside the network, divide bytes by 255"
    )]
    Pixel {
        /// The image's position in the data set.
        index: u64,
        /// The pixel.
        found: f32,
    },
    /// Parts of a batch that do not belong together.
    #[error("a batch of {count} images of shape {shape} has {found} {what}, expected {expected}")]
    Batch {
        /// Number of images it claims.
        count: usize,
        /// Shape it claims.
        shape: Shape,
        /// Pixels, labels or indices.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A targeted attack on a victim with nothing to aim at.
    #[error("a targeted attack needs at least 2 classes, found {classes}")]
    TooFewClasses {
        /// The victim's classes.
        classes: usize,
    },
    /// A victim with too few classes for what the attack compares.
    #[error(
        "attack {attack}: the network has {classes} classes, expected at least {needed}\n  \
         hint: apgd-ce, fab and square need 2"
    )]
    Classes {
        /// The attack's name.
        attack: String,
        /// The victim's classes.
        classes: usize,
        /// How many the attack's loss compares.
        needed: usize,
    },
    /// A surrogate with other classes than the network under attack.
    #[error("the surrogate has {found} classes, expected {expected} as the network under attack")]
    Surrogate {
        /// The surrogate's classes.
        found: usize,
        /// The victim's.
        expected: usize,
    },
    /// No attack of that name.
    #[error("attack is {found:?}, expected one of {}", NAMES.join(", "))]
    UnknownName {
        /// What was written.
        found: String,
    },
}
