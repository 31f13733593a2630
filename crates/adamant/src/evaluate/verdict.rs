//! What became of one image.

use serde::{Deserialize, Serialize};

/// One line of `verdicts.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Position in the data set.
    pub index: u64,
    /// True class.
    pub label: u32,
    /// What the judged network says of the image as it is.
    pub clean_prediction: u32,
    /// `clean` if wrong without an attack (worst-case protocol), else the first attack that broke it.
    pub broken_by: Option<String>,
    /// What the judged network says of the image that broke it; of an unbroken image, the clean prediction.
    pub prediction: u32,
    /// Size of the perturbation that broke it, in the threat's norm.
    pub norm: Option<f64>,
    /// The restart that broke it.
    pub restart: Option<u32>,
    /// How far away the nearest image is that the judge is wrong about, where distances are told and one was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance: Option<f64>,
}

impl Verdict {
    /// The verdict before any attack.
    pub fn unattacked(index: u64, label: u32, clean_prediction: u32) -> Self {
        Self {
            index,
            label,
            clean_prediction,
            broken_by: None,
            prediction: clean_prediction,
            norm: None,
            restart: None,
            distance: None,
        }
    }

    /// Whether the judged network is right on the image as it is.
    pub fn is_clean_right(&self) -> bool {
        self.clean_prediction == self.label
    }
}
