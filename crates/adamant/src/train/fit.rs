//! A whole run: steps, validations, checkpoints, interruption. Begin with [`fit`].

use super::checkpoint::{Checkpoint, Skipped, State};
use super::error::TrainError;
use super::fault::Fault;
use super::judging;
use super::keeper::Keeper;
use super::lines::{Timing, fault_metrics, missing_metrics, step_metrics};
use super::plan::Plan;
use super::ranks::{Command, Ended, pack, tell};
use super::record::{Consequence, Status};
use super::run::Run;
use super::sections::{OnNonFinite, OnOverfitting};
use super::trainer::{StepPart, StepReport, Trainer, deal};
use super::validation::{self, Subset};
use crate::data::{DataError, Dataset, Loader, Part, Prefetched, hold_out_and_draw};
use crate::evaluate::EvaluateError;
use crate::image::Batch;
use crate::optimizer::Sgd;
use collective::Collective;
use engine::Engine;
use network::Network;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

pub use super::event::{Event, Watcher};

/// Name of the best model in a run folder.
pub const BEST: &str = "best.safetensors";
/// Name of the last model in a run folder.
pub const LAST: &str = "last.safetensors";

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
    /// Set from outside to have a checkpoint after the step under way; taken back once it is tried.
    pub checkpoint_now: &'a AtomicBool,
}

/// Trains to the end, from the newest good checkpoint of the run's folder if there is one.
///
/// Gives the state after the last step. Errors: whatever ends the run; the record then says so, and a run that was
/// interrupted has a checkpoint of its last step. A disk that refuses a checkpoint or metrics ends nothing before the
/// end: it is told, and tried again.
pub fn fit<E: Engine>(
    setting: &Setting<'_, E>,
    run: &mut Run,
    watcher: &mut dyn Watcher,
) -> Result<State, TrainError> {
    let mut last_state = State::default();
    let outcome = fit_inner(setting, run, watcher, &mut last_state);
    let ended = match &outcome {
        Ok(()) => Ended::Finished,
        Err(TrainError::Interrupted { step, checkpoint }) => {
            Ended::Interrupted { step: *step, checkpoint: checkpoint.clone() }
        }
        Err(error) => Ended::Failed(error.to_string()),
    };
    if !matches!(outcome, Err(TrainError::Collective(_))) {
        // A rank that is gone meanwhile is told by the next to wait for it.
        let _ = tell(setting.collective, &Command::End(ended), setting.interrupt);
    }
    let (status, error) = match &outcome {
        Ok(_) => (Status::Finished, None),
        Err(TrainError::Interrupted { .. }) => (Status::Interrupted, None),
        Err(error) => (Status::Failed, Some(error.to_string())),
    };
    let recorded = run.set_status(status, &last_state, error);
    // What ended the run is told before a record that could not be written.
    outcome?;
    recorded?;
    Ok(last_state)
}

fn fit_inner<E: Engine>(
    setting: &Setting<'_, E>,
    run: &mut Run,
    watcher: &mut dyn Watcher,
    state: &mut State,
) -> Result<(), TrainError> {
    let Setting { engine, collective, plan, ref dataset, .. } = *setting;
    let (loader, held_out) = hold_out_and_deal(setting)?;
    let held_out = Subset { dataset, indices: &held_out };
    let begin = newest(plan, dataset, run, watcher)?;
    hand_out(setting, &begin)?;
    *state = begin.state;
    let mut optimizer = Sgd::new(plan.optimizer, &begin.network.parameters);
    optimizer.velocity = begin.velocities;
    let schedule = plan.schedule(loader.steps_per_epoch());
    let network = begin.network;
    let trainer = Trainer { engine, collective, plan, schedule, network, optimizer };
    run.rewind(state.step, state.seconds)?;

    let steps = u64::from(loader.steps_per_epoch()) * u64::from(plan.epochs);
    run.set_steps(steps);
    // A record that cannot be written now is written with the first checkpoint.
    let _ = run.set_status(Status::Running, state, None);
    let learnt = trainer.network.parameters.iter().filter(|p| p.role.is_learnt());
    let parameters = learnt.map(|p| p.values.len()).sum();
    watcher.event(Event::Begin { step: state.step, steps, parameters });
    let keeper = Keeper::new(plan.checkpoints, state.seconds);
    let tries = 0;
    let mut life =
        Life { setting, loader, held_out, trainer, keeper, run, watcher, state, steps, tries };
    while let Turn::Again = life.go_on()? {}
    let last = life.trainer.network.to_bytes();
    life.run.sync_metrics()?;
    life.run.replace(LAST, &last)?;
    Ok(())
}

