//! The micro-kernel of the weight gradient: a block of inputs times one or two panels of output channels in registers,
//! while the pixels pass.

// Constant trip counts and plain indices: the compiler unrolls them, and arrays become registers.
#![allow(clippy::needless_range_loop)]

use super::table::{Pixel, Run};
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};
use crate::vector::{Portable, Vector};
use crate::{Isa, LANES};
use std::ops::Range;

/// Pixels whose products are summed in registers before they go to memory: few enough that inputs and gradients stay
/// in the first-level cache while all taps pass, and that sums stay short.
const GROUP: usize = 64;

/// One pass over the pixels of some images.
pub(super) struct WeightJob<'a> {
    /// The bordered input.
    pub source: &'a [f32],
    /// What each pixel reads, relative to its offset; the sums of a panel are in this order.
    pub runs: &'a [Run],
    pub pixels: &'a [Pixel],
    pub pixels_per_image: usize,
    /// The output gradient, `stride` channels a pixel.
    pub gradient: &'a [f32],
    pub stride: usize,
    /// Which panels of the gradient are used.
    pub panels: Range<usize>,
    /// `[panels.len()][inputs of a pixel][16]`.
    pub sums: &'a mut [f32],
}

impl WeightJob<'_> {
    /// Sums of one panel.
    fn panel_len(&self) -> usize {
        self.runs.iter().map(|run| run.length).sum::<usize>() * LANES
    }

    /// Asserts that no pixel reads or writes outside; everything unsafe below rests on it.
    fn check(&self) {
        let reach = self.runs.iter().map(|run| run.offset + run.length).max().unwrap_or(0);
        let input = self.pixels.iter().map(|pixel| pixel.input).max().unwrap_or(0);
        let output = self.pixels.iter().map(|pixel| pixel.output + 1).max().unwrap_or(0);
        assert!(self.pixels.is_empty() || input + reach <= self.source.len(), "input pixels");
        assert!(output * self.stride <= self.gradient.len(), "gradient pixels");
        assert!(self.panels.end * LANES <= self.stride, "gradient panels");
        assert_eq!(self.sums.len(), self.panels.len() * self.panel_len(), "weight gradient");
    }

    /// Groups of pixels. Large maps are cut within each image, and each cut is summed from zero; small maps continue
    /// the chain that is in memory. In both cases the bits do not depend on how many images share a call.
    fn groups(&self) -> impl Iterator<Item = (Range<usize>, Start)> + use<> {
        let (all, per_image) = (self.pixels.len(), self.pixels_per_image);
        let (unit, start) = if per_image < GROUP {
            ((GROUP / per_image.max(1)) * per_image.max(1), Start::Memory)
        } else {
            (per_image, Start::Zero)
        };
        (0..all).step_by(unit.max(1)).flat_map(move |first| {
            let end = (first + unit).min(all);
            (first..end).step_by(GROUP).map(move |at| (at..(at + GROUP).min(end), start))
        })
    }
}

/// What a chain of multiply-adds begins with.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    Zero,
    Memory,
}

/// Runs a job.
pub(super) fn run(isa: Isa, mut job: WeightJob<'_>) {
    job.check();
    assert!(isa.is_available(), "{isa} kernels on a processor without them");
    // SAFETY: the job's bounds were checked, and the processor has the instructions.
    unsafe {
        match isa {
            Isa::Portable => sweep_panels::<Portable, 2, 2, 1>(&mut job),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2(&mut job),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => avx512(&mut job),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }
}

/// Six inputs times sixteen channels: 12 of 16 registers hold sums.
///
/// # Safety
/// As [`sweep_panels`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(job: &mut WeightJob<'_>) {
    // SAFETY: by the caller's promise.
    unsafe { sweep_panels::<Avx2, 6, 6, 1>(job) }
}

/// Twelve inputs times two panels: 24 of 32 registers hold sums; a lone panel takes 24 inputs.
///
/// # Safety
/// As [`sweep_panels`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(job: &mut WeightJob<'_>) {
    // SAFETY: by the caller's promise.
    unsafe { sweep_panels::<Avx512, 12, 24, 2>(job) }
}

