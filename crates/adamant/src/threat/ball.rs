//! The geometry of the ball: the three points where the norm enters an attack, and the distance a judge measures.
//!
//! Each function takes the pixels of one image, so nothing can depend on the batch (G7). Lengths are summed in
//! double precision, in pixel order.

use super::{Norm, l1};
use crate::stream::Draws;
use serde::{Deserialize, Serialize};

/// Whether a point is also kept within the pixel range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Range {
    /// Clipped to `[0, 1]`.
    Pixels,
    /// Not clipped: the first gradient of the paper's code is taken at the noise as drawn (T22).
    Unlimited,
}

/// Sign with `sign(±0) = 0`. `f32::signum(0.0)` is 1, which would move every dead pixel by a full step (T29).
pub fn sign(gradient: f32) -> f32 {
    if gradient > 0.0 {
        1.0
    } else if gradient < 0.0 {
        -1.0
    } else {
        0.0
    }
}

/// A point of the ball around `origin`, uniform by volume, then within `range`.
///
/// Shapes: one image, flattened. Units: pixels in `[0, 1]`.
pub fn sample_ball(
    norm: Norm,
    origin: &[f32],
    epsilon: f32,
    range: Range,
    draws: &mut Draws,
) -> Vec<f32> {
    let mut point: Vec<f32> = match norm {
        Norm::Linf => {
            origin.iter().map(|&center| center + epsilon * (2.0 * draws.uniform() - 1.0)).collect()
        }
        Norm::L2 => {
            // A normal vector has a uniform direction; the share of the volume within radius r grows as r^pixels.
            let direction: Vec<f32> = origin.iter().map(|_| draws.normal()).collect();
            let share = f64::from(draws.uniform()).powf(1.0 / origin.len().max(1) as f64);
            let length = euclidean(direction.iter().map(|&d| f64::from(d)));
            let factor = if length > 0.0 { f64::from(epsilon) * share / length } else { 0.0 };
            let moved = origin.iter().zip(&direction);
            moved.map(|(&center, &d)| center + (factor * f64::from(d)) as f32).collect()
        }
        Norm::L1 => l1::sample(origin, epsilon, draws),
    };
    // Rounding may put a point of the border just outside.
    project(norm, &mut point, origin, epsilon, range);
    point
}

/// The step of length `step` along which a linear loss with this gradient rises most, in place of the gradient.
///
/// A zero gradient gives a zero step. Shapes: one image, flattened. Units: pixels in `[0, 1]`.
/// Source: Madry et al. 2018, steepest ascent for Linf and L2; for L1 the pixel with the largest gradient moves alone.
pub fn steepest_step(norm: Norm, gradient: &mut [f32], step: f32) {
    match norm {
        Norm::Linf => gradient.iter_mut().for_each(|g| *g = step * sign(*g)),
        Norm::L2 => {
            let length = euclidean(gradient.iter().map(|&g| f64::from(g)));
            // Multiplied in double precision: a tiny gradient's reciprocal overflows single precision.
            let factor = if length > 0.0 { f64::from(step) / length } else { 0.0 };
            gradient.iter_mut().for_each(|g| *g = (f64::from(*g) * factor) as f32);
        }
        Norm::L1 => l1::steepest_step(gradient, step),
    }
}

/// Moves one image into the ball around `origin`, then within `range`; a point already there keeps its bits.
///
/// In L1 it becomes the nearest point of ball and range together. `origin` lies in the pixel range, so clipping only shortens a perturbation and the result is in both.
/// Shapes: both one image, flattened. Units: pixels in `[0, 1]`.
/// Source: Madry et al. 2018, projected gradient descent; FAIR code, attack step.
pub fn project(norm: Norm, image: &mut [f32], origin: &[f32], epsilon: f32, range: Range) {
    assert_eq!(image.len(), origin.len(), "an image and its origin have the same pixels");
    match norm {
        Norm::Linf => {
            for (pixel, &center) in image.iter_mut().zip(origin) {
                *pixel = pixel.clamp(center - epsilon, center + epsilon);
            }
        }
        Norm::L2 => {
            let length = distance(norm, image, origin);
            if length > f64::from(epsilon) {
                let factor = f64::from(epsilon) / length;
                for (pixel, &center) in image.iter_mut().zip(origin) {
                    let moved = f64::from(*pixel) - f64::from(center);
                    *pixel = (f64::from(center) + moved * factor) as f32;
                }
            }
        }
        Norm::L1 => l1::project(image, origin, epsilon, range),
    }
    if range == Range::Pixels {
        image.iter_mut().for_each(|pixel| *pixel = pixel.clamp(0.0, 1.0));
    }
}

