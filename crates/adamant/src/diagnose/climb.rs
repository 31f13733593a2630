//! The loss along an attack, step by step.

use super::DiagnoseError;
use super::distance::quantile;
use crate::attack::loss::cross_entropy;
use crate::attack::{Attack, AttackStream, Passes, Victim, VictimError, prediction};
use crate::image::{Batch, Images, Logits};
use crate::victim::FrozenVictim;
use engine::Frozen;
use serde::{Deserialize, Serialize};

/// Cross-entropy of the true class after some steps, over images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Climb {
    /// Steps made; 0 is the start.
    pub steps: usize,
    /// Mean.
    pub mean: f64,
    /// The values below which 5, 25, 50, 75 and 95 % of the images lie.
    pub quantiles: [f64; 5],
    /// Share of images right.
    pub accuracy: f64,
}

/// A victim that keeps, of each gradient it is asked for, every image's cross-entropy and whether it is right.
struct Watched<'a> {
    inner: &'a mut dyn Victim,
    labels: &'a [u32],
    told: Vec<Vec<(f64, bool)>>,
}

impl Watched<'_> {
    fn tell(&mut self, logits: &Logits) {
        let told = self.labels.iter().enumerate().map(|(row, &label)| {
            let row = logits.row(row);
            (cross_entropy(row, label), prediction(row) == label)
        });
        self.told.push(told.collect());
    }
}

impl Victim for Watched<'_> {
    fn classes(&self) -> usize {
        self.inner.classes()
    }

    fn logits(&mut self, images: &Images) -> Result<Logits, VictimError> {
        self.inner.logits(images)
    }

    fn input_gradient(
        &mut self,
        images: &Images,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
    ) -> Result<(Logits, Images), VictimError> {
        let (logits, gradient) = self.inner.input_gradient(images, loss)?;
        self.tell(&logits);
        Ok((logits, gradient))
    }

    fn passes(&self) -> Passes {
        self.inner.passes()
    }

    fn has_independent_images(&self) -> bool {
        self.inner.has_independent_images()
    }
}

/// The loss before each gradient that `attack` asks for, and in the end; and its images.
///
/// `attack` must ask for one gradient of all its images a step, as PGD of one restart does.
/// Errors: those of the attack.
pub fn climb<F: Frozen>(
    frozen: &F,
    attack: &dyn Attack,
    batch: &Batch,
    stream: &AttackStream,
) -> Result<(Vec<Climb>, Images), DiagnoseError> {
    let mut session = frozen.session();
    let mut victim = FrozenVictim::new(&mut session, frozen.classes());
    let mut watched = Watched { inner: &mut victim, labels: &batch.labels, told: Vec::new() };
    let images = attack.perturb(&mut watched, batch, stream)?.images;
    let logits = watched.logits(&images).map_err(crate::attack::AttackError::from)?;
    watched.tell(&logits);
    let steps = watched.told.iter().enumerate().map(|(steps, told)| {
        let losses: Vec<f64> = told.iter().map(|(loss, _)| *loss).collect();
        let right = told.iter().filter(|(_, is_right)| *is_right).count();
        Climb {
            steps,
            mean: losses.iter().sum::<f64>() / losses.len() as f64,
            quantiles: [0.05, 0.25, 0.5, 0.75, 0.95].map(|share| quantile(&losses, share)),
            accuracy: right as f64 / losses.len() as f64,
        }
    });
    Ok((steps.collect(), images))
}
