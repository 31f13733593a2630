//! How attacks behave: what a sound network and a sound attack show as radius, steps, restarts and loss vary.

use super::super::{EvaluateError, Evaluator, Flag, check, judge};
use super::{Networks, few};
use crate::attack::loss::cross_entropy;
use crate::attack::{Attack, AttackDefaults, AttackError, AttackStream, Perturbed, parse};
use crate::image::{Batch, Images};
use crate::threat::{Epsilon, Norm, ThreatModel};
use crate::victim::{logits_in_tiles, perturb_in_tiles};
use engine::Frozen;

/// The attack that others are compared with.
const USUAL: &str = "pgd-20";
/// An attack without gradients, of so few queries that it finds little where gradients lead.
const BLIND: &str = "square-100";

/// Attacks on images that the judged network is right on.
pub(super) struct Sweep<'a, 'n, A, J, S> {
    pub evaluator: &'a Evaluator,
    pub networks: &'a Networks<'n, A, J, S>,
    pub batch: &'a Batch,
    pub stream: AttackStream,
}

/// Accuracies, as numbers of images still right.
struct Measured {
    images: usize,
    usual: usize,
    /// At a quarter, half, once and twice the radius.
    by_epsilon: Vec<(String, usize)>,
    by_epsilon_single_step: Vec<(String, usize)>,
    unbounded: usize,
    long: usize,
    restarts: usize,
    margin: usize,
    /// Broken by noise, and not by the usual attack.
    by_noise_alone: usize,
    by_queries_alone: usize,
    by_transfer_alone: Option<usize>,
    /// Images whose loss is lower after the usual attack than before.
    loss_fell: usize,
}

impl<A: Frozen, J: Frozen, S: Frozen> Sweep<'_, '_, A, J, S> {
    /// Runs all sweeps. A gradient that is no number is a doubt; every other error is one.
    pub(super) fn flags(&self) -> Result<Vec<Flag>, EvaluateError> {
        match self.measure() {
            Ok(measured) => Ok(measured.flags()),
            Err(EvaluateError::Attack(error @ AttackError::NonFinite { .. })) => {
                Ok(vec![Flag::failure(
                    "not-finite",
                    error.to_string(),
                    "an attack that meets it stops: what it did not see counts as robust",
                    "find the layer that divides by zero or overflows",
                )])
            }
            Err(error) => Err(error),
        }
    }

    fn measure(&self) -> Result<Measured, EvaluateError> {
        let threat = &self.evaluator.threat;
        let everything = check::everything(threat.norm(), self.batch.images.shape)?;
        let usual_images = self.crafted(self.networks.attacked, USUAL, threat)?;
        let usual = self.judged(USUAL, threat, &usual_images)?;
        let alone = |broken: &[bool]| {
            let pairs = broken.iter().zip(&usual);
            pairs.filter(|(right, usual)| !**right && **usual).count()
        };
        let mut by_epsilon = Vec::new();
        let mut by_epsilon_single_step = Vec::new();
        for factor in [0.25, 0.5, 1.0, 2.0] {
            let scaled = scaled(threat, factor)?;
            let written = scaled.epsilon().written().to_string();
            let right = self.right(USUAL, &scaled)?;
            by_epsilon.push((written.clone(), count(&right)));
            if factor <= 1.0 {
                by_epsilon_single_step.push((written, count(&self.right("fgsm", &scaled)?)));
            }
        }
        let by_transfer_alone = match self.networks.surrogate {
            None => None,
            Some(surrogate) => {
                let images = self.crafted(surrogate, USUAL, threat)?;
                Some(alone(&self.judged(USUAL, threat, &images)?))
            }
        };
        Ok(Measured {
            images: self.batch.images.count,
            by_epsilon,
            by_epsilon_single_step,
            unbounded: count(&self.right("margin-pgd-50", &everything)?),
            long: count(&self.right("pgd-100", threat)?),
            restarts: count(&self.right("pgd-20-5", threat)?),
            margin: count(&self.right("margin-pgd-20", threat)?),
            by_noise_alone: alone(&self.right("noise-20", threat)?),
            by_queries_alone: alone(&self.right(BLIND, threat)?),
            by_transfer_alone,
            loss_fell: self.loss_fell(&usual_images)?,
            usual: count(&usual),
        })
    }

    fn right(&self, name: &str, threat: &ThreatModel) -> Result<Vec<bool>, EvaluateError> {
        let images = self.crafted(self.networks.attacked, name, threat)?;
        self.judged(name, threat, &images)
    }

    fn crafted(
        &self,
        network: &impl Frozen,
        name: &str,
        threat: &ThreatModel,
    ) -> Result<Perturbed, EvaluateError> {
        let attack: Box<dyn Attack> = parse(name, &AttackDefaults::new(threat.clone()))?;
        Ok(perturb_in_tiles(network, &*attack, self.batch, &self.stream)?.0)
    }

    fn judged(
        &self,
        name: &str,
        threat: &ThreatModel,
        perturbed: &Perturbed,
    ) -> Result<Vec<bool>, EvaluateError> {
        check::proposal(name, threat, self.batch, perturbed)?;
        let predictions = judge(self.networks.judged, &perturbed.images, self.batch)?;
        Ok(predictions.iter().zip(&self.batch.labels).map(|(p, label)| p == label).collect())
    }

    fn loss_fell(&self, perturbed: &Perturbed) -> Result<usize, EvaluateError> {
        let losses = |images: &Images| -> Result<Vec<f64>, EvaluateError> {
            let logits = logits_in_tiles(self.networks.attacked, images)?;
            let labels = self.batch.labels.iter().enumerate();
            Ok(labels.map(|(image, &label)| cross_entropy(logits.row(image), label)).collect())
        };
        let before = losses(&self.batch.images)?;
        let after = losses(&perturbed.images)?;
        Ok(before.iter().zip(&after).filter(|(before, after)| after < before).count())
    }
}

