//! The shape of a change in L2 and L1: two opposite pyramids side by side, of total length 1.

use crate::stream::Draws;
use crate::threat::Norm;

/// A square of `side` times `side` changes, of length 1 in the norm; half the draws lie on their side.
///
/// Source: Andriushchenko et al. 2020, section 3.3 and figure 3; the exponent of L1 is that of the AutoAttack code.
pub fn pyramids(norm: Norm, side: usize, draws: &mut Draws) -> Vec<f32> {
    let upper = pyramid(norm, side / 2, side);
    let lower = pyramid(norm, side - side / 2, side);
    let mut window: Vec<f64> = upper.into_iter().chain(lower.into_iter().map(|v| -v)).collect();
    scale_to_one(norm, &mut window);
    let lies = draws.bits() & 1 == 1;
    let at = |row: usize, column: usize| {
        if lies { window[column * side + row] } else { window[row * side + column] }
    };
    (0..side * side).map(|place| at(place / side, place % side) as f32).collect()
}

/// Nested rectangles around the centre, each higher by a quickly falling term; of length 1.
fn pyramid(norm: Norm, height: usize, width: usize) -> Vec<f64> {
    let mut heights = vec![0.0; height * width];
    let exponent = if norm == Norm::L1 { 4 } else { 2 };
    let (middle_row, middle_column) = (height / 2, width / 2);
    for ring in 0..=middle_row.max(middle_column) {
        let rows = middle_row.saturating_sub(ring)..height.min(middle_row + ring + 1);
        for row in rows {
            let columns = middle_column.saturating_sub(ring)..width.min(middle_column + ring + 1);
            for column in columns {
                heights[row * width + column] += 1.0 / ((ring + 1) as f64).powi(exponent);
            }
        }
    }
    scale_to_one(norm, &mut heights);
    heights
}

fn scale_to_one(norm: Norm, values: &mut [f64]) {
    let length = match norm {
        Norm::L1 => values.iter().map(|v| v.abs()).sum::<f64>(),
        Norm::L2 | Norm::Linf => values.iter().map(|v| v * v).sum::<f64>().sqrt(),
    };
    if length > 0.0 {
        values.iter_mut().for_each(|v| *v /= length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Key, Purpose, Stream};
    use crate::threat::distance;

    fn draws(seed: u64) -> Draws {
        let key = Key { purpose: Purpose::AttackQuery, time: 0, index: 0, restart: 0 };
        Stream::new(seed).draws(key)
    }

    #[test]
    fn g18_a_window_is_two_opposite_pyramids_of_length_one() {
        for norm in [Norm::L2, Norm::L1] {
            for side in [1, 2, 3, 6, 29] {
                let window = pyramids(norm, side, &mut draws(3));
                let length = distance(norm, &window, &vec![0.0; side * side]);
                assert!((length - 1.0).abs() < 1e-6, "{norm} {side}: {length}");
            }
        }
        // Of a 3 x 3 window, by hand: the upper rectangle of 1 x 3 has 1/4, 5/4, 1/4 before it is scaled.
        let window = (0..8).map(|seed| pyramids(Norm::L2, 3, &mut draws(seed)));
        let upright = window.into_iter().find(|w| w[0] > 0.0 && w[2] > 0.0).expect("half of them");
        assert!((upright[1] / upright[0] - 5.0).abs() < 1e-5, "{upright:?}");
        assert!(upright[3..].iter().all(|&v| v < 0.0), "{upright:?}");
    }

    #[test]
    fn half_the_windows_lie_on_their_side() {
        // n = 1,000 seeds; standard error sqrt(250) = 16; four of them are allowed.
        let upright = (0..1000).filter(|&seed| {
            let window = pyramids(Norm::L2, 3, &mut draws(seed));
            window[2] > 0.0
        });
        let upright = upright.count();
        assert!(upright.abs_diff(500) < 64, "{upright}");
    }
}
