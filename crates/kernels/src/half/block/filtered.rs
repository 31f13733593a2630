//! Four patches by one panel: row by row of the patches, the sums of six columns become four results in registers.

use super::{Block, Extent, Sums};
use crate::filtering::results_of_four;
use crate::half::filter::{ACROSS, COLUMNS, Joins, LOWER, PATCHES, ROWS, UPPER};
use crate::half::pack::PANEL;
use crate::half::{CELL, TILE};
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};
use crate::vector::{Portable, Vector};
use crate::{Isa, LANES};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Half of a tile's patches: where a row ends within them, the others are left out.
#[cfg(target_arch = "x86_64")]
const HALF: usize = PATCHES / 2;

/// Writes `bias + result` of every pixel and output of two tiles: the rows of results of the same patches, or the upper alone.
/// A tile's pixels are patch by patch.
///
/// # Safety
/// As [`super::run`], but that a step reads 24 cells of each of a patch's rows and the weights of 24 steps.
pub(super) unsafe fn run(isa: Isa, block: &Block<'_>, extent: Extent, sums: &mut Sums) {
    // SAFETY: by the caller's promise.
    unsafe {
        match isa {
            Isa::Portable => plain::<Portable>(block, extent, sums),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2(block, extent, sums),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512(block, extent, sums),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 | Isa::Amx => avx512_bf16(block, extent, sums),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }
}

/// # Safety
/// As [`run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(block: &Block<'_>, extent: Extent, sums: &mut Sums) {
    // SAFETY: by the caller's promise.
    unsafe { plain::<Avx2>(block, extent, sums) }
}

/// # Safety
/// As [`run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(block: &Block<'_>, extent: Extent, sums: &mut Sums) {
    // SAFETY: by the caller's promise.
    unsafe { plain::<Avx512>(block, extent, sums) }
}

/// # Safety
/// As [`run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn avx512_bf16(block: &Block<'_>, extent: Extent, sums: &mut Sums) {
    // SAFETY: by the caller's promise.
    unsafe {
        match (extent.panels(), patches(block) <= HALF) {
            (2, false) => first_patches::<2, PATCHES>(block, extent, sums),
            (2, true) => first_patches::<2, HALF>(block, extent, sums),
            (_, false) => first_patches::<1, PATCHES>(block, extent, sums),
            (_, true) => first_patches::<1, HALF>(block, extent, sums),
        }
    }
}

/// Patches that hold a pixel.
fn patches(block: &Block<'_>) -> usize {
    block.rows[0].div_ceil(ACROSS)
}

/// The first `N` of the patches by all `P` panels.
///
/// # Safety
/// As [`run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
unsafe fn first_patches<const P: usize, const N: usize>(
    block: &Block<'_>,
    extent: Extent,
    sums: &mut Sums,
) {
    for panel in 0..P {
        for row in rows(extent) {
            // SAFETY: by the caller's promise.
            unsafe {
                let own = products::<P, N>(block, row, panel);
                for patch in 0..N {
                    let mut m = [Avx512::zero(); COLUMNS];
                    for (m, own) in m.iter_mut().zip(&own) {
                        *m = Avx512(own[patch]);
                    }
                    join(block, m, (row, patch), panel, extent, sums);
                }
            }
        }
    }
}

/// The rows of the patches that results are made of.
fn rows(extent: Extent) -> std::ops::Range<usize> {
    match extent.tiles() {
        1 => 0..ROWS - 1,
        _ => 0..ROWS,
    }
}

/// 24 of 32 registers hold sums: six loads of weights and 24 broadcasts from memory feed 24 products.
///
/// # Safety
/// As [`run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
unsafe fn products<const P: usize, const N: usize>(
    block: &Block<'_>,
    row: usize,
    panel: usize,
) -> [[__m512; N]; COLUMNS] {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut own = [[_mm512_setzero_ps(); N]; COLUMNS];
        for step in block.steps {
            let input =
                block.tiles[0].byte_offset(step.input as isize + (row * block.pitch) as isize);
            let first = step.weights as usize + row * COLUMNS;
            let weights = block.weights.add((first * P + panel) * PANEL);
            for pair in 0..block.input_pairs {
                for (column, own) in own.iter_mut().enumerate() {
                    let right = weights.add(column * P * PANEL + pair * CELL);
                    let right = _mm512_loadu_si512(right.cast());
                    for (patch, sum) in own.iter_mut().enumerate() {
                        let left = input.add((patch * COLUMNS + column) * CELL + 2 * pair);
                        let left = _mm512_set1_epi32(left.cast::<i32>().read_unaligned());
                        // The second factor is the one that can be a broadcast from memory.
                        *sum = _mm512_dpbf16_ps(
                            *sum,
                            std::mem::transmute::<__m512i, __m512bh>(right),
                            std::mem::transmute::<__m512i, __m512bh>(left),
                        );
                    }
                }
            }
        }
        own
    }
}

/// # Safety
/// As [`run`]; the processor must have the instructions of `V`.
#[inline(always)]
unsafe fn plain<V: Vector>(block: &Block<'_>, extent: Extent, sums: &mut Sums) {
    let panels = extent.panels();
    for panel in 0..panels {
        let patches = patches(block);
        for (row, patch) in rows(extent).flat_map(|row| (0..patches).map(move |patch| (row, patch)))
        {
            let mut own = [[0.0; LANES]; COLUMNS];
            // SAFETY: by the caller's promise.
            unsafe {
                for step in block.steps {
                    let input = block.tiles[0]
                        .byte_offset(step.input as isize + (row * block.pitch) as isize);
                    for (column, own) in own.iter_mut().enumerate() {
                        let at = step.weights as usize + row * COLUMNS + column;
                        let weights = block.weights.add((at * panels + panel) * PANEL);
                        let input = input.add((patch * COLUMNS + column) * CELL);
                        super::portable::add_step(input, weights, block.input_pairs, own);
                    }
                }
                let mut m = [V::zero(); COLUMNS];
                for (m, own) in m.iter_mut().zip(&own) {
                    *m = V::load(own.as_ptr());
                }
                join(block, m, (row, patch), panel, extent, sums);
            }
        }
    }
}

/// Brings a row of a patch into its rows of results.
///
/// # Safety
/// As [`run`]; the processor must have the instructions of `V`.
#[inline(always)]
unsafe fn join<V: Vector>(
    block: &Block<'_>,
    m: [V; COLUMNS],
    (row, patch): (usize, usize),
    panel: usize,
    extent: Extent,
    sums: &mut Sums,
) {
    // SAFETY: by the caller's promise; a row of sums has sixteen numbers.
    unsafe {
        let bias = V::load(block.bias.add(panel * LANES));
        let results = results_of_four(m);
        for (tile, joins) in [UPPER[row], LOWER[row]].into_iter().enumerate().take(extent.tiles()) {
            let first = (2 * tile + panel) * TILE + patch * ACROSS;
            let own = sums.0[first * LANES..][..ACROSS * LANES].chunks_exact_mut(LANES);
            for (own, result) in own.zip(results) {
                let before = match joins {
                    Joins::Not => continue,
                    Joins::Begins => bias,
                    Joins::Adds | Joins::Subtracts => V::load(own.as_ptr()),
                };
                let sum = match joins {
                    Joins::Subtracts => before.subtract(result),
                    _ => before.add(result),
                };
                sum.store(own.as_mut_ptr());
            }
        }
    }
}
