//! DeepFool: to the nearest linearised boundary, step by step.

use super::ask::gradients;
use super::check::{COMPACTED_TILES, check_batch};
use super::hyperplane::to_hyperplane;
use super::loss::AttackLoss;
use super::minimal::{Closest, MinimalDistance};
use super::name::numbered;
use super::{Aims, Attack, AttackError, AttackStream, Perturbed, Victim, prediction};
use crate::image::{Batch, Images};
use crate::threat::{Norm, ThreatModel, distance, dual_length};
use serde::{Deserialize, Serialize};

/// How far beyond the boundary an image is taken. Source: Moosavi-Dezfooli et al. 2016, section 4.
const OVERSHOOT: f32 = 0.02;
/// How often what was overshot is halved in the end, as far as the label stays wrong.
const HALVINGS: u32 = 5;

/// What a DeepFool attack is, as plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeepFoolSettings {
    /// What is allowed.
    pub threat: ThreatModel,
    /// Most steps.
    pub steps: usize,
}

/// DeepFool: each step leads to the nearest of the linearised boundaries, until the label changes.
///
/// The boundaries are approached within the pixel range, and what was overshot is taken back as far as the label stays
/// wrong: the distance is what counts. A step takes a gradient per class.
/// Source: Moosavi-Dezfooli et al. 2016, "DeepFool: a simple and accurate method to fool deep neural networks",
/// algorithm 2; the norms other than L2 by section 3.3.
#[derive(Clone, Debug, PartialEq)]
pub struct DeepFool {
    settings: DeepFoolSettings,
}

/// The state of one image.
struct Fall {
    total: Vec<f32>,
    slope: Vec<f32>,
    gap: f64,
    nearest: f64,
}

impl DeepFool {
    /// Most steps where nothing is said. Source: the authors' code.
    pub const STEPS: usize = 50;

    /// DeepFool with these settings, named `deepfool`, with steps where they are not 50.
    pub fn new(settings: DeepFoolSettings) -> Self {
        Self { settings }
    }

    /// The whole change that makes each image wrong, where one was found.
    fn search(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
    ) -> Result<Vec<Option<Vec<f32>>>, AttackError> {
        let (norm, length) = (self.settings.threat.norm(), batch.images.shape.len());
        let fall = || Fall {
            total: vec![0.0; length],
            slope: vec![0.0; length],
            gap: 0.0,
            nearest: f64::INFINITY,
        };
        let mut falls: Vec<Fall> = (0..batch.images.count).map(|_| fall()).collect();
        let mut fallen = vec![false; batch.images.count];
        let mut standing: Vec<usize> = (0..batch.images.count).collect();
        let others = victim.classes().saturating_sub(1) as u32;
        for step in 0..self.settings.steps {
            for rival in 0..others {
                if standing.is_empty() {
                    break;
                }
                let labels: Vec<u32> = standing.iter().map(|&p| batch.labels[p]).collect();
                let rivals = labels.iter().map(|&label| rival + u32::from(rival >= label));
                let rivals = rivals.collect();
                let aims = Aims::between(AttackLoss::Margin, labels, rivals);
                let points = self.points(batch, &falls, &standing, 1.0 + OVERSHOOT);
                let index = |row: usize| batch.indices[standing[row]];
                let mut by_logits = |row: usize, logits: &[f32], out: &mut [f64]| {
                    aims.add_gradient(row, logits, out);
                };
                let (logits, gradient) =
                    gradients(&self.name(), step, victim, &points, index, &mut by_logits)?;
                let mut row = 0;
                standing.retain(|&position| {
                    let score = aims.score(row, logits.row(row));
                    falls[position].offer(norm, score.gain, gradient.one(row));
                    row += 1;
                    fallen[position] |= score.reached;
                    !score.reached
                });
            }
            for &position in &standing {
                let fall = &mut falls[position];
                let point = moved(batch.images.one(position), &fall.total, 1.0 + OVERSHOOT);
                let mut step = vec![0.0; length];
                to_hyperplane(norm, &point, &fall.slope, fall.gap, &mut step);
                fall.total.iter_mut().zip(step).for_each(|(total, step)| *total += step);
                fall.nearest = f64::INFINITY;
            }
        }
        if !standing.is_empty() {
            let logits = victim.logits(&self.points(batch, &falls, &standing, 1.0 + OVERSHOOT))?;
            for (row, &position) in standing.iter().enumerate() {
                fallen[position] = prediction(logits.row(row)) != batch.labels[position];
            }
        }
        let found = falls.into_iter().zip(fallen);
        Ok(found.map(|(fall, fallen)| fallen.then_some(fall.total)).collect())
    }