/// All panels: `N` at a time in blocks of `C` inputs, the rest one at a time in blocks of `D` inputs.
///
/// # Safety
/// `job` must have passed its check, and the processor must have `V`'s instructions.
#[inline(always)]
unsafe fn sweep_panels<V: Vector, const C: usize, const D: usize, const N: usize>(
    job: &mut WeightJob<'_>,
) {
    let mut panel = 0;
    while panel + N <= job.panels.len() {
        // SAFETY: as promised by the caller; the panels exist.
        unsafe { sweep_groups::<V, C, N>(job, panel) };
        panel += N;
    }
    while panel < job.panels.len() {
        // SAFETY: as promised by the caller; the panel exists.
        unsafe { sweep_groups::<V, D, 1>(job, panel) };
        panel += 1;
    }
}

/// All pixels and all inputs of panels `panel..panel + N` of the job's range.
///
/// # Safety
/// As [`sweep_panels`]; the panels must exist.
#[inline(always)]
unsafe fn sweep_groups<V: Vector, const C: usize, const N: usize>(
    job: &mut WeightJob<'_>,
    panel: usize,
) {
    let panel_len = job.panel_len();
    for (group, start) in job.groups() {
        let pixels = &job.pixels[group];
        // SAFETY: checked: panels and runs exist.
        unsafe {
            let gradient = job.gradient.as_ptr().add((job.panels.start + panel) * LANES);
            let mut sums = job.sums.as_mut_ptr().add(panel * panel_len);
            for run in job.runs {
                let mut at = run.offset;
                let end = run.offset + run.length;
                while at < end {
                    let source = job.source.as_ptr().add(at);
                    let block = Block {
                        pixels,
                        source,
                        gradient,
                        stride: job.stride,
                        sums,
                        panel_len,
                        start,
                    };
                    // Block sizes change which registers hold a sum, never its bits.
                    let taken = match end - at {
                        rest if rest >= C => block.add::<V, C, N>(),
                        rest if rest >= 8 && C > 8 => block.add::<V, 8, N>(),
                        rest if rest >= 4 && C > 4 => block.add::<V, 4, N>(),
                        3 => block.add::<V, 3, N>(),
                        2 => block.add::<V, 2, N>(),
                        _ => block.add::<V, 1, N>(),
                    };
                    at += taken;
                    sums = sums.add(taken * LANES);
                }
            }
        }
    }
}

/// Neighbouring inputs and the sums they add to.
struct Block<'a> {
    pixels: &'a [Pixel],
    source: *const f32,
    gradient: *const f32,
    stride: usize,
    sums: *mut f32,
    panel_len: usize,
    start: Start,
}

impl Block<'_> {
    /// `sums[c][n] += sum over pixels of input[c] * gradient[n]` for `C` inputs, pixels in order; returns `C`.
    ///
    /// # Safety
    /// `C` values must be readable at `source` plus every pixel's input, `N` panels at `gradient` plus every pixel's
    /// output, and `C` vectors of `N` panels writable at `sums`.
    #[inline(always)]
    unsafe fn add<V: Vector, const C: usize, const N: usize>(self) -> usize {
        // SAFETY: by the caller's promise.
        unsafe {
            let mut local = [[V::zero(); N]; C];
            if self.start == Start::Memory {
                for c in 0..C {
                    for n in 0..N {
                        local[c][n] = V::load(self.sums.add(n * self.panel_len + c * LANES));
                    }
                }
            }
            for pixel in self.pixels {
                let input = self.source.add(pixel.input);
                let mut dy = [V::zero(); N];
                for n in 0..N {
                    dy[n] = V::load(self.gradient.add(pixel.output * self.stride + n * LANES));
                }
                for c in 0..C {
                    let x = V::splat(input.add(c));
                    for n in 0..N {
                        local[c][n] = local[c][n].multiply_add(x, dy[n]);
                    }
                }
            }
            for c in 0..C {
                for n in 0..N {
                    let at = self.sums.add(n * self.panel_len + c * LANES);
                    let value = match self.start {
                        Start::Zero => V::load(at).add(local[c][n]),
                        Start::Memory => local[c][n],
                    };
                    value.store(at);
                }
            }
        }
        C
    }
}
