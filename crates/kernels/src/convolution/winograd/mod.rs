//! 3x3 convolutions of stride 1 with 16 instead of 36 multiplications for every 2x2 results.
//!
//! Source: Winograd's minimal filtering F(2x2, 3x3) as in Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural
//! Networks", section 4.1: `Y = A' [ (G g G') * (B' d B) ] A`. A 4x4 patch `d` of the input and the 3x3 taps `g` are
//! transformed, multiplied number by number and summed over channels (sixteen plain matrix products), and transformed
//! back. The matrices hold only 0, 1, -1 and 1/2, and the chains of multiply-adds are nine times shorter: for 256 channels
//! the error against f64 is 4.9e-7 of the results' root mean square, that of the plain sum 7.8e-7 (a test compares them).
//!
//! The rows of the 4x4 patches are worked on one after another, so that what lies between the transforms and the
//! products stays in the second-level cache while a row's weights are read once. A result depends on its own patch,
//! and every sum has one order: batch independence to the bit (G7) holds as in the plain kernel.
//!
//! A result that is exactly zero in the plain sum because all of its nine inputs are may here be the rounding error of
//! its patch; a ReLU's zeros are exact, because they are written behind the sum.

mod pack;
mod transform;

pub(super) use pack::pack;
pub(super) use transform::Tile;

use super::ConvolutionShape;
use super::product::product;
use super::target::Target;
use crate::lines::Lines;
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};
use crate::vector::{Portable, Vector};
use crate::{Isa, LANES};
use transform::{into_patches, out_of_patches};

/// Rows, and columns, of a patch.
const SIDE: usize = 4;

/// Channels on either side from which the transforms cost less than the products save.
const ENOUGH: usize = 32;

/// Numbers of one row of patches, of its products and of the sums that are worked on at once: 1.25 MiB, more than half
/// of a usual second-level cache; the rest is for the weights that pass through.
const BLOCK_VALUES: usize = 5 << 16;

/// Whether a convolution is of the kind.
pub(super) fn suits(shape: &ConvolutionShape) -> bool {
    shape.kernel == 3
        && shape.stride == 1
        && shape.padding == 1
        && shape.in_stride.is_multiple_of(LANES)
        && shape.in_channels.min(shape.out_channels) >= ENOUGH
}

/// Memory between the transforms.
#[derive(Clone, Debug, Default)]
pub(super) struct Patches {
    tiles: Vec<Tile>,
    /// One row of the patches, `[4][groups][channels / 16][P][16]`.
    inputs: Lines<f32>,
    /// Their products with the weights, `[4][groups][panels][P][16]`.
    products: Lines<f32>,
    /// The 2x2 results so far, `[tiles][panels][4][16]`.
    sums: Lines<f32>,
    /// What lies outside the maps.
    zeros: Lines<f32>,
}

/// Which results are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// All of maps without a border.
    All,
    /// Those of some tiles, of maps that have a border of one zero pixel, as their results have.
    Some(&'a [Tile]),
}

impl Wanted<'_> {
    /// Rows, and columns, on each side of a map that are read and never written.
    fn border(self) -> usize {
        match self {
            Self::All => 0,
            Self::Some(_) => 1,
        }
    }
}

/// One pass over maps of equal size; the result has their rows and columns.
pub(super) struct Job<'a> {
    /// Rows of a map, its border among them.
    pub height: usize,
    /// Columns of a map, its border among them.
    pub width: usize,
    pub wanted: Wanted<'a>,
    /// Channels read, a multiple of 16.
    pub channels: usize,
    /// `[images, height, width, channels]`.
    pub source: &'a [f32],
    /// `[16][panels][channels][16]`.
    pub weights: &'a [f32],
    pub target: Target<'a>,
}

