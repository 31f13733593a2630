//! An entry of RobustBench: one small JSON a model.
//!
//! Source: RobustBench, the files of `model_info/`, commit 78fcc9e: which keys there are, and which always.

use crate::evaluate::Evaluation;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// An entry. Percentages are texts of two decimals, as everywhere in that collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The paper.
    pub link: String,
    /// Its title.
    pub name: String,
    /// Who wrote it.
    pub authors: String,
    /// Whether more than the data set's own images were trained on.
    pub additional_data: bool,
    /// Forward passes of one prediction.
    pub number_forward_passes: u32,
    /// `cifar10`, `cifar100` or `imagenet`.
    pub dataset: String,
    /// Where it appeared.
    pub venue: String,
    /// Such as `ResNet-18`.
    pub architecture: String,
    /// The radius; its own updater writes a number where all files have a text, so both are read.
    #[serde(deserialize_with = "text_or_number")]
    pub eps: String,
    /// Clean accuracy.
    pub clean_acc: String,
    /// Robust accuracy as the authors report it.
    pub reported: String,
    /// Robust accuracy under AutoAttack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoattack_acc: Option<String>,
    /// Accuracy on common corruptions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corruptions_acc: Option<String>,
    /// Whether AutoAttack itself is doubted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreliable: Option<bool>,
    /// What readers should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footnote: Option<String>,
    /// Keys that a few files have beside these.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// Why an evaluation is no entry, or a file none.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Not such JSON.
    #[error("no RobustBench entry: {0}")]
    Json(#[from] serde_json::Error),
    /// A figure that the collection does not mean.
    #[error(
        "an entry needs the worst case over the attacks of AutoAttack, this evaluation has {found}\n  \
         hint: evaluate with --attacks autoattack"
    )]
    NotAutoAttack {
        /// The attacks.
        found: String,
    },
}

/// The attacks of the standard version.
const STANDARD: [&str; 4] = ["apgd-ce", "apgd-t", "fab-t", "square"];

impl Entry {
    /// An entry with the figures of `evaluation`; what only its authors know is empty.
    ///
    /// Errors: `NotAutoAttack`.
    pub fn of(evaluation: &Evaluation) -> Result<Self, EntryError> {
        let names: Vec<&str> =
            evaluation.attacks.iter().map(|attack| attack.name.as_str()).collect();
        // In L1 the first has its restarts in its name.
        let is_member = |(name, kind): (&&str, &str)| name.starts_with(kind);
        let is_standard = names == ["autoattack"]
            || (names.len() == STANDARD.len() && names.iter().zip(STANDARD).all(is_member));
        let not = || EntryError::NotAutoAttack { found: names.join(", ") };
        let worst = evaluation.worst_case_accuracy.filter(|_| is_standard).ok_or_else(not)?;
        let percent = |share: f64| format!("{:.2}", 100.0 * share);
        let doubts: Vec<&str> = evaluation.flags.iter().map(|flag| flag.name.as_str()).collect();
        Ok(Self {
            link: String::new(),
            name: String::new(),
            authors: String::new(),
            additional_data: false,
            number_forward_passes: 1,
            dataset: evaluation.data.clone(),
            venue: String::new(),
            architecture: String::new(),
            eps: evaluation.threat.epsilon.clone(),
            clean_acc: percent(evaluation.clean_accuracy),
            reported: percent(worst),
            autoattack_acc: Some(percent(worst)),
            corruptions_acc: None,
            unreliable: Some(!doubts.is_empty()),
            footnote: (!doubts.is_empty()).then(|| format!("Doubts: {}.", doubts.join(", "))),
            other: BTreeMap::new(),
        })
    }

    /// Reads an entry of any style that the collection holds.
    ///
    /// Errors: `Json`.
    pub fn read(text: &str) -> Result<Self, EntryError> {
        Ok(serde_json::from_str(text)?)
    }

    /// The text of its file.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("an entry has no keys but texts") + "\n"
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Number(serde_json::Number),
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match TextOrNumber::deserialize(deserializer)? {
        TextOrNumber::Text(text) => text,
        TextOrNumber::Number(number) => number.to_string(),
    })
}
