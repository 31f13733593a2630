//! The same sums with `vdpbf16ps`: a pair of gradients broadcast, sixteen pairs of inputs loaded.

use super::{Block, Extent};
use crate::LANES;
use std::arch::x86_64::*;

/// # Safety
/// As [`super::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn run(block: &Block<'_>, extent: Extent) {
    for panel in 0..extent.panels {
        for column in 0..extent.columns {
            // SAFETY: by the caller's promise.
            unsafe { tile(block, panel, column) };
        }
    }
}

/// Sixteen registers hold the sums of sixteen output channels.
///
/// # Safety
/// As [`super::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn tile(block: &Block<'_>, panel: usize, column: usize) {
    // SAFETY: by the caller's promise.
    unsafe {
        let to = block.sums[panel][column];
        let mut sums = [_mm512_setzero_ps(); LANES];
        for (output, sum) in sums.iter_mut().enumerate() {
            *sum = _mm512_loadu_ps(to.add(output * LANES));
        }
        for step in block.steps {
            let gradients = block.gradients[panel].byte_add(step.gradient as usize).cast::<i32>();
            let inputs = block.inputs[column].byte_add(step.input as usize).cast::<__m512i>();
            for place in 0..LANES {
                let input = _mm512_loadu_si512(inputs.add(place));
                for (output, sum) in sums.iter_mut().enumerate() {
                    let gradient = _mm512_set1_epi32(*gradients.add(output * LANES + place));
                    *sum = _mm512_dpbf16_ps(
                        *sum,
                        std::mem::transmute::<__m512i, __m512bh>(gradient),
                        std::mem::transmute::<__m512i, __m512bh>(input),
                    );
                }
            }
        }
        for (output, sum) in sums.iter().enumerate() {
            _mm512_storeu_ps(to.add(output * LANES), *sum);
        }
    }
}