impl Measured {
    fn flags(&self) -> Vec<Flag> {
        let n = self.images;
        let mut flags = Vec::new();
        let mut warn = |holds: bool, name: &str, found: String, why: &str, advice: &str| {
            if holds {
                flags.push(Flag::warning(name, found, why, advice));
            }
        };
        if let Some(((below, less), (above, more))) = rise(&self.by_epsilon, few(n, 2)) {
            warn(
                true,
                "accuracy-rises-with-epsilon",
                format!("{USUAL} leaves {less} of {n} images at {below}, {more} at {above}"),
                "a larger ball holds the smaller one: the attack got lost, not the adversary weaker",
                "attack without gradients (square) or on another loss; suspect masked gradients",
            );
        }
        warn(
            self.unbounded > few(n, 5),
            "not-zero-at-unbounded-epsilon",
            format!(
                "margin-pgd-50 may change every pixel at will, yet leaves {} of {n} images",
                self.unbounded
            ),
            "images of every class lie in that ball: an attack that misses them does not work",
            "look for layers that stop or flatten gradients; attack without gradients",
        );
        let single = self.by_epsilon_single_step.last().map_or(0, |(_, right)| *right);
        let rises = rise(&self.by_epsilon_single_step, few(n, 5)).is_some();
        warn(
            single > self.usual + few(n, 40) || (rises && single > self.usual + few(n, 15)),
            "single-step-is-fooled",
            format!("fgsm leaves {single} of {n} images, {USUAL} {}", self.usual),
            "trained with single steps, a network can learn to fool them (catastrophic overfitting)",
            "quote attacks of many steps only; train with more steps or a random start",
        );
        warn(
            self.usual > self.long + few(n, 8),
            "still-falling-with-steps",
            format!("{USUAL} leaves {} of {n} images, pgd-100 {}", self.usual, self.long),
            "accuracy that falls with steps is that of the attack, not of the network",
            "raise the steps until the accuracy is flat; look at --along",
        );
        warn(
            self.usual > self.restarts + few(n, 10),
            "still-falling-with-restarts",
            format!("{USUAL} leaves {} of {n} images, five restarts {}", self.usual, self.restarts),
            "a loss surface with many traps hides adversarial images from a single search",
            "raise the restarts until the accuracy is flat",
        );
        warn(
            self.usual > self.margin + few(n, 10),
            "another-loss-is-stronger",
            format!("{USUAL} leaves {} of {n} images, margin-pgd-20 {}", self.usual, self.margin),
            "the cross-entropy saturates or points elsewhere; its accuracy is too high",
            "judge by several losses: autoattack, or margin-pgd beside pgd",
        );
        warn(
            self.by_noise_alone > few(n, 2),
            "noise-beats-gradients",
            format!("noise breaks {} of {n} images that {USUAL} does not", self.by_noise_alone),
            "random points know nothing of the network: an attack that they beat does not work",
            "suspect masked gradients; attack without gradients (square)",
        );
        warn(
            self.by_queries_alone > few(n, 2),
            "black-box-beats-white-box",
            format!("{BLIND} breaks {} of {n} images that {USUAL} does not", self.by_queries_alone),
            "who sees the gradients should do better than who does not: they may be masked",
            "do not quote the gradient attacks; look at how the network hides its gradient",
        );
        if let Some(broken) = self.by_transfer_alone {
            warn(
                broken > few(n, 5),
                "transfer-beats-white-box",
                format!(
                    "images crafted on another network break {broken} of {n} that {USUAL} does not"
                ),
                "who sees the network should do better than who sees another",
                "suspect masked gradients; judge by transfer and by attacks without gradients too",
            );
        }
        warn(
            self.loss_fell > few(n, 10),
            "loss-does-not-rise",
            format!(
                "{USUAL} leaves the loss of {} of {n} images lower than it was",
                self.loss_fell
            ),
            "an attack raises the loss: where it does not, it follows no gradient of it",
            "check the sign of the gradient and the step size; suspect masked gradients",
        );
        flags
    }
}

/// A place where more images are left than `tolerance` above an earlier one: the two of the largest rise.
type Rise<'a> = ((&'a str, usize), (&'a str, usize));

fn rise(curve: &[(String, usize)], tolerance: usize) -> Option<Rise<'_>> {
    let mut worst: Option<Rise<'_>> = None;
    for (place, (above, more)) in curve.iter().enumerate() {
        for (below, less) in &curve[..place] {
            let by = |rise: &Rise<'_>| rise.1.1 - rise.0.1;
            if *more > less + tolerance && worst.as_ref().is_none_or(|w| more - less > by(w)) {
                worst = Some(((below, *less), (above, *more)));
            }
        }
    }
    worst
}

fn count(right: &[bool]) -> usize {
    right.iter().filter(|&&right| right).count()
}

/// The ball of a multiple of the radius, at most the pixel range.
fn scaled(threat: &ThreatModel, factor: f64) -> Result<ThreatModel, EvaluateError> {
    let written = threat.epsilon().written();
    let largest = if threat.norm() == Norm::Linf { 1.0 } else { f64::INFINITY };
    let radius = (factor * threat.epsilon().exact()).min(largest);
    let epsilon = if factor == 1.0 { written.parse() } else { Epsilon::new(radius) };
    Ok(ThreatModel::new(threat.norm(), epsilon.map_err(AttackError::from)?)
        .map_err(AttackError::from)?)
}
