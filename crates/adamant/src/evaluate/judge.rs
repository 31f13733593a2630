//! The judge: a forward of the frozen network, in sessions of its own.

use super::EvaluateError;
use crate::attack::prediction;
use crate::image::{Batch, Images};
use crate::victim::logits_in_tiles;
use engine::Frozen;

/// What `network` says of `images`, which stand for the images of `batch`.
///
/// Its sessions are fresh: nothing an attack has done to its own can reach the verdict (T42).
/// Errors: the engine's; `NonFiniteLogits` naming the image.
pub fn judge(
    network: &impl Frozen,
    images: &Images,
    batch: &Batch,
) -> Result<Vec<u32>, EvaluateError> {
    let logits = logits_in_tiles(network, images)?;
    (0..images.count)
        .map(|position| {
            let row = logits.row(position);
            if row.iter().all(|logit| logit.is_finite()) {
                Ok(prediction(row))
            } else {
                Err(EvaluateError::NonFiniteLogits { index: batch.indices[position] })
            }
        })
        .collect()
}
