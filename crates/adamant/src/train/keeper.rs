//! When a run remembers, and what happens when the disk refuses: training goes on, the next try comes soon.

use super::checkpoint::{Checkpoint, State};
use super::error::TrainError;
use super::fit::{BEST, Event, Watcher};
use super::plan::CheckpointPlan;
use super::record::Status;
use super::run::{Run, RunError};
use super::trainer::Trainer;
use engine::Engine;
use std::path::PathBuf;

/// Seconds until a checkpoint is tried again that could not be written: soon enough to lose little, seldom enough that
/// a full disk does not slow training down.
const RETRY: f64 = 30.0;

/// Writes what a run must not lose.
pub(super) struct Keeper {
    plan: CheckpointPlan,
    /// Training time of the last checkpoint, or of the last failure.
    last: f64,
    failed: bool,
    /// Whether the disk refuses metrics at the moment; told once.
    refuses_metrics: bool,
    /// The best model, where the disk would not take it yet.
    best: Option<Vec<u8>>,
}

impl Keeper {
    /// A keeper for a run that has trained for so many seconds.
    pub(super) fn new(plan: CheckpointPlan, seconds: f64) -> Self {
        Self { plan, last: seconds, failed: false, refuses_metrics: false, best: None }
    }

    /// Whether a checkpoint is due after the step that `state` has just done.
    pub(super) fn is_due(&self, state: &State, seconds: f64) -> bool {
        let every = self.plan.every_steps;
        let waited = seconds - self.last;
        state.step_in_epoch == 0
            || (every > 0 && state.step.is_multiple_of(every))
            || self.plan.every.is_some_and(|every| waited >= every.as_secs_f64())
            || (self.failed && waited >= RETRY)
    }

    /// Takes the best model so far; it is on disk at the latest with the next checkpoint, which names it.
    pub(super) fn best(&mut self, bytes: Vec<u8>, run: &Run, watcher: &mut dyn Watcher) {
        self.best = Some(bytes);
        if let Err(error) = self.write_best(run) {
            watcher.event(Event::Refused { error: &error.into() });
        }
    }

    fn write_best(&mut self, run: &Run) -> Result<(), RunError> {
        if let Some(bytes) = &self.best {
            run.replace(BEST, bytes)?;
            self.best = None;
        }
        Ok(())
    }

    /// Tells once when metrics cannot be written; the run keeps the lines.
    pub(super) fn metrics(&mut self, written: Result<(), RunError>, watcher: &mut dyn Watcher) {
        let refuses = written.is_err();
        if let Err(error) = written
            && !self.refuses_metrics
        {
            watcher.event(Event::Refused { error: &error.into() });
        }
        self.refuses_metrics = refuses;
    }

    /// Writes a checkpoint; where the disk refuses, that is told and training goes on.
    pub(super) fn keep<E: Engine>(
        &mut self,
        trainer: &Trainer<'_, E>,
        state: &mut State,
        run: &mut Run,
        watcher: &mut dyn Watcher,
    ) {
        if let Err(error) = self.must_keep(trainer, state, run, watcher) {
            watcher.event(Event::Refused { error: &error });
        }
    }

    /// Writes a checkpoint.
    ///
    /// Errors: the disk refuses; the checkpoints before are then intact.
    pub(super) fn must_keep<E: Engine>(
        &mut self,
        trainer: &Trainer<'_, E>,
        state: &mut State,
        run: &mut Run,
        watcher: &mut dyn Watcher,
    ) -> Result<PathBuf, TrainError> {
        let written = self.write(trainer, state, run);
        (self.last, self.failed) = (run.seconds(), written.is_err());
        if let Ok(path) = &written {
            watcher.event(Event::Checkpoint { path });
        }
        written
    }

    fn write<E: Engine>(
        &mut self,
        trainer: &Trainer<'_, E>,
        state: &mut State,
        run: &mut Run,
    ) -> Result<PathBuf, TrainError> {
        // A checkpoint counts on what it names: the metrics up to its step and the best model.
        run.sync_metrics()?;
        self.write_best(run)?;
        state.seconds = run.seconds();
        let checkpoint = Checkpoint {
            network: trainer.network.clone(),
            velocities: trainer.optimizer.velocity.clone(),
            state: state.clone(),
        };
        let path = run.store(self.plan.keep).save(state.step, &checkpoint.encode())?;
        run.set_status(Status::Running, state, None)?;
        Ok(path)
    }
}
