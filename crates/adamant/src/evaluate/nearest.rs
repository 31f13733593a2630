//! Distances: the nearest image of each that the judge is wrong about, where that is asked for.

use super::evaluator::{Evaluator, read, stream};
use super::{Broken, EvaluateError, Examples, Outcome, check, judge};
use crate::attack::{
    Attack, AttackError, AttackStream, MinimalDistance, Passes, Perturbed, Victim,
};
use crate::image::Batch;
use crate::victim::perturb_in_tiles;
use engine::Frozen;

/// A search for the nearest, as an attack that knows no radius.
struct Nearest<'a>(&'a dyn MinimalDistance);

impl Attack for Nearest<'_> {
    fn name(&self) -> String {
        self.0.name()
    }

    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        let images = self.0.closest(victim, batch, stream)?.images;
        let restarts = vec![stream.first_restart; batch.images.count];
        Ok(Perturbed { images, targets: None, restarts })
    }

    fn tiles_at_once(&self) -> usize {
        self.0.tiles_at_once()
    }
}

impl Evaluator {
    /// How far `search` has to go for each image of `chunk`, by the judge's measure and in the judge's opinion. What is
    /// found within epsilon breaks the image.
    pub(super) fn nearest(
        &self,
        search: &dyn MinimalDistance,
        (attacked, judged): (&impl Frozen, &impl Frozen),
        examples: &dyn Examples,
        chunk: &[usize],
        passes: &mut Passes,
    ) -> Result<Vec<Outcome>, EvaluateError> {
        let batch = read(examples, chunk, judged.classes())?;
        let stream = stream(self.seed, 0);
        let (found, spent) = perturb_in_tiles(attacked, &Nearest(search), &batch, &stream)?;
        let anywhere = check::everything(self.threat.norm(), batch.images.shape)?;
        let norms = check::proposal(&search.name(), &anywhere, &batch, &found)?;
        let predictions = judge(judged, &found.images, &batch)?;
        passes.forward += spent.forward + batch.images.count as u64;
        passes.backward += spent.backward;
        let allowed = self.threat.epsilon().exact() + check::BALL_TOLERANCE;
        let outcome = |row: usize| {
            let (prediction, norm) = (predictions[row], norms[row]);
            let distance = (prediction != batch.labels[row]).then_some(norm);
            let broken = distance.filter(|&norm| norm <= allowed);
            let broken = broken.map(|norm| Broken { prediction, norm, restart: 0 });
            let reached = broken.is_some();
            Outcome { broken, reached, distance, ..Outcome::open(chunk[row]) }
        };
        Ok((0..chunk.len()).map(outcome).collect())
    }
}
