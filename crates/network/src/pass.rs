//! What normalisation does in one forward: an argument, never a mode (T1).

use serde::{Deserialize, Serialize};

/// The population an image belongs to, which chooses the branch of every separate normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Domain(pub usize);

impl Domain {
    /// Images as the data set has them.
    pub const CLEAN: Self = Self(0);
    /// Images that an attack has changed.
    pub const ADVERSARIAL: Self = Self(1);
}

/// The domain of every image of one forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domains {
    /// All images belong to one domain.
    All(Domain),
    /// One domain per image, by position: clean and adversarial images may share one forward.
    PerImage(Vec<Domain>),
}

impl Domains {
    /// The domain of image `index`.
    pub fn of(&self, index: usize) -> Domain {
        match self {
            Self::All(domain) => *domain,
            Self::PerImage(domains) => domains[index],
        }
    }
}

/// Which statistics normalise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statistics {
    /// Those of the images in this forward.
    Batch,
    /// The running ones, constants of the forward.
    Running,
}

/// What normalisation does in one forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Which statistics normalise.
    pub statistics: Statistics,
    /// Which branch each image takes.
    pub domains: Domains,
}

impl Pass {
    /// Batch statistics, all images of one domain.
    pub fn batch(domain: Domain) -> Self {
        Self { statistics: Statistics::Batch, domains: Domains::All(domain) }
    }

    /// Running statistics, all images of one domain.
    pub fn running(domain: Domain) -> Self {
        Self { statistics: Statistics::Running, domains: Domains::All(domain) }
    }
}
