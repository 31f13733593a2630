//! The same sums with `vdpbf16ps`: a pair of gradients broadcast, sixteen pairs of inputs loaded.

use super::{Block, COLUMNS, Extent};
use crate::LANES;
use std::arch::x86_64::*;

/// Output channels at a time where a broadcast serves several columns: with three their sums take 24 of 32 registers.
const OUTPUTS: usize = LANES / 2;

/// # Safety
/// As [`super::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn run(block: &Block<'_>, extent: Extent) {
    for panel in 0..extent.panels {
        // SAFETY: by the caller's promise.
        unsafe {
            match extent.columns {
                1 => sums::<LANES, 1>(block, panel),
                2 => sums::<OUTPUTS, 2>(block, panel),
                COLUMNS => sums::<OUTPUTS, COLUMNS>(block, panel),
                columns => panic!("a block of {columns} columns"),
            }
        }
    }
}

/// Sums of a panel in `C` columns, `O` output channels at a time.
///
/// # Safety
/// As [`super::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn sums<const O: usize, const C: usize>(block: &Block<'_>, panel: usize) {
    for first in (0..LANES).step_by(O) {
        // SAFETY: by the caller's promise.
        unsafe { some::<O, C>(block, panel, first) };
    }
}

/// Sums of `O` output channels of a panel, from `first` on, in `C` columns.
///
/// # Safety
/// As [`super::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn some<const O: usize, const C: usize>(block: &Block<'_>, panel: usize, first: usize) {
    // SAFETY: by the caller's promise.
    unsafe {
        let place =
            |output: usize, column: usize| block.sums[panel][column].add((first + output) * LANES);
        let mut own = [[_mm512_setzero_ps(); C]; O];
        for (output, own) in own.iter_mut().enumerate() {
            for (column, sum) in own.iter_mut().enumerate() {
                *sum = _mm512_loadu_ps(place(output, column));
            }
        }
        for step in block.steps {
            let gradients = block.gradients[panel].byte_add(step.gradient as usize).cast::<i32>();
            let gradients = gradients.add(first * LANES);
            for pair in 0..LANES {
                let mut inputs = [_mm512_setzero_si512(); C];
                for (input, from) in inputs.iter_mut().zip(block.inputs) {
                    let from = from.byte_add(step.input as usize).cast::<__m512i>();
                    *input = _mm512_loadu_si512(from.add(pair));
                }
                for (output, own) in own.iter_mut().enumerate() {
                    let gradient = _mm512_set1_epi32(*gradients.add(output * LANES + pair));
                    for (sum, input) in own.iter_mut().zip(inputs) {
                        // The second factor is the one that can be a broadcast from memory.
                        *sum = _mm512_dpbf16_ps(
                            *sum,
                            std::mem::transmute::<__m512i, __m512bh>(input),
                            std::mem::transmute::<__m512i, __m512bh>(gradient),
                        );
                    }
                }
            }
        }
        for (output, own) in own.iter().enumerate() {
            for (column, sum) in own.iter().enumerate() {
                _mm512_storeu_ps(place(output, column), *sum);
            }
        }
    }
}
