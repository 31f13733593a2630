//! Gradients estimated from logits at random neighbours: SPSA and NES, black boxes that a masked gradient does not stop.

use super::aim::image_key;
use super::check::{COMPACTED_TILES, check_batch};
use super::loss::AttackLoss;
use super::pgd::{checked_step, goal_prefix};
use super::{Aims, Attack, AttackError, AttackStream, Perturbed, Victim};
use crate::image::{Batch, Images, Shape};
use crate::stream::{Draws, Key, Purpose};
use crate::threat::{Goal, Norm, Range, StepSize, ThreatModel, project, steepest_step};
use serde::{Deserialize, Serialize};

/// How a gradient is estimated and followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// Neighbours along random signs, followed by Adam: `spsa`.
    ///
    /// Source: Uesato et al. 2018, "Adversarial risk and the dangers of evaluating against weak attacks", section 4.
    Spsa,
    /// Neighbours along normal directions, followed by steps of steepest ascent: `nes`.
    ///
    /// Source: Ilyas et al. 2018, "Black-box adversarial attacks with limited queries and information", section 2.2.
    Nes,
}

impl Estimator {
    /// How far away the neighbours are: delta in SPSA, sigma in NES. Source: the papers; .001 of the pixel range in NES.
    fn spacing(self) -> f32 {
        match self {
            Self::Spsa => 0.01,
            Self::Nes => 0.001,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Spsa => "spsa",
            Self::Nes => "nes",
        }
    }
}

/// What an attack on estimated gradients is, as plain data; [`Estimated::new`] checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EstimatedSettings {
    /// What is allowed.
    pub threat: ThreatModel,
    /// What is wanted.
    pub goal: Goal,
    /// How gradients are estimated and followed.
    pub estimator: Estimator,
    /// Steps.
    pub steps: usize,
    /// Neighbours per step, in opposite pairs: an even number.
    pub samples: u32,
}

/// Ascent on gradients of the margin estimated from logits. Asks for logits only.
///
/// An image leaves as soon as it reaches its aim.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimated {
    settings: EstimatedSettings,
    name: String,
    step: f64,
}

/// Adam's step in SPSA, and its decays. Source: Uesato et al. 2018, appendix; Kingma & Ba 2015.
const ADAM_STEP: f64 = 0.01;
const DECAYS: (f64, f64) = (0.9, 0.999);
/// Share of the earlier direction that NES keeps. Source: the authors' code.
const MOMENTUM: f32 = 0.9;

impl Estimated {
    /// Steps where nothing is said.
    pub const STEPS: usize = 100;
    /// Neighbours per step where nothing is said. Source: cleverhans for SPSA.
    pub const SAMPLES: u32 = 128;

    /// The attack with these settings, named `spsa` or `nes`, with steps and samples where they are not 100 and 128.
    ///
    /// Errors: `Setting` for an odd number of neighbours, or none.
    pub fn new(settings: EstimatedSettings) -> Result<Self, AttackError> {
        let kind = goal_prefix(settings.goal) + settings.estimator.name();
        let name = match (settings.steps, settings.samples) {
            (Self::STEPS, Self::SAMPLES) => kind,
            (steps, Self::SAMPLES) => format!("{kind}-{steps}"),
            (steps, samples) => format!("{kind}-{steps}-{samples}"),
        };
        if settings.samples == 0 || !settings.samples.is_multiple_of(2) {
            let (setting, found) = ("samples", settings.samples.to_string());
            let expected = "an even number, at least 2";
            return Err(AttackError::Setting { attack: name, setting, found, expected });
        }
        let size = StepSize::TimesEpsilonOverSteps(2.5);
        let step = checked_step(&name, &settings.threat, &size, settings.steps)?;
        Ok(Self { settings, name, step })
    }
}

