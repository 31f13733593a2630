//! What normalisation layers hold and see, and how a loss rises under attack: the paper's analysis figures as data.
//!
//! Begin with [`Diagnosis`]. [`stored`] reads a network, [`seen`] runs some images through it, [`climb`] watches an
//! attack. Distances between channels are those of [`distance`].

pub mod climb;
pub mod distance;
pub mod noise;
pub mod seen;
pub mod stored;

use crate::attack::AttackError;
use engine::EngineError;
use network::NetworkError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use climb::Climb;
pub use distance::{Distance, Gaussian};
pub use seen::{LayerGradient, LayerSeen, Seen};
pub use stored::{Branch, LayerStored};

/// All that was found about a network; `diagnose.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The model, as the user named it.
    pub model: String,
    /// The data, as the user named it.
    pub data: String,
    /// Images that were looked at.
    pub samples: usize,
    /// Images of one mini-batch.
    pub batch_size: usize,
    /// Seed of images, starts and noise.
    pub seed: u64,
    /// Norm and radius of the attack.
    pub threat: String,
    /// The attack that made the adversarial images.
    pub attack: String,
    /// Mean Euclidean length of the changes by the attack and by the noise.
    pub change: [f64; 2],
    /// What every batch norm holds.
    pub stored: Vec<LayerStored>,
    /// What every batch norm sees, of clean, adversarial and noisy images in the branch of adversarial images.
    pub seen: Vec<LayerSeen>,
    /// Lengths of gradients by layer.
    pub gradients: Vec<LayerGradient>,
    /// The loss along the attack.
    pub climb: Vec<Climb>,
}

/// Why nothing could be found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiagnoseError {
    /// The network could not be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The attack failed.
    #[error(transparent)]
    Attack(#[from] AttackError),
    /// Moments that do not belong together.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Too few images for what is estimated from several mini-batches.
    #[error(
        "{samples} images are {found} mini-batches of {batch_size}, expected at least 2\n  hint: more --samples"
    )]
    TooFew {
        /// Images.
        samples: usize,
        /// Whole mini-batches of them.
        found: usize,
        /// Images of one.
        batch_size: usize,
    },
}
