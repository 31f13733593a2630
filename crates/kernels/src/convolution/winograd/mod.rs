//! 3x3 convolutions of stride 1 with fewer multiplications.
//!
//! Source: Winograd's minimal filtering as in Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4:
//! `Y = A' [ (G g G') * (B' d B) ] A`. A patch `d` of the input and the 3x3 taps `g` are transformed, multiplied number by
//! number and summed over channels (plain matrix products, one for each position of a patch), and transformed back.
//! `two`: 4x4 patches give 2x2 results with 16 instead of 36 multiplications; `four`: 6x6 patches give 4x4 results with
//! 36 instead of 144.
//!
//! The matrices of F(2x2, 3x3) hold only 0, 1, -1 and 1/2, and the chains of multiply-adds are nine times shorter: the error
//! is below the plain sum's. F(4x4, 3x3) multiplies by powers of its points and errs a few times more (a test says how much).
//!
//! A result depends on its own patch, and every sum has one order: batch independence to the bit (G7) holds as in the
//! plain kernel. With 2x2 results it depends on its own nine inputs alone, with 4x4 to the bit also on others of its patch.
//!
//! A result that is exactly zero in the plain sum because all of its nine inputs are may here be the rounding error of
//! its patch; a ReLU's zeros are exact, because they are written behind the sum.

mod filter;
mod four;
mod job;
mod pack;
mod products;
mod transform_four;
mod transform_two;
mod two;

pub(super) use filter::Filter;
pub(super) use job::{Job, Tile, Wanted};
pub(super) use pack::pack;

use crate::Isa;
use crate::lines::Lines;
use crate::vector::Portable;
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};

/// Memory between the transforms.
#[derive(Clone, Debug, Default)]
pub(super) struct Patches {
    tiles: Vec<Tile>,
    /// Positions of the patches, `[positions][groups][channels / 16][P][16]`.
    inputs: Lines<f32>,
    /// Their products with the weights, `[positions][groups][panels][P][16]`.
    products: Lines<f32>,
    /// Results so far.
    sums: Lines<f32>,
    /// What lies outside the maps.
    zeros: Lines<f32>,
}

/// Runs a job.
pub(super) fn run(isa: Isa, mut job: Job<'_>, patches: &mut Patches) {
    job.check();
    assert!(isa.is_available(), "{isa} kernels on a processor without them");
    // SAFETY: the job's bounds were checked, and the processor has the instructions.
    unsafe {
        match isa {
            Isa::Portable => match job.filter {
                Filter::Two => two::sweep::<Portable, 2, 1, 1>(&mut job, patches),
                Filter::Four => four::sweep::<Portable, 2, 1, 1>(&mut job, patches),
            },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2(&mut job, patches),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => avx512(&mut job, patches),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }
}

/// Six tiles of sixteen channels: 12 of 16 registers hold sums.
///
/// # Safety
/// As [`two::sweep`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(job: &mut Job<'_>, patches: &mut Patches) {
    // SAFETY: by the caller's promise.
    unsafe {
        match job.filter {
            Filter::Two => two::sweep::<Avx2, 6, 3, 1>(job, patches),
            Filter::Four => four::sweep::<Avx2, 6, 3, 1>(job, patches),
        }
    }
}

/// Fourteen tiles of two panels: 28 of 32 registers hold sums.
///
/// # Safety
/// As [`two::sweep`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(job: &mut Job<'_>, patches: &mut Patches) {
    // SAFETY: by the caller's promise.
    unsafe {
        match job.filter {
            Filter::Two => two::sweep::<Avx512, 14, 7, 2>(job, patches),
            Filter::Four => four::sweep::<Avx512, 14, 7, 2>(job, patches),
        }
    }
}
