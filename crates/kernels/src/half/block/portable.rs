//! The same sums in plain Rust, and the same code compiled for wider vectors.

use super::{Block, Extent, Sums};
use crate::LANES;
use crate::half::pack::PANEL;
use crate::half::{TILE, to_f32};

/// # Safety
/// As [`super::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2(block: &Block<'_>, extent: Extent, sums: &mut Sums) {
    // SAFETY: by the caller's promise.
    unsafe { run(block, extent, sums) }
}

/// # Safety
/// As [`super::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn avx512(block: &Block<'_>, extent: Extent, sums: &mut Sums) {
    // SAFETY: by the caller's promise.
    unsafe { run(block, extent, sums) }
}

/// # Safety
/// As [`super::run`].
#[inline(always)]
pub(super) unsafe fn run(block: &Block<'_>, extent: Extent, sums: &mut Sums) {
    let panels = extent.panels();
    for tile in 0..extent.tiles() {
        for panel in 0..panels {
            let own = &mut sums.0[(2 * tile + panel) * TILE * LANES..][..TILE * LANES];
            for (pixel, row) in own.chunks_exact_mut(LANES).enumerate().take(block.rows[tile]) {
                // SAFETY: by the caller's promise.
                unsafe {
                    for (lane, sum) in row.iter_mut().enumerate() {
                        *sum = *block.bias.add(panel * LANES + lane);
                    }
                    for step in block.steps {
                        let input = block.tiles[tile]
                            .byte_offset(step.input as isize + (pixel * block.pitch) as isize);
                        let weights =
                            block.weights.add((step.weights as usize * panels + panel) * PANEL);
                        add_step(input, weights, block.input_pairs, row);
                    }
                }
            }
        }
    }
}

/// # Safety
/// 32 numbers at `input`, a panel at `weights`; at most 16 pairs.
#[inline(always)]
pub(super) unsafe fn add_step(
    input: *const u16,
    weights: *const u16,
    pairs: usize,
    row: &mut [f32],
) {
    for pair in 0..pairs {
        // SAFETY: by the caller's promise.
        unsafe {
            let (left, right) = (to_f32(*input.add(2 * pair)), to_f32(*input.add(2 * pair + 1)));
            let weights = weights.add(pair * 2 * LANES);
            for (lane, sum) in row.iter_mut().enumerate() {
                *sum += left * to_f32(*weights.add(2 * lane));
                *sum += right * to_f32(*weights.add(2 * lane + 1));
            }
        }
    }
}
