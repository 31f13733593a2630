//! Judging on held-out training images, to choose the best model; the test images are never read here (T45, G32).

use super::error::TrainError;
use super::plan::Plan;
use crate::attack::{self, AttackError};
use crate::data::Dataset;
use crate::evaluate::{Evaluator, Examples, Protocol, Samples, Share, Silent, Subject};
use crate::image::Batch;
use collective::Collective;
use engine::{Engine, Precision};
use network::{Network, Shape};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// Share right as they are and under a single gradient step, where the attack above takes more.
    pub fgsm: Option<f64>,
}

/// Held-out images that are there only until somebody asks for an end.
struct Interruptible<'a> {
    subset: Subset<'a>,
    interrupt: &'a AtomicBool,
}

impl Examples for Interruptible<'_> {
    fn count(&self) -> usize {
        self.subset.count()
    }

    fn shape(&self) -> Shape {
        self.subset.shape()
    }

    fn read(&self, positions: &[usize]) -> Result<Batch, Box<dyn std::error::Error + Send + Sync>> {
        if self.interrupt.load(Ordering::SeqCst) {
            return Err("interrupted".into());
        }
        self.subset.read(positions)
    }
}

/// Judges `network` on held-out images by the plan's criterion, and under a single gradient step where alarms need it.
///
/// Every rank judges its share of them and has the figures of all. The seed is the run's, so every epoch meets the same
/// starting points. Nothing where `interrupt` was set before the end. Errors: the evaluator's, `OtherRank`, the collective's.
pub fn validate<E: Engine>(
    engine: &E,
    ranks: &dyn Collective,
    network: &Network,
    plan: &Plan,
    held_out: Subset<'_>,
    step: u64,
    interrupt: &AtomicBool,
) -> Result<Option<Judged>, TrainError> {
    let Subset { dataset, indices } = held_out;
    let all = indices.len();
    let share = Share::new(ranks.rank() + 1, ranks.world_size());
    let share = share.expect("a rank lies below the world's size");
    let own = Subset { dataset, indices: share.of(indices) };
    let judged = match own.indices {
        [] => Ok(Some(Judged { clean: 0.0, adversarial: 0.0, fgsm: None })),
        _ => validate_own(engine, network, plan, own, step, interrupt),
    };
    if ranks.world_size() == 1 {
        return judged;
    }
    let told = match &judged {
        Ok(Some(judged)) => Told::Judged(Counts::of(judged, own.indices.len())),
        Ok(None) => Told::Interrupted,
        Err(error) => Told::Failed(error.to_string()),
    };
    let bytes = serde_json::to_vec(&told).expect("counts and text");
    let gathered = ranks.gather("validation", &bytes)?;
    judged?;
    let mut sum = Counts::default();
    for (rank, bytes) in gathered.iter().enumerate() {
        let message = |error: serde_json::Error| error.to_string();
        match serde_json::from_slice(bytes).map_err(message) {
            Ok(Told::Judged(counts)) => sum.add(&counts),
            Ok(Told::Interrupted) => {
                interrupt.store(true, Ordering::SeqCst);
                return Ok(None);
            }
            Ok(Told::Failed(message)) | Err(message) => {
                return Err(TrainError::OtherRank { rank, message });
            }
        }
    }
    let share = |count: u64| count as f64 / all as f64;
    let (clean, adversarial) = (share(sum.clean), share(sum.adversarial));
    Ok(Some(Judged { clean, adversarial, fgsm: sum.fgsm.map(share) }))
}

/// What a rank says of its share of the held-out images.
#[derive(Serialize, Deserialize)]
enum Told {
    Judged(Counts),
    Interrupted,
    Failed(String),
}

/// Images that are right.
#[derive(Default, Serialize, Deserialize)]
struct Counts {
    clean: u64,
    adversarial: u64,
    fgsm: Option<u64>,
}

impl Counts {
    fn of(judged: &Judged, images: usize) -> Self {
        let count = |share: f64| (share * images as f64).round() as u64;
        Self {
            clean: count(judged.clean),
            adversarial: count(judged.adversarial),
            fgsm: judged.fgsm.map(count),
        }
    }

    fn add(&mut self, other: &Self) {
        self.clean += other.clean;
        self.adversarial += other.adversarial;
        if let Some(fgsm) = other.fgsm {
            *self.fgsm.get_or_insert(0) += fgsm;
        }
    }
}

fn validate_own<E: Engine>(
    engine: &E,
    network: &Network,
    plan: &Plan,
    held_out: Subset<'_>,
    step: u64,
    interrupt: &AtomicBool,
) -> Result<Option<Judged>, TrainError> {
    let select_by = plan.evaluation.select_by.as_str();
    let held_out = Interruptible { subset: held_out, interrupt };
    let judge = |attack: &str| match judge(engine, network, plan, &held_out, step, attack) {
        // What was judged of a validation is not kept: it is made anew when the run goes on.
        Err(_) if interrupt.load(Ordering::SeqCst) => Ok(None),
        judged => judged.map(Some),
    };
    let Some(selecting) = judge(select_by)? else { return Ok(None) };
    let has_more_steps = !["clean", SINGLE_STEP].contains(&select_by);
    let fgsm = match has_more_steps && plan.shows_adversarial_images() {
        true => match judge(SINGLE_STEP)? {
            Some(judged) => Some(judged.adversarial),
            None => return Ok(None),
        },
        false => None,
    };
    Ok(Some(Judged { fgsm, ..selecting }))
}

/// The attack of one gradient step from the image: what catastrophic overfitting learns to mislead (T27).
const SINGLE_STEP: &str = "fgsm";

fn judge<E: Engine>(
    engine: &E,
    network: &Network,
    plan: &Plan,
    held_out: &Interruptible<'_>,
    step: u64,
    attack: &str,
) -> Result<Judged, TrainError> {
    let evaluation = &plan.evaluation;
    let attack = attack::parse(attack, &evaluation.defaults)
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
        .evaluate(engine, network, subject, held_out, &mut Silent)
        .map_err(|source| TrainError::Evaluate { step, source: Box::new(source) })?;
    let adversarial = judged.attacks.last().map_or(judged.clean_accuracy, |a| a.robust_accuracy);
    Ok(Judged { clean: judged.clean_accuracy, adversarial, fgsm: None })
}
