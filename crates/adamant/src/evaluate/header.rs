//! What an evaluation is: all that its verdicts depend on. Two evaluations of one header give one ledger.

use super::{EvaluateError, Examples, Protocol, ThreatReport};
use network::Network;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Raised when records change their meaning.
const FORMAT: u32 = 2;

/// All that verdicts depend on, and the words in which the user named it; the first line of a ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Which records follow.
    pub format: u32,
    /// The model, as the user named it; another name for the same bytes is the same evaluation.
    pub model: String,
    /// The data, as the user named it.
    pub data: String,
    /// What the names stand for; nothing where nobody asked for a ledger that lasts.
    #[serde(flatten)]
    pub fingerprint: Fingerprint,
    /// Classes of the judged network.
    pub classes: usize,
    /// Images of the whole evaluation.
    pub samples: usize,
    /// The seed of every draw.
    pub seed: u64,
    /// Precision of the attack.
    pub precision: String,
    /// What "robust" counts.
    pub protocol: Protocol,
    /// What the adversary may do.
    pub threat: ThreatReport,
    /// The branch that is judged.
    pub branch: String,
    /// The branch that the attack sees.
    pub attack_branch: String,
    /// How thoroughly the evaluation doubts itself, if at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<String>,
    /// What is tried, in this order.
    pub attacks: Vec<AttackHeader>,
}

/// One attack with all that its name has come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackHeader {
    /// Its name.
    pub name: String,
    /// Its settings, resolved.
    pub settings: BTreeMap<String, String>,
    /// Steps at which its search is looked at on its way, and the attack whose result is seen there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub along: Vec<(usize, Option<String>)>,
    /// It looks for the nearest adversarial image of every image, broken or not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tells_distances: bool,
}

/// What was judged, by content, and what computed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// SHA-256 of the network: graph and parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_sha256: Option<String>,
    /// SHA-256 of the judged images and their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_sha256: Option<String>,
    /// The processor's instructions: each set adds in another order, so bits differ between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
}

impl Fingerprint {
    /// SHA-256 of a network: graph and parameters.
    pub fn of_network(network: &Network) -> String {
        hex(&Sha256::digest(network.to_bytes()))
    }

    /// Reads every judged image once.
    ///
    /// Errors: those of the examples.
    pub fn of(
        network: &Network,
        examples: &dyn Examples,
        positions: &[usize],
        instructions: String,
    ) -> Result<Self, EvaluateError> {
        /// Images in memory at a time.
        const CHUNK: usize = 256;
        let mut data = Sha256::new();
        for chunk in positions.chunks(CHUNK) {
            let read = examples.read(chunk);
            let batch = read.map_err(|source| EvaluateError::Read { first: chunk[0], source })?;
            for (position, (index, label)) in batch.indices.iter().zip(&batch.labels).enumerate() {
                data.update(index.to_le_bytes());
                data.update(label.to_le_bytes());
                let pixels = batch.images.one(position);
                data.update(pixels.iter().flat_map(|p| p.to_le_bytes()).collect::<Vec<u8>>());
            }
        }
        Ok(Self {
            model_sha256: Some(Self::of_network(network)),
            data_sha256: Some(hex(&data.finalize())),
            instructions: Some(instructions),
        })
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes what is written");
        text
    })
}

/// One setting in which two evaluations differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The setting.
    pub what: String,
    /// As the ledger has it.
    pub ledger: String,
    /// As it is now.
    pub now: String,
}

impl Header {
    /// Of this version's format.
    pub(super) const FORMAT: u32 = FORMAT;

    /// What differs between the evaluation of a ledger and `now`; the names of model and data may.
    pub fn differences(&self, now: &Self) -> Vec<Difference> {
        let (ledger, now) = (self.settings(), now.settings());
        let mut keys: Vec<&String> = ledger.keys().chain(now.keys()).collect();
        keys.sort();
        keys.dedup();
        let told = |side: &BTreeMap<String, String>, key| {
            side.get(key).cloned().unwrap_or_else(|| "nothing".to_string())
        };
        keys.into_iter()
            .filter(|key| ledger.get(*key) != now.get(*key))
            .map(|key| Difference {
                what: key.clone(),
                ledger: told(&ledger, key),
                now: told(&now, key),
            })
            .collect()
    }

    fn settings(&self) -> BTreeMap<String, String> {
        let value = serde_json::to_value(self).expect("a header has no keys but texts");
        let mut flat = BTreeMap::new();
        flatten(String::new(), &value, &mut flat);
        flat.retain(|key, _| key != "model" && key != "data");
        flat
    }
}

/// Leaves of a JSON value under their dotted paths, so that a difference names the very setting.
fn flatten(path: String, value: &serde_json::Value, flat: &mut BTreeMap<String, String>) {
    let below = |key: &str| match path.is_empty() {
        true => key.to_string(),
        false => format!("{path}.{key}"),
    };
    match value {
        serde_json::Value::Object(map) => {
            map.iter().for_each(|(key, value)| flatten(below(key), value, flat));
        }
        serde_json::Value::Array(list) => {
            let numbered = list.iter().enumerate();
            numbered.for_each(|(n, value)| flatten(below(&(n + 1).to_string()), value, flat));
        }
        serde_json::Value::String(text) => {
            flat.insert(path, text.clone());
        }
        other => {
            flat.insert(path, other.to_string());
        }
    }
}
