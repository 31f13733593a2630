//! The micro-kernel for results of one to four channels: the gradient by the images of an attack.
//!
//! Panels of 16 result channels would compute 16 channels to keep one or three. Here the lanes hold 16 channels of what
//! is *read*; each result is sixteen chains in a fixed order and one sum of them in a fixed order, so that its bits
//! depend on its own inputs only, as everywhere.

// Constant trip counts and plain indices: the compiler unrolls them, and arrays become registers.
#![allow(clippy::needless_range_loop)]

use super::kernel::Job;
use super::table::Run;
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};
use crate::vector::{Portable, Vector};
use crate::{Isa, LANES};

/// Result channels up to which this kernel is used: at more, panels do less work.
pub(super) const NARROW: usize = 4;

/// Runs a job whose weights are `[channels][inputs of a pixel]` and whose runs are multiples of 16 long.
pub(super) fn run(isa: Isa, mut job: Job<'_>, channels: usize) {
    job.check_arrays();
    assert!(
        (1..=NARROW).contains(&channels) && job.target.panels() == 1,
        "{channels} narrow channels"
    );
    assert!(job.runs.iter().all(|run| run.length % LANES == 0), "runs of a narrow convolution");
    assert_eq!(job.weights.len(), channels * job.depth(), "weights of a narrow convolution");
    assert!(isa.is_available(), "{isa} kernels on a processor without them");
    // SAFETY: the job's bounds were checked, and the processor has the instructions.
    unsafe {
        match isa {
            Isa::Portable => match channels {
                1 => sweep::<Portable, 2, 1>(&mut job),
                2 => sweep::<Portable, 1, 2>(&mut job),
                3 => sweep::<Portable, 1, 3>(&mut job),
                _ => sweep::<Portable, 1, 4>(&mut job),
            },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2(&mut job, channels),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => avx512(&mut job, channels),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }
}

/// # Safety
/// As [`sweep`], with `channels` from 1 to 4.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(job: &mut Job<'_>, channels: usize) {
    // SAFETY: by the caller's promise.
    unsafe {
        match channels {
            1 => sweep::<Avx2, 6, 1>(job),
            2 => sweep::<Avx2, 3, 2>(job),
            3 => sweep::<Avx2, 2, 3>(job),
            _ => sweep::<Avx2, 1, 4>(job),
        }
    }
}

/// # Safety
/// As [`sweep`], with `channels` from 1 to 4.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(job: &mut Job<'_>, channels: usize) {
    // SAFETY: by the caller's promise.
    unsafe {
        match channels {
            1 => sweep::<Avx512, 16, 1>(job),
            2 => sweep::<Avx512, 12, 2>(job),
            3 => sweep::<Avx512, 8, 3>(job),
            _ => sweep::<Avx512, 6, 4>(job),
        }
    }
}

/// All pixels, `P` at a time; the last group repeats its last pixel.
///
/// # Safety
/// `job` must have passed the checks of [`run`] for `C` channels, and the processor must have `V`'s instructions.
#[inline(always)]
unsafe fn sweep<V: Vector, const P: usize, const C: usize>(job: &mut Job<'_>) {
    let depth = job.depth();
    for group in job.pixels.chunks(P) {
        let mut inputs = [job.source.as_ptr(); P];
        for (p, input) in inputs.iter_mut().enumerate() {
            let pixel = group[p.min(group.len() - 1)];
            // SAFETY: checked: every pixel and its runs lie in the source.
            *input = unsafe { input.add(pixel.input) };
        }
        // SAFETY: checked: inputs and weights are readable along all runs.
        let sums = unsafe { chains::<V, P, C>(&inputs, job.runs, job.weights.as_ptr(), depth) };
        for p in 0..P {
            if p < group.len() {
                let mut lanes = [0.0; LANES];
                // SAFETY: checked: the output pixel exists; `lanes` has sixteen values.
                unsafe {
                    for c in 0..C {
                        lanes[c] = sums[p][c].total();
                    }
                    job.target.finish(V::load(lanes.as_ptr()), group[p].output, 0);
                }
            }
        }
    }
}

/// Sixteen chains for every pixel and channel, over the runs in order, from zero.
///
/// # Safety
/// Every run must be readable at every input, `C` rows of `depth` values at `weights`.
#[inline(always)]
unsafe fn chains<V: Vector, const P: usize, const C: usize>(
    inputs: &[*const f32; P],
    runs: &[Run],
    mut weights: *const f32,
    depth: usize,
) -> [[V; C]; P] {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut sums = [[V::zero(); C]; P];
        for run in runs {
            for at in (run.offset..run.offset + run.length).step_by(LANES) {
                let mut own = [V::zero(); C];
                for c in 0..C {
                    own[c] = V::load(weights.add(c * depth));
                }
                for p in 0..P {
                    let input = V::load(inputs[p].add(at));
                    for c in 0..C {
                        sums[p][c] = sums[p][c].multiply_add(input, own[c]);
                    }
                }
                weights = weights.add(LANES);
            }
        }
        sums
    }
}
