//! The sections of a recipe: every key with its meaning and default.
//!
//! One plain struct per section, in the order of a recipe file. What values mean together is decided in
//! the plan.

pub use super::data_section::{CropKind, DataSection};
pub use super::training_section::{
    BatchMoments, EvaluationSection, FromEpoch, FrozenStatistics, OnNonFinite, OnOverfitting,
    TrainingSection, WireKind,
};
use crate::threat::Norm;
use serde::{Deserialize, Deserializer, Serialize};
use toml::Value;

/// Section `network`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSection {
    /// A name of `adamant models`.
    pub architecture: String,
    /// Channels of the first stage; 0 for the architecture's own.
    pub width: usize,
    /// Kind of normalisation.
    pub norm: NormKind,
    /// Whether a mixture batch norm's domains share statistics.
    pub statistics: network::Sharing,
    /// Whether a mixture batch norm's domains share gamma and beta.
    pub affine: network::Sharing,
    /// Groups of a group norm.
    pub groups: usize,
    /// Which variance enters running statistics (T12).
    pub running_variance: network::RunningVariance,
    /// Nonlinearity.
    pub activation: ActivationKind,
    /// Sharpness of `smooth-relu`.
    pub activation_beta: f64,
    /// How the network scales pixels itself (T18).
    pub input_scaling: InputScaling,
    /// Mean per channel for `mean-std`.
    pub input_mean: Vec<f64>,
    /// Standard deviation per channel for `mean-std`.
    pub input_std: Vec<f64>,
}

impl Default for NetworkSection {
    fn default() -> Self {
        Self {
            architecture: "resnet8-cifar".into(),
            width: 0,
            norm: NormKind::Mixture,
            statistics: network::Sharing::Separate,
            affine: network::Sharing::Separate,
            groups: 32,
            running_variance: network::RunningVariance::Unbiased,
            activation: ActivationKind::Relu,
            activation_beta: 10.0,
            input_scaling: InputScaling::Symmetric,
            input_mean: Vec::new(),
            input_std: Vec::new(),
        }
    }
}

/// Kind of normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// One batch norm for all images.
    Batch,
    /// A batch norm with one branch for clean and one for adversarial images.
    Mixture,
    /// Groups of channels of one image.
    Group,
    /// Channels of one image.
    Instance,
    /// No normalisation: biases and a learnt number per residual branch.
    None,
}

/// Nonlinearity, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are those of network::Activation, documented there")]
pub enum ActivationKind {
    Relu,
    Silu,
    SmoothRelu,
    Gelu,
    Elu,
}

/// How the network scales pixels of `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputScaling {
    /// As they are.
    None,
    /// To `[-1, 1]`, as in the paper.
    Symmetric,
    /// `(x - mean) / std` per channel.
    MeanStd,
}

/// Section `objective`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveSection {
    /// Training method.
    pub kind: ObjectiveKind,
    /// Share of clean counterparts kept beside all adversarial images.
    pub clean_fraction: f64,
    /// How clean and adversarial losses are weighted.
    pub weighting: WeightingKind,
    /// Weight of the clean loss with `weighting = "alpha"`.
    pub alpha: f64,
    /// Share of the label spread over all classes; in the training loss only.
    pub label_smoothing: f64,
    /// Weight of the squared difference between clean and adversarial logits; 0 for none.
    pub logit_pairing: f64,
    /// Whether clean and adversarial images share one forward.
    pub forward: ForwardKind,
}

impl Default for ObjectiveSection {
    fn default() -> Self {
        Self {
            kind: ObjectiveKind::Mixture,
            clean_fraction: 1.0,
            weighting: WeightingKind::PerImage,
            alpha: 0.5,
            label_smoothing: 0.0,
            logit_pairing: 0.0,
            forward: ForwardKind::Concatenated,
        }
    }
}

/// Training method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveKind {
    /// Clean images only.
    Standard,
    /// Adversarial images only.
    AdversarialOnly,
    /// All adversarial images and a share of their clean counterparts.
    Mixture,
}

/// How the two losses of a mixture are weighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightingKind {
    /// Mean over all images present.
    PerImage,
    /// `alpha` on the clean mean, `1 - alpha` on the adversarial mean.
    Alpha,
}

/// Whether clean and adversarial images share one forward: decisive for a single batch norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardKind {
    /// One forward; a shared batch norm sees the mixture.
    Concatenated,
    /// Two forwards; each kind of image has its own batch statistics.
    TwoPasses,
}

