//! A whole run: steps, validations, checkpoints, interruption. Begin with [`fit`].

use super::checkpoint::{Checkpoint, State};
use super::error::TrainError;
use super::guard;
use super::plan::Plan;
use super::record::{Best, Status, StepMetrics, ValidationMetrics};
use super::run::Run;
use super::store::StoreError;
use super::trainer::{StepReport, Trainer};
use super::validation::{Subset, validate};
use crate::data::{Dataset, Loader, Part, hold_out};
use crate::evaluate::branch_name;
use crate::image::Batch;
use crate::optimizer::Sgd;
use collective::Collective;
use engine::Engine;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Name of the best model in a run folder.
pub const BEST: &str = "best.safetensors";
/// Name of the last model in a run folder.
pub const LAST: &str = "last.safetensors";

/// What happens in a run, told to whoever watches; the library prints nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run begins or goes on.
    Begin {
        /// Steps done before.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// Learnt numbers of the network.
        parameters: usize,
    },
    /// A checkpoint that cannot be used; the one before it is tried.
    Damaged(&'a StoreError),
    /// A step is done.
    Step(&'a StepMetrics),
    /// A validation begins.
    Validating,
    /// A validation is done, and it is the best so far or not.
    Validated {
        /// Its figures.
        metrics: &'a ValidationMetrics,
        /// The best so far.
        best: &'a Best,
    },
    /// A checkpoint is on disk.
    Checkpoint {
        /// Its folder.
        path: &'a Path,
    },
}

/// Who watches a run.
pub trait Watcher {
    /// Something happened.
    fn event(&mut self, event: Event<'_>);
}

impl<F: FnMut(Event<'_>)> Watcher for F {
    fn event(&mut self, event: Event<'_>) {
        self(event);
    }
}

/// What a run needs besides its folder.
pub struct Setting<'a, E: Engine> {
    /// Computes.
    pub engine: &'a E,
    /// The other ranks.
    pub collective: &'a dyn Collective,
    /// What is wanted.
    pub plan: &'a Plan,
    /// The training images; some are held out, the test images have no place here.
    pub dataset: Arc<Dataset>,
    /// Set from outside to end the run after the step under way, with a checkpoint.
    pub interrupt: &'a AtomicBool,
}

/// Trains to the end, from the newest good checkpoint of the run's folder if there is one.
///
/// Gives the state after the last step. Errors: whatever ends the run; the record then says so, and a run that was
/// interrupted has a checkpoint of its last step.
pub fn fit<E: Engine>(
    setting: &Setting<'_, E>,
    run: &mut Run,
    watcher: &mut dyn Watcher,
) -> Result<State, TrainError> {
    let mut last_state = State::default();
    let outcome = fit_inner(setting, run, watcher, &mut last_state);
    let State { step, ref best, .. } = last_state;
    let (status, error) = match &outcome {
        Ok(_) => (Status::Finished, None),
        Err(TrainError::Interrupted { .. }) => (Status::Interrupted, None),
        Err(error) => (Status::Failed, Some(error.to_string())),
    };
    let recorded = run.set_status(status, step, best.clone(), error);
    // What ended the run is told before a record that could not be written.
    let state = outcome?;
    recorded?;
    Ok(state)
}

fn fit_inner<E: Engine>(
    setting: &Setting<'_, E>,
    run: &mut Run,
    watcher: &mut dyn Watcher,
    state: &mut State,
) -> Result<State, TrainError> {
    let Setting { engine, collective, plan, ref dataset, interrupt } = *setting;
    if dataset.part() == Part::Test {
        let (name, found) = (dataset.name().to_string(), "test".to_string());
        return Err(TrainError::NotTrainingImages { name, found });
    }
    let (asked, found) = (plan.precision, engine.training_precision());
    if asked.resolve(found) != found {
        return Err(TrainError::Precision { asked, found });
    }
    let parts = hold_out(dataset.len(), plan.validation, plan.seed)?;
    let loader = Loader::over(Arc::clone(dataset), parts.train, plan.loader)?;
    let held_out = Subset { dataset, indices: &parts.validation };

    let begin = newest(plan, dataset, run, watcher)?;
    *state = begin.state;
    let mut optimizer = Sgd::new(plan.optimizer, &begin.network.parameters);
    optimizer.velocity = begin.velocities;
    let schedule = plan.schedule(loader.steps_per_epoch());
    let network = begin.network;
    let mut trainer = Trainer { engine, collective, plan, schedule, network, optimizer };
    run.rewind(state.step, state.seconds)?;

    let per_epoch = u64::from(loader.steps_per_epoch());
    let learnt = trainer.network.parameters.iter().filter(|p| p.role.is_learnt());
    let parameters = learnt.map(|p| p.values.len()).sum();
    let steps = per_epoch * u64::from(plan.epochs);
    watcher.event(Event::Begin { step: state.step, steps, parameters });
    let mut before = run.seconds();
    for item in loader.prefetch(loader.position(state.step), plan.epochs) {
        let item = item?;
        let epoch = item.position.epoch;
        let report = trainer.step(&item.batch, state.step, epoch)?;
        let seconds = run.seconds();
        advance(state, &item.batch, per_epoch, seconds);
        let metrics = step_metrics(&report, state, epoch, &item.batch, seconds - before);
        run.write_metrics(&metrics)?;
        watcher.event(Event::Step(&metrics));

        let epoch_ends = state.step_in_epoch == 0;
        let validates = epoch_ends
            && (state.epoch == plan.epochs
                || state.epoch.is_multiple_of(plan.evaluation.every_epochs));
        if validates {
            watcher.event(Event::Validating);
            select(&trainer, held_out, state, epoch, run, watcher)?;
        }
        let every = plan.checkpoints.every_steps;
        let interrupted = interrupt.load(Ordering::SeqCst) && state.step < steps;
        if epoch_ends || interrupted || (every > 0 && state.step.is_multiple_of(every)) {
            let checkpoint = remember(&trainer, state, run)?;
            watcher.event(Event::Checkpoint { path: &checkpoint });
            run.set_status(Status::Running, state.step, state.best.clone(), None)?;
            if interrupted {
                return Err(TrainError::Interrupted { step: state.step, checkpoint });
            }
        }
        before = run.seconds();
    }
    run.replace(LAST, &trainer.network.to_bytes())?;
    Ok(state.clone())
}

/// The newest good checkpoint, or the beginning.
fn newest(
    plan: &Plan,
    dataset: &Dataset,
    run: &Run,
    watcher: &mut dyn Watcher,
) -> Result<Checkpoint, TrainError> {
    let store = run.store(plan.checkpoints.keep);
    let newest = store.newest()?;
    for damaged in &newest.damaged {
        watcher.event(Event::Damaged(damaged));
    }
    let fresh = plan.network(dataset.shape(), dataset.classes())?;
    let Some((step, files)) = newest.good else {
        let velocities = Sgd::new(plan.optimizer, &fresh.parameters).velocity;
        return Ok(Checkpoint { network: fresh, velocities, state: State::default() });
    };
    let folder = run.folder().join(format!("checkpoints/step-{step}"));
    let checkpoint = Checkpoint::decode(&files, &folder)?;
    let wrong = |message: &str| {
        Err(TrainError::Checkpoint { path: folder.clone(), message: message.to_string() })
    };
    if checkpoint.state.step != step {
        return wrong("holds another step than its name says");
    }
    if checkpoint.network.graph != fresh.graph {
        return wrong("holds another network than the recipe and the data ask for");
    }
    Ok(checkpoint)
}

fn advance(state: &mut State, batch: &Batch, per_epoch: u64, seconds: f64) {
    state.step += 1;
    state.epoch = u32::try_from(state.step / per_epoch).expect("fewer than 2^32 epochs");
    state.step_in_epoch = (state.step % per_epoch) as u32;
    state.images += batch.images.count as u64;
    state.seconds = seconds;
}

fn step_metrics(
    report: &StepReport,
    state: &State,
    epoch: u32,
    batch: &Batch,
    elapsed: f64,
) -> StepMetrics {
    StepMetrics {
        step: state.step,
        epoch,
        images: state.images,
        seconds: state.seconds,
        loss: report.loss,
        loss_clean: report.loss_clean,
        loss_adversarial: report.loss_adversarial,
        learning_rate: report.learning_rate,
        accuracy_clean: report.accuracy_clean,
        accuracy_adversarial: report.accuracy_adversarial,
        gradient_norm: report.gradient_norm,
        images_per_second: batch.images.count as f64 / elapsed.max(1e-9),
    }
}

/// Judges on held-out images and keeps the model if it is the best so far; of equals the earlier stays.
fn select<E: Engine>(
    trainer: &Trainer<'_, E>,
    held_out: Subset<'_>,
    state: &mut State,
    epoch: u32,
    run: &mut Run,
    watcher: &mut dyn Watcher,
) -> Result<(), TrainError> {
    let plan = trainer.plan;
    let judged = validate(trainer.engine, &trainer.network, plan, held_out, state.step)?;
    let metrics = ValidationMetrics {
        step: state.step,
        epoch,
        images: state.images,
        seconds: run.seconds(),
        evaluation: plan.evaluation.select_by.clone(),
        split: "validation".into(),
        samples: held_out.indices.len(),
        branch: branch_name(plan.judged_branch()),
        accuracy_clean: judged.clean,
        accuracy_adversarial: judged.adversarial,
        warning: state
            .best
            .as_ref()
            .filter(|best| best.attack != "clean")
            .and_then(|best| guard::warning(best.accuracy_adversarial, judged.adversarial)),
    };
    run.write_metrics(&metrics)?;
    let is_better = |best: &Best| judged.adversarial > best.accuracy_adversarial;
    if state.best.as_ref().is_none_or(is_better) {
        run.replace(BEST, &trainer.network.to_bytes())?;
        state.best = Some(Best {
            step: state.step,
            attack: plan.evaluation.select_by.clone(),
            accuracy_clean: judged.clean,
            accuracy_adversarial: judged.adversarial,
        });
    }
    let best = state.best.as_ref().expect("the first validation is the best so far");
    watcher.event(Event::Validated { metrics: &metrics, best });
    Ok(())
}

fn remember<E: Engine>(
    trainer: &Trainer<'_, E>,
    state: &mut State,
    run: &Run,
) -> Result<std::path::PathBuf, TrainError> {
    run.sync_metrics()?;
    state.seconds = run.seconds();
    let checkpoint = Checkpoint {
        network: trainer.network.clone(),
        velocities: trainer.optimizer.velocity.clone(),
        state: state.clone(),
    };
    Ok(run.store(trainer.plan.checkpoints.keep).save(state.step, &checkpoint.encode())?)
}
