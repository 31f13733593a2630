//! What one cell found, small enough to be committed: the raw result from which pages are made.

use super::StudyError;
use super::images::ImageRecord;
use super::statistics::StatisticsRecord;
use crate::evaluate::{AT_CHANCE, Evaluation, Protocol};
use crate::train::history::History;
use crate::train::record::{Machine, StepMetrics};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// One cell: what was run, where, and what came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellRecord {
    /// The study.
    pub study: String,
    /// The regime's name.
    pub regime: String,
    /// The arm's name.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// SHA-256 of recipe and evaluations, first 16 digits: a cell of the same key is not run again.
    pub key: String,
    /// Every key of the recipe that is not the default.
    pub recipe: BTreeMap<String, String>,
    /// Version of the program.
    pub version: String,
    /// Revision it was built from.
    pub revision: String,
    /// Whether the source had changes beyond it.
    pub dirty: bool,
    /// Where it ran.
    pub machine: Machine,
    /// Arithmetic of training; attacks of evaluations say their own.
    pub precision: String,
    /// Learnt numbers.
    pub parameters: u64,
    /// Multiply-accumulates of one forward of one image.
    pub macs: u64,
    /// Training steps.
    pub steps: u64,
    /// Multiply-accumulates of training and judging, as estimated beforehand.
    pub work: f64,
    /// Seconds of training.
    pub train_seconds: f64,
    /// Seconds of judging: of attacks, and of looking at statistics.
    pub judge_seconds: f64,
    /// The cell of another study that was trained and judged just so, where this is its record: `mixture-bn/REGIME.ARM.seed-N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lent_by: Option<String>,
    /// What ended training early, where something did: a finding too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How right the network was while it learnt, where it learnt something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingRecord>,
    /// What its batch norms hold and see, where the study looks at them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<StatisticsRecord>,
    /// Judgements, in the study's order.
    pub evaluations: Vec<EvaluationRecord>,
}

/// Accuracies on the training images of the last epoch, each as it was shown and normalised in its step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Images of that epoch.
    pub samples: usize,
    /// On clean images, where there were any.
    pub clean: Option<f64>,
    /// On adversarial images, where there were any.
    pub adversarial: Option<f64>,
}

impl TrainingRecord {
    /// Of the last epoch that a run's metrics tell of; none where they tell of none.
    pub fn of(history: &History) -> Option<Self> {
        let last = history.steps.last()?.epoch;
        let first = history.steps.iter().position(|step| step.epoch == last)?;
        let (before, steps) = history.steps.split_at(first);
        let mean = |accuracy: &dyn Fn(&StepMetrics) -> Option<f64>| {
            let shares: Option<Vec<f64>> = steps.iter().map(accuracy).collect();
            shares.map(|shares| shares.iter().sum::<f64>() / shares.len() as f64)
        };
        let seen = |steps: &[StepMetrics]| steps.last().map_or(0, |step| step.images);
        Some(Self {
            samples: (seen(steps) - seen(before)) as usize,
            clean: mean(&|step| step.accuracy_clean),
            adversarial: mean(&|step| step.accuracy_adversarial),
        })
    }

    /// The accuracy a [`super::Quantity`] names: `clean` or `adversarial`.
    pub fn share(&self, named: &str) -> Option<f64> {
        match named {
            "clean" => self.clean,
            "adversarial" => self.adversarial,
            _ => None,
        }
    }
}

/// One judgement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// What the study calls it.
    pub name: String,
    /// What "robust" counts.
    pub protocol: Protocol,
    /// Norm and radius, such as `Linf 0.1`.
    pub threat: String,
    /// The branch judged.
    pub branch: String,
    /// The branch attacked.
    pub attack_branch: String,
    /// Images judged.
    pub samples: usize,
    /// Seed of the images and of every draw.
    pub seed: u64,
    /// Arithmetic of the attacks.
    pub precision: String,
    /// Share right as they are.
    pub clean: f64,
    /// Share right as they are and under every attack.
    pub worst_case: Option<f64>,
    /// Attacks, in the order they ran.
    pub attacks: Vec<AttackRecord>,
    /// Names of the doubts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// How each image fared; records of earlier versions do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageRecord>,
}

