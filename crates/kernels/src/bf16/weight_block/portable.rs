//! The same sums in plain Rust, and the same code compiled for wider vectors.

use super::super::line::Line;
use super::{Block, Extent};
use crate::LANES;

/// # Safety
/// As [`super::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2(block: &Block<'_>, extent: Extent) {
    // SAFETY: by the caller's promise.
    unsafe { run(block, extent) }
}

/// # Safety
/// As [`super::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn avx512(block: &Block<'_>, extent: Extent) {
    // SAFETY: by the caller's promise.
    unsafe { run(block, extent) }
}

/// # Safety
/// As [`super::run`].
#[inline(always)]
pub(super) unsafe fn run(block: &Block<'_>, extent: Extent) {
    for panel in 0..extent.panels {
        for column in 0..extent.columns {
            for step in block.steps {
                // SAFETY: by the caller's promise.
                unsafe {
                    let gradients = block.gradients[panel].byte_add(step.gradient as usize);
                    let inputs = block.inputs[column].byte_add(step.input as usize);
                    let gradients = &*gradients.cast::<[Line; LANES]>();
                    let inputs = &*inputs.cast::<[Line; LANES]>();
                    let sums = &mut *block.sums[panel][column].cast::<[[f32; LANES]; LANES]>();
                    add(gradients, inputs, sums);
                }
            }
        }
    }
}

#[inline(always)]
fn add(gradients: &[Line; LANES], inputs: &[Line; LANES], sums: &mut [[f32; LANES]; LANES]) {
    for (gradients, sums) in gradients.iter().zip(sums) {
        for (gradient, inputs) in gradients.0.iter().zip(inputs) {
            let (even, odd) = (first(*gradient), second(*gradient));
            for (sum, input) in sums.iter_mut().zip(inputs.0) {
                *sum += even * first(input);
                *sum += odd * second(input);
            }
        }
    }
}

/// The bf16 in the lower half, as f32.
#[inline(always)]
fn first(pair: u32) -> f32 {
    f32::from_bits(pair << 16)
}

/// The bf16 in the upper half, as f32.
#[inline(always)]
fn second(pair: u32) -> f32 {
    f32::from_bits(pair & 0xffff_0000)
}
