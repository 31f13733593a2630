//! The smallest move of one image to a hyperplane within the pixel range, in each norm.
//!
//! The authors sort the pixels by how far they can move. Here the length of the move is found by Newton's method on the
//! distance covered, which is concave and piecewise linear in it: the iterates rise to the exact root in a few passes.
//! Source of the problem: Croce & Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary
//! attack", section 2.2.

use crate::threat::Norm;

/// Writes to `out` the smallest change of `point` that takes `slope . point` to where it is `gap` less, or as near to it as
/// the pixel range allows.
///
/// Pixels without slope stay. Shapes: all one image, flattened. Units: pixels in `[0, 1]`.
pub fn to_hyperplane(norm: Norm, point: &[f32], slope: &[f32], gap: f64, out: &mut [f32]) {
    // The direction in which each pixel moves, and how far it can.
    let towards = if gap > 0.0 { -1.0 } else { 1.0 };
    let room = |w: f32, pixel: f32| if w * towards > 0.0 { 1.0 - pixel } else { pixel };
    let needed = gap.abs();
    match norm {
        Norm::Linf => {
            let length = length(point, slope, needed, &room, |_| 1.0);
            for ((out, &w), &pixel) in out.iter_mut().zip(slope).zip(point) {
                let moved = length.min(room(w, pixel));
                *out = if w == 0.0 { 0.0 } else { moved.copysign(w * towards) };
            }
        }
        Norm::L2 => {
            let length = length(point, slope, needed, &room, f32::abs);
            for ((out, &w), &pixel) in out.iter_mut().zip(slope).zip(point) {
                let moved = (length * w.abs()).min(room(w, pixel));
                *out = if w == 0.0 { 0.0 } else { moved.copysign(w * towards) };
            }
        }
        Norm::L1 => steepest_first(point, slope, (needed, towards), &room, out),
    }
}

/// The `t` at which `sum |w| min(t speed(w), room)` is `needed`; infinite if no `t` is enough.
///
/// `speed` is the steepest direction's share of a pixel: 1 in Linf, its slope in L2.
fn length(
    point: &[f32],
    slope: &[f32],
    needed: f64,
    room: &impl Fn(f32, f32) -> f32,
    speed: impl Fn(f32) -> f32,
) -> f32 {
    let mut length = 0.0_f32;
    loop {
        // Pixels that have used up their room cover a fixed distance, the others one that grows with the length.
        const LANES: usize = 8;
        let (mut fixed, mut growing) = ([0.0_f64; LANES], [0.0_f64; LANES]);
        let mut add = |lane: usize, w: f32, pixel: f32| {
            let (size, speed, room) = (w.abs(), speed(w), room(w, pixel));
            let is_free = length * speed < room;
            fixed[lane] += if is_free { 0.0 } else { f64::from(size * room) };
            growing[lane] += if is_free { f64::from(size * speed) } else { 0.0 };
        };
        let (slopes, slopes_left) = slope.as_chunks::<LANES>();
        let (points, points_left) = point.as_chunks::<LANES>();
        for (w, pixel) in slopes.iter().zip(points) {
            (0..LANES).for_each(|lane| add(lane, w[lane], pixel[lane]));
        }
        let left = slopes_left.iter().zip(points_left).enumerate();
        left.for_each(|(lane, (&w, &pixel))| add(lane, w, pixel));
        let (fixed, growing) = (fixed.iter().sum::<f64>(), growing.iter().sum::<f64>());
        if growing == 0.0 {
            return f32::INFINITY;
        }
        let next = ((needed - fixed) / growing) as f32;
        // Rising until no further pixel runs out of room; rounding may hold it back earlier.
        if next <= length {
            return length;
        }
        length = next;
    }
}