/// Section `attack`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttackSection {
    /// Norm of the ball.
    pub norm: Norm,
    /// Radius in pixels of `[0, 1]`, as written: `"8/255"` or `0.031`.
    #[serde(deserialize_with = "text_or_number")]
    pub epsilon: String,
    /// Gradient steps.
    pub steps: usize,
    /// Size of a step, as written.
    #[serde(deserialize_with = "text_or_number")]
    pub step_size: String,
    /// Whether a step is at least epsilon / steps (T24).
    pub step_rule: StepRule,
    /// Where the attack starts.
    pub start: StartKind,
    /// Probability of a clean start with `start = "clean-with-probability"`.
    pub clean_start_probability: f64,
    /// Who shares a draw of the clean-start coin (T21).
    pub coin_scope: CoinScopeKind,
    /// Whether a random start is clipped to the pixel range (T22).
    pub clip_start: bool,
    /// What the attack wants.
    pub goal: GoalKind,
    /// Independent attempts, worst one kept per image.
    pub restarts: u32,
    /// Which statistics the network uses while it is attacked (T1).
    pub crafting_statistics: network::Statistics,
    /// Which branch is attacked.
    pub crafting_domain: DomainKind,
}

impl Default for AttackSection {
    fn default() -> Self {
        Self {
            norm: Norm::Linf,
            epsilon: "8/255".into(),
            steps: 5,
            step_size: "2/255".into(),
            step_rule: StepRule::AtLeastEpsilonOverSteps,
            start: StartKind::Uniform,
            clean_start_probability: 0.2,
            coin_scope: CoinScopeKind::PerBatch,
            clip_start: true,
            goal: GoalKind::Untargeted,
            restarts: 1,
            crafting_statistics: network::Statistics::Running,
            crafting_domain: DomainKind::Adversarial,
        }
    }
}

/// How the step size follows from what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepRule {
    /// As written.
    Fixed,
    /// `max(step_size, epsilon / steps)`, the paper's.
    AtLeastEpsilonOverSteps,
}

/// Where the attack starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartKind {
    /// At the image.
    Clean,
    /// Uniform in the ball.
    Uniform,
    /// At the image with a probability, else uniform in the ball.
    CleanWithProbability,
}

/// Who shares one draw of the clean-start coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CoinScopeKind {
    /// All images of one rank's batch, as in the paper.
    PerBatch,
    /// Nobody.
    PerImage,
}

/// What the attack wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GoalKind {
    /// Any wrong class.
    Untargeted,
    /// A class drawn uniformly from the others.
    TargetedUniformOther,
    /// The class with the smallest logit.
    TargetedLeastLikely,
    /// The next class.
    TargetedNext,
}

/// A population of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DomainKind {
    /// As the data set has them.
    Clean,
    /// Changed by an attack.
    Adversarial,
}

/// Section `optimizer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerSection {
    /// Learning rate; for `learning_rate_scaling = "linear"` at a batch of 256 images.
    pub learning_rate: f64,
    /// How the learning rate follows the batch size.
    pub learning_rate_scaling: LearningRateScaling,
    /// Share of the old velocity kept.
    pub momentum: f64,
    /// Whether the step looks ahead.
    pub nesterov: bool,
    /// Weight decay, on convolution and linear weights only (T52).
    pub weight_decay: f64,
}

impl Default for OptimizerSection {
    fn default() -> Self {
        Self {
            learning_rate: 0.1,
            learning_rate_scaling: LearningRateScaling::Linear,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 5e-4,
        }
    }
}

/// How the learning rate follows the batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearningRateScaling {
    /// Not at all.
    None,
    /// Times `batch / 256`, by real division (T50).
    Linear,
}

/// Section `schedule`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleSection {
    /// Shape.
    pub kind: ScheduleKind,
    /// Epochs after which the rate is multiplied by `factor`.
    pub milestones: Vec<f64>,
    /// Multiplier at a milestone.
    pub factor: f64,
    /// Epochs over which the rate first rises on a line, step by step; 0 for none.
    pub warmup_epochs: f64,
    /// Rate at the start of the warm-up; there is none if the base rate is not above it, as in the paper.
    pub warmup_from: f64,
}

impl Default for ScheduleSection {
    fn default() -> Self {
        Self {
            kind: ScheduleKind::Cosine,
            milestones: Vec::new(),
            factor: 0.1,
            warmup_epochs: 0.0,
            warmup_from: 0.1,
        }
    }
}

/// Shape of the learning rate over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Always the same.
    Constant,
    /// Falls at the milestones.
    Milestones,
    /// Half a cosine down to 0.
    Cosine,
}

pub(super) fn text_or_number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        _ => Err(serde::de::Error::custom(
            "bad size, expected a fraction such as \"8/255\" or a number",
        )),
    }
}