/// The batches of this rank's workers, and the images that are held out.
///
/// Errors: test images; an engine of another precision; ranks that cannot share the work; those of the loader.
pub(super) fn hold_out_and_deal<E: Engine>(
    setting: &Setting<'_, E>,
) -> Result<(Loader, Vec<u64>), TrainError> {
    let Setting { engine, collective, plan, ref dataset, .. } = *setting;
    if dataset.part() == Part::Test {
        let (name, found) = (dataset.name().to_string(), "test".to_string());
        return Err(TrainError::NotTrainingImages { name, found });
    }
    let (asked, found) = (plan.precision, engine.training_precision());
    if asked.resolve(found) != found {
        return Err(TrainError::Precision { asked, found });
    }
    let learned = plan.images.map(NonZeroUsize::get);
    let parts = hold_out_and_draw(dataset.len(), plan.validation, learned, plan.seed)?;
    let loader = Loader::over(Arc::clone(dataset), parts.train, plan.loader)?;
    Ok((loader.dealt(deal(plan, collective)?), parts.validation))
}

/// Gives the other ranks what rank 0 goes on from.
fn hand_out<E: Engine>(
    setting: &Setting<'_, E>,
    checkpoint: &Checkpoint,
) -> Result<(), TrainError> {
    let Setting { collective, interrupt, .. } = *setting;
    if collective.world_size() > 1 {
        tell(collective, &Command::Load, interrupt)?;
        collective.broadcast(0, pack(&checkpoint.encode()))?;
    }
    Ok(())
}

/// A run under way.
struct Life<'a, E: Engine> {
    setting: &'a Setting<'a, E>,
    loader: Loader,
    held_out: Subset<'a>,
    trainer: Trainer<'a, E>,
    keeper: Keeper,
    run: &'a mut Run,
    watcher: &'a mut dyn Watcher,
    state: &'a mut State,
    steps: u64,
    /// How often in a row images could not be read.
    tries: u32,
}

/// How often images are read again that the system would not give; a network file system may be away for a moment.
const MOST_TRIES: u32 = 3;

/// Why the loop over steps was left.
enum Turn {
    /// There is no step left to do.
    Ended,
    /// The run is at another step than the batches made ahead.
    Again,
}