/// The size of the perturbation that leads from `origin` to `image`; NaN if a pixel is.
///
/// Shapes: both one image, flattened. Units: pixels in `[0, 1]`.
pub fn distance(norm: Norm, image: &[f32], origin: &[f32]) -> f64 {
    let moved =
        image.iter().zip(origin).map(|(&pixel, &center)| f64::from(pixel) - f64::from(center));
    match norm {
        // `f64::max` would drop a NaN, and hide a cheating attack with it (G14).
        Norm::Linf => moved
            .map(f64::abs)
            .fold(0.0, |largest, m| if largest.is_nan() || m <= largest { largest } else { m }),
        Norm::L2 => euclidean(moved),
        Norm::L1 => moved.map(f64::abs).sum(),
    }
}

/// The most that a linear loss with this gradient can rise in a ball of radius 1: the dual norm.
///
/// Shapes: one image, flattened.
pub fn dual_length(norm: Norm, gradient: &[f32]) -> f64 {
    let sizes = gradient.iter().map(|&g| f64::from(g).abs());
    match norm {
        Norm::Linf => sizes.sum(),
        Norm::L2 => euclidean(sizes),
        Norm::L1 => sizes.fold(0.0, f64::max),
    }
}

fn euclidean(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Key, Purpose, Stream};
    use proptest::prelude::*;

    const NORMS: [Norm; 3] = [Norm::Linf, Norm::L2, Norm::L1];

    fn draws(seed: u64) -> Draws {
        Stream::new(seed).draws(Key {
            purpose: Purpose::AttackStart,
            time: 0,
            index: 0,
            restart: 0,
        })
    }

    mod g1_sign {
        use super::*;

        #[test]
        fn a_pixel_without_gradient_does_not_move() {
            for zero in [0.0_f32, -0.0] {
                assert_eq!(sign(zero).to_bits(), 0.0_f32.to_bits());
            }
            assert_eq!([sign(3e-38), sign(-2.0)], [1.0, -1.0]);
            let mut gradient = [0.0, -0.0, 5.0];
            steepest_step(Norm::Linf, &mut gradient, 0.1);
            assert_eq!(gradient, [0.0, 0.0, 0.1]);
        }
    }

    mod g2_step_on_a_linear_loss {
        use super::*;

        #[test]
        fn the_step_gains_the_dual_norm_of_the_gradient() {
            let gradient: Vec<f32> = (0..97).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
            for norm in NORMS {
                let dual = dual_length(norm, &gradient);
                let mut step = gradient.clone();
                steepest_step(norm, &mut step, 0.25);
                let gain: f64 =
                    gradient.iter().zip(&step).map(|(&g, &s)| f64::from(g) * f64::from(s)).sum();
                assert!((gain / (0.25 * dual) - 1.0).abs() < 1e-5, "{norm}: {gain}");
            }
        }

        #[test]
        fn a_zero_gradient_gives_no_step_and_a_tiny_one_a_full_step() {
            for norm in NORMS {
                let mut none = [0.0; 5];
                steepest_step(norm, &mut none, 1.0);
                assert_eq!(none, [0.0; 5]);
                let mut tiny = [1e-40, 0.0];
                steepest_step(norm, &mut tiny, 0.5);
                assert_eq!(tiny, [0.5, 0.0]);
            }
        }
    }

    mod g3_projection {
        use super::*;

        const RADII: [f32; 5] = [0.0, 1e-3, 8.0 / 255.0, 1.0, 3.0];

        fn projected(norm: Norm, point: &[f32], origin: &[f32], epsilon: f32) -> Vec<f32> {
            let mut image = point.to_vec();
            project(norm, &mut image, origin, epsilon, Range::Pixels);
            image
        }

        proptest! {
            #[test]
            fn it_is_inside_idempotent_and_never_expands(
                triples in prop::collection::vec((0.0_f32..=1.0, -4.0_f32..4.0, -4.0_f32..4.0), 1..40),
                radius in 0..5_usize,
            ) {
                let origin: Vec<f32> = triples.iter().map(|t| t.0).collect();
                let first: Vec<f32> = triples.iter().map(|t| t.1).collect();
                let second: Vec<f32> = triples.iter().map(|t| t.2).collect();
                let epsilon = RADII[radius];
                for norm in NORMS {
                    let one = projected(norm, &first, &origin, epsilon);
                    let two = projected(norm, &second, &origin, epsilon);
                    prop_assert!(distance(norm, &one, &origin) <= f64::from(epsilon) + 1e-6);
                    prop_assert!(one.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
                    let again = projected(norm, &one, &origin, epsilon);
                    match norm {
                        Norm::Linf => prop_assert_eq!(&again, &one),
                        Norm::L2 | Norm::L1 => prop_assert!(distance(norm, &again, &one) <= 1e-6),
                    }
                    // The projection onto the L1 ball is the Euclidean one.
                    let metric = if norm == Norm::L1 { Norm::L2 } else { norm };
                    let before = distance(metric, &first, &second);
                    prop_assert!(distance(metric, &one, &two) <= before + 1e-6);
                }
            }

            #[test]
            fn a_point_already_inside_keeps_its_bits(
                pairs in prop::collection::vec((0.1_f32..0.9, -1.0_f32..1.0), 1..40),
            ) {
                let origin: Vec<f32> = pairs.iter().map(|p| p.0).collect();
                let share = 0.09 / pairs.len() as f32;
                let inside: Vec<f32> = pairs.iter().map(|p| p.0 + share * p.1).collect();
                for norm in NORMS {
                    prop_assert_eq!(&projected(norm, &inside, &origin, 0.1), &inside);
                }
            }

            #[test]
            fn a_random_start_obeys_ball_and_range(
                origin in prop::collection::vec(0.0_f32..=1.0, 1..40),
                radius in 0..5_usize,
                seed in 0..1000_u64,
            ) {
                for norm in NORMS {
                    let start = sample_ball(norm, &origin, RADII[radius], Range::Pixels, &mut draws(seed));
                    prop_assert!(distance(norm, &start, &origin) <= f64::from(RADII[radius]) + 1e-6);
                    prop_assert!(start.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
                }
            }
        }

        #[test]
        fn radius_zero_gives_the_origin_bit_for_bit() {
            let origin = [0.0, 0.2, 1.0, 0.7];
            for norm in NORMS {
                assert_eq!(projected(norm, &[0.5, -3.0, 0.1, 0.9], &origin, 0.0), origin);
                assert_eq!(sample_ball(norm, &origin, 0.0, Range::Pixels, &mut draws(1)), origin);
            }
        }
    }

    mod g29_starts {
        use super::*;

        #[test]
        fn linf_noise_is_uniform_and_may_leave_the_range_only_where_asked() {
            // n = 10,000 pixels, seed 3. The mean of U(-1, 1) has standard error sqrt(1/3 / n) = 0.0058, its square's
            // mean 1/3 has sqrt(4/45 / n) = 0.0030; four of each are allowed.
            let origin = vec![0.5; 10_000];
            let start = sample_ball(Norm::Linf, &origin, 0.25, Range::Pixels, &mut draws(3));
            let units: Vec<f64> = start.iter().map(|&p| (f64::from(p) - 0.5) / 0.25).collect();
            let mean = units.iter().sum::<f64>() / 1e4;
            let square = units.iter().map(|u| u * u).sum::<f64>() / 1e4;
            assert!(mean.abs() < 4.0 * 0.0058, "{mean}");
            assert!((square - 1.0 / 3.0).abs() < 4.0 * 0.0030, "{square}");
            let dark = vec![0.0; 100];
            let free = sample_ball(Norm::Linf, &dark, 0.25, Range::Unlimited, &mut draws(3));
            assert!(free.iter().any(|&pixel| pixel < 0.0));
            let kept = sample_ball(Norm::Linf, &dark, 0.25, Range::Pixels, &mut draws(3));
            assert!(kept.iter().all(|&pixel| pixel >= 0.0));
        }

        #[test]
        fn l2_noise_fills_the_ball_by_volume() {
            // In two dimensions a quarter of the area lies within half the radius. n = 10,000, seeds 0..10,000;
            // standard error sqrt(.25 * .75 / n) = 0.0043; four of them are allowed.
            let origin = [0.5, 0.5];
            let within = (0..10_000)
                .filter(|&seed| {
                    let start =
                        sample_ball(Norm::L2, &origin, 0.2, Range::Pixels, &mut draws(seed));
                    distance(Norm::L2, &start, &origin) <= 0.1
                })
                .count();
            assert!((within as f64 / 1e4 - 0.25).abs() < 4.0 * 0.0043, "{within}");
        }
    }

    #[test]
    fn the_distance_of_an_image_that_is_not_a_number_is_not_a_number() {
        for norm in NORMS {
            assert!(distance(norm, &[f32::NAN, 0.5], &[0.5, 0.5]).is_nan());
            assert!(distance(norm, &[0.5, f32::NAN, 0.9], &[0.5, 0.5, 0.5]).is_nan());
        }
    }
}
