//! F(2x2, 3x3): sixteen products for four results, the rows of the 4x4 patches one after another.
//!
//! What lies between the transforms and the products then stays in the second-level cache while a row's weights are
//! read once: the way for many channels.

use super::products::{Products, multiply};
use super::transform_two::{into_patches, out_of_patches};
use super::{Job, Patches};
use crate::LANES;
use crate::vector::Vector;

/// Rows, and columns, of a patch.
pub(super) const SIDE: usize = 4;

/// Numbers of one row of patches, of its products and of the sums that are worked on at once: 1.25 MiB, more than half
/// of a usual second-level cache; the rest is for the weights that pass through.
const BLOCK_VALUES: usize = 5 << 16;

/// All tiles, a block at a time, in groups of `P`; of the last group only `H` where that is enough.
///
/// # Safety
/// `job` must have passed the checks of [`super::run`], and the processor must have `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn sweep<V: Vector, const P: usize, const H: usize, const N: usize>(
    job: &mut Job<'_>,
    patches: &mut Patches,
) {
    let panels = job.target.panels();
    // One row of the patches, `[4][groups][channels / 16][P][16]`, its products, and `[tiles][panels][4][16]` results so far.
    let per_tile = SIDE * (job.channels + 2 * job.target.stride);
    let block = job.block(BLOCK_VALUES / per_tile, P);
    patches.inputs.reserve(SIDE * block * job.channels);
    patches.products.reserve(SIDE * block * job.target.stride);
    patches.sums.reserve(SIDE * block * job.target.stride);
    patches.zeros.reserve(job.channels);
    let ends = job.ends();
    for first in (0..job.tiles()).step_by(block) {
        let count = job.list_tiles(first, block, P, &mut patches.tiles);
        // SAFETY: the buffers were sized for this many tiles, every tile lies in the maps.
        unsafe {
            for row in 0..SIDE {
                into_patches::<V, P>(job, patches, row);
                let weights = job.weights.as_ptr().add(row * SIDE * panels * job.channels * LANES);
                let products =
                    Products { positions: SIDE, channels: job.channels, panels, tiles: count };
                multiply::<V, P, H, N>(products, weights, patches);
                out_of_patches::<V, P>(&mut job.target, patches, row, count, ends);
            }
        }
    }
}
