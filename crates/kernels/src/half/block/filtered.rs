//! Four strips by one panel at a time: the sums of six positions become four results in registers.

use super::{Block, Extent, Sums};
use crate::half::filter::{POSITIONS, RESULTS, STRIPS, results};
use crate::half::pack::PANEL;
use crate::half::{CELL, TILE};
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};
use crate::vector::{Portable, Vector};
use crate::{Isa, LANES};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Writes `bias + result` of every pixel and output; a tile's pixels are those of its strips, one strip after another.
///
/// # Safety
/// As [`super::run`], but that a step reads the 24 cells of four strips and the weights of six steps.
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
    for tile in 0..extent.tiles() {
        for panel in 0..extent.panels() {
            // SAFETY: by the caller's promise.
            unsafe {
                match extent.panels() {
                    2 => products::<2>(block, tile, panel, sums),
                    _ => products::<1>(block, tile, panel, sums),
                }
            }
        }
    }
}

/// 24 of 32 registers hold sums: six loads of weights and 24 broadcasts from memory feed 24 products.
///
/// # Safety
/// As [`run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn products<const P: usize>(block: &Block<'_>, tile: usize, panel: usize, sums: &mut Sums) {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut own = [[_mm512_setzero_ps(); STRIPS]; POSITIONS];
        for step in block.steps {
            let input = block.tiles[tile].byte_offset(step.input as isize);
            let weights = block.weights.add((step.weights as usize * P + panel) * PANEL);
            for pair in 0..block.input_pairs {
                for (position, own) in own.iter_mut().enumerate() {
                    let right = weights.add(position * P * PANEL + pair * CELL);
                    let right = _mm512_loadu_si512(right.cast());
                    for (strip, sum) in own.iter_mut().enumerate() {
                        let left = input.add((strip * POSITIONS + position) * CELL + 2 * pair);
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
        for strip in 0..STRIPS {
            let mut m = [Avx512::zero(); POSITIONS];
            for (m, own) in m.iter_mut().zip(&own) {
                *m = Avx512(own[strip]);
            }
            write(block, m, tile, panel, strip, sums);
        }
    }
}

/// # Safety
/// As [`run`]; the processor must have the instructions of `V`.
#[inline(always)]
unsafe fn plain<V: Vector>(block: &Block<'_>, extent: Extent, sums: &mut Sums) {
    let panels = extent.panels();
    for tile in 0..extent.tiles() {
        for panel in 0..panels {
            for strip in 0..STRIPS {
                let mut own = [[0.0; LANES]; POSITIONS];
                // SAFETY: by the caller's promise.
                unsafe {
                    for step in block.steps {
                        let input = block.tiles[tile].byte_offset(step.input as isize);
                        for (position, own) in own.iter_mut().enumerate() {
                            let at = step.weights as usize + position;
                            let weights = block.weights.add((at * panels + panel) * PANEL);
                            let input = input.add((strip * POSITIONS + position) * CELL);
                            super::portable::add_step(input, weights, block.input_pairs, own);
                        }
                    }
                    let mut m = [V::zero(); POSITIONS];
                    for (m, own) in m.iter_mut().zip(&own) {
                        *m = V::load(own.as_ptr());
                    }
                    write(block, m, tile, panel, strip, sums);
                }
            }
        }
    }
}

/// # Safety
/// As [`run`]; the processor must have the instructions of `V`.
#[inline(always)]
unsafe fn write<V: Vector>(
    block: &Block<'_>,
    m: [V; POSITIONS],
    tile: usize,
    panel: usize,
    strip: usize,
    sums: &mut Sums,
) {
    let first = (2 * tile + panel) * TILE + strip * RESULTS;
    let rows = sums.0[first * LANES..][..RESULTS * LANES].chunks_exact_mut(LANES);
    // SAFETY: by the caller's promise; a row has sixteen numbers.
    unsafe {
        let bias = V::load(block.bias.add(panel * LANES));
        for (row, result) in rows.zip(results(m)) {
            result.add(bias).store(row.as_mut_ptr());
        }
    }
}
