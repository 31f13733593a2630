//! The arithmetic of a run, as written and as meant.
//!
//! Half precision pays in training, where the same few images are attacked once; it is never chosen unasked for judging.

use engine::Precision;
use serde::{Deserialize, Serialize};

/// Arithmetic of attack and training pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrecisionKind {
    /// What the engine computes fastest on this machine; a run's folder says what that was.
    #[default]
    Auto,
    /// Single precision.
    F32,
    /// bf16 values with f32 sums.
    Bf16,
}

impl PrecisionKind {
    /// What it means on an engine that prefers `preferred`.
    pub fn resolve(self, preferred: Precision) -> Precision {
        match self {
            Self::Auto => preferred,
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

impl From<Precision> for PrecisionKind {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}