    fn points(&self, batch: &Batch, falls: &[Fall], positions: &[usize], factor: f32) -> Images {
        let each = positions.iter();
        let point = |&p: &usize| moved(batch.images.one(p), &falls[p].total, factor);
        let pixels = each.flat_map(point).collect();
        Images { count: positions.len(), shape: batch.images.shape, pixels }
    }
}

impl Fall {
    fn offer(&mut self, norm: Norm, gap: f64, gradient: &[f32]) {
        let distance = gap.abs() / (1e-12 + dual_length(norm, gradient));
        if distance < self.nearest {
            self.slope.copy_from_slice(gradient);
            (self.gap, self.nearest) = (gap, distance);
        }
    }
}

fn moved(origin: &[f32], change: &[f32], factor: f32) -> Vec<f32> {
    let pairs = origin.iter().zip(change);
    pairs.map(|(&center, &change)| (center + factor * change).clamp(0.0, 1.0)).collect()
}

impl MinimalDistance for DeepFool {
    fn closest(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        _stream: &AttackStream,
    ) -> Result<Closest, AttackError> {
        check_batch(victim, batch)?;
        let found = self.search(victim, batch)?;
        let wrong: Vec<usize> = (0..found.len()).filter(|&p| found[p].is_some()).collect();
        let change = |position: usize| found[position].as_ref().expect("only the wrong are asked");
        // Of the overshoot, the part that is known to be needed, and what may be.
        let mut needed = vec![0.0; wrong.len()];
        let mut enough = vec![OVERSHOOT; wrong.len()];
        for _ in 0..HALVINGS {
            if wrong.is_empty() {
                break;
            }
            let middle = |row: usize| 0.5 * (needed[row] + enough[row]);
            let mut pixels = Vec::with_capacity(wrong.len() * batch.images.shape.len());
            for (row, &position) in wrong.iter().enumerate() {
                let origin = batch.images.one(position);
                pixels.extend(moved(origin, change(position), 1.0 + middle(row)));
            }
            let points = Images { count: wrong.len(), shape: batch.images.shape, pixels };
            let logits = victim.logits(&points)?;
            for (row, &position) in wrong.iter().enumerate() {
                let middle = 0.5 * (needed[row] + enough[row]);
                if prediction(logits.row(row)) == batch.labels[position] {
                    needed[row] = middle;
                } else {
                    enough[row] = middle;
                }
            }
        }
        let norm = self.settings.threat.norm();
        let mut points: Vec<Option<(Vec<f32>, f64)>> = vec![None; batch.images.count];
        for (row, &position) in wrong.iter().enumerate() {
            let origin = batch.images.one(position);
            let point = moved(origin, change(position), 1.0 + enough[row]);
            let distance = distance(norm, &point, origin);
            points[position] = Some((point, distance));
        }
        Ok(Closest::of(points, batch))
    }
}

impl Attack for DeepFool {
    fn name(&self) -> String {
        numbered("deepfool", (self.settings.steps, Self::STEPS), 1)
    }

    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        let epsilon = f64::from(self.settings.threat.epsilon().value());
        let closest = self.closest(victim, batch, stream)?;
        Ok(closest.within(epsilon, batch, stream.first_restart))
    }

    fn tiles_at_once(&self) -> usize {
        COMPACTED_TILES
    }

    fn minimal(&self) -> Option<&dyn MinimalDistance> {
        Some(self)
    }

    fn resolved(&self) -> Vec<(&'static str, String)> {
        let DeepFoolSettings { threat, steps } = &self.settings;
        vec![("epsilon", threat.epsilon().written().to_owned()), ("steps", steps.to_string())]
    }
}