/// One attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackRecord {
    /// Its name.
    pub name: String,
    /// As in `evaluation.json`.
    pub accuracy: f64,
    /// As in `evaluation.json`.
    pub success: f64,
    /// Steps and the accuracy after them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub along: Vec<(usize, f64)>,
}

impl EvaluationRecord {
    /// The figures of an evaluation, under the study's name for it.
    pub fn of(name: &str, evaluation: &Evaluation) -> Self {
        let e = evaluation;
        let attacks = e.attacks.iter().map(|attack| AttackRecord {
            name: attack.name.clone(),
            accuracy: attack.robust_accuracy,
            success: attack.success_rate,
            along: attack.along.iter().map(|look| (look.steps, look.robust_accuracy)).collect(),
        });
        Self {
            name: name.to_string(),
            protocol: e.protocol,
            threat: format!("{} {}", e.threat.norm, e.threat.epsilon),
            branch: e.branch.clone(),
            attack_branch: e.attack_branch.clone(),
            samples: e.samples,
            seed: e.seed,
            precision: e.precision.clone(),
            clean: e.clean_accuracy,
            worst_case: e.worst_case_accuracy,
            attacks: attacks.collect(),
            flags: e.flags.iter().map(|flag| flag.name.clone()).collect(),
            images: Some(ImageRecord::of(e)),
        }
    }

    /// The accuracy a [`super::Quantity`] names: `clean`, `worst-case`, an attack, an attack `@` a number of its steps.
    pub fn share(&self, named: &str) -> Option<f64> {
        let attack = |name: &str| self.attacks.iter().find(|attack| attack.name == name);
        match (named, named.split_once('@')) {
            ("clean", _) => Some(self.clean),
            ("worst-case", _) => self.worst_case,
            (_, Some((name, steps))) => {
                let steps: usize = steps.parse().ok()?;
                attack(name)?.along.iter().find(|look| look.0 == steps).map(|look| look.1)
            }
            (name, None) => attack(name).map(|attack| attack.accuracy),
        }
    }

    /// Each judged image's position in the data set and whether it counts towards [`EvaluationRecord::share`]; none where the
    /// record does not tell image by image.
    pub fn each(&self, named: &str) -> Option<Vec<(usize, bool)>> {
        let images = self.images.as_ref()?;
        let bits = match (named, &self.attacks[..]) {
            ("clean", _) => &images.right,
            ("worst-case", _) => &images.stood,
            // An attack that was alone: what it did not break stood everything.
            (name, [only]) if only.name == name => &images.stood,
            _ => return None,
        };
        let is_that = (bits.count() as f64 - self.share(named)? * self.samples as f64).abs() < 0.5;
        is_that.then(|| images.each(bits))
    }
}

impl CellRecord {
    /// Its name: regime, arm, seed.
    pub fn id(&self) -> String {
        format!("{}.{}.seed-{}", self.regime, self.arm, self.seed)
    }

    /// Whether an audit found it no better than guessing.
    pub fn is_at_chance(&self) -> bool {
        self.evaluations.iter().any(|e| e.flags.iter().any(|flag| flag == AT_CHANCE))
    }

    /// The text of its file.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a record holds numbers and texts") + "\n"
    }

    /// Reads the text of its file.
    ///
    /// Errors: `Record`, naming the file.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, StudyError> {
        serde_json::from_slice(text).map_err(|error| StudyError::Record {
            path: path.to_path_buf(),
            message: format!("{error}\n  hint: delete the record and run the study again, which runs that cell alone"),
        })
    }
}

/// Every record of a folder, by name; none where there is no such folder.
///
/// Errors: `Record`, naming the file.
pub fn read_records(folder: &Path) -> Result<Vec<CellRecord>, StudyError> {
    let failed = |path: &Path, error: std::io::Error| StudyError::Record {
        path: path.to_path_buf(),
        message: error.to_string(),
    };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| failed(folder, e))? {
        let path = entry.map_err(|e| failed(folder, e))?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read(path).map_err(|e| failed(path, e))?;
        CellRecord::parse(&text, path)
    };
    paths.iter().map(read).collect()
}
