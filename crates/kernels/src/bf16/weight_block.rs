//! The micro-kernel of the weight gradient: one or two panels of output channels times one to three columns (a tap and 16
//! input channels), summed over pixels and pairs of images.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512_bf16;
mod portable;

use super::line::Line;
use crate::Isa;

/// Columns of a block at most.
pub(super) const COLUMNS: usize = 3;

/// Sixteen places of a pair of images: where the gradients of their outputs begin, and the inputs of the first tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes to the tile `[16 output channels][16 places][2 images]`.
    pub gradient: u32,
    /// Bytes to the tile `[16 places][16 input channels][2 images]`.
    pub input: u32,
}

/// What one block adds; pointers were checked by whoever made it.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub steps: &'a [Step],
    /// By panel; a lone panel stands twice.
    pub gradients: [*const Line; 2],
    /// By column; the last stands again for those that are missing. Three are evenly spaced.
    pub inputs: [*const Line; COLUMNS],
    /// By panel and column, evenly spaced: `[16 output channels][16 input channels]`, ADDED to.
    pub sums: [[*mut f32; COLUMNS]; 2],
}

/// How much of a block there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub panels: usize,
    pub columns: usize,
}

/// Adds a block.
///
/// # Safety
/// Every step must be readable for a tile of 1 KiB at every pointer, sums writable for 256 numbers, and the processor must
/// have `isa`; with [`Isa::Amx`] this thread's tiles must be configured.
pub(super) unsafe fn run(isa: Isa, block: &Block<'_>, extent: Extent) {
    // SAFETY: by the caller's promise.
    unsafe {
        match isa {
            Isa::Portable => portable::run(block, extent),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => portable::avx2(block, extent),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => portable::avx512(block, extent),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => avx512_bf16::run(block, extent),
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => amx::run(block, extent),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }
}
