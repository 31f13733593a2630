//! Windows of 3x3 with a third of the multiplications.
//!
//! Minimal filtering F(2x4, 3x3), `Y = A2' [ (G2 g G4') * (B2' d B4) ] A4`: F(2, 3) from row to row and F(4, 3) along a row
//! ([`crate::filtering`] has the matrices and their source). A *patch* of
//! four rows of six inputs gives two rows of four results with 24 products for each channel instead of 72. Channels are summed
//! between the transforms, one row of the patch after another, so that what goes back along a row is six sums that never
//! left their registers.
//!
//! **Precision.** Transformed inputs and weights are rounded to bf16 before they are multiplied: a result errs by 0.6 % of the
//! results' root mean square where the plain sum errs by 0.16 %, and the rounding of what is written adds 0.16 % to both. A test
//! holds both sums to their bounds. Along rows alone it was 0.4 % for half of the plain products (revision ff83224); F(4x4, 3x3)
//! would save another quarter and bring the points' powers in twice.
//!
//! A result depends on the inputs of its patch, all of one image: batch independence to the bit (G7) holds as in plain sums.

use crate::filtering::{weights_of_four, weights_of_two};
use crate::vector::Vector;

mod layout;
mod patches;
mod table;
mod weights;

pub(crate) use layout::PatchLayout;
pub(crate) use patches::{Patches, fill};
pub(super) use weights::TransformedWeights;

/// Rows and columns of a window.
pub(crate) const WINDOW: usize = crate::filtering::TAPS;
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

/// `B2' d` for one column of a patch; rows are [`crate::filtering::inputs_of_four`].
///
/// # Safety
/// The processor must have the instructions of `V`.
#[inline(always)]
unsafe fn transform_column<V: Vector>([d0, d1, d2, d3]: [V; ROWS]) -> [V; ROWS] {
    // SAFETY: by the caller's promise.
    unsafe { [d0.subtract(d2), d1.add(d2), d2.subtract(d1), d1.subtract(d3)] }
}

/// `G2 g G4'`.
#[inline(always)]
fn transform_window(g: [[f32; WINDOW]; WINDOW]) -> [[f32; COLUMNS]; ROWS] {
    let [upper, middle, lower] = g.map(weights_of_four);
    let mut rows = [[0.0; COLUMNS]; ROWS];
    for column in 0..COLUMNS {
        let down = weights_of_two([upper[column], middle[column], lower[column]]);
        for (row, weight) in rows.iter_mut().zip(down) {
            row[column] = weight;
        }
    }
    rows
}

/// What a row of a patch, `A4' m`, does to a row of results.
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
    use crate::filtering::{inputs_of_four, results_of_four};
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
                let mut inputs = inputs_of_four(inputs);
                for (input, weight) in inputs.iter_mut().zip(weights[row]) {
                    *input = Portable::zero().multiply_add(*input, lanes(weight));
                }
                results_of_four(inputs)
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
