//! Attacks that look for the nearest adversarial image instead of any within a radius.

use super::{Attack, AttackError, AttackStream, Perturbed, Victim};
use crate::image::{Batch, Images};

/// The nearest adversarial images that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Closest {
    /// One image for each of the batch; where none was found, the image as it is.
    pub images: Images,
    /// How far each is from its image, in the norm of the threat; none where none was found.
    pub distances: Vec<Option<f64>>,
}

/// An attack that can say how far away the nearest adversarial image is; an image that is wrong as it is, is at 0.
///
/// As an [`Attack`] it proposes what lies within epsilon.
pub trait MinimalDistance: Attack {
    /// The nearest adversarial image of each, whatever epsilon is.
    fn closest(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Closest, AttackError>;
}

impl Closest {
    /// Points and distances where there are any, one each for the images of `batch`.
    pub(super) fn of(
        found: impl IntoIterator<Item = Option<(Vec<f32>, f64)>>,
        batch: &Batch,
    ) -> Self {
        let mut closest = Self { images: batch.images.clone(), distances: Vec::new() };
        for (position, found) in found.into_iter().enumerate() {
            closest.distances.push(found.map(|(point, distance)| {
                closest.images.one_mut(position).copy_from_slice(&point);
                distance
            }));
        }
        closest
    }

    /// What lies within `epsilon`; the images as they are for the others.
    pub(super) fn within(mut self, epsilon: f64, batch: &Batch, restart: u32) -> Perturbed {
        for (position, distance) in self.distances.iter().enumerate() {
            if distance.is_none_or(|distance| distance > epsilon) {
                self.images.one_mut(position).copy_from_slice(batch.images.one(position));
            }
        }
        let restarts = vec![restart; batch.images.count];
        Perturbed { images: self.images, targets: None, restarts }
    }
}
