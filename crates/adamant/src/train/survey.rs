//! The runs below a folder and how they stand, read without disturbing them. Begin with [`survey`].

use super::lock::{self, Holder};
use super::record::{RunRecord, Status};
use super::run::{METRICS, RECORD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One run as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Surveyed {
    /// Its folder.
    pub folder: PathBuf,
    /// What it says about itself.
    pub record: RunRecord,
    /// How it stands.
    pub condition: Condition,
    /// Who writes it.
    pub holder: Option<Holder>,
    /// Steps done, as its metrics have it: newer than the record while it runs.
    pub step: u64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Seconds of training left at the pace of its last steps.
    pub seconds_left: Option<f64>,
    /// When its record was written last, by the file system's clock.
    pub written: SystemTime,
}

/// How a run stands, from its record and its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// A process trains it.
    Running,
    /// It is trained, and a process judges it.
    Evaluating,
    /// Its process ended without a word; it can be resumed.
    Killed,
    /// A signal ended it, after a checkpoint; it can be resumed.
    Interrupted,
    /// An error ended it.
    Failed,
    /// It is trained, but its judgement was broken off; it can be resumed.
    Unjudged,
    /// Trained and judged.
    Finished,
}

impl Condition {
    /// Its name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Evaluating => "evaluating",
            Self::Killed => "killed",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Unjudged => "unjudged",
            Self::Finished => "finished",
        }
    }

    /// Whether `--resume` has something to do: neither at work now nor done.
    pub fn can_go_on(self) -> bool {
        !matches!(self, Self::Running | Self::Evaluating | Self::Finished)
    }
}

/// The runs in `folder` and in the folders right below it, the one written last first; folders of other things are
/// passed over.
///
/// Errors: the folder cannot be read.
pub fn survey(folder: &Path) -> io::Result<Vec<Surveyed>> {
    let mut folders = vec![folder.to_path_buf()];
    for entry in fs::read_dir(folder)? {
        folders.push(entry?.path());
    }
    let mut runs: Vec<Surveyed> = folders.iter().filter_map(|folder| look(folder)).collect();
    runs.sort_by(|a, b| b.written.cmp(&a.written).then_with(|| a.folder.cmp(&b.folder)));
    Ok(runs)
}

fn look(folder: &Path) -> Option<Surveyed> {
    let path = folder.join(RECORD);
    let record: RunRecord = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
    let written = fs::metadata(&path).and_then(|m| m.modified()).ok()?;
    let holder = lock::holder(folder);
    // The last model is judged after the best.
    let is_judged = folder.join("evaluation-last/evaluation.json").exists();
    let condition = match (record.status, &holder) {
        (Status::Finished, Some(_)) => Condition::Evaluating,
        (_, Some(_)) => Condition::Running,
        (Status::Running, None) => Condition::Killed,
        (Status::Interrupted, None) => Condition::Interrupted,
        (Status::Failed, None) => Condition::Failed,
        (Status::Finished, None) if is_judged => Condition::Finished,
        (Status::Finished, None) => Condition::Unjudged,
    };
    let told = tail(&folder.join(METRICS)).unwrap_or_default();
    let (mut step, mut seconds) = (record.step, record.seconds);
    // A run that was killed or rolled back has lost what its metrics say beyond its record.
    if let (Condition::Running, Some(&(last, at))) = (condition, told.last()) {
        (step, seconds) = (last, at);
    }
    let is_done =
        matches!(condition, Condition::Finished | Condition::Evaluating | Condition::Unjudged);
    let seconds_left = pace(&told)
        .filter(|_| !is_done)
        .map(|pace| pace * record.steps.saturating_sub(step) as f64);
    let folder = folder.to_path_buf();
    Some(Surveyed { folder, record, condition, holder, step, seconds, seconds_left, written })
}

/// Seconds of a step, over the last ones told.
fn pace(told: &[(u64, f64)]) -> Option<f64> {
    let (&(first, from), &(last, to)) = (told.first()?, told.last()?);
    let pace = (to - from) / last.checked_sub(first).filter(|&steps| steps > 0)? as f64;
    (pace.is_finite() && pace >= 0.0).then_some(pace)
}

/// Step and seconds of the last lines of metrics.
fn tail(metrics: &Path) -> io::Result<Vec<(u64, f64)>> {
    /// Some two hundred steps.
    const BYTES: u64 = 1 << 16;
    let mut file = File::open(metrics)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let line = |line: &[u8]| {
        let value: Value = serde_json::from_slice(line).ok()?;
        Some((value.get("step")?.as_u64()?, value.get("seconds")?.as_f64()?))
    };
    Ok(text.split(|&byte| byte == b'\n').filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_steps_and_a_clock_that_stands_still_gives_none() {
        assert_eq!(pace(&[(10, 5.0), (20, 25.0)]), Some(2.0));
        assert_eq!(pace(&[(10, 5.0)]), None);
        assert_eq!(pace(&[(10, 5.0), (10, 6.0)]), None);
        assert_eq!(pace(&[(10, 5.0), (9, 6.0)]), None);
    }

    #[test]
    fn a_torn_line_and_a_line_cut_at_the_front_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let text = "1, \"seconds\": 3}\n{\"step\": 2, \"seconds\": 4.5}\n{\"step\": 3, \"sec";
        fs::write(&path, text).unwrap();
        assert_eq!(tail(&path).unwrap(), [(2, 4.5)]);
    }
}
