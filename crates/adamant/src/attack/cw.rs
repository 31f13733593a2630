//! The Carlini-Wagner attack in L2: the smallest change by Adam on a penalised distance.

use super::ask::gradients;
use super::check::{COMPACTED_TILES, check_batch};
use super::loss::AttackLoss;
use super::minimal::{Closest, MinimalDistance};
use super::{Aims, Attack, AttackError, AttackStream, Perturbed, Victim};
use crate::image::{Batch, Images};
use crate::threat::{Norm, ThreatModel, distance};
use serde::{Deserialize, Serialize};

/// The first weight of the margin, and how often it is adapted. Source: the authors' code, `l2_attack.py`.
const FIRST_WEIGHT: f64 = 1e-3;
const SEARCHES: u32 = 9;
/// Above this a weight has no upper bound yet, and grows tenfold. Source: the authors' code.
const UNBOUNDED: f64 = 1e9;
/// Adam's step, and its decays. Source: the authors' code; Kingma & Ba 2015.
const STEP: f64 = 0.01;
const DECAYS: (f64, f64) = (0.9, 0.999);
/// Keeps the inverse of tanh finite at black and white. Source: the authors' code.
const WITHIN: f64 = 0.999_999;

/// What a Carlini-Wagner attack is, as plain data; [`CarliniWagner::new`] checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarliniWagnerSettings {
    /// What is allowed; the norm is L2.
    pub threat: ThreatModel,
    /// Adam's steps for each weight of the margin.
    pub steps: usize,
}

/// Carlini & Wagner's L2 attack: Adam on `|x' - x|^2 + c max(margin, 0)` over pixels written as tanh, with a search for
/// the smallest `c` that makes the label wrong.
///
/// As an attack an image leaves as soon as something within epsilon is found; [`MinimalDistance::closest`] goes on.
/// Source: Carlini & Wagner 2017, "Towards evaluating the robustness of neural networks", sections 5 and 6, with
/// confidence 0.
#[derive(Clone, Debug, PartialEq)]
pub struct CarliniWagner {
    settings: CarliniWagnerSettings,
}

/// An adversarial point and its distance.
type Nearest = (Vec<f32>, f64);

/// The state of one image.
struct Descent {
    variable: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
    weight: f64,
    low: f64,
    high: f64,
    succeeded: bool,
    nearest: Option<Nearest>,
}

impl Descent {
    fn new() -> Self {
        Self {
            variable: Vec::new(),
            first: Vec::new(),
            second: Vec::new(),
            weight: FIRST_WEIGHT,
            low: 0.0,
            high: f64::INFINITY,
            succeeded: false,
            nearest: None,
        }
    }

    /// Back to the image, with the weight it has now.
    fn begin(&mut self, origin: &[f32]) {
        let inverse = |&pixel: &f32| ((2.0 * f64::from(pixel) - 1.0) * WITHIN).atanh();
        self.variable = origin.iter().map(inverse).collect();
        self.first = vec![0.0; origin.len()];
        self.second = vec![0.0; origin.len()];
        self.succeeded = false;
    }

    fn point(&self) -> impl Iterator<Item = f32> {
        self.variable.iter().map(|variable| (0.5 * (variable.tanh() + 1.0)) as f32)
    }

    /// One step of Adam; `gradient` is the margin's by the pixels, taken where the label still holds.
    fn step(&mut self, step: usize, origin: &[f32], gradient: Option<&[f32]>) {
        let (decay_first, decay_second) = DECAYS;
        let time = step as i32 + 1;
        let rate = STEP * (1.0 - decay_second.powi(time)).sqrt() / (1.0 - decay_first.powi(time));
        for pixel in 0..origin.len() {
            let tanh = self.variable[pixel].tanh();
            let value = 0.5 * (tanh + 1.0);
            let margin = gradient.map_or(0.0, |gradient| f64::from(gradient[pixel]));
            let by_pixel = 2.0 * (value - f64::from(origin[pixel])) - self.weight * margin;
            let slope = by_pixel * 0.5 * (1.0 - tanh * tanh);
            let first = &mut self.first[pixel];
            *first = decay_first * *first + (1.0 - decay_first) * slope;
            let second = &mut self.second[pixel];
            *second = decay_second * *second + (1.0 - decay_second) * slope * slope;
            self.variable[pixel] -= rate * *first / (second.sqrt() + 1e-8);
        }
    }

