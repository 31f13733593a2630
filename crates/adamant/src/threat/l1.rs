//! The L1 ball cut by the pixel range, where the other norms need no file of their own: the nearest point of the
//! intersection is not the nearest point of the ball, clipped.

use super::Range;
use crate::stream::Draws;

/// Halvings of the interval of the threshold: with pixels in `[0, 1]`, what remains moves a pixel by below 3e-10.
const HALVINGS: u32 = 32;

/// A point of the ball around `origin`, uniform by volume, before any clipping.
///
/// Source: independent exponentials over their sum and one more are uniform on the simplex (Devroye 1986, V.2); random
/// signs make the simplex the ball.
pub(super) fn sample(origin: &[f32], epsilon: f32, draws: &mut Draws) -> Vec<f32> {
    let mut exponential = || -(1.0 - f64::from(draws.uniform())).ln();
    let lengths: Vec<f64> = origin.iter().map(|_| exponential()).collect();
    let total = lengths.iter().sum::<f64>() + exponential();
    let factor = if total > 0.0 { f64::from(epsilon) / total } else { 0.0 };
    let signed = origin.iter().zip(lengths);
    signed
        .map(|(&center, length)| {
            let sign = if draws.bits() & 1 == 0 { 1.0 } else { -1.0 };
            (f64::from(center) + sign * factor * length) as f32
        })
        .collect()
}

/// Moves along the pixel with the steepest gradient only, the first of equals.
pub(super) fn steepest_step(gradient: &mut [f32], step: f32) {
    let steepest = (0..gradient.len()).reduce(|best, pixel| {
        if gradient[pixel].abs() > gradient[best].abs() { pixel } else { best }
    });
    let along = steepest.map_or(0.0, |pixel| super::sign(gradient[pixel]));
    gradient.fill(0.0);
    if let Some(pixel) = steepest {
        gradient[pixel] = step * along;
    }
}

/// Moves `image` to the nearest point, by Euclidean distance, of the L1 ball around `origin` within `range`.
///
/// Every pixel keeps the direction in which it was moved: its change becomes `clamp(|change| - threshold, 0, room)` with
/// one threshold for all, and `room` the way to the border of the range. Rounding is towards the origin: thousands of
/// pixels rounded outwards would leave the ball by more than a judge tolerates.
/// Source: Croce & Hein 2021, "Mind the box", section 3.2.
pub(super) fn project(image: &mut [f32], origin: &[f32], epsilon: f32, range: Range) {
    let room = |pixel: f32, center: f32| match range {
        Range::Unlimited => f32::INFINITY,
        Range::Pixels if pixel > center => 1.0 - center,
        Range::Pixels => center,
    };
    let pairs = || image.iter().zip(origin);
    let (changes, rooms): (Vec<f32>, Vec<f32>) =
        pairs().map(|(&pixel, &center)| ((pixel - center).abs(), room(pixel, center))).unzip();
    let length = |threshold: f32| -> f64 {
        let kept = changes.iter().zip(&rooms);
        lanes(kept.map(|(&change, &room)| f64::from((change - threshold).max(0.0).min(room))))
    };
    let allowed = f64::from(epsilon);
    if length(0.0) <= allowed {
        if range == Range::Pixels {
            image.iter_mut().for_each(|pixel| *pixel = pixel.clamp(0.0, 1.0));
        }
        return;
    }
    let (mut low, mut high) = (0.0, changes.iter().fold(0.0_f32, |a, &b| a.max(b)));
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if length(middle) > allowed { low = middle } else { high = middle }
    }
    for (position, (pixel, &center)) in image.iter_mut().zip(origin).enumerate() {
        let kept = (changes[position] - high).max(0.0).min(rooms[position]);
        *pixel = if *pixel > center { up(center, kept) } else { down(center, kept) };
    }
}

/// `center + change`, rounded towards `center`.
fn up(center: f32, change: f32) -> f32 {
    let sum = center + change;
    if f64::from(sum) - f64::from(center) > f64::from(change) { sum.next_down() } else { sum }
}

/// `center - change`, rounded towards `center`.
fn down(center: f32, change: f32) -> f32 {
    let difference = center - change;
    if f64::from(center) - f64::from(difference) > f64::from(change) {
        difference.next_up()
    } else {
        difference
    }
}

/// The sum in a fixed order that several lanes can share.
fn lanes(values: impl Iterator<Item = f64>) -> f64 {
    let mut sums = [0.0; 8];
    values.enumerate().for_each(|(position, value)| sums[position % 8] += value);
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projection_is_the_nearest_point_of_ball_and_range() {
        // By hand: changes .5, .4, -.2 from (.9, .2, .5), radius .4. Room is .1 for the first; with threshold .15 the
        // changes become .1 (its room), .25, -.05.
        let origin = [0.9, 0.2, 0.5];
        let mut image = [1.4, 0.6, 0.3];
        project(&mut image, &origin, 0.4, Range::Pixels);
        for (found, expected) in image.iter().zip([1.0_f32, 0.45, 0.45]) {
            assert!((found - expected).abs() < 1e-6, "{image:?}");
        }
    }

    #[test]
    fn the_step_moves_one_pixel_and_none_without_a_gradient() {
        let mut gradient = [0.5, -2.0, 2.0];
        steepest_step(&mut gradient, 0.25);
        assert_eq!(gradient, [0.0, -0.25, 0.0]);
        let mut none = [0.0, -0.0];
        steepest_step(&mut none, 1.0);
        assert_eq!(none, [0.0; 2]);
    }

    #[test]
    fn a_pixel_rounds_towards_the_origin() {
        for (center, change) in [(0.7_f32, 1e-8_f32), (0.3, 0.123_456_7), (0.999, 0.001)] {
            assert!(f64::from(up(center, change)) - f64::from(center) <= f64::from(change));
            assert!(f64::from(center) - f64::from(down(center, change)) <= f64::from(change));
        }
    }
}
