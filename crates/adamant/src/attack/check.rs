//! What must hold before an attack begins; checked once, so that the searches need not.

use super::{AttackError, Victim};
use crate::image::Batch;

/// How many tiles an attack takes at once that leaves images behind: the last tile of a call is rarely full, and with four
/// at the start it is one among several for as long as many stand.
pub(super) const COMPACTED_TILES: usize = 4;

/// Errors: `Batch` if the parts of `batch` do not belong together, `Label`, `Pixel`.
pub(super) fn check_batch(victim: &dyn Victim, batch: &Batch) -> Result<(), AttackError> {
    let (count, shape) = (batch.images.count, batch.images.shape);
    for (what, found, expected) in [
        ("pixels", batch.images.pixels.len(), count * shape.len()),
        ("labels", batch.labels.len(), count),
        ("indices", batch.indices.len(), count),
    ] {
        if found != expected {
            return Err(AttackError::Batch { count, shape, what, found, expected });
        }
    }
    let classes = victim.classes();
    for (position, (&label, &index)) in batch.labels.iter().zip(&batch.indices).enumerate() {
        if label as usize >= classes {
            return Err(AttackError::Label { index, label, classes });
        }
        // The negation also catches NaN.
        let outside = batch.images.one(position).iter().find(|pixel| !(0.0..=1.0).contains(*pixel));
        if let Some(&found) = outside {
            return Err(AttackError::Pixel { index, found });
        }
    }
    Ok(())
}

/// Errors: `Classes` if the victim has fewer than `needed`.
pub(super) fn check_classes(
    attack: &str,
    victim: &dyn Victim,
    needed: usize,
) -> Result<(), AttackError> {
    let classes = victim.classes();
    if classes < needed {
        return Err(AttackError::Classes { attack: attack.to_owned(), classes, needed });
    }
    Ok(())
}
