//! A run on the ranks other than 0: they compute what rank 0 has them do and write nothing. Begin with [`follow`].

use super::checkpoint::Checkpoint;
use super::error::TrainError;
use super::fit::{Setting, hold_out_and_deal, is_of_the_system};
use super::ranks::{Command, Ended, hear, unpack};
use super::trainer::Trainer;
use super::validation::{self, Subset};
use crate::data::{Loader, Prefetch, Prefetched};
use crate::optimizer::Sgd;
use engine::Engine;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// Computes this rank's share of a run until rank 0 ends it.
///
/// Errors: `Interrupted` and `OtherRank` where the run ended so; this rank's own, when all ranks know; the collective's.
pub fn follow<E: Engine>(setting: &Setting<'_, E>) -> Result<(), TrainError> {
    let Setting { engine, collective, plan, ref dataset, interrupt, .. } = *setting;
    let prepared = hold_out_and_deal(setting);
    let mut trainer: Option<Trainer<'_, E>> = None;
    let mut batches: Option<Ahead> = None;
    // Told to the others where they wait for this rank, and returned at the end.
    let mut failed = None;
    loop {
        match hear(collective, interrupt)? {
            Command::Load => {
                let bytes = collective.broadcast(0, Vec::new())?;
                let cut =
                    || TrainError::OtherRank { rank: 0, message: "a checkpoint was cut".into() };
                let files = unpack(&bytes).ok_or_else(cut)?;
                let begin = Checkpoint::decode(&files, Path::new("the checkpoint of rank 0"))?;
                let (loader, _) = prepared.as_ref().map_err(repeated)?;
                let schedule = plan.schedule(loader.steps_per_epoch());
                let mut optimizer = Sgd::new(plan.optimizer, &begin.network.parameters);
                optimizer.velocity = begin.velocities;
                let network = begin.network;
                batches = None;
                trainer = Some(Trainer { engine, collective, plan, schedule, network, optimizer });
            }
            Command::Step { step } => {
                let (loader, _) = prepared.as_ref().map_err(repeated)?;
                let trainer = trainer.as_mut().expect("rank 0 sends its checkpoint first");
                let outcome = match Ahead::batch(&mut batches, loader, step, plan.epochs) {
                    Ok(item) => {
                        let epoch = item.position.epoch;
                        trainer.step_dealt(&item.batch, &item.parts, step, epoch).map(|_| ())
                    }
                    Err(error) => trainer.fail(error),
                };
                match outcome {
                    Ok(()) | Err(TrainError::NonFinite(_)) => {}
                    Err(error @ TrainError::Collective(_)) => return Err(error),
                    // Rank 0 knows, and ends the run.
                    Err(error) => failed = Some(error),
                }
            }
            Command::Judge { step } => {
                let (_, held_out) = prepared.as_ref().map_err(repeated)?;
                let held_out = Subset { dataset, indices: held_out };
                let network = &trainer.as_ref().expect("rank 0 sends its checkpoint first").network;
                let judged = validation::validate(
                    engine, collective, network, plan, held_out, step, interrupt,
                );
                match judged {
                    Ok(_) => {}
                    Err(error @ TrainError::Collective(_)) => return Err(error),
                    // Rank 0 tries again or ends the run.
                    Err(error) => failed = Some(error),
                }
            }
            Command::End(ended) => {
                return match (ended, failed) {
                    (Ended::Finished, _) => Ok(()),
                    (Ended::Interrupted { step, checkpoint }, _) => {
                        Err(TrainError::Interrupted { step, checkpoint })
                    }
                    (Ended::Failed(_), Some(error)) => Err(error),
                    (Ended::Failed(message), None) => {
                        Err(TrainError::OtherRank { rank: 0, message })
                    }
                };
            }
        }
    }
}

/// An error of the beginning, which every rank has where recipe and images are the same.
fn repeated(error: &TrainError) -> TrainError {
    TrainError::OtherRank { rank: 0, message: error.to_string() }
}

/// Batches made ahead, and the step that the next is for.
struct Ahead {
    batches: Prefetch,
    step: u64,
}

impl Ahead {
    /// The batch of `step`, tried again where the system would not give its images.
    fn batch(
        ahead: &mut Option<Self>,
        loader: &Loader,
        step: u64,
        epochs: u32,
    ) -> Result<Prefetched, TrainError> {
        for wait in [0, 250, 500, 1000] {
            sleep(Duration::from_millis(wait));
            // Rank 0 passes steps by.
            while let Some(Self { batches, step: next }) = ahead.as_mut()
                && *next < step
                && step - *next < 4
            {
                *next += 1;
                if !matches!(batches.next(), Some(Ok(_))) {
                    *ahead = None;
                }
            }
            let from = || Self { batches: loader.prefetch(loader.position(step), epochs), step };
            let current = match ahead.take() {
                Some(current) if current.step == step => current,
                _ => from(),
            };
            let Self { mut batches, .. } = current;
            match batches.next().expect("rank 0 asks for steps that there are") {
                Ok(item) => {
                    *ahead = Some(Self { batches, step: step + 1 });
                    return Ok(item);
                }
                Err(error) => {
                    let error = TrainError::from(error);
                    if wait == 1000 || !is_of_the_system(&error) {
                        return Err(error);
                    }
                }
            }
        }
        unreachable!("the last try returns")
    }
}
