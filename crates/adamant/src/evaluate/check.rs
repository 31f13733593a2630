//! What is asked of every image an attack returns, before a network sees it. The evaluator clips nothing: an attack
//! that leaves the ball is wrong, and mending its images would hide that.

use super::error::{EvaluateError, ProposalFault};
use crate::attack::{AttackError, Perturbed};
use crate::image::{Batch, Shape};
use crate::threat::{Epsilon, Norm, ThreatModel, distance};

/// How far rounding may carry an image beyond epsilon (G14).
pub const BALL_TOLERANCE: f64 = 1e-6;

/// Checks the proposal of `attack` for `batch` and gives the size of each perturbation in the threat's norm.
///
/// Shapes: one size per image. Units: pixels in `[0, 1]`.
/// Errors: `Proposal`, naming the attack and the first image at fault.
pub fn proposal(
    attack: &str,
    threat: &ThreatModel,
    batch: &Batch,
    perturbed: &Perturbed,
) -> Result<Vec<f64>, EvaluateError> {
    check(threat, batch, perturbed)
        .map_err(|fault| EvaluateError::Proposal { attack: attack.to_string(), fault })
}

/// The ball around any image that holds every image of `shape`.
pub(super) fn everything(norm: Norm, shape: Shape) -> Result<ThreatModel, AttackError> {
    let radius = match norm {
        Norm::Linf => 1.0,
        Norm::L2 => (shape.len() as f64).sqrt(),
        Norm::L1 => shape.len() as f64,
    };
    Ok(ThreatModel::new(norm, Epsilon::new(radius)?)?)
}

fn check(
    threat: &ThreatModel,
    batch: &Batch,
    perturbed: &Perturbed,
) -> Result<Vec<f64>, ProposalFault> {
    let count = batch.images.count;
    let (images, shape) = (&perturbed.images, batch.images.shape);
    if images.count != count || images.shape != shape || images.pixels.len() != count * shape.len()
    {
        return Err(ProposalFault::Shape {
            found: format!(
                "{} images of {} in {} pixels",
                images.count,
                images.shape,
                images.pixels.len()
            ),
            expected: format!("{count} images of {shape} in {} pixels", count * shape.len()),
        });
    }
    same_length("restarts", perturbed.restarts.len(), count)?;
    if let Some(targets) = &perturbed.targets {
        same_length("targets", targets.len(), count)?;
        for (position, (&target, &label)) in targets.iter().zip(&batch.labels).enumerate() {
            if target == label {
                return Err(ProposalFault::Target { index: batch.indices[position], label });
            }
        }
    }
    let allowed = threat.epsilon().exact();
    (0..count)
        .map(|position| {
            let index = batch.indices[position];
            let adversarial = images.one(position);
            pixels(index, adversarial)?;
            let found = distance(threat.norm(), adversarial, batch.images.one(position));
            if found > allowed + BALL_TOLERANCE {
                let norm = threat.norm();
                return Err(ProposalFault::Ball { index, norm, found, allowed });
            }
            Ok(found)
        })
        .collect()
}

fn same_length(what: &str, found: usize, expected: usize) -> Result<(), ProposalFault> {
    if found == expected {
        return Ok(());
    }
    Err(ProposalFault::Shape {
        found: format!("{found} {what}"),
        expected: format!("{expected} {what}"),
    })
}

fn pixels(index: u64, pixels: &[f32]) -> Result<(), ProposalFault> {
    for &value in pixels {
        if !value.is_finite() {
            return Err(ProposalFault::NotFinite { index, value });
        }
        if !(0.0..=1.0).contains(&value) {
            return Err(ProposalFault::PixelRange { index, value });
        }
    }
    Ok(())
}
