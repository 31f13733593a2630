//! What an evaluation tells: `evaluation.json` and `verdicts.jsonl`.

use super::header::Fingerprint;
use super::{EvaluateError, Figures, Flag, Interval, Protocol, Verdict};
use network::Domain;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// The file name of the verdicts, beside `evaluation.json`.
const VERDICTS: &str = "verdicts.jsonl";

/// The figures of one evaluation; its JSON is a contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The model, as the user named it.
    pub model: String,
    /// The data, as the user named it.
    pub data: String,
    /// The program that judged, with its revision, where its caller says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Images judged.
    pub samples: usize,
    /// Of an evaluation shared by several processes, the part these figures are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// The seed of every draw.
    pub seed: u64,
    /// Precision of the attack; the judge computes in f32.
    pub precision: String,
    /// What "robust" counts; figures of two protocols do not belong in one table (T43).
    pub protocol: Protocol,
    /// What the adversary may do.
    pub threat: ThreatReport,
    /// The branch that is judged.
    pub branch: String,
    /// The branch that the attack sees.
    pub attack_branch: String,
    /// Share of images right as they are.
    pub clean_accuracy: f64,
    /// Its Wilson interval.
    pub clean_ci95: Interval,
    /// In the order they ran.
    pub attacks: Vec<AttackReport>,
    /// Share of images right as they are and under every attack; null in the paper protocol, which does not count it.
    pub worst_case_accuracy: Option<f64>,
    /// Its Wilson interval.
    pub worst_case_ci95: Option<Interval>,
    /// By true class.
    #[serde(default)]
    pub classes: Vec<ClassReport>,
    /// The same under other radii, where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<Figures>,
    /// The same for every pair of judged and attacked branch, where that was asked for (T9).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Figures>,
    /// What was judged, by content; nothing where the evaluation kept no ledger.
    #[serde(flatten)]
    pub fingerprint: Fingerprint,
    /// Doubts.
    pub flags: Vec<Flag>,
    /// The verdicts' file, relative to `evaluation.json`.
    pub verdicts: String,
    /// One per image, by rising index; a file of their own.
    #[serde(skip)]
    pub verdict_list: Vec<Verdict>,
}

/// What the adversary may do, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreatReport {
    /// `Linf` or `L2`.
    pub norm: String,
    /// As written, such as `8/255`.
    pub epsilon: String,
    /// `untargeted`, `targeted`, or `mixed` where attacks differ.
    pub goal: String,
}

/// The figures of one attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackReport {
    /// Its name.
    pub name: String,
    /// Worst case: share of all images right as they are, under this attack and under those before it.
    /// Paper: share of all images right after this attack, whatever they were before.
    pub robust_accuracy: f64,
    /// Its Wilson interval.
    pub ci95: Interval,
    /// Share of the attacked images on which the attack got what it wanted: a wrong class, or its target.
    pub success_rate: f64,
    /// Images it was let loose on.
    pub attacked: usize,
    /// Those of them that stood an attack in another precision and were attacked again in f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attacked_again: Option<usize>,
    /// Forward passes of one image, the judge's included.
    pub forward_passes: u64,
    /// Backward passes of one image.
    pub backward_passes: u64,
    /// How far away the nearest adversarial images are, where that was asked for and the attack looks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distances: Option<DistanceReport>,
    /// Wall-clock time; 0 where nobody measured.
    pub seconds: f64,
    /// What its name and the defaults have come to: steps, step size, start and so on.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// What the judge said on the way of its search, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub along: Vec<AlongReport>,
}

/// Distances of the nearest adversarial images that an attack found, over the images it was let loose on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DistanceReport {
    /// Images for which one was found that the judge is wrong about, at any distance.
    pub found: usize,
    /// The median distance, in the threat's norm; images without count as farther than all others. None where most have
    /// none.
    pub median: Option<f64>,
}

/// The figures of an attack after some of its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlongReport {
    /// Steps made.
    pub steps: usize,
    /// The attack in whose place these figures can stand; none where it would step otherwise.
    pub equals: Option<String>,
    /// As the attack's, had it ended here.
    pub robust_accuracy: f64,
    /// Its Wilson interval.
    pub ci95: Interval,
    /// As the attack's, had it ended here.
    pub success_rate: f64,
}

/// The figures of the images of one true class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// The class.
    pub class: u32,
    /// Its images.
    pub samples: usize,
    /// Share of them right as they are.
    pub clean_accuracy: f64,
    /// Its Wilson interval.
    pub clean_ci95: Interval,
    /// Share of them right as they are and under every attack; null in the paper protocol.
    pub worst_case_accuracy: Option<f64>,
    /// Its Wilson interval.
    pub worst_case_ci95: Option<Interval>,
}

impl Evaluation {
    /// Marks the verdicts as lying beside the figures.
    pub(super) fn verdicts_name() -> String {
        VERDICTS.to_string()
    }

    /// Writes `evaluation.json` and `verdicts.jsonl` into `folder`, which is made if absent.
    ///
    /// The verdicts come first and each file appears whole, so that an `evaluation.json` is never without them.
    /// Errors: `Write` naming the file.
    pub fn write(&self, folder: &Path) -> Result<(), EvaluateError> {
        std::fs::create_dir_all(folder)
            .map_err(|source| EvaluateError::Write { path: folder.to_path_buf(), source })?;
        let mut lines = String::new();
        for verdict in &self.verdict_list {
            lines.push_str(&json(serde_json::to_string(verdict)));
            lines.push('\n');
        }
        write_whole(&folder.join(VERDICTS), &lines)?;
        write_whole(&folder.join("evaluation.json"), &(self.to_json() + "\n"))
    }

    /// The text of `evaluation.json`.
    pub fn to_json(&self) -> String {
        json(serde_json::to_string_pretty(self))
    }
}

fn json(text: serde_json::Result<String>) -> String {
    text.expect("figures and names have no map with keys that JSON cannot write")
}

pub(super) fn write_whole(path: &Path, text: &str) -> Result<(), EvaluateError> {
    let unfinished = path.with_extension("unfinished");
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    };
    write().map_err(|source| EvaluateError::Write { path: path.to_path_buf(), source })
}

/// The name of a normalisation domain in reports.
pub fn branch_name(domain: Domain) -> String {
    match domain {
        Domain::CLEAN => "clean".to_string(),
        Domain::ADVERSARIAL => "adversarial".to_string(),
        Domain(other) => format!("domain-{other}"),
    }
}