/// The state of one image.
struct Walk {
    draws: Draws,
    point: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Walk {
    fn directions(&mut self, estimator: Estimator, count: u32) -> Vec<f32> {
        let draws = &mut self.draws;
        let mut draw = || match estimator {
            Estimator::Spsa if draws.bits() & 1 == 0 => -1.0,
            Estimator::Spsa => 1.0,
            Estimator::Nes => draws.normal(),
        };
        (0..count as usize * self.point.len()).map(|_| draw()).collect()
    }

    /// Follows the estimated gradient by one step, before any projection.
    fn follow(&mut self, attack: &Estimated, step: usize, gradient: &[f32]) {
        match attack.settings.estimator {
            Estimator::Spsa => {
                let (decay_first, decay_second) = DECAYS;
                let time = step as i32 + 1;
                let correction =
                    (1.0 - decay_second.powi(time)).sqrt() / (1.0 - decay_first.powi(time));
                let rate = (ADAM_STEP * correction) as f32;
                let (decay_first, decay_second) = (decay_first as f32, decay_second as f32);
                let state = self.first.iter_mut().zip(&mut self.second);
                for ((pixel, (first, second)), &g) in self.point.iter_mut().zip(state).zip(gradient)
                {
                    *first = decay_first * *first + (1.0 - decay_first) * g;
                    *second = decay_second * *second + (1.0 - decay_second) * g * g;
                    *pixel += rate * *first / (second.sqrt() + 1e-8);
                }
            }
            Estimator::Nes => {
                for (first, &g) in self.first.iter_mut().zip(gradient) {
                    *first = MOMENTUM * *first + (1.0 - MOMENTUM) * g;
                }
                self.second.copy_from_slice(&self.first);
                let norm = attack.settings.threat.norm();
                // In L1 a step of one pixel would follow the noise of a single estimate.
                let along = if norm == Norm::L1 { Norm::L2 } else { norm };
                steepest_step(along, &mut self.second, attack.step as f32);
                self.point.iter_mut().zip(&self.second).for_each(|(pixel, m)| *pixel += m);
            }
        }
    }
}

impl Attack for Estimated {
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
        let EstimatedSettings { threat, goal, estimator, steps, samples } = &self.settings;
        let aims = Aims::resolve(*goal, AttackLoss::Margin, victim, batch, stream)?;
        let (norm, epsilon) = (threat.norm(), threat.epsilon().value());
        let (shape, length) = (batch.images.shape, batch.images.shape.len());
        let pairs = samples / 2;
        let mut walks: Vec<Walk> = (0..batch.images.count)
            .map(|position| {
                let index = image_key(batch.indices[position]);
                let (purpose, time) = (Purpose::AttackQuery, stream.time);
                let key = Key { purpose, time, index, restart: stream.first_restart };
                let (draws, point) =
                    (stream.stream.draws(key), batch.images.one(position).to_vec());
                Walk { draws, point, first: vec![0.0; length], second: vec![0.0; length] }
            })
            .collect();
        let mut standing: Vec<usize> = (0..batch.images.count).collect();
        for step in 0..=*steps {
            if standing.is_empty() {
                break;
            }
            let pixels = standing.iter().flat_map(|&p| walks[p].point.iter().copied()).collect();
            let logits = victim.logits(&Images { count: standing.len(), shape, pixels })?;
            let mut row = 0;
            standing.retain(|&position| {
                let score = aims.score(position, logits.row(row));
                row += 1;
                !score.reached
            });
            if step == *steps {
                break;
            }
            for &position in &standing {
                let walk = &mut walks[position];
                let directions = walk.directions(*estimator, pairs);
                let gradient =
                    self.estimate(victim, (&aims, position), (shape, &walk.point), &directions)?;
                if !gradient.iter().all(|g| g.is_finite()) {
                    let (attack, what) = (self.name.clone(), "margin");
                    let index = batch.indices[position];
                    return Err(AttackError::NonFinite { attack, step, what, index });
                }
                walk.follow(self, step, &gradient);
                let origin = batch.images.one(position);
                project(norm, &mut walk.point, origin, epsilon, Range::Pixels);
            }
        }
        let pixels = walks.iter().flat_map(|walk| walk.point.iter().copied()).collect();
        let images = Images { count: batch.images.count, shape, pixels };
        let restarts = vec![stream.first_restart; batch.images.count];
        Ok(Perturbed { images, targets: aims.into_targets(), restarts })
    }

    fn tiles_at_once(&self) -> usize {
        COMPACTED_TILES
    }

    fn resolved(&self) -> Vec<(&'static str, String)> {
        let EstimatedSettings { threat, goal, estimator, steps, samples } = &self.settings;
        vec![
            ("epsilon", threat.epsilon().written().to_owned()),
            ("goal", goal.to_string()),
            ("samples", samples.to_string()),
            ("spacing", estimator.spacing().to_string()),
            ("steps", steps.to_string()),
        ]
    }
}

impl Estimated {
    /// The mean over pairs of opposite neighbours of their difference of gains, along their direction.
    fn estimate(
        &self,
        victim: &mut dyn Victim,
        (aims, position): (&Aims, usize),
        (shape, point): (Shape, &[f32]),
        directions: &[f32],
    ) -> Result<Vec<f32>, AttackError> {
        let spacing = self.settings.estimator.spacing();
        let pairs = directions.len() / point.len();
        let mut pixels = Vec::with_capacity(2 * directions.len());
        for direction in directions.chunks(point.len()) {
            for side in [spacing, -spacing] {
                pixels.extend(point.iter().zip(direction).map(|(p, d)| p + side * d));
            }
        }
        // Neighbours may leave the pixel range: clipping them would bias the estimate at black and white.
        let neighbours = Images { count: 2 * pairs, shape, pixels };
        let logits = victim.logits(&neighbours)?;
        let mut gradient = vec![0.0; point.len()];
        for (pair, direction) in directions.chunks(point.len()).enumerate() {
            let gain = |row: usize| aims.score(position, logits.row(row)).gain;
            let slope = (gain(2 * pair) - gain(2 * pair + 1)) / (2.0 * f64::from(spacing));
            let share = (slope / pairs as f64) as f32;
            gradient.iter_mut().zip(direction).for_each(|(g, d)| *g += share * d);
        }
        Ok(gradient)
    }
}