/// In L1 the pixels with the steepest slope move first, each as far as it can.
fn steepest_first(
    point: &[f32],
    slope: &[f32],
    (mut needed, towards): (f64, f32),
    room: &impl Fn(f32, f32) -> f32,
    out: &mut [f32],
) {
    out.fill(0.0);
    let mut order: Vec<u32> =
        (0..slope.len() as u32).filter(|&i| slope[i as usize] != 0.0).collect();
    order.sort_by(|&a, &b| slope[b as usize].abs().total_cmp(&slope[a as usize].abs()));
    for pixel in order {
        let pixel = pixel as usize;
        let (w, room) = (slope[pixel], room(slope[pixel], point[pixel]));
        let moved = f64::from(room).min(needed / f64::from(w.abs()));
        out[pixel] = (moved as f32).copysign(w * towards);
        needed -= moved * f64::from(w.abs());
        if needed <= 0.0 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threat::distance;
    use proptest::prelude::*;

    const NORMS: [Norm; 3] = [Norm::Linf, Norm::L2, Norm::L1];

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }

    #[test]
    fn where_there_is_room_the_move_is_the_gap_over_the_dual_norm() {
        let (point, slope) = ([0.5; 4], [2.0, -1.0, 0.0, 0.5]);
        for (norm, dual) in [(Norm::Linf, 3.5), (Norm::L2, 5.25_f64.sqrt()), (Norm::L1, 2.0)] {
            for gap in [0.3, -0.3] {
                let mut out = [9.0; 4];
                to_hyperplane(norm, &point, &slope, gap, &mut out);
                assert!((dot(&slope, &out) + gap).abs() < 1e-6, "{norm}: {out:?}");
                let length = distance(norm, &out, &[0.0; 4]);
                assert!((length - 0.3 / dual).abs() < 1e-6, "{norm}: {length}");
            }
        }
    }

    #[test]
    fn a_hyperplane_out_of_reach_is_approached_as_far_as_the_range_allows() {
        let (point, slope) = ([0.25, 0.75, 0.5], [1.0, -2.0, 0.0]);
        for norm in NORMS {
            let mut out = [9.0; 3];
            to_hyperplane(norm, &point, &slope, -100.0, &mut out);
            assert_eq!(out, [0.75, -0.75, 0.0], "{norm}");
        }
    }

    proptest! {
        /// Any feasible move is at least as long: the optimum satisfies the hyperplane, and random moves along it that also
        /// do are never shorter.
        #[test]
        fn no_other_move_to_the_hyperplane_is_shorter(
            pixels in prop::collection::vec((0.0_f32..=1.0, -3.0_f32..3.0, -0.2_f32..0.2), 2..30),
            share in 0.05_f64..0.95,
        ) {
            let point: Vec<f32> = pixels.iter().map(|p| p.0).collect();
            let slope: Vec<f32> = pixels.iter().map(|p| p.1).collect();
            // The most that can be covered upwards.
            let most: f64 = pixels.iter().map(|p| f64::from(p.1.max(0.0) * (1.0 - p.0) + (-p.1).max(0.0) * p.0)).sum();
            let gap = -share * most;
            for norm in NORMS {
                let mut out = vec![0.0; point.len()];
                to_hyperplane(norm, &point, &slope, gap, &mut out);
                prop_assert!((dot(&slope, &out) + gap).abs() < 1e-4 * (1.0 + most));
                for (o, p) in out.iter().zip(&point) {
                    prop_assert!((-1e-6..=1.0 + 1e-6).contains(&(o + p)));
                }
                let length = distance(norm, &out, &vec![0.0; out.len()]);
                // Another feasible move: nudge, clip to the range, and go on in proportion to what is left.
                let mut other: Vec<f32> = (0..out.len())
                    .map(|i| (out[i] + pixels[i].2).clamp(-point[i], 1.0 - point[i]))
                    .collect();
                let room: Vec<f32> = (0..out.len())
                    .map(|i| if slope[i] > 0.0 { 1.0 - point[i] - other[i] } else { point[i] + other[i] })
                    .collect();
                let left = -gap - dot(&slope, &other);
                let reach: f64 = (0..out.len()).map(|i| f64::from(slope[i].abs() * room[i])).sum();
                if left > 0.0 && reach > left {
                    let part = (left / reach) as f32;
                    for i in 0..out.len() {
                        other[i] += part * room[i] * slope[i].signum();
                    }
                    let longer = distance(norm, &other, &vec![0.0; out.len()]);
                    prop_assert!(length <= longer + 1e-4, "{norm}: {length} {longer}");
                }
            }
        }
    }
}