impl<E: Engine> Life<'_, E> {
    /// Trains from where the state is.
    fn go_on(&mut self) -> Result<Turn, TrainError> {
        let plan = self.setting.plan;
        if self.state.validation_due {
            self.judge()?;
            self.remember()?;
        }
        if self.has_ended_early() {
            return Ok(Turn::Ended);
        }
        let mut batches = self.loader.prefetch(self.loader.position(self.state.step), plan.epochs);
        loop {
            let before = self.run.seconds();
            let skipped;
            let item = match batches.next() {
                Some(Ok(mut item)) => {
                    skipped = std::mem::take(&mut item.skipped);
                    item
                }
                Some(Err(error)) => {
                    self.wait_or_end(error.into())?;
                    return Ok(Turn::Again);
                }
                None => return Ok(Turn::Ended),
            };
            let wait = self.run.seconds() - before;
            self.tries = 0;
            let epoch = item.position.epoch;
            if !skipped.is_empty() {
                let metrics = missing_metrics(self.state, epoch, skipped);
                self.keeper.metrics(self.run.write_metrics(&metrics), self.watcher);
                self.watcher.event(Event::Missing { metrics: &metrics });
            }
            let passed_by = self.state.skipped.iter().find(|s| s.step == self.state.step).cloned();
            if let Some(skipped) = passed_by {
                advance(self.state, 0, &self.loader, self.run.seconds());
                let metrics = fault_metrics(self.state, epoch, &skipped, &item.batch);
                self.keeper.metrics(self.run.write_metrics(&metrics), self.watcher);
            } else {
                let (report, waited) = match self.step(&item, epoch) {
                    Ok(report) => report,
                    Err(TrainError::NonFinite(fault)) => {
                        return self.went_wrong(fault, epoch, &item.batch);
                    }
                    Err(error) => return Err(error),
                };
                advance(self.state, self.images(&item), &self.loader, self.run.seconds());
                self.state.since.add(report.accuracy_adversarial);
                let elapsed = self.run.seconds() - before;
                let images = self.images(&item);
                let timing = Timing { elapsed, images: wait, ranks: waited };
                let metrics = step_metrics(&report, self.state, epoch, images, timing);
                self.keeper.metrics(self.run.write_metrics(&metrics), self.watcher);
                self.watcher.event(Event::Step(&metrics));
            }
            self.state.validation_due = judging::is_due(plan, self.state);
            if self.state.validation_due {
                self.judge()?;
            }
            self.remember()?;
            if self.has_ended_early() {
                return Ok(Turn::Ended);
            }
        }
    }

    /// One step on all ranks, and the seconds that this one waited in it for others.
    fn step(
        &mut self,
        item: &Prefetched,
        epoch: u32,
    ) -> Result<(StepReport, Option<f64>), TrainError> {
        let Setting { collective, interrupt, .. } = *self.setting;
        let step = self.state.step;
        tell(collective, &Command::Step { step }, interrupt)?;
        let Self { trainer, run, .. } = self;
        let (mut computed, mut met) = (0.0, 0.0);
        let mut reached = |part| match part {
            StepPart::Computed => computed = run.seconds(),
            StepPart::Met => met = run.seconds(),
        };
        let report = trainer.step_watched(&item.batch, &item.parts, step, epoch, &mut reached)?;
        Ok((report, (collective.world_size() > 1).then_some(met - computed)))
    }

    /// Images of a step over all ranks; of other ranks' images that cannot be read only they know.
    fn images(&self, item: &Prefetched) -> usize {
        match self.setting.collective.world_size() {
            1 => item.batch.images.count,
            _ => self.setting.plan.loader.batch_size,
        }
    }

    /// Whether an alarm ended training, by the recipe as it is now.
    fn has_ended_early(&self) -> bool {
        let stops = self.setting.plan.evaluation.on_overfitting == OnOverfitting::Stop;
        stops && self.state.ended_early.is_some()
    }

    /// A validation, made again where its images cannot be read.
    fn judge(&mut self) -> Result<(), TrainError> {
        while let Err(error) = self.validate() {
            self.wait_or_end(error)?;
        }
        self.tries = 0;
        Ok(())
    }

    /// Judges the model on held-out images; where an interruption comes first, the validation stays due.
    fn validate(&mut self) -> Result<(), TrainError> {
        let Setting { engine, collective, plan, interrupt, .. } = *self.setting;
        self.watcher.event(Event::Validating);
        let (network, step) = (&self.trainer.network, self.state.step);
        tell(collective, &Command::Judge { step }, interrupt)?;
        let held_out = self.held_out;
        let judged =
            validation::validate(engine, collective, network, plan, held_out, step, interrupt)?;
        let Some(judged) = judged else { return Ok(()) };
        self.state.seconds = self.run.seconds();
        let samples = self.held_out.indices.len();
        let outcome = judging::enter(plan, self.state, judged, samples);
        self.keeper.metrics(self.run.write_metrics(&outcome.metrics), self.watcher);
        if outcome.is_best {
            self.keeper.best(self.trainer.network.to_bytes(), self.run, self.watcher);
        }
        let best = self.state.best.as_ref().expect("the first validation is the best so far");
        self.watcher.event(Event::Validated { metrics: &outcome.metrics, best });
        Ok(())
    }

    /// Writes a checkpoint where one is due or asked for.
    ///
    /// Errors: `Interrupted` where the end was asked for and there is something left to do.
    fn remember(&mut self) -> Result<(), TrainError> {
        let Setting { interrupt, checkpoint_now, .. } = *self.setting;
        let ended = self.has_ended_early();
        let Self { trainer, keeper, run, watcher, state, .. } = self;
        let is_left = state.validation_due || (state.step < self.steps && !ended);
        if interrupt.load(Ordering::SeqCst) && is_left {
            let checkpoint = keeper.must_keep(trainer, state, run, *watcher)?;
            return Err(TrainError::Interrupted { step: state.step, checkpoint });
        }
        let asked = checkpoint_now.swap(false, Ordering::SeqCst);
        if asked || ended || keeper.is_due(state, run.seconds()) {
            keeper.keep(trainer, state, run, *watcher);
        }
        Ok(())
    }

    /// Where images cannot be read: waits before they are tried again, and keeps what was learnt before the run ends.
    fn wait_or_end(&mut self, error: TrainError) -> Result<(), TrainError> {
        if is_of_the_system(&error) && self.tries < MOST_TRIES {
            self.watcher.event(Event::Unreadable { error: &error });
            sleep(Duration::from_millis(250 << self.tries));
            self.tries += 1;
            return Ok(());
        }
        let Self { trainer, keeper, run, watcher, state, .. } = self;
        if state.step > 0 {
            keeper.keep(trainer, state, run, *watcher);
        }
        Err(error)
    }

    /// A step whose numbers went wrong: the end, or back to the last checkpoint with the step to be passed by (G32).
    fn went_wrong(
        &mut self,
        fault: Box<Fault>,
        epoch: u32,
        batch: &Batch,
    ) -> Result<Turn, TrainError> {
        let Setting { plan, ref dataset, .. } = *self.setting;
        if plan.on_nonfinite == OnNonFinite::Stop {
            let part =
                Skipped { step: fault.step, part: fault.what.clone(), layer: fault.layer.clone() };
            let mut line = fault_metrics(self.state, epoch, &part, batch);
            (line.step, line.fault) = (fault.step + 1, Consequence::Stopped);
            self.keeper.metrics(self.run.write_metrics(&line), self.watcher);
            return Err(TrainError::NonFinite(fault));
        }
        let told = TrainError::NonFinite(fault.clone());
        judging::pass_by(self.state, fault, u64::from(self.loader.steps_per_epoch()))?;
        let (skipped, best) = (self.state.skipped.clone(), self.state.best.clone());
        let begin = newest(plan, dataset, self.run, self.watcher)?;
        hand_out(self.setting, &begin)?;
        self.trainer.network = begin.network;
        self.trainer.optimizer.velocity = begin.velocities;
        // The best model on disk may be younger than the checkpoint.
        *self.state = State { skipped, best, ..begin.state };
        self.run.rewind(self.state.step, self.run.seconds())?;
        self.watcher.event(Event::RolledBack { fault: &told, step: self.state.step });
        Ok(Turn::Again)
    }
}

