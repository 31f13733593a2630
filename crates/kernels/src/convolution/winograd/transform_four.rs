//! Into patches and out of them: `B' d B` and `A' m A` of 6x6.

// Constant trip counts and plain indices: the compiler unrolls them, and arrays become registers.
#![allow(clippy::needless_range_loop)]

use super::super::target::Target;
use super::four::SIDE;
use super::{Job, Patches};
use crate::LANES;
use crate::filtering::{inputs_of_four, results_of_four};
use crate::vector::Vector;

/// Rows, and columns, of results.
const RESULTS: usize = 4;

/// `B' d B` for all tiles.
///
/// # Safety
/// Every tile must lie in the maps of `job`, the buffers of `patches` must be sized for them, and the processor must
/// have `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn into_patches<V: Vector, const P: usize>(job: &Job<'_>, patches: &mut Patches) {
    let Patches { tiles, inputs, zeros, .. } = patches;
    let chunks = job.channels / LANES;
    let plane = tiles.len() * job.channels;
    let row_len = job.width * job.channels;
    for (index, tile) in tiles.iter().enumerate() {
        let first = job.source.as_ptr().wrapping_add(tile.pixel * job.channels);
        let first = first.wrapping_sub(row_len + job.channels);
        let is_column: [bool; SIDE] =
            std::array::from_fn(|x| (tile.column + x).wrapping_sub(1) < job.width);
        let pointers: [[*const f32; SIDE]; SIDE] = std::array::from_fn(|y| {
            let is_row = (tile.row + y).wrapping_sub(1) < job.height;
            let row = first.wrapping_add(y * row_len);
            std::array::from_fn(|x| {
                let pixel = row.wrapping_add(x * job.channels);
                if is_row & is_column[x] { pixel } else { zeros.as_ptr() }
            })
        });
        // SAFETY: the pixels lie in the tile's map and have `channels` values, as the zeros have; the buffer was sized for all
        // tiles.
        unsafe {
            let mut out = inputs.as_mut_ptr().add(((index / P) * chunks * P + index % P) * LANES);
            for chunk in 0..chunks {
                let mut half = [[V::zero(); SIDE]; SIDE];
                for column in 0..SIDE {
                    let mut own = [V::zero(); SIDE];
                    for row in 0..SIDE {
                        own[row] = V::load(pointers[row][column].add(chunk * LANES));
                    }
                    let own = inputs_of_four(own);
                    for row in 0..SIDE {
                        half[row][column] = own[row];
                    }
                }
                // One pointer that moves on: thirty-six of them would be kept in memory.
                let mut position = out;
                for row in 0..SIDE {
                    for value in inputs_of_four(half[row]) {
                        value.store(position);
                        position = position.wrapping_add(plane);
                    }
                }
                out = out.add(P * LANES);
            }
        }
    }
}

/// `A' m A` of all tiles, finished where it lies before `last_row` and `last_column` of maps that are `width` wide.
///
/// # Safety
/// As [`into_patches`]; `target` must hold all pixels of the maps.
#[inline(always)]
pub(super) unsafe fn out_of_patches<V: Vector, const P: usize>(
    target: &mut Target<'_>,
    patches: &mut Patches,
    count: usize,
    (last_row, last_column, width): (usize, usize, usize),
) {
    let Patches { tiles, products, .. } = patches;
    let panels = target.panels();
    let plane = tiles.len() * target.stride;
    for (index, tile) in tiles[..count].iter().enumerate() {
        let rows = RESULTS.min(last_row - tile.row);
        let columns = RESULTS.min(last_column - tile.column);
        // SAFETY: the buffers were sized for all tiles, and the pixels lie in the maps.
        unsafe {
            let mut from = products.as_ptr().add(((index / P) * panels * P + index % P) * LANES);
            for panel in 0..panels {
                let mut half = [[V::zero(); RESULTS]; SIDE];
                let mut position = from;
                for row in 0..SIDE {
                    let mut own = [V::zero(); SIDE];
                    for column in 0..SIDE {
                        own[column] = V::load(position);
                        position = position.wrapping_add(plane);
                    }
                    half[row] = results_of_four(own);
                }
                for column in 0..columns {
                    let mut own = [V::zero(); SIDE];
                    for row in 0..SIDE {
                        own[row] = half[row][column];
                    }
                    let own = results_of_four(own);
                    for row in 0..RESULTS {
                        if row < rows {
                            target.finish(own[row], tile.pixel + row * width + column, panel);
                        }
                    }
                }
                from = from.add(P * LANES);
            }
        }
    }
}
