//! The momentum iterative fast gradient sign method.

use super::check::check_batch;
use super::loss::AttackLoss;
use super::pgd::{ascent, checked_step, goal_prefix};
use super::{Aims, Attack, AttackError, AttackStream, Perturbed, Victim};
use crate::image::{Batch, Images};
use crate::threat::{Goal, Range, StepSize, ThreatModel, project, steepest_step};
use serde::{Deserialize, Serialize};

/// What a momentum attack is, as plain data; [`MiFgsm::new`] checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MiFgsmSettings {
    /// What is allowed.
    pub threat: ThreatModel,
    /// What is wanted.
    pub goal: Goal,
    /// Gradient steps.
    pub steps: usize,
    /// Length of each; epsilon / steps in the source.
    pub step_size: StepSize,
    /// Share of the past kept in the direction; 1 in the source.
    pub decay: f64,
}

/// The momentum iterative method: the direction gathers normalised gradients, so that it transfers better.
///
/// `v <- decay * v + g / |g|_1`, then a step of steepest ascent along `v`. Starts at the image.
/// Source: Dong et al. 2018, algorithm 1.
#[derive(Clone, Debug, PartialEq)]
pub struct MiFgsm {
    settings: MiFgsmSettings,
    name: String,
    step: f64,
}

impl MiFgsm {
    /// The attack with these settings, named `mifgsm-STEPS`.
    ///
    /// Errors: `Setting` for a decay that is negative or no number, `Threat` for a step in the wrong unit.
    pub fn new(settings: MiFgsmSettings) -> Result<Self, AttackError> {
        let name = goal_prefix(settings.goal) + &format!("mifgsm-{}", settings.steps);
        let step = checked_step(&name, &settings.threat, &settings.step_size, settings.steps)?;
        if !(settings.decay.is_finite() && settings.decay >= 0.0) {
            let (found, expected) = (settings.decay.to_string(), "a number that is not negative");
            return Err(AttackError::Setting { attack: name, setting: "decay", found, expected });
        }
        Ok(Self { settings, name, step })
    }
}

impl Attack for MiFgsm {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        check_batch(victim, batch)?;
        let MiFgsmSettings { threat, goal, steps, decay, .. } = &self.settings;
        let aims = Aims::resolve(*goal, AttackLoss::CrossEntropy, victim, batch, stream)?;
        let (norm, epsilon) = (threat.norm(), threat.epsilon().value());
        let mut images = batch.images.clone();
        let mut direction = Images::zeros(images.count, images.shape);
        for step in 0..*steps {
            let gradient = ascent(&self.name, step, victim, batch, &images, &aims)?;
            for position in 0..images.count {
                gather(direction.one_mut(position), gradient.one(position), *decay);
                let mut along = direction.one(position).to_vec();
                steepest_step(norm, &mut along, self.step as f32);
                let image = images.one_mut(position);
                image.iter_mut().zip(along).for_each(|(pixel, a)| *pixel += a);
                project(norm, image, batch.images.one(position), epsilon, Range::Pixels);
            }
        }
        let restarts = vec![stream.first_restart; images.count];
        Ok(Perturbed { images, targets: aims.into_targets(), restarts })
    }

    fn resolved(&self) -> Vec<(&'static str, String)> {
        let MiFgsmSettings { threat, goal, steps, decay, .. } = &self.settings;
        vec![
            ("decay", decay.to_string()),
            ("epsilon", threat.epsilon().written().to_owned()),
            ("goal", goal.to_string()),
            ("step_size", self.step.to_string()),
            ("steps", steps.to_string()),
        ]
    }
}

fn gather(direction: &mut [f32], gradient: &[f32], decay: f64) {
    let length: f64 = gradient.iter().map(|&g| f64::from(g).abs()).sum();
    // An image without gradient keeps its old direction instead of dividing by zero.
    let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
    for (d, &g) in direction.iter_mut().zip(gradient) {
        *d = (decay * f64::from(*d) + factor * f64::from(g)) as f32;
    }
}
