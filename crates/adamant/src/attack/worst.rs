//! The worst case per image over restarts (T30, G8).

use super::{Aims, AttackError, AttackStream, Perturbed, Victim};
use crate::image::{Batch, Images};
use std::borrow::Cow;

/// One search, over the images that still stand: `(victim, images, aims, restart)`.
pub(super) type Search<'a> =
    dyn FnMut(&mut dyn Victim, &Batch, &Aims, u32) -> Result<Images, AttackError> + 'a;

/// Runs `search` for every restart and keeps for every image the first result that reaches the aim, else the one with
/// the largest gain.
///
/// An image whose aim is reached is not searched again (T39), unless others depend on it. A single restart has nothing to compare and costs no
/// further forward pass.
///
/// Errors: those of `search` and of the victim; `NonFinite` if a result's loss is not a number.
pub(super) fn worst_per_image(
    attack: &str,
    steps: usize,
    restarts: u32,
    (victim, batch, stream): (&mut dyn Victim, &Batch, &AttackStream),
    aims: Aims,
    search: &mut Search<'_>,
) -> Result<Perturbed, AttackError> {
    let first = stream.first_restart;
    let count = batch.images.count;
    if restarts == 1 {
        let images = search(victim, batch, &aims, first)?;
        let restarts = vec![first; count];
        return Ok(Perturbed { images, targets: aims.into_targets(), restarts });
    }

    let mut best = batch.images.clone();
    let mut best_gain = vec![f64::NEG_INFINITY; count];
    let mut best_restart = vec![first; count];
    let mut reached = vec![false; count];
    let mut standing: Vec<usize> = (0..count).collect();
    for restart in first..first + restarts {
        if standing.is_empty() {
            break;
        }
        let (some, some_aims) = if standing.len() == count {
            (Cow::Borrowed(batch), Cow::Borrowed(&aims))
        } else {
            (Cow::Owned(batch.select(&standing)), Cow::Owned(aims.select(&standing)))
        };
        let found = search(victim, &some, &some_aims, restart)?;
        let logits = victim.logits(&found)?;
        let mut still_standing = Vec::with_capacity(standing.len());
        for (row, &position) in standing.iter().enumerate() {
            let score = some_aims.score(row, logits.row(row));
            if score.gain.is_nan() {
                let index = batch.indices[position];
                let attack = attack.to_owned();
                return Err(AttackError::NonFinite { attack, step: steps, what: "loss", index });
            }
            let is_better = score.reached || score.gain > best_gain[position];
            if is_better && !reached[position] {
                best.one_mut(position).copy_from_slice(found.one(row));
                best_gain[position] = score.gain;
                best_restart[position] = restart;
            }
            reached[position] |= score.reached;
            if !(reached[position] && victim.has_independent_images()) {
                still_standing.push(position);
            }
        }
        standing = still_standing;
    }
    Ok(Perturbed { images: best, targets: aims.into_targets(), restarts: best_restart })
}
