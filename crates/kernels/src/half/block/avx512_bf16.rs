//! The same sums with `vdpbf16ps`: a pair of inputs broadcast, sixteen pairs of weights loaded.
//!
//! With two panels a broadcast serves two products and has a register; with one it is part of the product's instruction,
//! which takes it as the second factor: a quarter less time than broadcast and product apart (Zen 4, 16 channels).

use super::{Block, Extent, Fetch, Sums};
use crate::LANES;
use crate::half::pack::PANEL;
use crate::half::{CELL, TILE};
use std::arch::x86_64::*;

/// Half of a tile; rows of 14, 28 and 56 pixels end within tiles, and what lies beyond them is left out.
const HALF: usize = TILE / 2;
/// A quarter of it.
const QUARTER: usize = TILE / 4;
/// Outputs that a quarter of a register holds.
const NARROW: usize = LANES / 4;

/// What is read soon is fetched meanwhile: weights that meet few pixels, as those of 2x2 maps do, would be waited for.
///
/// # Safety
/// As [`super::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn run(block: &Block<'_>, extent: Extent, sums: &mut Sums) {
    let all: usize = block.rows[..extent.tiles()].iter().sum();
    // All steps are gone through for each few rows; each time fetches its part.
    let times = all.div_ceil(if extent.panels() == 2 { HALF } else { TILE });
    let mut fetch = block.fetch;
    fetch.iter_mut().for_each(|fetch| fetch.lines = fetch.lines.div_ceil(times));
    for tile in 0..extent.tiles() {
        let rows = block.rows[tile];
        // SAFETY: by the caller's promise.
        unsafe {
            match extent.panels() {
                2 => {
                    for first in (0..rows).step_by(HALF) {
                        match rows - first {
                            ..=QUARTER => {
                                panels::<2, QUARTER>(block, tile, first, sums, &mut fetch)
                            }
                            _ => panels::<2, HALF>(block, tile, first, sums, &mut fetch),
                        }
                    }
                }
                _ if block.outputs <= NARROW => narrow(block, tile, sums),
                _ if rows <= HALF => panels::<1, HALF>(block, tile, 0, sums, &mut fetch),
                _ => panels::<1, TILE>(block, tile, 0, sums, &mut fetch),
            }
        }
    }
}

/// Rows `first` to `first + ROWS` of a tile.
///
/// # Safety
/// As [`super::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn panels<const P: usize, const ROWS: usize>(
    block: &Block<'_>,
    tile: usize,
    first: usize,
    sums: &mut Sums,
    fetch: &mut [Fetch; 2],
) {
    // SAFETY: by the caller's promise; `Sums` holds every row written.
    unsafe {
        let mut own = [[_mm512_setzero_ps(); P]; ROWS];
        for row in &mut own {
            for (panel, sum) in row.iter_mut().enumerate() {
                *sum = _mm512_loadu_ps(block.bias.add(panel * LANES));
            }
        }
        let input = block.tiles[tile].byte_add(first * block.pitch);
        for step in block.steps {
            let input = input.byte_offset(step.input as isize);
            let weights = block.weights.add(step.weights as usize * P * PANEL);
            fetch.iter_mut().for_each(Fetch::step);
            for pair in 0..block.input_pairs {
                let mut right = [_mm512_setzero_si512(); P];
                for (panel, right) in right.iter_mut().enumerate() {
                    *right = _mm512_loadu_si512(weights.add(panel * PANEL + pair * CELL).cast());
                }
                for (row, sums) in own.iter_mut().enumerate() {
                    let left = input.byte_add(row * block.pitch).add(2 * pair).cast::<i32>();
                    let left = _mm512_set1_epi32(left.read_unaligned());
                    for (sum, right) in sums.iter_mut().zip(right) {
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
        for (row, own) in own.iter().enumerate() {
            for (panel, sum) in own.iter().enumerate() {
                let at = ((2 * tile + panel) * TILE + first + row) * LANES;
                _mm512_storeu_ps(sums.0.as_mut_ptr().add(at), *sum);
            }
        }
    }
}

/// The gradient by images has one or three channels: products of four outputs take two thirds of the time of those of
/// sixteen (Zen 4, 16 channels), and give them the same bits.
///
/// # Safety
/// As [`super::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn narrow(block: &Block<'_>, tile: usize, sums: &mut Sums) {
    // SAFETY: by the caller's promise; `Sums` holds every row written.
    unsafe {
        let mut own = [_mm_loadu_ps(block.bias); TILE];
        for step in block.steps {
            let input = block.tiles[tile].byte_offset(step.input as isize);
            let weights = block.weights.add(step.weights as usize * PANEL);
            for pair in 0..block.input_pairs {
                let right = _mm_loadu_si128(weights.add(pair * CELL).cast());
                for (row, sum) in own.iter_mut().enumerate() {
                    let left = input.byte_add(row * block.pitch).add(2 * pair).cast::<i32>();
                    let left = _mm_set1_epi32(left.read_unaligned());
                    *sum = _mm_dpbf16_ps(
                        *sum,
                        std::mem::transmute::<__m128i, __m128bh>(right),
                        std::mem::transmute::<__m128i, __m128bh>(left),
                    );
                }
            }
        }
        for (row, own) in own.iter().enumerate() {
            let at = (2 * tile * TILE + row) * LANES;
            // Outputs that do not exist have no weights and no bias.
            _mm512_storeu_ps(sums.0.as_mut_ptr().add(at), _mm512_zextps128_ps512(*own));
        }
    }
}
