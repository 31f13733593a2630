//! Asking a victim for the gradients of per-image losses, once, for every attack.

use super::{AttackError, Victim};
use crate::image::{Images, Logits};

/// Adds the gradient of the loss of one image by its logits: `(position, its logits, zeros to add to)`.
pub(super) type ByLogits<'a> = dyn FnMut(usize, &[f32], &mut [f64]) + 'a;

/// Logits of `images`, and the gradient by the pixels of losses given by their gradients by the logits.
///
/// `by_logits` works in double precision, whatever the victim computes in. `index` names an image in errors. Losses are summed, never averaged (T33).
/// Errors: the victim's; `NonFinite`, naming the image.
pub(super) fn gradients(
    attack: &str,
    step: usize,
    victim: &mut dyn Victim,
    images: &Images,
    index: impl Fn(usize) -> u64,
    by_logits: &mut ByLogits<'_>,
) -> Result<(Logits, Images), AttackError> {
    let mut exact = Vec::new();
    let answer = victim.input_gradient(images, &mut |logits, first, out| {
        for row in 0..logits.count {
            exact.clear();
            exact.resize(logits.classes, 0.0);
            by_logits(first + row, logits.row(row), &mut exact);
            let rounded = out.row_mut(row).iter_mut().zip(&exact);
            rounded.for_each(|(out, &exact)| *out = exact as f32);
        }
    })?;
    for position in 0..images.count {
        // A sum is not finite if a part is not; if only the sum overflowed, the parts decide.
        let pixels = answer.1.one(position);
        if !pixels.iter().sum::<f32>().is_finite() && !pixels.iter().all(|g| g.is_finite()) {
            let (attack, index) = (attack.to_owned(), index(position));
            return Err(AttackError::NonFinite { attack, step, what: "gradient", index });
        }
    }
    Ok(answer)
}
