//! Into patches and out of them: `B' d B` and `A' m A`, one row of the 4x4 at a time.

// Constant trip counts and plain indices: the compiler unrolls them, and arrays become registers.
#![allow(clippy::needless_range_loop)]

use super::super::target::Target;
use super::two::SIDE;
use super::{Job, Patches};
use crate::LANES;
use crate::vector::Vector;

/// Row `row` of `B' d B` for all tiles.
///
/// # Safety
/// Every tile must lie in the maps of `job`, the buffers of `patches` must be sized for them, and the processor must
/// have `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn into_patches<V: Vector, const P: usize>(
    job: &Job<'_>,
    patches: &mut Patches,
    row: usize,
) {
    let Patches { tiles, inputs, zeros, .. } = patches;
    let chunks = job.channels / LANES;
    let plane = tiles.len() * job.channels;
    // `B'` is (1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1): two rows of the input in each.
    let (left, right) = [(0, 2), (1, 2), (2, 1), (1, 3)][row];
    for (index, tile) in tiles.iter().enumerate() {
        let mut rows = [[zeros.as_ptr(); SIDE]; 2];
        for (pointers, offset) in rows.iter_mut().zip([left, right]) {
            let y = (tile.row + offset).wrapping_sub(1);
            for (column, pointer) in pointers.iter_mut().enumerate() {
                let x = (tile.column + column).wrapping_sub(1);
                if y < job.height && x < job.width {
                    let pixel = tile.pixel + y * job.width + x - tile.row * job.width - tile.column;
                    // SAFETY: the pixel lies in the tile's map.
                    *pointer = unsafe { job.source.as_ptr().add(pixel * job.channels) };
                }
            }
        }
        // SAFETY: the pixels have `channels` values, and so do the zeros; the buffer was sized for all tiles.
        unsafe {
            let mut out = inputs.as_mut_ptr().add(((index / P) * chunks * P + index % P) * LANES);
            for chunk in 0..chunks {
                let mut sums = [V::zero(); SIDE];
                for column in 0..SIDE {
                    let one = V::load(rows[0][column].add(chunk * LANES));
                    let other = V::load(rows[1][column].add(chunk * LANES));
                    sums[column] = if row == 1 { one.add(other) } else { one.subtract(other) };
                }
                sums[0].subtract(sums[2]).store(out);
                sums[1].add(sums[2]).store(out.add(plane));
                sums[2].subtract(sums[1]).store(out.add(2 * plane));
                sums[1].subtract(sums[3]).store(out.add(3 * plane));
                out = out.add(P * LANES);
            }
        }
    }
}

/// Adds row `row` of the products into `A' m A`; what is complete is finished, before `last_row` and `last_column`, in
/// maps that are `width` wide.
///
/// # Safety
/// As [`into_patches`]; `target` must hold all pixels of the maps.
#[inline(always)]
pub(super) unsafe fn out_of_patches<V: Vector, const P: usize>(
    target: &mut Target<'_>,
    patches: &mut Patches,
    row: usize,
    count: usize,
    (last_row, last_column, width): (usize, usize, usize),
) {
    let Patches { tiles, products, sums, .. } = patches;
    let panels = target.panels();
    let plane = tiles.len() * target.stride;
    for (index, tile) in tiles[..count].iter().enumerate() {
        let two_rows = tile.row + 1 < last_row;
        let two_columns = tile.column + 1 < last_column;
        // SAFETY: the buffers were sized for all tiles, and the pixels lie in the maps.
        unsafe {
            let mut from = products.as_ptr().add(((index / P) * panels * P + index % P) * LANES);
            let mut sum = sums.as_mut_ptr().add(index * panels * SIDE * LANES);
            for panel in 0..panels {
                let [m0, m1, m2, m3] = [0, 1, 2, 3].map(|column| V::load(from.add(column * plane)));
                // `A'` is (1 1 1 0; 0 1 -1 -1).
                let left = m0.add(m1).add(m2);
                let right = m1.subtract(m2).subtract(m3);
                let [s0, s1, s2, s3] = [0, 1, 2, 3].map(|part| sum.add(part * LANES));
                match row {
                    0 => {
                        left.store(s0);
                        right.store(s1);
                    }
                    1 => {
                        V::load(s0).add(left).store(s0);
                        V::load(s1).add(right).store(s1);
                        left.store(s2);
                        right.store(s3);
                    }
                    2 => {
                        target.finish(V::load(s0).add(left), tile.pixel, panel);
                        if two_columns {
                            target.finish(V::load(s1).add(right), tile.pixel + 1, panel);
                        }
                        V::load(s2).subtract(left).store(s2);
                        V::load(s3).subtract(right).store(s3);
                    }
                    _ => {
                        let below = tile.pixel + width;
                        if two_rows {
                            target.finish(V::load(s2).subtract(left), below, panel);
                        }
                        if two_rows && two_columns {
                            target.finish(V::load(s3).subtract(right), below + 1, panel);
                        }
                    }
                }
                from = from.add(P * LANES);
                sum = sum.add(SIDE * LANES);
            }
        }
    }
}
