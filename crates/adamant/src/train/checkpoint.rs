//! A run's memory: everything the next step depends on.
//!
//! Order, augmentation and attacks are functions of (seed, epoch, step, index), so position, parameters, running
//! statistics and velocities are all there is. `model.safetensors` is a whole model file; the rest stands beside it.

use super::alarm::Judgement;
use super::error::TrainError;
use super::record::Best;
use super::store::Files;
use network::Network;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::path::Path;

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";

/// Where training is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u32,
    /// Steps done in the epoch under way.
    pub step_in_epoch: u32,
    /// Training images seen.
    pub images: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// The best validation so far.
    pub best: Option<Best>,
    /// Every validation so far, oldest first: what alarms are judged by.
    #[serde(default)]
    pub history: Vec<Judgement>,
    /// The training's own robust accuracy since the last validation.
    #[serde(default)]
    pub since: Since,
    /// Whether the validation after the last step is still to be made.
    #[serde(default)]
    pub validation_due: bool,
    /// Steps passed by because their numbers went wrong, in order.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
    /// Why training ended before its last epoch.
    #[serde(default)]
    pub ended_early: Option<String>,
}

/// A sum over the steps since the last validation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Since {
    /// Steps that showed adversarial images.
    pub steps: u64,
    /// The sum of their adversarial accuracies.
    pub adversarial: f64,
}

impl Since {
    /// Adds a step's accuracy, if it showed adversarial images.
    pub fn add(&mut self, accuracy: Option<f64>) {
        if let Some(accuracy) = accuracy {
            self.steps += 1;
            self.adversarial += accuracy;
        }
    }

    /// The mean accuracy, if there was any step.
    pub fn mean(&self) -> Option<f64> {
        (self.steps > 0).then(|| self.adversarial / self.steps as f64)
    }
}

/// A step that is passed by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// Steps done before it.
    pub step: u64,
    /// What went wrong in it.
    pub part: String,
    /// In which layer, where it is known.
    pub layer: Option<String>,
}

/// Everything the next step depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Parameters and running statistics of every branch.
    pub network: Network,
    /// The optimiser's velocities by position of parameter; empty for statistics.
    pub velocities: Vec<Vec<f32>>,
    /// Where training is.
    pub state: State,
}

impl Checkpoint {
    /// The files of a checkpoint folder. Equal checkpoints give equal bytes.
    pub fn encode(&self) -> Files {
        let names = self.network.parameters.iter().map(|p| p.name.clone());
        let bytes: Vec<(String, Vec<u8>)> = names
            .zip(&self.velocities)
            .map(|(name, values)| (name, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .collect();
        let tensors = bytes.iter().map(|(name, bytes)| {
            let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes);
            (name, view.expect("a vector's length is its number of values"))
        });
        let optimizer = safetensors::serialize(tensors, None).expect("names fit a header");
        let state = serde_json::to_vec_pretty(&self.state).expect("a state is plain data");
        Files::from([
            (MODEL.to_string(), self.network.to_bytes()),
            (OPTIMIZER.to_string(), optimizer),
            (STATE.to_string(), state),
        ])
    }

    /// Reads what [`Checkpoint::encode`] gave; `folder` names it in errors.
    ///
    /// Errors: `Checkpoint` for a file that is missing or does not fit the others; the model file's.
    pub fn decode(files: &Files, folder: &Path) -> Result<Self, TrainError> {
        let wrong = |message: String| TrainError::Checkpoint { path: folder.into(), message };
        let file = |name: &str| files.get(name).ok_or_else(|| wrong(format!("has no {name}")));
        let origin = folder.join(MODEL).display().to_string();
        let network = Network::from_bytes(file(MODEL)?, &origin)?;
        let state: State = serde_json::from_slice(file(STATE)?)
            .map_err(|e| wrong(format!("{STATE} is no state: {e}")))?;
        let tensors = SafeTensors::deserialize(file(OPTIMIZER)?)
            .map_err(|e| wrong(format!("{OPTIMIZER} is no safetensors file: {e}")))?;
        let mut velocities = Vec::with_capacity(network.parameters.len());
        for parameter in network.parameters.iter() {
            let tensor = tensors
                .tensor(&parameter.name)
                .map_err(|e| wrong(format!("{OPTIMIZER}, {}: {e}", parameter.name)))?;
            let words = tensor.data().chunks_exact(4);
            let values: Vec<f32> =
                words.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            let expected = if parameter.role.is_learnt() { parameter.values.len() } else { 0 };
            if values.len() != expected {
                let (name, found) = (&parameter.name, values.len());
                let message =
                    format!("{OPTIMIZER}, {name}: found {found} values, expected {expected}");
                return Err(wrong(message));
            }
            velocities.push(values);
        }
        Ok(Self { network, velocities, state })
    }
}

#[cfg(test)]
mod g17_kill_and_resume {
    use super::*;
    use network::{Architecture, Shape};

    fn checkpoint() -> Checkpoint {
        let mut architecture = Architecture::named("resnet8-cifar-w4").unwrap();
        architecture.input = Shape::new(1, 8, 8);
        let network = Network::new(architecture.graph().unwrap()).unwrap();
        let velocity = |p: &network::Parameter| match p.role.is_learnt() {
            true => (0..p.values.len()).map(|i| i as f32 / 7.0).collect(),
            false => Vec::new(),
        };
        let velocities = network.parameters.iter().map(velocity).collect();
        Checkpoint { network, velocities, state: State { step: 7, ..State::default() } }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let files = checkpoint().encode();
        assert_eq!(files, checkpoint().encode());
        let again = Checkpoint::decode(&files, Path::new("step-7")).unwrap();
        assert_eq!(again, checkpoint());
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused_by_name() {
        for name in [MODEL, OPTIMIZER, STATE] {
            let mut files = checkpoint().encode();
            files.remove(name);
            let error = Checkpoint::decode(&files, Path::new("step-7")).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        let mut short = checkpoint();
        short.velocities[0].pop();
        let error = Checkpoint::decode(&short.encode(), Path::new("step-7")).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("found 35 values, expected 36"), "{message}");
    }
}
