//! The folder of a run: one writer, a resolved recipe, a record, metrics, models and checkpoints.
//!
//! Begin with [`Run::create`] and [`Run::resume`]. This is the one place of the library that reads the clock.

use super::alarm;
use super::checkpoint::State;
use super::lock::{Holder, lock};
use super::recipe::{Difference, Recipe};
use super::recipe_error::RecipeError;
use super::record::{Change, Machine, RunRecord, Status};
use super::store::{Store, StoreError, replace_file};
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use thiserror::Error;

const RECIPE: &str = "recipe.toml";
pub(super) const RECORD: &str = "run.json";
pub(super) const METRICS: &str = "metrics.jsonl";

/// An open run folder; no other process can open it meanwhile.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    record: RunRecord,
    metrics: File,
    /// Length of the metrics that are whole.
    written: u64,
    /// Lines that the disk would not take yet.
    waiting: Vec<u8>,
    began: Instant,
    seconds_before: f64,
    /// Held until the run is dropped or its process ends, however it ends.
    _lock: File,
}

/// What can be wrong with a run folder.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// A new run where one is.
    #[error("{}: holds a run already\n  hint: continue it with --resume, or choose another folder with --out", folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// A resumed run where none is.
    #[error("{}: holds no run to resume, expected {missing} in it", folder.display())]
    Absent {
        /// The folder.
        folder: PathBuf,
        /// The file that is not there.
        missing: &'static str,
    },
    /// Two writers.
    #[error(
        "{}: another process is writing this run{holder}\n  \
         hint: wait for it or end it; `kill -TERM` makes it write a checkpoint first",
        folder.display()
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// Who it is, where it has said so.
        holder: Holder,
    },
    /// A file that is not what a run writes.
    #[error("{}: {message}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The recipe in the folder is none.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The disk refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RunError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        StoreError::io(path, source).into()
    }
}

/// What a run is told about itself by whoever starts it.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Name of the recipe.
    pub recipe: String,
    /// Version of the program.
    pub version: String,
    /// Revision it was built from.
    pub revision: String,
    /// Whether the source had changes beyond the revision.
    pub dirty: bool,
    /// The machine.
    pub machine: Machine,
    /// Number of ranks.
    pub world_size: usize,
}

impl Run {
    /// Opens a new run folder and writes its recipe and record.
    ///
    /// Errors: the folder holds a run, another process writes there, the disk refuses.
    pub fn create(folder: &Path, recipe: &Recipe, identity: Identity) -> Result<Self, RunError> {
        fs::create_dir_all(folder).map_err(|e| RunError::io(folder, e))?;
        let lock = lock(folder)?;
        if folder.join(RECIPE).exists() {
            return Err(RunError::Exists { folder: folder.to_path_buf() });
        }
        let started = SystemTime::now().duration_since(UNIX_EPOCH);
        let record = RunRecord {
            recipe: identity.recipe,
            version: identity.version,
            revision: identity.revision,
            dirty: identity.dirty,
            machine: identity.machine,
            seed: recipe.training.seed,
            world_size: identity.world_size,
            precision: recipe.training.precision,
            started_unix: started.map_or(0, |d| d.as_secs()),
            resumed: 0,
            status: Status::Running,
            step: 0,
            error: None,
            best: None,
            steps: 0,
            seconds: 0.0,
            alarms: Vec::new(),
            changes: Vec::new(),
        };
        // The recipe comes last: its presence is what makes a folder a run.
        let run = Self::open(folder, record, lock)?;
        run.write_record()?;
        replace_file(&folder.join(RECIPE), recipe.print().as_bytes())?;
        Ok(run)
    }

    /// Opens the folder of a run that was interrupted, with the recipe it was started with.
    ///
    /// Errors: no run there, another process writes there, a file that cannot be read.
    pub fn resume(folder: &Path) -> Result<(Self, Recipe), RunError> {
        for missing in [RECIPE, RECORD] {
            if !folder.join(missing).is_file() {
                return Err(RunError::Absent { folder: folder.to_path_buf(), missing });
            }
        }
        let lock = lock(folder)?;
        let recipe = Self::recipe(folder)?;
        let path = folder.join(RECORD);
        let text = fs::read(&path).map_err(|e| RunError::io(&path, e))?;
        let mut record: RunRecord = serde_json::from_slice(&text)
            .map_err(|e| RunError::Unreadable { path, message: e.to_string() })?;
        record.resumed += 1;
        record.error = None;
        record.status = Status::Running;
        let run = Self::open(folder, record, lock)?;
        run.write_record()?;
        Ok((run, recipe))
    }

