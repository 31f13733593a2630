//! Windows of three columns with half the multiplications.
//!
//! Source: Winograd's minimal filtering F(4, 3) as in Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks",
//! section 4.1, along rows alone: `y = A' [(G g) * (B' d)]`. Six inputs of a row, a *strip*, give four results with six
//! products instead of twelve. Rows of the window and channels are summed between the transforms, so that what goes back is
//! four numbers for six sums that never left their registers.
//!
//! **Precision.** Transformed inputs and weights are rounded to bf16 before they are multiplied. With the points 0, 5/8, -5/8,
//! 3/2, -3/2 and infinity a result errs by 0.4 % of the results' root mean square where the plain sum errs by 0.16 % and the
//! rounding of what is written adds 0.16 % to both; with 1 and 2 for points it would be 0.6 %. In two directions, F(4x4, 3x3), it
//! would be 0.9 % for another factor of two. A test says what it is.
//!
//! A result depends on the inputs of its strip, all of one image: batch independence to the bit (G7) holds as in plain sums.

use crate::vector::Vector;

mod patches;
mod table;
mod weights;

pub(crate) use patches::{PatchLayout, fill};
pub(super) use weights::Expanded;

/// Results of a strip.
pub(crate) const RESULTS: usize = 4;
/// Its inputs, and products for each row of the window and channel.
pub(crate) const POSITIONS: usize = 6;
/// Columns of a window.
pub(crate) const COLUMNS: usize = 3;
/// Strips of a tile.
pub(crate) const STRIPS: usize = super::TILE / RESULTS;

/// The finite points beside zero are this and its negative, ...
const NEAR: f32 = 0.625;
/// ... and this and its negative.
const FAR: f32 = 1.5;
const NEAR_2: f32 = NEAR * NEAR;
const FAR_2: f32 = FAR * FAR;

/// `B' d`.
///
/// # Safety
/// The processor must have the instructions of `V`.
#[inline(always)]
unsafe fn transform<V: Vector>(d: [V; POSITIONS]) -> [V; POSITIONS] {
    const BOTH: f32 = -(NEAR_2 + FAR_2);
    // SAFETY: by the caller's promise.
    unsafe {
        let (less_near, less_far) = (V::splat(&-NEAR_2), V::splat(&-FAR_2));
        let (both, product) = (V::splat(&BOTH), V::splat(&(NEAR_2 * FAR_2)));
        let (near, far) = (V::splat(&NEAR), V::splat(&FAR));
        let (even, odd) = (d[4].multiply_add(d[2], less_far), d[3].multiply_add(d[1], less_far));
        let (even_far, odd_far) =
            (d[4].multiply_add(d[2], less_near), d[3].multiply_add(d[1], less_near));
        let (odd, odd_far) =
            (V::zero().multiply_add(odd, near), V::zero().multiply_add(odd_far, far));
        [
            d[4].multiply_add(d[2], both).multiply_add(d[0], product),
            even.add(odd),
            even.subtract(odd),
            even_far.add(odd_far),
            even_far.subtract(odd_far),
            d[5].multiply_add(d[3], both).multiply_add(d[1], product),
        ]
    }
}

/// `G g`.
#[inline(always)]
fn transform_weights(g: [f32; COLUMNS]) -> [f32; POSITIONS] {
    const ZERO: f32 = 1.0 / (NEAR_2 * FAR_2);
    const AT_NEAR: f32 = 0.5 / (NEAR_2 * (NEAR_2 - FAR_2));
    const AT_FAR: f32 = 0.5 / (FAR_2 * (FAR_2 - NEAR_2));
    let (even, odd) = (g[0] + NEAR_2 * g[2], NEAR * g[1]);
    let (even_far, odd_far) = (g[0] + FAR_2 * g[2], FAR * g[1]);
    [
        ZERO * g[0],
        AT_NEAR * (even + odd),
        AT_NEAR * (even - odd),
        AT_FAR * (even_far + odd_far),
        AT_FAR * (even_far - odd_far),
        g[2],
    ]
}

/// `A' m`.
///
/// # Safety
/// The processor must have the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn results<V: Vector>(m: [V; POSITIONS]) -> [V; RESULTS] {
    const POWERS: [[f32; 2]; 3] = [[NEAR, FAR], [NEAR_2, FAR_2], [NEAR * NEAR_2, FAR * FAR_2]];
    let [m0, m1, m2, m3, m4, m5] = m;
    // SAFETY: by the caller's promise.
    unsafe {
        let even = [m1.add(m2), m3.add(m4)];
        let odd = [m1.subtract(m2), m3.subtract(m4)];
        [
            m0.add(even[0]).add(even[1]),
            add_scaled(V::zero(), odd, &POWERS[0]),
            add_scaled(V::zero(), even, &POWERS[1]),
            add_scaled(m5, odd, &POWERS[2]),
        ]
    }
}

/// `to + near * powers[0] + far * powers[1]`.
///
/// # Safety
/// As [`results`].
#[inline(always)]
unsafe fn add_scaled<V: Vector>(to: V, [near, far]: [V; 2], powers: &[f32; 2]) -> V {
    // SAFETY: by the caller's promise.
    unsafe { to.multiply_add(near, V::splat(&powers[0])).multiply_add(far, V::splat(&powers[1])) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LANES;
    use crate::vector::Portable;

    #[test]
    fn products_of_the_transforms_are_a_correlation() {
        let d = [0.3_f32, -1.2, 0.7, 2.1, -0.4, 0.9];
        let g = [0.8_f32, -0.5, 1.3];
        let weights = transform_weights(g);
        // SAFETY: plain Rust; sixteen numbers are read and written.
        let results = unsafe {
            let lanes = |x: f32| Portable::load([x; LANES].as_ptr());
            let mut inputs = transform(d.map(lanes));
            for (input, weight) in inputs.iter_mut().zip(weights) {
                *input = Portable::zero().multiply_add(*input, lanes(weight));
            }
            results(inputs).map(|result| {
                let mut lanes = [0.0; LANES];
                result.store(lanes.as_mut_ptr());
                lanes[0]
            })
        };
        for (at, result) in results.into_iter().enumerate() {
            let expected: f32 = (0..COLUMNS).map(|column| d[at + column] * g[column]).sum();
            assert!((result - expected).abs() < 1e-5, "{at}: {result}, expected {expected}");
        }
    }
}
