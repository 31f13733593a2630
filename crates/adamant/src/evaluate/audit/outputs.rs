//! What the logits of a network betray: no numbers, probabilities, chance, neighbours, steps.

use super::super::{EvaluateError, Flag};
use super::{few, signs};
use crate::attack::AttackStream;
use crate::image::{Batch, Images, ImagesView, Logits};
use crate::stream::Stream;
use crate::victim::logits_in_tiles;
use engine::{Frozen, Session};

/// Times the same images are shown.
const SHOWN: usize = 3;
/// Images that are also shown alone.
const ALONE: usize = 8;
/// Differences of logits below this share of the largest are rounding. Source: the randomness check of AutoAttack.
const ROUNDING: f32 = 1e-4;
/// By how much pixels move to see whether the network notices: a quarter of a grey level.
const NUDGE: f32 = 0.25 / 255.0;

/// What was found.
pub(super) struct Outputs {
    images: usize,
    not_finite: usize,
    probabilities: usize,
    /// Largest change of a logit between two showings, as a share of the largest logit.
    random: f32,
    /// Largest change of a logit when an image is shown alone.
    alone: f32,
    /// Images whose logits do not change at all when every pixel moves a little.
    deaf: usize,
}

/// Shows `batch` to `network` a few times.
pub(super) fn measure(
    network: &impl Frozen,
    batch: &Batch,
    seed: u64,
) -> Result<Outputs, EvaluateError> {
    let images = &batch.images;
    let logits = logits_in_tiles(network, images)?;
    let rows = || (0..images.count).map(|image| logits.row(image));
    let mut random: f32 = 0.0;
    for _ in 1..SHOWN {
        random = random.max(difference(&logits, &logits_in_tiles(network, images)?));
    }
    let mut alone: f32 = 0.0;
    for image in 0..images.count.min(ALONE) {
        let pixels = images.one(image);
        let view = ImagesView { count: 1, shape: images.shape, pixels };
        let one = network.session().logits(view)?;
        let values = logits.row(image).to_vec();
        let together = Logits { count: 1, classes: logits.classes, values };
        alone = alone.max(difference(&together, &one));
    }
    let nudged = logits_in_tiles(network, &nudged(batch, seed))?;
    let deaf = (0..images.count).filter(|&image| logits.row(image) == nudged.row(image)).count();
    Ok(Outputs {
        images: images.count,
        not_finite: rows().filter(|row| row.iter().any(|z| !z.is_finite())).count(),
        probabilities: rows().filter(|row| is_distribution(row)).count(),
        random,
        alone,
        deaf,
    })
}

/// Every pixel moved by [`NUDGE`], to whichever side keeps it in `[0, 1]`.
fn nudged(batch: &Batch, seed: u64) -> Images {
    let stream = AttackStream { stream: Stream::new(seed), time: 0, rank: 0, first_restart: 0 };
    let mut images = batch.images.clone();
    for (position, &index) in batch.indices.iter().enumerate() {
        let signs = signs(&stream, index, images.shape.len());
        for (pixel, sign) in images.one_mut(position).iter_mut().zip(signs) {
            let moved = *pixel + sign * NUDGE;
            *pixel = if (0.0..=1.0).contains(&moved) { moved } else { *pixel - sign * NUDGE };
        }
    }
    images
}

fn is_distribution(row: &[f32]) -> bool {
    let sum: f64 = row.iter().map(|&z| f64::from(z)).sum();
    row.len() > 1 && row.iter().all(|&z| z >= 0.0) && (sum - 1.0).abs() < 1e-3
}

fn difference(left: &Logits, right: &Logits) -> f32 {
    let largest = left.values.iter().fold(0.0_f32, |largest, z| largest.max(z.abs()));
    let pairs = left.values.iter().zip(&right.values);
    let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    if largest > 0.0 { apart / largest } else { apart }
}

impl Outputs {
    /// Whether every logit is a number.
    pub(super) fn is_finite(&self) -> bool {
        self.not_finite == 0
    }

    pub(super) fn flags(&self) -> Vec<Flag> {
        let Self { images, not_finite, probabilities, random, alone, deaf } = *self;
        let mut flags = Vec::new();
        if not_finite > 0 {
            flags.push(Flag::failure(
                "not-finite",
                format!("{not_finite} of {images} images have logits that are NaN or infinite"),
                "an attack on them follows no gradient, and their prediction means nothing",
                "the weights may have diverged in training; judge an earlier checkpoint",
            ));
            return flags;
        }
        if probabilities == images && images > 0 {
            flags.push(Flag::warning(
                "outputs-look-like-probabilities",
                format!("the outputs of all {images} images are positive and sum to 1"),
                "losses apply a softmax of their own: a second one flattens every gradient",
                "export the model without its last softmax",
            ));
        }
        if random > ROUNDING {
            flags.push(Flag::warning(
                "random-outputs",
                format!("shown the same images again, logits change by {random:.1e} of the largest"),
                "an attack follows the gradient of one draw and is judged on another",
                "attack the expectation over many draws (autoattack-rand), and fix the judge's draw",
            ));
        } else if alone > ROUNDING {
            flags.push(Flag::warning(
                "batch-dependent-outputs",
                format!("shown alone, an image's logits change by {alone:.1e} of the largest"),
                "the verdict on an image depends on its neighbours, and so on the batch size",
                "normalise by running statistics; no layer may mix images",
            ));
        }
        if deaf >= few(images, 50) {
            flags.push(Flag::warning(
                "flat-outputs",
                format!("moving every pixel by 0.25/255 changes no logit of {deaf} of {images} images"),
                "quantised inputs have no true gradient; what an attack follows is not the network",
                "attack through the identity in place of the quantiser, or without gradients (square)",
            ));
        }
        flags
    }
}