    /// The recipe a run was started with.
    ///
    /// Errors: no recipe there, or one that does not parse.
    pub fn recipe(folder: &Path) -> Result<Recipe, RunError> {
        let path = folder.join(RECIPE);
        let text = fs::read_to_string(&path).map_err(|e| RunError::io(&path, e))?;
        Ok(Recipe::parse(&text, &path, &[])?)
    }

    fn open(folder: &Path, record: RunRecord, lock: File) -> Result<Self, RunError> {
        let path = folder.join(METRICS);
        let open = || {
            let metrics = OpenOptions::new().create(true).append(true).open(&path)?;
            let written = metrics.metadata()?.len();
            Ok((metrics, written))
        };
        let (metrics, written) = open().map_err(|e| RunError::io(&path, e))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            record,
            metrics,
            written,
            waiting: Vec::new(),
            began: Instant::now(),
            seconds_before: 0.0,
            _lock: lock,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The record as it stands.
    pub fn record(&self) -> &RunRecord {
        &self.record
    }

    /// Where the checkpoints are.
    pub fn store(&self, keep: usize) -> Store {
        Store::new(self.folder.join("checkpoints"), keep)
    }

    /// Seconds of training so far, earlier parts included.
    pub fn seconds(&self) -> f64 {
        self.seconds_before + self.began.elapsed().as_secs_f64()
    }

    /// Goes back to the moment of a checkpoint: drops the metrics of later steps and torn lines.
    ///
    /// Errors: the disk refuses.
    pub fn rewind(&mut self, step: u64, seconds: f64) -> Result<(), RunError> {
        let path = self.folder.join(METRICS);
        let text = fs::read(&path).map_err(|e| RunError::io(&path, e))?;
        let mut kept = Vec::with_capacity(text.len());
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let value: Option<serde_json::Value> = serde_json::from_slice(line).ok();
            let line_step = value.and_then(|v| v.get("step").and_then(serde_json::Value::as_u64));
            if line.ends_with(b"\n") && line_step.is_some_and(|s| s <= step) {
                kept.extend_from_slice(line);
            }
        }
        replace_file(&path, &kept)?;
        self.metrics =
            OpenOptions::new().append(true).open(&path).map_err(|e| RunError::io(&path, e))?;
        self.written = kept.len() as u64;
        self.waiting.clear();
        (self.seconds_before, self.began) = (seconds, Instant::now());
        Ok(())
    }

    /// Appends one line to `metrics.jsonl`, in one write so that a kill tears at most this line.
    ///
    /// Errors: the disk refuses. The line is then kept and written with the next.
    pub fn write_metrics(&mut self, line: &impl Serialize) -> Result<(), RunError> {
        serde_json::to_writer(&mut self.waiting, line)
            .expect("metrics hold only numbers and names");
        self.waiting.push(b'\n');
        self.flush_metrics()
    }

    fn flush_metrics(&mut self) -> Result<(), RunError> {
        let written = self.metrics.write_all(&self.waiting);
        if written.is_ok() {
            self.written += self.waiting.len() as u64;
            self.waiting.clear();
        } else {
            // A full disk takes a part of a line; what cannot be taken back either, `rewind` drops.
            let _ = self.metrics.set_len(self.written);
        }
        written.map_err(|e| RunError::io(&self.folder.join(METRICS), e))
    }

    /// Puts the metrics so far on disk; called before each checkpoint, which counts on them.
    ///
    /// Errors: the disk refuses.
    pub fn sync_metrics(&mut self) -> Result<(), RunError> {
        self.flush_metrics()?;
        self.metrics.sync_data().map_err(|e| RunError::io(&self.folder.join(METRICS), e))
    }

