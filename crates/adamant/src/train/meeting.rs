//! Where the workers of a step meet, on this rank and on the others: what they tell each other, and one sum for all.
//!
//! Workers are added up in a [`collective::Tree`], so the bits do not depend on which rank stands for which worker. A step
//! that one rank cannot finish is finished by none: it hears of that after the sums, in which a rank that failed takes part.

use super::buckets::{Gathering, OverlapKind};
use super::error::TrainError;
use super::fault::Fault;
use super::plan::Plan;
use super::pooling;
use crate::evaluate::record::exact;
use crate::objective::Part;
use collective::{Collective, sum_behind};
use network::{Moments, Network};
use serde::{Deserialize, Serialize};

/// What a worker tells of its part of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Told {
    /// Images of the worker, clean counterparts not counted.
    pub images: usize,
    /// The mean loss over them.
    #[serde(with = "exact")]
    pub loss: f64,
    /// Its clean part.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "exact::optional")]
    pub loss_clean: Option<f64>,
    /// Its adversarial part.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "exact::optional")]
    pub loss_adversarial: Option<f64>,
    /// Clean images shown, and how many were right.
    pub clean: (usize, usize),
    /// The same of adversarial ones.
    pub adversarial: (usize, usize),
}

impl Told {
    /// Everything but the images and what was right.
    pub fn of_loss(images: usize, total: f64, parts: &[Part]) -> Self {
        let part = |name| parts.iter().find(|part| part.name == name).map(|part| part.value);
        let (loss_clean, loss_adversarial) = (part("clean"), part("adversarial"));
        Self { images, loss: total, loss_clean, loss_adversarial, ..Self::default() }
    }

    /// All workers as one; a worker counts by its images.
    fn pooled(all: &[Self]) -> Self {
        if let [only] = all {
            return only.clone();
        }
        let mean = |value: &dyn Fn(&Self) -> Option<f64>| {
            let (mut sum, mut images) = (0.0, 0);
            for told in all {
                if let Some(value) = value(told) {
                    (sum, images) = (sum + value * told.images as f64, images + told.images);
                }
            }
            (images > 0).then(|| sum / images as f64)
        };
        let counts = |count: fn(&Self) -> (usize, usize)| {
            all.iter().map(count).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
        };
        Self {
            images: all.iter().map(|told| told.images).sum(),
            loss: mean(&|told| Some(told.loss)).unwrap_or(0.0),
            loss_clean: mean(&|told| told.loss_clean),
            loss_adversarial: mean(&|told| told.loss_adversarial),
            clean: counts(|told| told.clean),
            adversarial: counts(|told| told.adversarial),
        }
    }
}

/// What the workers of one rank have come to, besides gradients.
#[derive(Default)]
pub(super) struct Own {
    /// What each tells, in order.
    pub told: Vec<Told>,
    /// By worker and forward.
    pub moments: Vec<Vec<Moments>>,
}

/// What all workers have come to together, the same on every rank.
pub(super) struct Met {
    pub told: Told,
    /// By parameter: the mean over all images.
    pub gradients: Vec<Vec<f32>>,
    /// By forward.
    pub moments: Vec<Moments>,
}

/// How a rank's part of a step ended.
#[derive(Serialize, Deserialize)]
enum Outcome {
    Done(Vec<Told>),
    Fault { step: u64, what: String, layer: Option<String>, images: Vec<u64> },
    Failed(String),
}

/// Has this rank's workers do their `work` while the gradients it gives travel, and joins the parts of all ranks.
///
/// `computed` is called when this rank has nothing left to do but wait. Errors: this rank's own; that of the first rank that
/// has one, `NonFinite` as such and others as `OtherRank`; those of the collective.
pub(super) fn meet(
    ranks: &dyn Collective,
    network: &Network,
    plan: &Plan,
    work: impl FnOnce(&mut Gathering<'_>) -> Result<Own, TrainError>,
    computed: impl FnOnce(),
) -> Result<Met, TrainError> {
    let Plan { wire, workers, mut overlap, .. } = *plan;
    if plan.shares_moments() {
        // The ranks meet within the backward: what travels behind it would come between.
        overlap.kind = OverlapKind::None;
    }
    let (size, parameters) = (ranks.world_size(), &network.parameters);
    let ((own, gathered), sums) = sum_behind(ranks, wire, |post| {
        // Workers that share their moments give one gradient for all of a rank's.
        let own = if plan.shares_moments() { 1 } else { workers / size };
        let counts = (own, workers);
        let mut gathering = Gathering::new(post, parameters, overlap, size, counts);
        let own = work(&mut gathering);
        let gathered = gathering.end(parameters);
        computed();
        (own, gathered)
    });
    let sums = sums?;
    let (own, told) = together(ranks, own, |own| own.told.clone())?;
    let told = Told::pooled(&told);
    let mut gradients = gathered.with(&sums);
    if workers > 1 {
        let images = told.images as f32;
        gradients.iter_mut().flatten().for_each(|gradient| *gradient /= images);
    }
    let moments = match workers {
        _ if plan.shares_moments() => own.moments.into_iter().next().expect("a rank has images"),
        1 => own.moments.into_iter().next().expect("a rank has a worker"),
        _ => pooling::pool(ranks, network, &own.moments)?,
    };
    Ok(Met { told, gradients, moments })
}

/// Tells how this rank fared and hears of the others.
///
/// Errors: as [`meet`].
pub(super) fn together<T>(
    ranks: &dyn Collective,
    own: Result<T, TrainError>,
    tell: impl Fn(&T) -> Vec<Told>,
) -> Result<(T, Vec<Told>), TrainError> {
    if ranks.world_size() == 1 {
        let own = own?;
        let told = tell(&own);
        return Ok((own, told));
    }
    let outcome = match &own {
        Ok(own) => Outcome::Done(tell(own)),
        Err(TrainError::NonFinite(fault)) => {
            let Fault { step, what, layer, images } = &**fault;
            let (what, layer, images) = (what.clone(), layer.clone(), images.clone());
            Outcome::Fault { step: *step, what, layer, images }
        }
        Err(error) => Outcome::Failed(error.to_string()),
    };
    let bytes = serde_json::to_vec(&outcome).expect("an outcome holds only numbers and text");
    let gathered = ranks.gather("step", &bytes)?;
    let own = own?;
    let mut all = Vec::new();
    for (rank, bytes) in gathered.iter().enumerate() {
        let message = |error: serde_json::Error| error.to_string();
        match serde_json::from_slice(bytes).map_err(message) {
            Ok(Outcome::Done(told)) => all.extend(told),
            Ok(Outcome::Fault { step, what, layer, images }) => {
                return Err(TrainError::NonFinite(Box::new(Fault { step, what, layer, images })));
            }
            Ok(Outcome::Failed(message)) | Err(message) => {
                return Err(TrainError::OtherRank { rank, message });
            }
        }
    }
    Ok((own, all))
}
