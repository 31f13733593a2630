//! Judging on held-out training images, to choose the best model; the test images are never read here (T45, G32).

use super::error::TrainError;
use super::plan::Plan;
use crate::attack::{self, AttackError};
use crate::data::Dataset;
use crate::evaluate::{Evaluator, Examples, Protocol, Samples, Silent, Subject};
use crate::image::Batch;
use engine::{Engine, Precision};
use network::{Network, Shape};

/// Images in memory at a time; figures do not depend on it.
const BATCH: usize = 256;

/// Some images of a data set, as the evaluator reads them.
#[derive(Clone, Copy, Debug)]
pub struct Subset<'a> {
    /// The data set.
    pub dataset: &'a Dataset,
    /// Positions in it.
    pub indices: &'a [u64],
}

impl Examples for Subset<'_> {
    fn count(&self) -> usize {
        self.indices.len()
    }

    fn shape(&self) -> Shape {
        self.dataset.shape()
    }

    fn read(&self, positions: &[usize]) -> Result<Batch, Box<dyn std::error::Error + Send + Sync>> {
        let indices: Vec<u64> = positions.iter().map(|&position| self.indices[position]).collect();
        Ok(self.dataset.batch(&indices)?)
    }
}

/// Clean and robust accuracy of the branch whose robustness counts; equal where the recipe selects by clean accuracy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Share right as they are.
    pub clean: f64,
    /// Share right as they are and under the attack.
    pub adversarial: f64,
}

/// Judges `network` on held-out images by the plan's criterion.
///
/// The seed is the run's, so every epoch meets the same starting points. Errors: the evaluator's.
pub fn validate<E: Engine>(
    engine: &E,
    network: &Network,
    plan: &Plan,
    held_out: Subset<'_>,
    step: u64,
) -> Result<Judged, TrainError> {
    let evaluation = &plan.evaluation;
    let attack = attack::parse(&evaluation.select_by, &evaluation.defaults)
        .map_err(|source: AttackError| TrainError::Attack { step, source: Box::new(source) })?;
    let evaluator = Evaluator {
        threat: evaluation.defaults.threat.clone(),
        attacks: vec![attack],
        protocol: Protocol::WorstCase,
        branch: plan.judged_branch(),
        attack_branch: plan.judged_branch(),
        precision: Precision::F32,
        samples: Samples::All,
        seed: plan.seed,
        batch_size: BATCH,
    };
    let subject = Subject { model: "in training".into(), data: "held-out images".into() };
    let judged = evaluator
        .evaluate(engine, network, subject, &held_out, &mut Silent)
        .map_err(|source| TrainError::Evaluate { step, source: Box::new(source) })?;
    let adversarial = judged.attacks.last().map_or(judged.clean_accuracy, |a| a.robust_accuracy);
    Ok(Judged { clean: judged.clean_accuracy, adversarial })
}