    /// Writes how the run stands.
    ///
    /// Errors: the disk refuses.
    pub fn set_status(
        &mut self,
        status: Status,
        state: &State,
        error: Option<String>,
    ) -> Result<(), RunError> {
        self.record = RunRecord {
            status,
            step: state.step,
            seconds: state.seconds,
            best: state.best.clone(),
            alarms: alarm::begun(&state.history),
            error,
            ..self.record.clone()
        };
        self.write_record()
    }

    /// Says how many steps there are in all; the next status tells it.
    pub fn set_steps(&mut self, steps: u64) {
        self.record.steps = steps;
    }

    /// Goes on with another recipe than the run was started with; the record says which keys were changed.
    ///
    /// Errors: the disk refuses.
    pub fn change(&mut self, recipe: &Recipe, changes: Vec<Difference>) -> Result<(), RunError> {
        let step = self.record.step;
        let change = |d: Difference| Change { step, key: d.key, from: d.started, to: d.found };
        self.record.changes.extend(changes.into_iter().map(change));
        self.record.seed = recipe.training.seed;
        self.record.precision = recipe.training.precision;
        // The record first: a kill in between leaves a change that is told and made by the next resume.
        self.write_record()?;
        self.replace(RECIPE, recipe.print().as_bytes()).map(|_| ())
    }

    /// Replaces a file of the folder, whole or not at all.
    ///
    /// Errors: the disk refuses; the old file is then intact.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, RunError> {
        let path = self.folder.join(name);
        replace_file(&path, bytes)?;
        Ok(path)
    }

    fn write_record(&self) -> Result<(), RunError> {
        let mut text =
            serde_json::to_vec_pretty(&self.record).expect("a record holds only numbers and text");
        text.push(b'\n');
        self.replace(RECORD, &text).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn identity() -> Identity {
        let machine = Machine {
            system: "linux".into(),
            architecture: "x86_64".into(),
            processor: "any".into(),
            kernel: "portable".into(),
            threads: 1,
        };
        Identity {
            recipe: "tiny".into(),
            version: "0".into(),
            revision: "unknown".into(),
            dirty: false,
            machine,
            world_size: 1,
        }
    }

    #[test]
    fn a_run_is_resumed_with_the_recipe_it_was_started_with() {
        let folder = tempfile::tempdir().unwrap();
        let mut recipe = Recipe::default();
        recipe.training.seed = 7;
        drop(Run::create(folder.path(), &recipe, identity()).unwrap());
        let (run, again) = Run::resume(folder.path()).unwrap();
        assert_eq!(recipe.differences(&again), []);
        assert_eq!((run.record().seed, run.record().resumed), (7, 1));
    }

    #[test]
    fn a_folder_with_a_run_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        drop(Run::create(folder.path(), &Recipe::default(), identity()).unwrap());
        let error = Run::create(folder.path(), &Recipe::default(), identity()).unwrap_err();
        assert!(matches!(error, RunError::Exists { .. }), "{error}");
        assert!(error.to_string().contains("--resume"));
    }

    #[test]
    fn a_folder_without_a_run_is_not_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let error = Run::resume(folder.path()).unwrap_err().to_string();
        assert!(error.contains("holds no run to resume, expected recipe.toml"), "{error}");
    }

    #[test]
    fn a_second_writer_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::create(folder.path(), &Recipe::default(), identity()).unwrap();
        assert!(matches!(Run::resume(folder.path()), Err(RunError::Locked { .. })));
        drop(run);
        assert!(Run::resume(folder.path()).is_ok());
    }

    #[test]
    fn g17_metrics_after_the_checkpoint_and_torn_lines_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Run::create(folder.path(), &Recipe::default(), identity()).unwrap();
        for step in 1..=5 {
            run.write_metrics(&json!({"step": step, "loss": 1.0})).unwrap();
        }
        run.metrics.write_all(b"{\"step\": 3, \"lo").unwrap();
        run.rewind(3, 10.0).unwrap();
        run.write_metrics(&json!({"step": 4, "loss": 2.0})).unwrap();
        let text = fs::read_to_string(folder.path().join(METRICS)).unwrap();
        let steps: Vec<&str> = text.lines().map(|l| l.rsplit_once(':').unwrap().1).collect();
        assert_eq!(steps, ["1}", "2}", "3}", "4}"]);
        assert!(run.seconds() >= 10.0);
    }
}
