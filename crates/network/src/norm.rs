//! Normalisation as data: each layer says by itself what its domains share.
//!
//! Parameters of a layer `bn1`: domain 0 has `bn1.weight`, `bn1.bias`, `bn1.running_mean`, `bn1.running_var`
//! (torchvision's names); where a kind is separate, domain `d >= 1` has `bn1.aux_bn.{d-1}.weight` and so on (timm's
//! names). Group and instance norm have `weight` and `bias` only.

use serde::{Deserialize, Serialize};

/// A normalisation layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Norm {
    /// Over images, rows and columns of one domain.
    Batch(BatchNorm),
    /// Over rows, columns and a group of channels of one image.
    Group {
        /// Channels normalised.
        channels: usize,
        /// Number of groups; divides `channels`.
        groups: usize,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Over rows and columns of one channel of one image.
    Instance {
        /// Channels normalised.
        channels: usize,
        /// Added to the variance.
        epsilon: f32,
    },
}

/// Batch norm with one or more domains.
///
/// Source: Ioffe & Szegedy 2015; mixture batch norm: Xie & Yuille 2020, section on disentangled batch norm. The
/// four-way ablation of statistics x affine is the two [`Sharing`] fields.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchNorm {
    /// Channels normalised.
    pub channels: usize,
    /// Number of domains; 1 is ordinary batch norm.
    pub domains: usize,
    /// Whether domains share batch and running statistics.
    pub statistics: Sharing,
    /// Whether domains share `weight` (gamma) and `bias` (beta).
    pub affine: Sharing,
    /// Added to the variance.
    pub epsilon: f32,
    /// Share of the new batch in the running statistics: `r <- (1 - momentum) r + momentum b`.
    pub momentum: f32,
    /// Which variance is stored; normalisation by batch statistics always uses the biased one.
    pub running_variance: RunningVariance,
}

impl BatchNorm {
    /// Which set of statistics a domain uses.
    pub fn statistics_branch(&self, domain: usize) -> usize {
        branch(self.statistics, self.domains, domain)
    }

    /// Which affine parameters a domain uses.
    pub fn affine_branch(&self, domain: usize) -> usize {
        branch(self.affine, self.domains, domain)
    }
}

/// A network with one domain serves every domain with it: a plain network may be trained on a mixture.
fn branch(sharing: Sharing, domains: usize, domain: usize) -> usize {
    match sharing {
        Sharing::Shared => 0,
        Sharing::Separate => domain.min(domains - 1),
    }
}

/// Whether the domains of a layer use one set of values or one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// One set for all domains.
    Shared,
    /// One set per domain.
    Separate,
}

/// Which estimate of the variance enters the running statistics (T12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunningVariance {
    /// Divided by `n - 1`, as PyTorch stores it.
    Unbiased,
    /// Divided by `n`.
    Biased,
}
