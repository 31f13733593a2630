//! Doubts about an evaluation that its own figures raise.

use super::{Interval, Proportion};
use serde::{Deserialize, Serialize};

/// A doubt with its reason and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flag {
    /// What kind of doubt.
    pub name: String,
    /// How grave.
    pub level: Level,
    /// What was measured.
    pub found: String,
    /// Why it matters.
    #[serde(default)]
    pub why: String,
    /// What to do about it.
    pub advice: String,
}

/// How grave a doubt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The figures may overstate robustness.
    Warning,
    /// The figures mean nothing.
    Failure,
}

/// The name of the doubt that a model guesses.
pub const AT_CHANCE: &str = "at-chance";

/// The model is not better than guessing: it was not trained, it diverged, or the data is another's (T48).
pub(super) fn at_chance(clean: Proportion, classes: usize) -> Option<Flag> {
    let chance = 1.0 / classes as f64;
    let Interval([low, _]) = clean.wilson95();
    (low <= chance).then(|| Flag {
        name: AT_CHANCE.to_string(),
        level: Level::Failure,
        found: format!(
            "clean accuracy {:.3} on {} images, guessing gives {chance:.3}",
            clean.share(),
            clean.total
        ),
        why: "a model that guesses cannot be attacked: every figure is the same".to_string(),
        advice: "check that the model is trained and that the data are its own".to_string(),
    })
}

impl Flag {
    /// A doubt of level [`Level::Warning`].
    pub(super) fn warning(name: &str, found: String, why: &str, advice: &str) -> Self {
        let [name, why, advice] = [name, why, advice].map(str::to_string);
        Self { name, level: Level::Warning, found, why, advice }
    }

    /// A doubt of level [`Level::Failure`].
    pub(super) fn failure(name: &str, found: String, why: &str, advice: &str) -> Self {
        Self { level: Level::Failure, ..Self::warning(name, found, why, advice) }
    }

    /// The images had a part in training, since `source` sets none aside for judging (T45).
    pub fn no_test_images(source: &str, part: &str) -> Self {
        Self {
            name: "no-test-images".to_string(),
            level: Level::Warning,
            found: format!("{source} has no test images; these {part}"),
            why: "accuracy on images of the training is higher than on new ones".to_string(),
            advice: "judge on images that the run never saw before quoting a figure".to_string(),
        }
    }
}

/// Images whose loss has no gradient at all: gradient attacks cannot move them (T34).
pub(super) fn zero_gradients(zero: Proportion) -> Option<Flag> {
    (zero.count > 0).then(|| Flag {
        name: "zero-gradients".to_string(),
        level: Level::Warning,
        found: format!("{} of {} images have an input gradient of zero", zero.count, zero.total),
        why: "a gradient attack cannot move these images, so they count as robust unattacked"
            .to_string(),
        advice: "judge with an attack on another loss or without gradients, and with random starts"
            .to_string(),
    })
}
