//! The sections of a recipe that say how long a run is, how it remembers, when it stops and how it is judged.

use super::buckets::OverlapKind;
use super::precision::PrecisionKind;
use super::sections::text_or_number;
use crate::optimizer::Learns;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Value;

/// Section `training`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingSection {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images of a step, over all ranks; clean counterparts come on top.
    pub batch_size: usize,
    /// Workers that a batch is dealt to in equal shares, each with gradients and (`batch_moments`) statistics of its own; 0
    /// for one a rank. Results depend on it, and not on how many ranks do the work.
    pub workers: usize,
    /// Whose images the batch statistics of a training forward are of.
    pub batch_moments: BatchMoments,
    /// How gradients travel between ranks.
    pub wire: WireKind,
    /// When gradients travel between ranks. Results do not depend on it.
    pub overlap: OverlapKind,
    /// About so many MiB of gradients travel together, an eighth of them if that is less. Results do not depend on it.
    pub bucket_mib: usize,
    /// Seed of all randomness.
    pub seed: u64,
    /// From this epoch on (counted from 0) the training forward uses running statistics; `"never"` for none.
    pub freeze_statistics_from_epoch: FromEpoch,
    /// What running statistics do from then on.
    pub frozen_statistics: FrozenStatistics,
    /// Steps between checkpoints besides those at every epoch's end; 0 for none.
    pub checkpoint_every_steps: u64,
    /// Minutes of training after which a checkpoint is due, wherever in an epoch; 0 for none. Results do not depend on it.
    pub checkpoint_every_minutes: f64,
    /// How many checkpoints stay.
    pub keep_checkpoints: usize,
    /// What follows a step whose loss or gradient is not finite, or whose loss has exploded (G32).
    pub on_nonfinite: OnNonFinite,
    /// A loss that many times that of guessing, `ln(classes)`, has exploded; 0 for no limit.
    pub loss_limit: f64,
    /// A model whose parameters the run begins with, such as another run's `last.safetensors`; empty for fresh ones.
    pub begin_with: String,
    /// Which parameters move.
    pub learns: Learns,
    /// Arithmetic of attack and training pass; weights, statistics and judging are always f32.
    pub precision: PrecisionKind,
}

impl Default for TrainingSection {
    fn default() -> Self {
        Self {
            epochs: 8,
            batch_size: 128,
            workers: 0,
            batch_moments: BatchMoments::Local,
            wire: WireKind::F32,
            overlap: OverlapKind::Backward,
            bucket_mib: 25,
            seed: 0,
            freeze_statistics_from_epoch: FromEpoch::Never,
            frozen_statistics: FrozenStatistics::Frozen,
            checkpoint_every_steps: 0,
            checkpoint_every_minutes: 10.0,
            keep_checkpoints: 2,
            on_nonfinite: OnNonFinite::Stop,
            loss_limit: 1000.0,
            begin_with: String::new(),
            learns: Learns::Everything,
            precision: PrecisionKind::Auto,
        }
    }
}

/// Whose images the batch statistics of a training forward are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchMoments {
    /// Each worker's own, as each GPU's in the paper's code.
    Local,
    /// Those of all workers: synchronised batch norm. Ranks meet in every batch norm.
    Synchronised,
}

/// How gradients travel between ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WireKind {
    /// As they are.
    F32,
    /// Rounded to half precision: half the bytes.
    Bf16,
}

/// An epoch or `"never"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromEpoch {
    /// No epoch.
    Never,
    /// This one and all later ones, counted from 0.
    Epoch(usize),
}

impl FromEpoch {
    /// Whether `epoch` is this one or later.
    pub fn has_come(self, epoch: usize) -> bool {
        matches!(self, Self::Epoch(first) if epoch >= first)
    }
}

impl Serialize for FromEpoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Never => serializer.serialize_str("never"),
            Self::Epoch(epoch) => serializer.serialize_u64(*epoch as u64),
        }
    }
}

impl<'de> Deserialize<'de> for FromEpoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) if text == "never" => Ok(Self::Never),
            Value::Integer(epoch) if epoch >= 0 => Ok(Self::Epoch(epoch as usize)),
            _ => Err(serde::de::Error::custom("bad epoch, expected an epoch from 0 or \"never\"")),
        }
    }
}

/// What running statistics do in the consistent phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrozenStatistics {
    /// Keep their bytes.
    Frozen,
    /// Keep moving with the images seen.
    Ema,
}

/// What follows a step whose numbers went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnNonFinite {
    /// The run stops, naming step, part and images.
    Stop,
    /// The run goes back to its last checkpoint and passes the step by, at most eight times an epoch.
    RollBack,
}

/// What follows an alarm about overfitting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnOverfitting {
    /// A warning with the numbers.
    Warn,
    /// The warning, a checkpoint and the end of training; best and last model are judged as ever.
    Stop,
}

/// Section `evaluation`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationSection {
    /// Attack on the held-out images whose accuracy chooses the best model (T46); `"clean"` for none.
    pub select_by: String,
    /// Epochs between validations.
    pub every_epochs: usize,
    /// Steps between validations besides those at the ends of epochs; 0 for none.
    pub every_steps: u64,
    /// What follows an alarm about overfitting (T45).
    pub on_overfitting: OnOverfitting,
    /// Attacks on the test images at the end.
    pub attacks: Vec<String>,
    /// Size of a step of these attacks, at least epsilon / steps; `"auto"` for 2.5 epsilon / steps.
    #[serde(deserialize_with = "text_or_number")]
    pub step_size: String,
    /// Test images judged at the end; 0 for all.
    pub samples: usize,
}

impl Default for EvaluationSection {
    fn default() -> Self {
        Self {
            select_by: "pgd-10".into(),
            every_epochs: 1,
            every_steps: 0,
            on_overfitting: OnOverfitting::Warn,
            attacks: vec!["fgsm".into(), "pgd-20".into()],
            step_size: "auto".into(),
            samples: 0,
        }
    }
}