/// Whether the system would not give a file: another time it may. A damaged picture stays damaged.
pub(super) fn is_of_the_system(error: &TrainError) -> bool {
    let data = match error {
        TrainError::Data(error) => Some(&**error),
        TrainError::Evaluate { source, .. } => match &**source {
            EvaluateError::Read { source, .. } => source.downcast_ref(),
            _ => None,
        },
        _ => None,
    };
    matches!(data, Some(DataError::Io { .. }))
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
        let fresh = begin(plan, fresh)?;
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

/// The network that training begins with: `fresh`, or the recipe's model where it names one.
fn begin(plan: &Plan, fresh: Network) -> Result<Network, TrainError> {
    let Some(path) = &plan.begin_with else { return Ok(fresh) };
    let other = Network::read(path)?;
    if other.graph != fresh.graph {
        let message = "holds another network than the recipe and the data ask for".to_string();
        return Err(TrainError::Checkpoint { path: path.clone(), message });
    }
    Ok(other)
}

fn advance(state: &mut State, images: usize, loader: &Loader, seconds: f64) {
    let per_epoch = u64::from(loader.steps_per_epoch());
    state.step += 1;
    state.epoch = u32::try_from(state.step / per_epoch).expect("fewer than 2^32 epochs");
    state.step_in_epoch = (state.step % per_epoch) as u32;
    state.images += images as u64;
    state.seconds = seconds;
}
