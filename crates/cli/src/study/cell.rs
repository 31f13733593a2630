//! One cell of a study: an ordinary run, then the study's evaluations of its last model, then a small record.

use super::scale::Scale;
use crate::diagnose::{DiagnoseArguments, diagnose};
use crate::evaluate::{self, EvaluateArguments};
use crate::failure::{Interrupted, OrWrongUsage};
use crate::settings::{PrecisionChoice, Settings};
use crate::train::Signals;
use crate::train::identity::identity;
use crate::train::progress::Progress;
use adamant::data::{Part, SearchPath};
use adamant::study::{
    Cell, CellRecord, EvaluationRecord, EvaluationSpec, StatisticsRecord, StatisticsSpec,
    TrainingRecord, Twins, settings as of_recipe,
};
use adamant::train::error::TrainError;
use adamant::train::fit::{LAST, Setting, fit};
use adamant::train::history::History;
use adamant::train::plan::Plan;
use adamant::train::precision::PrecisionKind;
use adamant::train::recipe::Recipe;
use adamant::train::resume::changes;
use adamant::train::run::{Run, RunError};
use adamant::train::store::replace_file;
use anyhow::Context;
use clap::Parser;
use collective::{Collective, Solo};
use engine::Precision;
use engine::cpu::CpuEngine;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What all cells share.
pub struct Bench<'a> {
    /// The study's name.
    pub study: &'a str,
    /// The study's folder.
    pub out: &'a Path,
    /// Where records go.
    pub results: &'a Path,
    /// Computes.
    pub engine: CpuEngine,
    /// The user's.
    pub settings: &'a Settings,
    /// Cells of other studies.
    pub twins: &'a Twins,
}

/// What became of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has a record.
    Done,
    /// Another process runs it, or the cell it begins with.
    Busy,
}

/// `adamant diagnose` as a cell asks it.
#[derive(Parser)]
struct Look {
    #[command(flatten)]
    diagnose: DiagnoseArguments,
}

/// `adamant evaluate` as a cell asks it.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    evaluate: EvaluateArguments,
}

