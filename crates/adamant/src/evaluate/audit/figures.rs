//! Doubts that the figures of an ended evaluation raise by themselves.

use super::super::{AttackReport, Evaluation, Figures, Flag, Protocol};
use super::few;

/// AutoAttack doubts white-box attacks that Square beats by more than this share of the images.
///
/// Source: AutoAttack, flags of its documentation: more than 0.2 points.
const BLACK_BOX_GAIN: f64 = 0.002;
/// How attacks are called that see no gradient of the network they are judged on.
const BLIND: [&str; 5] = ["square", "spsa", "nes", "noise", TRANSFER];
const TRANSFER: &str = "transfer-";
/// A search is flat if the second half of its steps takes no more than this percentage of the images.
const FLAT: usize = 2;

/// All of them.
pub fn flags(evaluation: &Evaluation) -> Vec<Flag> {
    let mut flags: Vec<Flag> = black_box(evaluation).into_iter().collect();
    let falling = evaluation.attacks.iter().filter_map(|attack| still_falling(evaluation, attack));
    flags.extend(falling);
    flags
}

/// An accuracy that does not fall with the radius, over a curve by rising radius of so many images.
pub fn of_curve(curve: &[Figures], samples: usize) -> Vec<Flag> {
    let images = |share: f64| (share * samples as f64).round() as usize;
    let mut flags = Vec::new();
    for pair in curve.windows(2) {
        for (below, above) in pair[0].attacks.iter().zip(&pair[1].attacks) {
            let (less, more) = (images(below.robust_accuracy), images(above.robust_accuracy));
            if more > less + few(samples, FLAT) {
                flags.push(Flag::warning(
                    "accuracy-rises-with-epsilon",
                    format!(
                        "{} leaves {less} images at {}, {more} at {}",
                        below.name, pair[0].epsilon, pair[1].epsilon
                    ),
                    "a larger ball holds the smaller one: the attack got lost, not the adversary weaker",
                    "attack without gradients (square) or on another loss; suspect masked gradients",
                ));
            }
        }
    }
    flags
}

/// An attack on another network or without gradients breaks what all those with gradients before it left standing.
fn black_box(evaluation: &Evaluation) -> Option<Flag> {
    if evaluation.protocol != Protocol::WorstCase {
        return None;
    }
    let is_black_box = |attack: &AttackReport| {
        let name = attack.name.strip_prefix("targeted-").unwrap_or(&attack.name);
        BLIND.iter().any(|kind| name.starts_with(kind))
    };
    let pairs = evaluation.attacks.windows(2);
    let mut behind = pairs.filter(|pair| !is_black_box(&pair[0]) && is_black_box(&pair[1]));
    behind.find_map(|pair| {
        let gain = pair[0].robust_accuracy - pair[1].robust_accuracy;
        let images = (gain * evaluation.samples as f64).round() as usize;
        (gain > BLACK_BOX_GAIN && images >= 2).then(|| {
            let found =
                format!("{} breaks {images} images that stood {}", pair[1].name, pair[0].name);
            if pair[1].name.starts_with(TRANSFER) {
                return Flag::warning(
                    "transfer-beats-white-box",
                    found,
                    "who sees the network should do better than who sees another",
                    "suspect masked gradients; do not quote the gradient attacks",
                );
            }
            Flag::warning(
                "black-box-beats-white-box",
                found,
                "who sees the gradients should do better than who does not: they may be masked",
                "do not quote the gradient attacks; look at how the network hides its gradient",
            )
        })
    })
}

/// The accuracy on the way of a search has not become flat.
fn still_falling(evaluation: &Evaluation, attack: &AttackReport) -> Option<Flag> {
    let steps: usize = attack.settings.get("steps")?.parse().ok()?;
    let half = attack.along.iter().rfind(|look| 2 * look.steps <= steps)?;
    let images = |share: f64| (share * evaluation.samples as f64).round() as usize;
    let (then, end) = (images(half.robust_accuracy), images(attack.robust_accuracy));
    (then > end + few(evaluation.samples, FLAT)).then(|| {
        Flag::warning(
            "still-falling-with-steps",
            format!(
                "{}: {then} images are right after {} steps, {end} after {steps}",
                attack.name, half.steps
            ),
            "accuracy that falls with steps is that of the attack, not of the network",
            "raise the steps until the accuracy is flat",
        )
    })
}
