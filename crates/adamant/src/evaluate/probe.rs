//! Whether a gradient attack has anything to follow.

use super::EvaluateError;
use crate::attack::loss::add_cross_entropy_gradient;
use crate::attack::{Attack, AttackError, AttackStream, Perturbed, Victim};
use crate::image::Batch;
use crate::victim::perturb_in_tiles;
use engine::Frozen;

/// Goes through the victim as an attack does; what it returns are not images but their gradients.
struct GradientProbe;

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
                    add_cross_entropy_gradient(
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

/// How many images of `batch` have a cross-entropy whose gradient is zero at every pixel, or not finite.
pub(super) fn without_gradient(
    network: &impl Frozen,
    batch: &Batch,
    stream: &AttackStream,
) -> Result<usize, EvaluateError> {
    let (gradients, _) = perturb_in_tiles(network, &GradientProbe, batch, stream)?;
    let leads = |image: usize| {
        let gradient = gradients.images.one(image);
        gradient.iter().all(|g| g.is_finite()) && gradient.iter().any(|g| *g != 0.0)
    };
    Ok((0..batch.images.count).filter(|&image| !leads(image)).count())
}
