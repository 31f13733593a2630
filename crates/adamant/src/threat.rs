//! What the adversary may do and wants: norm, radius, goal.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How the size of a perturbation is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Norm {
    /// Largest change of a pixel.
    Linf,
    /// Euclidean length of the change of an image.
    L2,
}

/// The radius of the ball, in pixel units of `[0, 1]`; keeps what was written (`8/255`) for reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Epsilon {
    value: f64,
    written: String,
}

impl Epsilon {
    /// The radius.
    pub fn value(&self) -> f32 {
        self.value as f32
    }

    /// As the user wrote it.
    pub fn written(&self) -> &str {
        &self.written
    }
}

/// Which perturbations are allowed: a ball, always within the pixel range.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreatModel {
    /// How size is measured.
    pub norm: Norm,
    /// How large it may be.
    pub epsilon: Epsilon,
}

/// What the adversary wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// Any wrong class.
    Untargeted,
    /// One chosen wrong class.
    Targeted(TargetRule),
}

/// How a target is chosen; never the true class (T19).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetRule {
    /// Uniform over the other classes, drawn once per image and attack.
    UniformOther,
    /// The class with the smallest logit on the clean image.
    LeastLikely,
    /// `(label + 1) mod classes`.
    Next,
}

/// What can be wrong with a threat as written.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ThreatError {
    /// Not a number or fraction.
    #[error("epsilon is {found:?}, expected a fraction such as \"8/255\" or a number in [0, 1]")]
    NotANumber {
        /// What was written.
        found: String,
    },
}
