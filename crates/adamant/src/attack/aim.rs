//! What an attack wants of each image: another class than the true one, or one chosen class.

use super::loss::AttackLoss;
use super::{AttackError, AttackStream, Victim};
use crate::image::Batch;
use crate::stream::{Key, Purpose};
use crate::threat::{Goal, TargetRule};

/// The class of the largest logit, the first of equals.
///
/// Shapes: `row` is `[classes]`.
pub fn prediction(row: &[f32]) -> u32 {
    let mut best = 0;
    for (class, &logit) in row.iter().enumerate() {
        if logit > row[best] {
            best = class;
        }
    }
    best as u32
}

/// The goal of an attack, made concrete for the images of a batch.
///
/// Untargeted, it raises the loss of the label; targeted, it lowers that of the target. Label smoothing
/// never enters here: it belongs to the training loss only (paper, section 3 of the recipe).
#[derive(Clone, Debug, PartialEq)]
pub struct Aims {
    side: Side,
    loss: AttackLoss,
    classes: Vec<u32>,
    /// With [`Side::Between`], the class to reach for; else empty.
    rivals: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// Away from the true class.
    Away,
    /// Towards the target.
    Towards,
    /// Away from the true class in the direction of another; any wrong class will do.
    Between,
}

/// How far an attack got with one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Untargeted: the prediction is wrong; targeted: it is the target.
    pub reached: bool,
    /// What the attack raises: the label's loss, or minus the target's.
    pub gain: f64,
}

impl Aims {
    /// Draws or computes what `goal` wants of each image of `batch`.
    ///
    /// Errors: `TooFewClasses` for a targeted goal with a single class; the victim's.
    pub fn resolve(
        goal: Goal,
        loss: AttackLoss,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Self, AttackError> {
        let classes = victim.classes();
        let rule = match goal {
            Goal::Untargeted => {
                return Ok(Self::away(loss, batch.labels.clone()));
            }
            Goal::Targeted(_) if classes < 2 => return Err(AttackError::TooFewClasses { classes }),
            Goal::Targeted(rule) => rule,
        };
        let count = classes as u32;
        let targets = match rule {
            // (y + U{1..C-1}) mod C, so that the label itself cannot be drawn (T19). Restarts share the target: it is
            // drawn once per attack.
            TargetRule::UniformOther => {
                let keyed = batch.labels.iter().zip(&batch.indices);
                keyed
                    .map(|(&label, &index)| {
                        let mut draws = stream.stream.draws(Key {
                            purpose: Purpose::AttackTarget,
                            time: stream.time,
                            index: image_key(index),
                            restart: 0,
                        });
                        (label + 1 + draws.below(count - 1)) % count
                    })
                    .collect()
            }
            TargetRule::LeastLikely => {
                let logits = victim.logits(&batch.images)?;
                let labels = batch.labels.iter().enumerate();
                labels.map(|(image, &label)| least_likely(logits.row(image), label)).collect()
            }
            TargetRule::Next => batch.labels.iter().map(|&label| (label + 1) % count).collect(),
        };
        Ok(Self { side: Side::Towards, loss, classes: targets, rivals: Vec::new() })
    }

    /// Away from `labels`, whatever comes instead.
    pub(super) fn away(loss: AttackLoss, labels: Vec<u32>) -> Self {
        Self { side: Side::Away, loss, classes: labels, rivals: Vec::new() }
    }

    /// Away from `labels` in the direction of `rivals`; any wrong class will do.
    pub(super) fn between(loss: AttackLoss, labels: Vec<u32>, rivals: Vec<u32>) -> Self {
        Self { side: Side::Between, loss, classes: labels, rivals }
    }

    /// The same aims for the images at `positions` only.
    pub fn select(&self, positions: &[usize]) -> Self {
        let choose = |from: &[u32]| match from {
            [] => Vec::new(),
            from => positions.iter().map(|&position| from[position]).collect(),
        };
        let (classes, rivals) = (choose(&self.classes), choose(&self.rivals));
        Self { side: self.side, loss: self.loss, classes, rivals }
    }

    /// Adds the gradient by one image's logits of what the attack raises.
    ///
    /// Shapes: `row` and `gradient` are `[classes]`.
    pub fn add_gradient(&self, position: usize, row: &[f32], gradient: &mut [f64]) {
        let class = self.classes[position];
        match self.side {
            Side::Away => self.loss.add_gradient(row, class, 1.0, gradient),
            Side::Towards => self.loss.add_gradient(row, class, -1.0, gradient),
            Side::Between => {
                self.loss.add_gradient_between(row, class, self.rivals[position], gradient);
            }
        }
    }

    /// How far the attack got with one image.
    ///
    /// Shapes: `row` is `[classes]`.
    pub fn score(&self, position: usize, row: &[f32]) -> Score {
        let class = self.classes[position];
        let is_predicted = prediction(row) == class;
        match self.side {
            Side::Away => Score { reached: !is_predicted, gain: self.loss.value(row, class) },
            Side::Towards => Score { reached: is_predicted, gain: -self.loss.value(row, class) },
            Side::Between => Score {
                reached: !is_predicted,
                gain: self.loss.between(row, class, self.rivals[position]),
            },
        }
    }

    /// The targets, where there are any.
    pub fn into_targets(self) -> Option<Vec<u32>> {
        match self.side {
            Side::Away | Side::Between => None,
            Side::Towards => Some(self.classes),
        }
    }
}

fn least_likely(row: &[f32], label: u32) -> u32 {
    let others = (0..row.len() as u32).filter(|&class| class != label);
    others
        .reduce(|best, class| if row[class as usize] < row[best as usize] { class } else { best })
        .expect("a targeted goal was refused below 2 classes")
}

/// An image's position in its data set as the key of its draws.
pub(super) fn image_key(index: u64) -> u32 {
    u32::try_from(index).expect("a data set has fewer than 2^32 images")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prediction_is_the_first_of_the_largest() {
        assert_eq!(prediction(&[0.0, 2.0, 2.0, -1.0]), 1);
        assert_eq!(prediction(&[f32::NEG_INFINITY, f32::NEG_INFINITY]), 0);
    }

    #[test]
    fn g15_the_least_likely_class_is_never_the_label() {
        assert_eq!(least_likely(&[3.0, -1.0, 0.5], 0), 1);
        assert_eq!(least_likely(&[3.0, -1.0, 0.5], 1), 2);
    }
}
