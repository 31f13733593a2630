//! A validation of a run: figures, alarms, the best model so far.

use super::alarm::{self, Judgement};
use super::checkpoint::{Since, State};
use super::error::TrainError;
use super::plan::Plan;
use super::record::{Best, ValidationMetrics};
use super::sections::OnOverfitting;
use super::validation::Judged;
use crate::evaluate::branch_name;

/// What a validation led to.
pub(super) struct Outcome {
    /// The line of metrics.
    pub(super) metrics: ValidationMetrics,
    /// Whether the model is the best so far; of equals the earlier stays.
    pub(super) is_best: bool,
}

/// Enters a validation after `state.step` into the state.
pub(super) fn enter(plan: &Plan, state: &mut State, judged: Judged, samples: usize) -> Outcome {
    let Judged { clean, adversarial, fgsm } = judged;
    let training = state.since.mean();
    let step = state.step;
    state.since = Since::default();
    state.validation_due = false;
    let before = alarm::ringing(&state.history).map(|alarm| alarm.kind);
    state.history.push(Judgement { step, samples, clean, adversarial, fgsm, training });
    let ringing = alarm::ringing(&state.history);
    let kind = ringing.as_ref().map(|alarm| alarm.kind);
    let message = ringing.map(|alarm| alarm.message);
    if plan.evaluation.on_overfitting == OnOverfitting::Stop {
        state.ended_early.clone_from(&message);
    }
    let warning = message.filter(|_| kind != before);
    let is_better = |best: &Best| adversarial > best.accuracy_adversarial;
    let is_best = state.best.as_ref().is_none_or(is_better);
    if is_best {
        state.best = Some(Best {
            step,
            attack: plan.evaluation.select_by.clone(),
            accuracy_clean: clean,
            accuracy_adversarial: adversarial,
        });
    }
    let metrics = ValidationMetrics {
        step,
        // The epoch of the step just done: at an epoch's end the count has moved on already.
        epoch: state.epoch - u32::from(state.step_in_epoch == 0),
        images: state.images,
        seconds: state.seconds,
        evaluation: plan.evaluation.select_by.clone(),
        split: "validation".into(),
        samples,
        branch: branch_name(plan.judged_branch()),
        accuracy_clean: clean,
        accuracy_adversarial: adversarial,
        accuracy_fgsm: fgsm,
        accuracy_training: training,
        alarm: kind,
        warning,
    };
    Outcome { metrics, is_best }
}

/// Whether a validation follows the step that `state` has just done.
pub(super) fn is_due(plan: &Plan, state: &State) -> bool {
    let ends = state.step_in_epoch == 0;
    let every = plan.evaluation.every_epochs;
    let by_epoch = ends && (state.epoch == plan.epochs || state.epoch.is_multiple_of(every));
    by_epoch || plan.evaluation.every_steps.is_some_and(|every| state.step.is_multiple_of(every))
}

/// A step that is to be passed by from now on.
///
/// Errors: `NoRecovery`, where its epoch has lost too many already.
pub(super) fn pass_by(
    state: &mut State,
    fault: Box<super::fault::Fault>,
    per_epoch: u64,
) -> Result<(), TrainError> {
    let epoch = fault.step / per_epoch;
    let skipped = state.skipped.iter().filter(|s| s.step / per_epoch == epoch).count();
    if skipped >= MOST_SKIPPED {
        return Err(TrainError::NoRecovery { fault, skipped });
    }
    let super::fault::Fault { step, what, layer, .. } = *fault;
    state.skipped.push(super::checkpoint::Skipped { step, part: what, layer });
    Ok(())
}

/// Steps of one epoch that may be passed by: batches that break a run are rare, a run that breaks more often has
/// another illness.
const MOST_SKIPPED: usize = 8;
