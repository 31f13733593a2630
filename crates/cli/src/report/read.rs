//! What a run's folder holds, as data.

use super::gallery::gallery;
use crate::failure::OrWrongUsage;
use crate::settings::Settings;
use adamant::evaluate::Evaluation;
use adamant::report::run::{Judged, RunFindings};
use adamant::train::history::History;
use adamant::train::record::RunRecord;
use adamant::train::run::Run;
use anyhow::{Context, anyhow};
use std::fs;
use std::path::{Path, PathBuf};

/// All that is known of the run in `folder`; some of its images are attacked.
pub fn findings(
    folder: &Path,
    pictures: usize,
    settings: &Settings,
) -> anyhow::Result<RunFindings> {
    let path = folder.join("run.json");
    if !path.is_file() {
        let text = format!("{} holds no run, expected run.json in it", folder.display());
        return Err(anyhow!("{text}\n  hint: `adamant train` begins one")).or_wrong_usage();
    }
    let record: RunRecord = serde_json::from_slice(&bytes(&path)?)
        .with_context(|| format!("{} is no record of a run", path.display()))?;
    let recipe = Run::recipe(folder)?;
    let history = History::read(folder)
        .with_context(|| format!("reading the metrics of {} failed", folder.display()))?;
    let gallery = gallery(folder, &recipe, pictures, settings);
    Ok(RunFindings {
        name: named(folder),
        record,
        recipe,
        history,
        evaluations: evaluations(folder)?,
        // A page without pictures is better than none: the images may be on another machine.
        gallery: gallery.map_err(|error| format!("{error:#}")),
    })
}

/// The folder from here, where it lies below.
fn named(folder: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.as_ref().and_then(|here| folder.strip_prefix(here).ok());
    below.filter(|path| *path != Path::new("")).unwrap_or(folder).display().to_string()
}

fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Every evaluation in the folder: the run's own first, then those in its `evaluation*` folders by name.
fn evaluations(folder: &Path) -> anyhow::Result<Vec<Judged>> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("evaluation-") {
            folders.push(entry.path());
        }
    }
    folders.sort();
    folders.insert(0, folder.to_path_buf());
    let mut found: Vec<Judged> = Vec::new();
    for path in folders.iter().map(|f| f.join("evaluation.json")).filter(|f| f.is_file()) {
        let evaluation: Evaluation = serde_json::from_slice(&bytes(&path)?)
            .with_context(|| format!("{} is no evaluation", path.display()))?;
        let model = match Path::new(&evaluation.model).file_stem() {
            Some(stem) if stem == "best" => "best model",
            Some(stem) if stem == "last" => "last model",
            _ => &evaluation.model,
        };
        let branch = &evaluation.branch;
        // Where the last step was the best one, one table is enough.
        match found.iter_mut().find(|other| are_of_one_model(&other.evaluation, &evaluation)) {
            Some(other) => other.name = format!("best and last model, {branch} branch"),
            None => found.push(Judged { name: format!("{model}, {branch} branch"), evaluation }),
        }
    }
    Ok(found)
}

/// Whether two evaluations say the same of the same weights.
fn are_of_one_model(one: &Evaluation, other: &Evaluation) -> bool {
    one.fingerprint.model_sha256.is_some()
        && *one == Evaluation { model: one.model.clone(), ..other.clone() }
}
