//! The control of a comparison: noise that changes an image as much as an attack did.

use crate::image::{Batch, Images};
use crate::stream::{Key, Purpose, Stream};

/// Each image with its own change by the attack, the pixels of the change shuffled and their signs drawn anew: of the same
/// length in every norm before it is clipped to `[0, 1]`.
pub fn noise_like(clean: &Batch, adversarial: &Images, stream: &Stream) -> Images {
    let mut noisy = clean.images.clone();
    for (position, &index) in clean.indices.iter().enumerate() {
        let index = u32::try_from(index).expect("fewer than 2^32 images in a data set");
        let mut draws = stream.draws(Key { purpose: Purpose::Control, time: 0, index, restart: 0 });
        let pairs = adversarial.one(position).iter().zip(clean.images.one(position));
        let mut change: Vec<f32> = pairs.map(|(after, before)| after - before).collect();
        // Fisher and Yates.
        for last in (1..change.len()).rev() {
            change.swap(last, draws.below(last as u32 + 1) as usize);
        }
        for (pixel, change) in noisy.one_mut(position).iter_mut().zip(change) {
            let signed = if draws.bits() & 1 == 0 { change } else { -change };
            *pixel = (*pixel + signed).clamp(0.0, 1.0);
        }
    }
    noisy
}

/// The mean over images of the Euclidean length of their change.
pub fn mean_length(clean: &Images, changed: &Images) -> f64 {
    let length = |position: usize| {
        let pairs = changed.one(position).iter().zip(clean.one(position));
        pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
    };
    (0..clean.count).map(length).sum::<f64>() / clean.count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::Shape;

    #[test]
    fn noise_away_from_the_ends_of_the_range_is_as_long_as_the_attack() {
        let mut images = Images::zeros(3, Shape::new(1, 4, 4));
        images.pixels.fill(0.5);
        let clean = Batch { images, labels: vec![0; 3], indices: vec![4, 5, 6] };
        let mut adversarial = clean.images.clone();
        adversarial.pixels.iter_mut().step_by(3).for_each(|pixel| *pixel += 0.25);
        let noisy = noise_like(&clean, &adversarial, &Stream::new(1));
        assert_ne!(noisy, adversarial);
        let lengths = [&adversarial, &noisy].map(|images| mean_length(&clean.images, images));
        assert!((lengths[0] - lengths[1]).abs() < 1e-9, "{lengths:?}");
    }
}
