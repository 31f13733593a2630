//! Whether a gradient attack has anything to follow.

use super::EvaluateError;
use crate::attack::loss::AttackLoss;
use crate::attack::{Attack, AttackError, AttackStream, Perturbed, Victim};
use crate::image::{Batch, Images};
use crate::victim::perturb_in_tiles;
use engine::Frozen;

/// Goes through the victim as an attack does; what it returns are not images but their gradients.
struct GradientProbe(AttackLoss);

impl Attack for GradientProbe {
    fn name(&self) -> String {
        "gradient probe".to_string()
    }

    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        _stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        let (_, gradient) =
            victim.input_gradient(&batch.images, &mut |logits, first, by_logits| {
                for row in 0..logits.count {
                    let mut exact = vec![0.0; logits.classes];
                    self.0.add_gradient(
                        logits.row(row),
                        batch.labels[first + row],
                        1.0,
                        &mut exact,
                    );
                    for (single, double) in by_logits.row_mut(row).iter_mut().zip(exact) {
                        *single = double as f32;
                    }
                }
            })?;
        Ok(Perturbed { images: gradient, targets: None, restarts: vec![0; batch.images.count] })
    }
}

/// The gradient by the pixels of each image's loss.
pub(super) fn gradients(
    network: &impl Frozen,
    loss: AttackLoss,
    batch: &Batch,
    stream: &AttackStream,
) -> Result<Images, EvaluateError> {
    let (gradients, _) = perturb_in_tiles(network, &GradientProbe(loss), batch, stream)?;
    Ok(gradients.images)
}

/// Whether each image of `batch` has a cross-entropy whose gradient is finite and not zero at every pixel.
pub(super) fn leading_gradients(
    network: &impl Frozen,
    batch: &Batch,
    stream: &AttackStream,
) -> Result<Vec<bool>, EvaluateError> {
    let gradients = gradients(network, AttackLoss::CrossEntropy, batch, stream)?;
    let leads = |image: usize| {
        let gradient = gradients.one(image);
        gradient.iter().all(|g| g.is_finite()) && gradient.iter().any(|g| *g != 0.0)
    };
    Ok((0..batch.images.count).map(leads).collect())
}
