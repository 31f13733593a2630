//! The lines that a run appends to its metrics.

use super::checkpoint::{Skipped, State};
use super::record::{Consequence, FaultMetrics, Missing, MissingMetrics, StepMetrics};
use super::trainer::StepReport;
use crate::data;
use crate::image::Batch;

/// Seconds of a step.
pub(super) struct Timing {
    /// All of it.
    pub elapsed: f64,
    /// Waiting for its images.
    pub images: f64,
    /// Waiting for other ranks, where there are any.
    pub ranks: Option<f64>,
}

/// A line about a step that is done.
pub(super) fn step_metrics(
    report: &StepReport,
    state: &State,
    epoch: u32,
    images: usize,
    timing: Timing,
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
        images_per_second: images as f64 / timing.elapsed.max(1e-9),
        wait: timing.images,
        wait_ranks: timing.ranks,
    }
}

/// A line about the images that the step after `state` goes without.
pub(super) fn missing_metrics(
    state: &State,
    epoch: u32,
    skipped: Vec<data::Skipped>,
) -> MissingMetrics {
    let name = |one: data::Skipped| Missing { index: one.index, reason: one.reason };
    MissingMetrics {
        step: state.step + 1,
        epoch,
        images: state.images,
        seconds: state.seconds,
        missing: skipped.into_iter().map(name).collect(),
    }
}

/// A line about a step that is passed by; `state` has just done so.
pub(super) fn fault_metrics(
    state: &State,
    epoch: u32,
    fault: &Skipped,
    batch: &Batch,
) -> FaultMetrics {
    FaultMetrics {
        step: state.step,
        epoch,
        images: state.images,
        seconds: state.seconds,
        fault: Consequence::Skipped,
        part: fault.part.clone(),
        layer: fault.layer.clone(),
        indices: batch.indices.clone(),
    }
}
