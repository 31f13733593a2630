//! Windows of 3x3 with a third of the multiplications.
//!
//! Source: Winograd's minimal filtering as in Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4,
//! F(2x4, 3x3): `Y = A2' [ (G2 g G4') * (B2' d B4) ] A4`, with F(2, 3) from row to row and F(4, 3) along a row. A *patch* of
//! four rows of six inputs gives two rows of four results with 24 products for each channel instead of 72. Channels are summed
//! between the transforms, one row of the patch after another, so that what goes back along a row is six sums that never
//! left their registers.
//!
//! **Precision.** Transformed inputs and weights are rounded to bf16 before they are multiplied. With the points 0, 5/8, -5/8,
//! 3/2, -3/2 and infinity along a row a result errs by 0.6 % of the results' root mean square where the plain sum errs by 0.16 %
//! and the rounding of what is written adds 0.16 % to both. F(4x4, 3x3) would err by 0.9 % for a quarter of the products less;
//! along rows alone it is 0.4 % for half of the plain products. A test says what it is.
//!
//! A result depends on the inputs of its patch, all of one image: batch independence to the bit (G7) holds as in plain sums.

use crate::vector::Vector;

mod patches;
mod table;
mod weights;

pub(crate) use patches::{PatchLayout, Patches, fill};
pub(super) use weights::Expanded;

/// Rows and columns of a window.
pub(crate) const WINDOW: usize = 3;
/// Rows of results of a patch.
pub(crate) const DOWN: usize = 2;
/// Results of such a row.
pub(crate) const ACROSS: usize = 4;
/// Rows of a patch, transformed or not.
pub(crate) const ROWS: usize = DOWN + WINDOW - 1;
/// Columns of a patch, transformed or not.
pub(crate) const COLUMNS: usize = ACROSS + WINDOW - 1;
/// Patches whose upper rows of results are a tile, as their lower rows are.
pub(crate) const PATCHES: usize = super::TILE / ACROSS;

/// The finite points beside zero are this and its negative, ...
const NEAR: f32 = 0.625;
/// ... and this and its negative.
const FAR: f32 = 1.5;
const NEAR_2: f32 = NEAR * NEAR;
const FAR_2: f32 = FAR * FAR;

/// `B2' d` for one column of a patch.
///
/// # Safety
/// The processor must have the instructions of `V`.
#[inline(always)]
unsafe fn transform_column<V: Vector>([d0, d1, d2, d3]: [V; ROWS]) -> [V; ROWS] {
    // SAFETY: by the caller's promise.
    unsafe { [d0.subtract(d2), d1.add(d2), d2.subtract(d1), d1.subtract(d3)] }
}

/// `B4' d` for one row.
///
/// # Safety
/// The processor must have the instructions of `V`.
#[inline(always)]
unsafe fn transform_row<V: Vector>(d: [V; COLUMNS]) -> [V; COLUMNS] {
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

/// `G2 g G4'`.
#[inline(always)]
fn transform_window(g: [[f32; WINDOW]; WINDOW]) -> [[f32; COLUMNS]; ROWS] {
    let [upper, middle, lower] = g.map(transform_weights);
    let mut rows = [upper, upper, upper, lower];
    for (column, middle) in middle.into_iter().enumerate() {
        let outer = upper[column] + lower[column];
        rows[1][column] = 0.5 * (outer + middle);
        rows[2][column] = 0.5 * (outer - middle);
    }
    rows
}

/// `G4 g` for one row of a window.
#[inline(always)]
fn transform_weights(g: [f32; WINDOW]) -> [f32; COLUMNS] {
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

/// `A4' m` for one row of a patch; what it adds to the two rows of results, `A2'`, is in [`UPPER`] and [`LOWER`].
///
/// # Safety
/// The processor must have the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn results<V: Vector>(m: [V; COLUMNS]) -> [V; ACROSS] {
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

/// What happens to a row of a patch on its way into a row of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joins {
    Begins,
    Adds,
    Subtracts,
    Not,
}

/// The first row of `A2'`, by row of the patch.
pub(crate) const UPPER: [Joins; ROWS] = [Joins::Begins, Joins::Adds, Joins::Adds, Joins::Not];
/// Its second row.
pub(crate) const LOWER: [Joins; ROWS] =
    [Joins::Not, Joins::Begins, Joins::Subtracts, Joins::Subtracts];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LANES;
    use crate::vector::Portable;

    fn first(x: Portable) -> f32 {
        let mut lanes = [0.0; LANES];
        // SAFETY: plain Rust; sixteen numbers are written.
        unsafe { x.store(lanes.as_mut_ptr()) };
        lanes[0]
    }

    #[test]
    fn products_of_the_transforms_are_a_correlation() {
        let d: [[f32; COLUMNS]; ROWS] = std::array::from_fn(|row| {
            std::array::from_fn(|column| ((7 * row + 3 * column) as f32).sin())
        });
        let g = [[0.8, -0.5, 1.3], [0.1, 0.7, -0.9], [-0.4, 0.2, 0.6]];
        let weights = transform_window(g);
        let mut found = [[0.0; ACROSS]; DOWN];
        for row in 0..ROWS {
            // SAFETY: plain Rust; sixteen numbers are read.
            let results = unsafe {
                let lanes = |x: f32| Portable::load([x; LANES].as_ptr());
                let mut inputs = [Portable::zero(); COLUMNS];
                for (column, input) in inputs.iter_mut().enumerate() {
                    let down = std::array::from_fn(|row| lanes(d[row][column]));
                    *input = transform_column(down)[row];
                }
                let mut inputs = transform_row(inputs);
                for (input, weight) in inputs.iter_mut().zip(weights[row]) {
                    *input = Portable::zero().multiply_add(*input, lanes(weight));
                }
                results(inputs)
            };
            for (found, joins) in found.iter_mut().zip([UPPER[row], LOWER[row]]) {
                for (found, result) in found.iter_mut().zip(results.map(first)) {
                    match joins {
                        Joins::Begins => *found = result,
                        Joins::Adds => *found += result,
                        Joins::Subtracts => *found -= result,
                        Joins::Not => {}
                    }
                }
            }
        }
        for (y, row) in found.into_iter().enumerate() {
            for (x, found) in row.into_iter().enumerate() {
                let taps = (0..9).map(|at| (at / 3, at % 3));
                let expected: f32 = taps.map(|(i, j)| d[y + i][x + j] * g[i][j]).sum();
                assert!((found - expected).abs() < 1e-5, "{y} {x}: {found}, expected {expected}");
            }
        }
    }
}
