//! What a run writes about itself: `run.json` and the lines of `metrics.jsonl`. Plain data.

use super::alarm::{Alarm, AlarmKind};
use super::precision::PrecisionKind;
use serde::{Deserialize, Serialize};

/// `run.json`: what is needed to know, or to repeat, a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Name of the recipe.
    pub recipe: String,
    /// Version of the program.
    pub version: String,
    /// Revision of the source it was built from, `unknown` outside a checkout.
    pub revision: String,
    /// Whether the source had changes beyond the revision.
    pub dirty: bool,
    /// The machine.
    pub machine: Machine,
    /// Seed of all randomness.
    pub seed: u64,
    /// Number of ranks.
    pub world_size: usize,
    /// Arithmetic of attack and training pass; `auto` in runs of versions that knew no other than f32.
    #[serde(default)]
    pub precision: PrecisionKind,
    /// Seconds since 1970 when the run began.
    pub started_unix: u64,
    /// How often it was resumed.
    pub resumed: u32,
    /// How it stands.
    pub status: Status,
    /// Step of the last status.
    pub step: u64,
    /// What went wrong, if something did.
    pub error: Option<String>,
    /// The best validation so far.
    pub best: Option<Best>,
    /// Steps in all; 0 before the first.
    #[serde(default)]
    pub steps: u64,
    /// Seconds of training at the last status.
    #[serde(default)]
    pub seconds: f64,
    /// Alarms so far, each where it began.
    #[serde(default)]
    pub alarms: Vec<Alarm>,
    /// Keys that were changed when the run was resumed.
    #[serde(default)]
    pub changes: Vec<Change>,
}

/// A key that was changed when a run was resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Steps done at the last status before.
    pub step: u64,
    /// The dotted key.
    pub key: String,
    /// The value until then.
    pub from: String,
    /// The value from then on.
    pub to: String,
}

/// Where a run ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Operating system.
    pub system: String,
    /// Processor architecture.
    pub architecture: String,
    /// Processor model, as the system names it.
    pub processor: String,
    /// Which kernels ran.
    pub kernel: String,
    /// Threads used.
    pub threads: usize,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It runs, or was killed without notice.
    Running,
    /// A signal ended it, after a checkpoint.
    Interrupted,
    /// An error ended it.
    Failed,
    /// All epochs are done.
    Finished,
}

/// The validation that chose `best.safetensors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Step after which it was made.
    pub step: u64,
    /// The attack whose accuracy decides.
    pub attack: String,
    /// Share of held-out images right as they are.
    pub accuracy_clean: f64,
    /// Share of held-out images right under the attack.
    pub accuracy_adversarial: f64,
}

/// A line of `metrics.jsonl` about one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Steps done, this one included.
    pub step: u64,
    /// Epoch of the step, from 0.
    pub epoch: u32,
    /// Training images seen so far.
    pub images: u64,
    /// Seconds of training so far, earlier parts of a resumed run included.
    pub seconds: f64,
    /// The objective.
    pub loss: f64,
    /// Its clean part, where it has one.
    pub loss_clean: Option<f64>,
    /// Its adversarial part, where it has one.
    pub loss_adversarial: Option<f64>,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Share of this step's clean images that were right.
    pub accuracy_clean: Option<f64>,
    /// Share of this step's adversarial images that were right.
    pub accuracy_adversarial: Option<f64>,
    /// Euclidean length of the whole gradient, weight decay not included.
    pub gradient_norm: f64,
    /// Training images a second in this step.
    pub images_per_second: f64,
    /// Seconds that the step waited for its images.
    pub wait: f64,
    /// Seconds that rank 0 had nothing to do but wait for other ranks' gradients, where there are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ranks: Option<f64>,
}

/// A line of `metrics.jsonl` about one validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationMetrics {
    /// Steps done.
    pub step: u64,
    /// Epoch just done, from 0.
    pub epoch: u32,
    /// Training images seen so far.
    pub images: u64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// The attack.
    pub evaluation: String,
    /// Which images: always `validation` here, the test images are never read in training (T45).
    pub split: String,
    /// How many images.
    pub samples: usize,
    /// The branch that is attacked and judged.
    pub branch: String,
    /// Share right as they are.
    pub accuracy_clean: f64,
    /// Share right under the attack.
    pub accuracy_adversarial: f64,
    /// Share right under one gradient step, where `evaluation` takes several (T27).
    #[serde(default)]
    pub accuracy_fgsm: Option<f64>,
    /// Mean adversarial accuracy of the training steps since the last validation.
    #[serde(default)]
    pub accuracy_training: Option<f64>,
    /// The alarm that holds here.
    #[serde(default)]
    pub alarm: Option<AlarmKind>,
    /// The same in words, where it begins.
    pub warning: Option<String>,
}

/// A line of `metrics.jsonl` about images that a step goes without.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MissingMetrics {
    /// The step that goes without them.
    pub step: u64,
    /// Epoch of the step, from 0.
    pub epoch: u32,
    /// Training images seen before.
    pub images: u64,
    /// Seconds of training before.
    pub seconds: f64,
    /// The images.
    pub missing: Vec<Missing>,
}

/// An image that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Its position in the data set.
    pub index: u64,
    /// What is wrong with it; begins with its name.
    pub reason: String,
}

/// A line of `metrics.jsonl` about a step whose numbers went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultMetrics {
    /// The step, counted as if it had been done.
    pub step: u64,
    /// Epoch of the step, from 0.
    pub epoch: u32,
    /// Training images seen before.
    pub images: u64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// What followed.
    pub fault: Consequence,
    /// What went wrong.
    pub part: String,
    /// In which layer, where it is known.
    pub layer: Option<String>,
    /// The images of the step: positions in the data set.
    pub indices: Vec<u64>,
}

/// What followed a step whose numbers went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consequence {
    /// The run stopped there.
    Stopped,
    /// The run went back to a checkpoint and passed the step by.
    Skipped,
}
