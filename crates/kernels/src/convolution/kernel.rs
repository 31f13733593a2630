//! The micro-kernel: a group of pixels times one or two panels of 16 channels, held in registers.

// Constant trip counts and plain indices: the compiler unrolls them, and arrays become registers.
#![allow(clippy::needless_range_loop)]

use super::table::{Pixel, Run};
use super::target::Target;
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};
use crate::vector::{Portable, Vector};
use crate::{Isa, LANES};

/// One pass: every pixel of the list times every panel of the weights.
pub(super) struct Job<'a> {
    /// The bordered input.
    pub source: &'a [f32],
    /// What each pixel reads, relative to its offset; panels hold weights in this order.
    pub runs: &'a [Run],
    pub pixels: &'a [Pixel],
    /// `[panels][inputs of a pixel][16]`.
    pub weights: &'a [f32],
    pub target: Target<'a>,
}

impl Job<'_> {
    /// Inputs of one pixel.
    pub fn depth(&self) -> usize {
        self.runs.iter().map(|run| run.length).sum()
    }

    /// Weights of one panel.
    fn panel_len(&self) -> usize {
        self.depth() * LANES
    }

    /// Asserts that no pixel reads or writes outside; everything unsafe below rests on it.
    pub fn check_arrays(&self) {
        let reach = self.runs.iter().map(|run| run.offset + run.length).max().unwrap_or(0);
        let input = self.pixels.iter().map(|pixel| pixel.input).max().unwrap_or(0);
        let output = self.pixels.iter().map(|pixel| pixel.output + 1).max().unwrap_or(0);
        assert!(self.pixels.is_empty() || input + reach <= self.source.len(), "input pixels");
        self.target.check(output);
    }
}

/// Pixels that take these inputs together.
const BLOCK: usize = 8;

/// Runs a job.
pub(super) fn run(isa: Isa, mut job: Job<'_>) {
    job.check_arrays();
    let panels = job.target.panels();
    assert_eq!(job.weights.len(), panels * job.panel_len(), "weights of a convolution pass");
    assert!(isa.is_available(), "{isa} kernels on a processor without them");
    // SAFETY: the job's bounds were checked, and the processor has the instructions.
    unsafe {
        match isa {
            Isa::Portable => sweep_panels::<Portable, 2, 1, 2, 2, 2>(&mut job),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2(&mut job),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => avx512(&mut job),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }
}

/// Six pixels of sixteen channels: 12 of 16 registers hold sums.
///
/// # Safety
/// As [`sweep_panels`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(job: &mut Job<'_>) {
    // SAFETY: by the caller's promise.
    unsafe { sweep_panels::<Avx2, 6, 1, 1, 6, 1>(job) }
}

/// Twelve pixels of two panels: 24 of 32 registers hold sums; a lone panel takes 24 pixels.
///
/// # Safety
/// As [`sweep_panels`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(job: &mut Job<'_>) {
    // SAFETY: by the caller's promise.
    unsafe { sweep_panels::<Avx512, 12, 2, 2, 24, 8>(job) }
}

/// All panels: `N` at a time over `P` pixels with `U` inputs a turn, the rest one at a time over `Q` pixels with `T`
/// inputs a turn. The numbers were measured: holding the weights of several inputs takes registers, and saves addresses
/// only where there are more pixels than address registers. Panels are the outer loop, so
/// that a panel's weights stay in the second-level cache while all pixels pass.
///
/// # Safety
/// `job` must have passed the checks of [`run`], and the processor must have `V`'s instructions.
#[inline(always)]
unsafe fn sweep_panels<
    V: Vector,
    const P: usize,
    const N: usize,
    const U: usize,
    const Q: usize,
    const T: usize,
>(
    job: &mut Job<'_>,
) {
    let panels = job.target.panels();
    let mut panel = 0;
    while panel + N <= panels {
        // SAFETY: as promised by the caller; the panels exist.
        unsafe { sweep_pixels::<V, P, N, U>(job, panel) };
        panel += N;
    }
    while panel < panels {
        // SAFETY: as promised by the caller; the panel exists.
        unsafe { sweep_pixels::<V, Q, 1, T>(job, panel) };
        panel += 1;
    }
}

/// All pixels, `P` at a time. The last group repeats its last pixel: the same code gives the same bits.
///
/// # Safety
/// As [`sweep_panels`]; panels `panel..panel + N` must exist.
#[inline(always)]
unsafe fn sweep_pixels<V: Vector, const P: usize, const N: usize, const U: usize>(
    job: &mut Job<'_>,
    panel: usize,
) {
    let panel_len = job.panel_len();
    // SAFETY: the panels exist, by the caller's promise.
    let weights = unsafe { job.weights.as_ptr().add(panel * panel_len) };
    for group in job.pixels.chunks(P) {
        let mut inputs = [job.source.as_ptr(); P];
        for (p, input) in inputs.iter_mut().enumerate() {
            let pixel = group[p.min(group.len() - 1)];
            // SAFETY: checked: every pixel and its runs lie in the source.
            *input = unsafe { input.add(pixel.input) };
        }
        // SAFETY: checked: inputs and weights are readable along all runs.
        let sums = unsafe { chains::<V, P, N, U>(&inputs, job.runs, weights, panel_len) };
        for p in 0..P {
            if p < group.len() {
                for n in 0..N {
                    // SAFETY: checked: the output pixel exists, and so does the panel.
                    unsafe { job.target.finish(sums[p][n], group[p].output, panel + n) };
                }
            }
        }
    }
}

/// The chains: `sum[p][n] = sum over runs and their inputs of input * weight`, in that order, from zero.
///
/// # Safety
/// Every run must be readable at every input, `N` panels at `weights`.
#[inline(always)]
unsafe fn chains<V: Vector, const P: usize, const N: usize, const U: usize>(
    inputs: &[*const f32; P],
    runs: &[Run],
    mut weights: *const f32,
    panel_len: usize,
) -> [[V; N]; P] {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut sums = [[V::zero(); N]; P];
        for run in runs {
            let end = run.offset + run.length;
            let mut at = run.offset;
            while at + U <= end {
                steps::<V, P, N, U>(&mut sums, inputs, at, weights, panel_len);
                weights = weights.add(U * LANES);
                at += U;
            }
            while at < end {
                steps::<V, P, N, 1>(&mut sums, inputs, at, weights, panel_len);
                weights = weights.add(LANES);
                at += 1;
            }
        }
        sums
    }
}

/// `U` inputs of every chain. Eight pixels at a time take all `U` inputs, because there are more pixels than address
/// registers: an address is then loaded once in `U` uses.
///
/// # Safety
/// `U` values must be readable at every input plus `at`, `U` vectors of `N` panels at `weights`.
#[inline(always)]
unsafe fn steps<V: Vector, const P: usize, const N: usize, const U: usize>(
    sums: &mut [[V; N]; P],
    inputs: &[*const f32; P],
    at: usize,
    weights: *const f32,
    panel_len: usize,
) {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut own = [[V::zero(); N]; U];
        for u in 0..U {
            for n in 0..N {
                own[u][n] = V::load(weights.add(n * panel_len + u * LANES));
            }
        }
        for block in 0..P.div_ceil(BLOCK) {
            for u in 0..U {
                for p in block * BLOCK..P.min((block + 1) * BLOCK) {
                    let input = V::splat(inputs[p].add(at + u));
                    for n in 0..N {
                        sums[p][n] = sums[p][n].multiply_add(input, own[u][n]);
                    }
                }
            }
        }
    }
}
