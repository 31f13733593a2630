//! F(4x4, 3x3): thirty-six products for sixteen results, whole 6x6 patches of few tiles at once.
//!
//! Four times fewer multiplications than the plain sum. All positions of a patch are worked on together, so that every
//! input is read and every result written once; the weights of all positions should then stay in the second-level
//! cache: the way for fewer channels.

use super::products::{Products, multiply};
use super::transform_four::{into_patches, out_of_patches};
use super::{Job, Patches};
use crate::vector::Vector;

/// Rows, and columns, of a patch.
pub(super) const SIDE: usize = 6;

/// Numbers of the patches and of their products that are worked on at once: 640 KiB, a third of a usual second-level
/// cache; the rest is for maps and weights.
const BLOCK_VALUES: usize = 5 << 15;

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
    // `[36][groups][channels / 16][P][16]` and `[36][groups][panels][P][16]`.
    let per_tile = SIDE * SIDE * (job.channels + job.target.stride);
    let block = job.block(BLOCK_VALUES / per_tile, P);
    patches.inputs.reserve(SIDE * SIDE * block * job.channels);
    patches.products.reserve(SIDE * SIDE * block * job.target.stride);
    patches.zeros.reserve(job.channels);
    let ends = job.ends();
    for first in (0..job.tiles()).step_by(block) {
        let count = job.list_tiles(first, block, P, &mut patches.tiles);
        let products =
            Products { positions: SIDE * SIDE, channels: job.channels, panels, tiles: count };
        // SAFETY: the buffers were sized for this many tiles, every tile lies in the maps.
        unsafe {
            into_patches::<V, P>(job, patches);
            multiply::<V, P, H, N>(products, job.weights.as_ptr(), patches);
            out_of_patches::<V, P>(&mut job.target, patches, count, ends);
        }
    }
}
