//! Pointwise nonlinearities.

use serde::{Deserialize, Serialize};

/// A pointwise nonlinearity.
///
/// Source: smooth alternatives to ReLU for adversarial training, Xie et al. 2020, "Smooth Adversarial Training".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Activation {
    /// `max(x, 0)`; its derivative at 0 is 0.
    Relu,
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `ln(1 + exp(beta x)) / beta`: approaches ReLU as `beta` grows.
    SmoothRelu {
        /// Sharpness of the bend at zero.
        beta: f32,
    },
    /// `x * Phi(x)` with the exact normal distribution function.
    Gelu,
    /// `x` for positive `x`, else `exp(x) - 1`.
    Elu,
}
