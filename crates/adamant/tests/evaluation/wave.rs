//! A network as single-step training leaves it at its worst: right where a full step leads, wrong on the way there.

use crate::support::SHAPE;
use crate::trained::EPSILON;
use adamant::image::{Batch, Images, ImagesView, Logits, Shape};
use engine::{EngineError, Frozen, Session};
use std::f64::consts::TAU;

/// The margin of class 0 over class 1 is a cosine of the mean pixel, whose period is epsilon.
pub struct Wave;

fn epsilon() -> f64 {
    EPSILON.parse().expect("a number")
}

/// How far along its wave an image is, in radians.
fn phase(pixels: &[f32]) -> f64 {
    let mean = pixels.iter().map(|&pixel| f64::from(pixel)).sum::<f64>() / pixels.len() as f64;
    TAU * (mean - 0.5) / epsilon()
}

/// Grey images of class 0, each a little beside the crest of the wave.
pub fn batch(count: usize) -> Batch {
    let mut images = Images::zeros(count, SHAPE);
    for image in 0..count {
        let beside = epsilon() * (0.05 + 0.1 * image as f64 / count as f64);
        images.one_mut(image).fill((0.5 + beside) as f32);
    }
    Batch { images, labels: vec![0; count], indices: (0..count as u64).collect() }
}

impl Frozen for Wave {
    type Session<'a> = Wave;
    fn session(&self) -> Wave {
        Wave
    }
    fn tile(&self) -> usize {
        16
    }
    fn input(&self) -> Shape {
        SHAPE
    }
    fn classes(&self) -> usize {
        2
    }
}

impl Session for Wave {
    fn logits(&mut self, images: ImagesView<'_>) -> Result<Logits, EngineError> {
        let mut logits = Logits::zeros(images.count, 2);
        for (image, pixels) in images.pixels.chunks(SHAPE.len()).enumerate() {
            logits.row_mut(image)[0] = phase(pixels).cos() as f32;
        }
        Ok(logits)
    }

    fn input_gradient(
        &mut self,
        images: ImagesView<'_>,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
    ) -> Result<(Logits, Vec<f32>), EngineError> {
        let logits = self.logits(images)?;
        let mut by_logits = Logits::zeros(images.count, 2);
        loss(&logits, 0, &mut by_logits);
        let mut gradient = Vec::with_capacity(images.pixels.len());
        for (image, pixels) in images.pixels.chunks(SHAPE.len()).enumerate() {
            let by_mean = -phase(pixels).sin() * TAU / epsilon();
            let by_pixel = by_mean / SHAPE.len() as f64 * f64::from(by_logits.row(image)[0]);
            gradient.extend(pixels.iter().map(|_| by_pixel as f32));
        }
        Ok((logits, gradient))
    }
}
