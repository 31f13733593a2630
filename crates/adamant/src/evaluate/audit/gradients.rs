//! Whether the gradient an attack follows is that of the outputs, and large enough to follow.

use super::super::probe::gradients;
use super::super::{Agreement, EvaluateError, Flag};
use super::{Networks, few};
use crate::attack::AttackStream;
use crate::attack::loss::{AttackLoss, margin};
use crate::image::{Batch, Images};
use crate::threat::sign;
use crate::victim::logits_in_tiles;
use engine::{Frozen, Logits};

/// Half the width of a central difference, in pixels: 0.06/255, so that few units change sides on the way.
const WIDTH: f32 = 2.5e-4;
/// Below this the gradient by the logits leaves single precision on its way through the network.
const VANISHING: f64 = 1e-30;
/// Signs count where the gradient is above this share of its image's largest. Honest half precision disagrees below:
/// bf16 agrees on 94.7 % of signs above 1e-3 and on more than 99 % above a tenth (G20), so less would accuse everybody.
const COUNTS: f32 = 0.1;
/// Signs that must agree between precisions (G20).
const AGREEMENT: f64 = 0.99;

/// What was found, over images the network is right on.
pub(super) struct Gradients {
    images: usize,
    not_finite: usize,
    vanishing: usize,
    /// Images with a gradient, and those of them where it is not that of the outputs.
    with_gradient: usize,
    disagreeing: usize,
    /// Share of signs that agree with single precision.
    agreement: Option<f64>,
}

pub(super) fn measure<A: Frozen, J: Frozen, S>(
    networks: &Networks<'_, A, J, S>,
    batch: &Batch,
    stream: &AttackStream,
) -> Result<Gradients, EvaluateError> {
    let attacked = networks.attacked;
    let images = batch.images.count;
    let logits = logits_in_tiles(attacked, &batch.images)?;
    // On the margin: its gradient by the logits is 1 however confident the network is.
    let gradient = gradients(attacked, AttackLoss::Margin, batch, stream)?;
    let is_finite = |image: &usize| gradient.one(*image).iter().all(|g| g.is_finite());
    let is_zero = |image: &usize| gradient.one(*image).iter().all(|&g| g == 0.0);
    let outputs = |by| match networks.reference {
        // So small a step is lost in the rounding of a lower precision.
        Some(reference) => logits_in_tiles(reference, &moved(batch, &gradient, by)),
        None => logits_in_tiles(attacked, &moved(batch, &gradient, by)),
    };
    let (forward, backward) = (outputs(WIDTH)?, outputs(-WIDTH)?);
    let disagrees = |image: &usize| {
        let value = |logits: &Logits| margin(logits.row(*image), batch.labels[*image]);
        let measured = (value(&forward) - value(&backward)) / f64::from(2.0 * WIDTH);
        let told: f64 = gradient.one(*image).iter().map(|&g| f64::from(g.abs())).sum();
        // A kink of the network between the two points changes the slope, seldom by half.
        (measured - told).abs() > 0.5 * measured.abs().max(told)
    };
    let usable: Vec<usize> =
        (0..images).filter(|image| is_finite(image) && !is_zero(image)).collect();
    let vanishes = |image: &usize| {
        let mut by_logits = vec![0.0; logits.classes];
        let label = batch.labels[*image];
        AttackLoss::CrossEntropy.add_gradient(logits.row(*image), label, 1.0, &mut by_logits);
        by_logits.iter().all(|g| g.abs() < VANISHING)
    };
    let agreement = match networks.reference {
        None => None,
        Some(reference) => {
            let exact = gradients(reference, AttackLoss::Margin, batch, stream)?;
            Some(Agreement::of(&exact, &gradient, COUNTS).share())
        }
    };
    Ok(Gradients {
        images,
        not_finite: (0..images).filter(|image| !is_finite(image)).count(),
        vanishing: (0..images).filter(vanishes).count(),
        with_gradient: usable.len(),
        disagreeing: usable.iter().filter(|image| disagrees(image)).count(),
        agreement,
    })
}

/// The images a step along the sign of the gradient further.
fn moved(batch: &Batch, gradient: &Images, by: f32) -> Images {
    let mut images = batch.images.clone();
    let pixels = images.pixels.iter_mut().zip(&gradient.pixels);
    pixels.for_each(|(pixel, &g)| *pixel += by * sign(g));
    images
}

impl Gradients {
    pub(super) fn flags(&self) -> Vec<Flag> {
        let Self { images, not_finite, vanishing, with_gradient, disagreeing, agreement } = *self;
        let mut flags = Vec::new();
        if not_finite > 0 {
            flags.push(Flag::failure(
                "not-finite",
                format!("{not_finite} of {images} images have a gradient that is NaN or infinite"),
                "an attack that meets it stops, or worse, stands still",
                "find the layer that divides by zero or overflows",
            ));
        }
        if vanishing >= few(images, 5) {
            flags.push(Flag::warning(
                "vanishing-gradients",
                format!("{vanishing} of {images} images have a cross-entropy gradient below 1e-30"),
                "large logits saturate the softmax: attacks on the cross-entropy stand still",
                "judge by an attack that does not feel the scale of logits: margin-pgd, apgd-dlr",
            ));
        }
        if 2 * disagreeing > with_gradient && with_gradient > 0 {
            flags.push(Flag::warning(
                "gradients-disagree",
                format!(
                    "on {disagreeing} of {with_gradient} images the outputs do not move as the gradient says"
                ),
                "the attack follows something that is not the gradient of the network it is judged on",
                "look for a layer whose backward is not its own; judge without gradients (square)",
            ));
        }
        if let Some(share) = agreement.filter(|&share| share < AGREEMENT) {
            flags.push(Flag::warning(
                "precision-disagrees",
                format!(
                    "{:.2} % of the gradient's signs are those of single precision",
                    100.0 * share
                ),
                "an attack in low precision follows rounding, and is weaker than it could be",
                "attack in single precision: --precision f32",
            ));
        }
        flags
    }
}