impl Bench<'_> {
    fn record_file(&self, cell: &Cell) -> PathBuf {
        self.results.join(format!("{}.json", cell.id()))
    }

    fn folder(&self, id: &str) -> PathBuf {
        self.out.join("cells").join(id)
    }

    /// Whether the cell's trained model is in the study's folder.
    pub fn has_model(&self, cell: &Cell) -> bool {
        self.folder(&cell.id()).join(LAST).is_file()
    }

    /// Whether the cell, just as it is now, has a record.
    pub fn is_done(&self, cell: &Cell) -> bool {
        let path = self.record_file(cell);
        let record =
            std::fs::read(&path).ok().and_then(|text| CellRecord::parse(&text, &path).ok());
        record.is_some_and(|record| record.key == cell.key)
    }

    /// Puts a record where the cell's belongs.
    pub fn write(&self, cell: &Cell, record: &CellRecord) -> anyhow::Result<()> {
        std::fs::create_dir_all(self.results)
            .with_context(|| format!("making the folder {} failed", self.results.display()))?;
        Ok(replace_file(&self.record_file(cell), record.to_json().as_bytes())?)
    }

    /// Trains, judges and records a cell, from where an earlier process left it.
    ///
    /// Errors: whatever ends a run, but for numbers that went wrong, which are a finding and recorded.
    pub fn run(&self, cell: &Cell, scale: &Scale, signals: &Signals) -> anyhow::Result<Outcome> {
        let folder = self.folder(&cell.id());
        let mut recipe = cell.recipe.clone();
        recipe.training.workers = Solo.world_size();
        if let Some(from) = &cell.from {
            let model = self.folder(from).join(LAST);
            if !model.is_file() {
                return Ok(Outcome::Busy);
            }
            recipe.training.begin_with = model.display().to_string();
        }
        let Some((mut run, recipe)) = self.open(&folder, recipe)? else {
            return Ok(Outcome::Busy);
        };
        let plan = Plan::new(&recipe).or_wrong_usage()?;
        signals.interrupt.store(false, Ordering::SeqCst);
        let trained = self.train(&plan, &mut run, signals)?;
        // A signal that comes while the model is judged ends the process at once: every verdict is on disk already.
        signals.interrupt.store(true, Ordering::SeqCst);
        let error = match trained {
            Ok(()) => None,
            Err(error @ (TrainError::NonFinite(_) | TrainError::NoRecovery { .. })) => {
                Some(error.to_string())
            }
            Err(error @ TrainError::Interrupted { .. }) => {
                self.settings.remark(error);
                let signal = signals.received.load(Ordering::SeqCst) as u8;
                return Err(Interrupted { signal }.into());
            }
            Err(error) => return Err(error).with_context(|| format!("cell {}", cell.id())),
        };
        let (mut evaluations, mut judge_seconds) = (Vec::new(), 0.0);
        for spec in cell.evaluations.iter().filter(|_| error.is_none()) {
            let (evaluation, seconds) = self.judge(spec, cell.seed, &folder)?;
            evaluations.push(evaluation);
            judge_seconds += seconds;
        }
        let began = Instant::now();
        let looks = cell.statistics.as_ref().filter(|_| error.is_none());
        let statistics = looks.map(|spec| self.look(spec, cell.seed, &folder)).transpose()?;
        judge_seconds += began.elapsed().as_secs_f64();
        self.record(
            cell,
            scale,
            &run,
            &recipe,
            judge_seconds,
            error,
            statistics.flatten(),
            evaluations,
        )?;
        Ok(Outcome::Done)
    }

    /// Trains the run to its end; the outer error is of what it needs.
    fn train(
        &self,
        plan: &Plan,
        run: &mut Run,
        signals: &Signals,
    ) -> anyhow::Result<Result<(), TrainError>> {
        let engine = self.settings.engine()?;
        let engine = engine.training_in(plan.precision.resolve(Precision::F32));
        let dataset = Arc::new(plan.load(Part::Train, &SearchPath::from_environment())?);
        let setting = Setting {
            engine: &engine,
            collective: &Solo,
            plan,
            dataset,
            interrupt: &signals.interrupt,
            checkpoint_now: &signals.checkpoint_now,
        };
        let mut progress = Progress::new(self.settings, run.folder());
        let outcome = engine.pool().install(|| fit(&setting, run, &mut progress));
        progress.finish();
        Ok(outcome.map(|_| ()))
    }

    /// The run of a cell, new or continued; none where another process has it.
    fn open(&self, folder: &Path, mut recipe: Recipe) -> anyhow::Result<Option<(Run, Recipe)>> {
        let written = recipe.training.precision;
        let opened = match folder.join("recipe.toml").exists() {
            true => Run::resume(folder).and_then(|(run, started)| {
                // What was auto is decided when a run begins; another machine goes on with it.
                let is_auto = self.settings.precision == PrecisionChoice::Auto
                    && written == PrecisionKind::Auto;
                recipe.training.precision = match is_auto {
                    true => started.training.precision,
                    false => self.settings.training_precision(written, &self.engine),
                };
                changes(&started, &recipe, &[])?;
                Ok((run, started))
            }),
            false => {
                recipe.training.precision = self.settings.training_precision(written, &self.engine);
                let identity = identity(self.study, self.settings, &self.engine, Solo.world_size());
                Run::create(folder, &recipe, identity).map(|run| (run, recipe))
            }
        };
        match opened {
            Ok(opened) => Ok(Some(opened)),
            // Two processes may both have found no recipe there.
            Err(RunError::Locked { .. } | RunError::Exists { .. }) => Ok(None),
            Err(error @ RunError::Recipe(_)) => Err(error)
                .with_context(|| {
                    let folder = folder.display();
                    format!("{folder}: holds a run of another recipe than the study has now\n  hint: choose another --out")
                })
                .or_wrong_usage(),
            Err(error) => Err(error.into()),
        }
    }

    /// What the study keeps of an evaluation, and the seconds of its attacks: its ledger's, in however many processes.
    fn judge(
        &self,
        spec: &EvaluationSpec,
        seed: u64,
        folder: &Path,
    ) -> anyhow::Result<(EvaluationRecord, f64)> {
        let line = Line::try_parse_from(line(spec, seed, folder)).or_wrong_usage()?;
        let (evaluation, _) = evaluate::judge(&line.evaluate, self.settings)
            .with_context(|| format!("evaluation {}", spec.name))?;
        let seconds = evaluation.attacks.iter().map(|attack| attack.seconds).sum();
        Ok((EvaluationRecord::of(&spec.name, &evaluation), seconds))
    }

    fn look(
        &self,
        spec: &StatisticsSpec,
        seed: u64,
        folder: &Path,
    ) -> anyhow::Result<Option<StatisticsRecord>> {
        let (model, samples) = (folder.join(LAST).display().to_string(), spec.samples.to_string());
        let (attack, seed) = (&*spec.attack, &*seed.to_string());
        let line = ["diagnose", &model, "--attacks", attack, "--samples", &samples, "--seed", seed];
        let line = Look::try_parse_from(line).or_wrong_usage()?;
        Ok(StatisticsRecord::of(&diagnose(&line.diagnose, self.settings)?))
    }

    #[allow(clippy::too_many_arguments, reason = "a record has many parts, each from elsewhere")]
    fn record(
        &self,
        cell: &Cell,
        scale: &Scale,
        run: &Run,
        recipe: &Recipe,
        judge_seconds: f64,
        error: Option<String>,
        statistics: Option<StatisticsRecord>,
        evaluations: Vec<EvaluationRecord>,
    ) -> anyhow::Result<()> {
        let of_run = run.record();
        let history = History::read(run.folder())
            .with_context(|| format!("reading the metrics of {} failed", run.folder().display()))?;
        let record = CellRecord {
            study: self.study.to_string(),
            regime: cell.regime.clone(),
            arm: cell.arm.clone(),
            seed: cell.seed,
            key: cell.key.clone(),
            recipe: of_recipe(&cell.recipe),
            version: of_run.version.clone(),
            revision: of_run.revision.clone(),
            dirty: of_run.dirty,
            machine: of_run.machine.clone(),
            precision: precision_name(recipe.training.precision),
            parameters: scale.parameters,
            macs: scale.macs,
            steps: of_run.steps,
            work: scale.work,
            train_seconds: of_run.seconds,
            judge_seconds,
            lent_by: None,
            error,
            training: TrainingRecord::of(&history),
            statistics,
            evaluations,
        };
        self.write(cell, &record)
    }
}

