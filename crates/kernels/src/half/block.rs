//! The micro-kernel: one or two tiles times one or two panels, summed over the steps of the tiles' class.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512_bf16;
mod filtered;
mod portable;

use super::Algorithm;
use super::epilogue::Pending;
use super::table::Step;
use crate::Isa;

/// Sums of two tiles times two panels: `[tile][panel][16 pixels][16 outputs]`.
#[repr(align(64))]
#[derive(Clone, Debug)]
pub(crate) struct Sums(pub [f32; 1024]);

/// What one block computes; pointers were checked by whoever made the job.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    /// First number of each tile, before a step's shift.
    pub tiles: [*const u16; 2],
    /// Rows of each tile up to the last that is a pixel; sums of the others are nobody's and may stay as they were.
    pub rows: [usize; 2],
    /// Bytes between two rows of a tile; if filtered, of its patches.
    pub pitch: usize,
    pub steps: &'a [Step],
    /// How their inputs are multiplied.
    pub algorithm: Algorithm,
    /// Pairs of inputs of each step that hold anything; weights of the others are zero.
    pub input_pairs: usize,
    /// Outputs that exist, of all panels of the pass; weights and starts of the others are zero.
    pub outputs: usize,
    /// First weight of the panels; a step's number times the panels' size is added.
    pub weights: *const u16,
    /// Starts of the sums, 32 of them.
    pub bias: *const f32,
    /// What will be read soon.
    pub fetch: [Fetch; 2],
}

/// Lines of 64 bytes that every step fetches, from `from` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetch {
    pub from: *const i8,
    pub lines: usize,
}

#[cfg(target_arch = "x86_64")]
impl Fetch {
    /// Fetches what one step does, into the second-level cache.
    #[inline(always)]
    fn step(&mut self) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        for _ in 0..self.lines {
            // SAFETY: a prefetch never faults, wherever it points.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(self.from) };
            self.from = self.from.wrapping_add(64);
        }
    }
}

/// How much of a block there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    TwoByTwo,
    OneByTwo,
    TwoByOne,
    OneByOne,
}

impl Extent {
    pub fn new(tiles: usize, panels: usize) -> Self {
        match (tiles, panels) {
            (2, 2) => Self::TwoByTwo,
            (1, 2) => Self::OneByTwo,
            (2, 1) => Self::TwoByOne,
            (1, 1) => Self::OneByOne,
            _ => panic!("a block of {tiles} tiles by {panels} panels"),
        }
    }

    pub fn tiles(self) -> usize {
        match self {
            Self::TwoByTwo | Self::TwoByOne => 2,
            Self::OneByTwo | Self::OneByOne => 1,
        }
    }

    pub fn panels(self) -> usize {
        match self {
            Self::TwoByTwo | Self::OneByTwo => 2,
            Self::TwoByOne | Self::OneByOne => 1,
        }
    }
}

/// Writes `bias + sum` of every pixel and output.
///
/// # Safety
/// Every step of every tile must be readable for 16 rows of 32 numbers (if filtered, each row of the patches for 24), every
/// step's weights and 32 biases too, and the processor must have `isa`; with [`Isa::Amx`] this thread's tiles must be configured.
pub(crate) unsafe fn run(isa: Isa, block: &Block<'_>, extent: Extent, sums: &mut Sums) {
    // SAFETY: by the caller's promise.
    unsafe {
        match isa {
            _ if block.algorithm == Algorithm::Filtered => filtered::run(isa, block, extent, sums),
            Isa::Portable => portable::run(block, extent, sums),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => portable::avx2(block, extent, sums),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => portable::avx512(block, extent, sums),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => avx512_bf16::run(block, extent, sums),
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => amx::run(block, extent, sums),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }
}

/// As [`run`], and writes what a block before has left.
///
/// # Safety
/// As [`run`] and [`Pending::write`].
pub(crate) unsafe fn run_while(
    isa: Isa,
    block: &Block<'_>,
    extent: Extent,
    sums: &mut Sums,
    pending: &Pending<'_>,
) {
    // SAFETY: by the caller's promise.
    unsafe {
        match (isa, extent) {
            #[cfg(target_arch = "x86_64")]
            (Isa::Amx, Extent::TwoByTwo)
                if block.steps.len() >= amx::HIDING && block.algorithm == Algorithm::Direct =>
            {
                amx::run_while(block, sums, pending);
            }
            _ => {
                run(isa, block, extent, sums);
                pending.write(isa);
            }
        }
    }
}
