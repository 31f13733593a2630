//! Starts on the border of the ball, in a random direction.

use super::AttackStream;
use super::aim::image_key;
use crate::image::Batch;
use crate::stream::{Draws, Key, Purpose};
use crate::threat::{Norm, Range, project};

/// A point on the border of the ball around the image at `position`, then within the pixel range.
///
/// Linf: uniform noise, scaled so that the largest change is exactly epsilon; L2: a uniform direction of length epsilon;
/// L1: normal noise, projected.
/// Source: the authors' code of Croce & Hein 2020 and 2021.
pub(super) fn on_border(
    norm: Norm,
    epsilon: f32,
    batch: &Batch,
    position: usize,
    stream: &AttackStream,
    round: u32,
) -> Vec<f32> {
    let mut draws = stream.stream.draws(Key {
        purpose: Purpose::AttackStart,
        time: stream.time,
        index: image_key(batch.indices[position]),
        restart: round,
    });
    let origin = batch.images.one(position);
    let mut noise = direction(norm, origin.len(), &mut draws);
    let length = match norm {
        Norm::Linf => noise.iter().fold(0.0, |largest: f64, &n| largest.max(f64::from(n).abs())),
        Norm::L2 => noise.iter().map(|&n| f64::from(n) * f64::from(n)).sum::<f64>().sqrt(),
        // Normal noise in thousands of pixels is far outside: the projection puts it on the border.
        Norm::L1 => f64::from(epsilon),
    };
    let factor = if length > 0.0 { f64::from(epsilon) / length } else { 0.0 };
    for (pixel, &center) in noise.iter_mut().zip(origin) {
        *pixel = center + (f64::from(*pixel) * factor) as f32;
    }
    project(norm, &mut noise, origin, epsilon, Range::Pixels);
    noise
}

fn direction(norm: Norm, length: usize, draws: &mut Draws) -> Vec<f32> {
    let mut draw = || match norm {
        Norm::Linf => 2.0 * draws.uniform() - 1.0,
        Norm::L2 | Norm::L1 => draws.normal(),
    };
    (0..length).map(|_| draw()).collect()
}