/// A precision as records name it.
pub fn precision_name(precision: PrecisionKind) -> String {
    format!("{precision:?}").to_lowercase()
}

/// The arguments of `adamant evaluate` for one of a study's evaluations of the run in `folder`.
fn line(spec: &EvaluationSpec, seed: u64, folder: &Path) -> Vec<String> {
    // An evaluation that the study later asks otherwise is another, and its ledger too.
    let mut name = format!("{}-{}-{}", spec.name, spec.protocol, spec.attacks.join("-"));
    name += &format!("-{}-{}", spec.branch, spec.attack_branch.as_deref().unwrap_or("itself"));
    name += &format!("-{}", spec.samples);
    let model = folder.join(LAST).display().to_string();
    let out = folder.join("evaluations").join(name).display().to_string();
    let mut line: Vec<String> = [
        "evaluate",
        &model,
        "--attacks",
        &spec.attacks.join(","),
        "--protocol",
        &spec.protocol,
        "--branch",
        &spec.branch,
        "--seed",
        &seed.to_string(),
        "--out",
        &out,
        "--resume",
    ]
    .map(String::from)
    .to_vec();
    if let Some(branch) = &spec.attack_branch {
        line.extend(["--attack-branch".to_string(), branch.clone()]);
    }
    if spec.samples > 0 {
        line.extend(["--samples".to_string(), spec.samples.to_string()]);
    }
    if spec.along {
        line.push("--along".to_string());
    }
    line
}