/// Runs a job.
pub(super) fn run(isa: Isa, mut job: Job<'_>, patches: &mut Patches) {
    let pixels = job.source.len() / job.channels;
    assert_eq!(job.channels % LANES, 0, "channels of a convolution's input");
    assert_eq!(pixels % (job.height * job.width), 0, "whole maps");
    assert_eq!(pixels * job.channels, job.source.len(), "whole pixels");
    assert_eq!(
        job.weights.len(),
        SIDE * SIDE * job.target.panels() * job.channels * LANES,
        "weights of a convolution pass"
    );
    job.target.check(pixels);
    if let Wanted::Some(tiles) = job.wanted {
        let inner = |at: usize, length: usize| (1..length - 1).contains(&at);
        let is_within = |tile: &Tile| {
            let inside = inner(tile.row, job.height) && inner(tile.column, job.width);
            let map = tile.pixel.checked_sub(tile.row * job.width + tile.column);
            inside
                && map.is_some_and(|first| {
                    first.is_multiple_of(job.height * job.width) && first < pixels
                })
        };
        assert!(tiles.iter().all(is_within), "tiles inside the maps");
    }
    assert!(isa.is_available(), "{isa} kernels on a processor without them");
    // SAFETY: the job's bounds were checked, and the processor has the instructions.
    unsafe {
        match isa {
            Isa::Portable => sweep::<Portable, 2, 1, 1>(&mut job, patches),
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
/// As [`sweep`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(job: &mut Job<'_>, patches: &mut Patches) {
    // SAFETY: by the caller's promise.
    unsafe { sweep::<Avx2, 6, 3, 1>(job, patches) }
}

/// Fourteen tiles of two panels: 28 of 32 registers hold sums.
///
/// # Safety
/// As [`sweep`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(job: &mut Job<'_>, patches: &mut Patches) {
    // SAFETY: by the caller's promise.
    unsafe { sweep::<Avx512, 14, 7, 2>(job, patches) }
}

/// All tiles, a block at a time, in groups of `P`; of the last group only `H` where that is enough.
///
/// # Safety
/// `job` must have passed the checks of [`run`], and the processor must have `V`'s instructions.
#[inline(always)]
unsafe fn sweep<V: Vector, const P: usize, const H: usize, const N: usize>(
    job: &mut Job<'_>,
    patches: &mut Patches,
) {
    let (across, down) = (job.width.div_ceil(2), job.height.div_ceil(2));
    let images = job.source.len() / (job.height * job.width * job.channels);
    let total = match job.wanted {
        Wanted::All => images * across * down,
        Wanted::Some(tiles) => tiles.len(),
    };
    let border = job.wanted.border();
    let ends = (job.height - border, job.width - border, job.width);
    let panels = job.target.panels();
    let per_tile = SIDE * (job.channels + 2 * job.target.stride);
    // Blocks of about the same size: a small last one would read all weights for little.
    let blocks = total.div_ceil((BLOCK_VALUES / per_tile).max(P));
    let block = total.div_ceil(blocks.max(1)).max(1);
    let most = block.next_multiple_of(P);
    patches.inputs.reserve(SIDE * most * job.channels);
    patches.products.reserve(SIDE * most * job.target.stride);
    patches.sums.reserve(SIDE * most * job.target.stride);
    patches.zeros.reserve(job.channels);
    for first in (0..total).step_by(block) {
        let count = block.min(total - first);
        patches.tiles.clear();
        match job.wanted {
            Wanted::Some(tiles) => patches.tiles.extend_from_slice(&tiles[first..first + count]),
            Wanted::All => patches.tiles.extend((first..first + count).map(|index| {
                let (image, index) = (index / (across * down), index % (across * down));
                let (row, column) = (2 * (index / across), 2 * (index % across));
                Tile { pixel: (image * job.height + row) * job.width + column, row, column }
            })),
        }
        let groups = count.div_ceil(P);
        // The last group repeats its last tile: the same code gives the same bits.
        patches.tiles.resize(groups * P, patches.tiles[count - 1]);
        // SAFETY: the buffers were sized for this many tiles, every tile lies in the maps.
        unsafe {
            for row in 0..SIDE {
                into_patches::<V, P>(job, patches, row);
                let weights = job.weights.as_ptr().add(row * SIDE * panels * job.channels * LANES);
                let product = Products { channels: job.channels, panels, tiles: count };
                multiply::<V, P, H, N>(product, weights, patches);
                let target = &mut job.target;
                out_of_patches::<V, P>(target, patches, row, count, ends);
            }
        }
    }
}

/// One of the matrix products.
#[derive(Clone, Copy)]
struct Products {
    channels: usize,
    panels: usize,
    tiles: usize,
}

/// The four matrix products of one row of the patches. Panels are the outer loop, so that a panel's weights stay in
/// the first two caches while all groups pass.
///
/// # Safety
/// `patches` must be sized for the tiles, four times `panels` panels of weights readable.
#[inline(always)]
unsafe fn multiply<V: Vector, const P: usize, const H: usize, const N: usize>(
    of: Products,
    weights: *const f32,
    patches: &mut Patches,
) {
    let Products { channels, panels, tiles } = of;
    let groups = tiles.div_ceil(P);
    let panel_len = channels * LANES;
    for column in 0..SIDE {
        // SAFETY: by the caller's promise.
        unsafe {
            let inputs = patches.inputs.as_ptr().add(column * groups * channels * P);
            let products = patches.products.as_mut_ptr().add(column * groups * panels * P * LANES);
            let weights = weights.add(column * panels * panel_len);
            let mut panel = 0;
            while panel + N <= panels {
                let weights = weights.add(panel * panel_len);
                sweep_groups::<V, P, H, N>(of, panel, weights, inputs, products);
                panel += N;
            }
            while panel < panels {
                let weights = weights.add(panel * panel_len);
                sweep_groups::<V, P, H, 1>(of, panel, weights, inputs, products);
                panel += 1;
            }
        }
    }
}

/// All groups times the `N` panels from `panel`.
///
/// # Safety
/// As [`multiply`]; `weights` points at the first of the panels.
#[inline(always)]
unsafe fn sweep_groups<V: Vector, const P: usize, const H: usize, const N: usize>(
    of: Products,
    panel: usize,
    weights: *const f32,
    inputs: *const f32,
    products: *mut f32,
) {
    let Products { channels, panels, tiles } = of;
    for group in 0..tiles.div_ceil(P) {
        // SAFETY: by the caller's promise.
        unsafe {
            let rows = inputs.add(group * channels * P);
            let out = products.add((group * panels + panel) * P * LANES);
            if tiles - group * P <= H {
                store_products::<V, P, H, N>(channels, rows, weights, out);
            } else {
                store_products::<V, P, P, N>(channels, rows, weights, out);
            }
        }
    }
}

/// The first `Q` rows of one group times `N` panels.
///
/// # Safety
/// As [`multiply`]; `out` points at the products of the group with the first panel.
#[inline(always)]
unsafe fn store_products<V: Vector, const P: usize, const Q: usize, const N: usize>(
    channels: usize,
    rows: *const f32,
    weights: *const f32,
    out: *mut f32,
) {
    // SAFETY: by the caller's promise.
    unsafe {
        let sums = product::<V, P, Q, N>(rows, weights, channels * LANES, channels / LANES);
        for (q, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                sum.store(out.add((n * P + q) * LANES));
            }
        }
    }
}