    /// The next weight: smaller after a success, larger after none. Source: the authors' code.
    fn adapt(&mut self) {
        if self.succeeded {
            self.high = self.high.min(self.weight);
        } else {
            self.low = self.low.max(self.weight);
        }
        self.weight =
            if self.high < UNBOUNDED { 0.5 * (self.low + self.high) } else { 10.0 * self.weight };
    }
}

impl CarliniWagner {
    /// Steps for each weight where nothing is said. Source: the reference implementation of cleverhans.
    pub const STEPS: usize = 1000;

    /// The attack with these settings, named `cw-l2`, or `cw-STEPS` where they are not 1000.
    ///
    /// Errors: `Setting` for another norm than L2.
    pub fn new(settings: CarliniWagnerSettings) -> Result<Self, AttackError> {
        let attack = Self { settings };
        let norm = attack.settings.threat.norm();
        if norm != Norm::L2 {
            let (found, expected) = (norm.to_string(), "L2");
            let attack = attack.name();
            return Err(AttackError::Setting { attack, setting: "norm", found, expected });
        }
        Ok(attack)
    }

    /// The nearest adversarial point of each image, and its distance; what is within `enough` ends an image's search.
    fn search(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        enough: f64,
    ) -> Result<Vec<Option<Nearest>>, AttackError> {
        let aims = Aims::away(AttackLoss::Margin, batch.labels.clone());
        let mut descents: Vec<Descent> = batch.labels.iter().map(|_| Descent::new()).collect();
        let mut standing: Vec<usize> = (0..batch.images.count).collect();
        for _ in 0..SEARCHES {
            for &position in &standing {
                descents[position].begin(batch.images.one(position));
            }
            for step in 0..=self.settings.steps {
                if standing.is_empty() {
                    break;
                }
                let each = standing.iter();
                let pixels = each.flat_map(|&p| descents[p].point()).collect();
                let points = Images { count: standing.len(), shape: batch.images.shape, pixels };
                let index = |row: usize| batch.indices[standing[row]];
                let mut by_logits = |row: usize, logits: &[f32], out: &mut [f64]| {
                    aims.add_gradient(standing[row], logits, out);
                };
                let (logits, gradient) =
                    gradients(&self.name(), step, victim, &points, index, &mut by_logits)?;
                let mut row = 0;
                standing.retain(|&position| {
                    let (descent, origin) = (&mut descents[position], batch.images.one(position));
                    let score = aims.score(position, logits.row(row));
                    if score.reached {
                        descent.succeeded = true;
                        let found = distance(Norm::L2, points.one(row), origin);
                        if descent.nearest.as_ref().is_none_or(|(_, least)| found < *least) {
                            descent.nearest = Some((points.one(row).to_vec(), found));
                        }
                    }
                    // The margin counts only where the label is not beyond it already.
                    let slope = (score.gain < 0.0).then(|| gradient.one(row));
                    descent.step(step, origin, slope);
                    row += 1;
                    descent.nearest.as_ref().is_none_or(|(_, least)| *least > enough)
                });
            }
            standing.iter().for_each(|&position| descents[position].adapt());
        }
        Ok(descents.into_iter().map(|descent| descent.nearest).collect())
    }
}

impl MinimalDistance for CarliniWagner {
    fn closest(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        _stream: &AttackStream,
    ) -> Result<Closest, AttackError> {
        check_batch(victim, batch)?;
        let found = self.search(victim, batch, 0.0)?;
        Ok(Closest::of(found, batch))
    }
}

impl Attack for CarliniWagner {
    fn name(&self) -> String {
        match self.settings.steps {
            Self::STEPS => "cw-l2".to_owned(),
            steps => format!("cw-{steps}"),
        }
    }

    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        check_batch(victim, batch)?;
        let epsilon = f64::from(self.settings.threat.epsilon().value());
        let found = self.search(victim, batch, epsilon)?;
        Ok(Closest::of(found, batch).within(epsilon, batch, stream.first_restart))
    }

    fn tiles_at_once(&self) -> usize {
        COMPACTED_TILES
    }

    fn minimal(&self) -> Option<&dyn MinimalDistance> {
        Some(self)
    }

    fn resolved(&self) -> Vec<(&'static str, String)> {
        let CarliniWagnerSettings { threat, steps } = &self.settings;
        vec![
            ("epsilon", threat.epsilon().written().to_owned()),
            ("searches", SEARCHES.to_string()),
            ("steps", steps.to_string()),
        ]
    }
}
