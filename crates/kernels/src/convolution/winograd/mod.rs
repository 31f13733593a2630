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

mod four;
mod pack;
mod transform_four;
mod transform_two;
mod two;

pub(super) use pack::pack;

use super::ConvolutionShape;
use super::product::product;
use super::target::Target;
use crate::lines::Lines;
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};
use crate::vector::{Portable, Vector};
use crate::{Isa, LANES};

/// Results of a patch along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// F(2x2, 3x3).
    Two,
    /// F(4x4, 3x3).
    Four,
}

impl Filter {
    /// Rows, and columns, of a patch's results.
    pub fn results(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Rows, and columns, of a patch.
    pub fn side(self) -> usize {
        self.results() + 2
    }

    /// Channels on either side between which its transforms cost less than its products save.
    fn channels(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::Two => 32..=usize::MAX,
            Self::Four => 16..=MOST,
        }
    }

    /// Multiplications of a map for a pair of channels; results outside the map are among them.
    fn products(self, shape: &ConvolutionShape) -> usize {
        let tiles = |length: usize| length.div_ceil(self.results());
        tiles(shape.height) * tiles(shape.width) * self.side() * self.side()
    }

    /// Whether a convolution is of the kind.
    pub fn suits(shape: &ConvolutionShape) -> bool {
        shape.kernel == 3
            && shape.stride == 1
            && shape.padding == 1
            && shape.in_stride.is_multiple_of(LANES)
    }

    /// Whether it is faster than the plain sum.
    pub fn pays(self, shape: &ConvolutionShape) -> bool {
        Self::suits(shape)
            && [shape.in_channels, shape.out_channels]
                .iter()
                .all(|channels| self.channels().contains(channels))
    }

    /// The fastest for a convolution, if one is faster than the plain sum.
    pub fn fastest(shape: &ConvolutionShape) -> Option<Self> {
        let paying = [Self::Two, Self::Four].into_iter().filter(|filter| filter.pays(shape));
        paying.min_by_key(|filter| filter.products(shape))
    }
}

/// Channels up to which whole 6x6 patches are the faster way, measured with 64 to 512: beyond, their weights come from the
/// third-level cache for every few tiles.
const MOST: usize = 256;

/// Where a patch's results lie: the first pixel over all images, and its row and column in its map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tile {
    pub pixel: usize,
    pub row: usize,
    pub column: usize,
}

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
    pub filter: Filter,
    /// Rows of a map, its border among them.
    pub height: usize,
    /// Columns of a map, its border among them.
    pub width: usize,
    pub wanted: Wanted<'a>,
    /// Channels read, a multiple of 16.
    pub channels: usize,
    /// `[images, height, width, channels]`.
    pub source: &'a [f32],
    /// `[side * side][panels][channels][16]`.
    pub weights: &'a [f32],
    pub target: Target<'a>,
}

impl Job<'_> {
    /// Tiles across a map, and down.
    fn grid(&self) -> (usize, usize) {
        let results = self.filter.results();
        (self.width.div_ceil(results), self.height.div_ceil(results))
    }

    /// How many tiles.
    fn tiles(&self) -> usize {
        let (across, down) = self.grid();
        match self.wanted {
            Wanted::All => {
                self.source.len() / (self.height * self.width * self.channels) * across * down
            }
            Wanted::Some(tiles) => tiles.len(),
        }
    }

    /// Tiles of a block: whole groups, about `most` and all blocks about the same, as a small last one would read all weights
    /// for little.
    fn block(&self, most: usize, group: usize) -> usize {
        let blocks = self.tiles().div_ceil(most.max(group)).max(1);
        self.tiles().div_ceil(blocks).max(1).next_multiple_of(group)
    }

    /// The rows and the columns behind which nothing is written, and the width of a map.
    fn ends(&self) -> (usize, usize, usize) {
        let border = self.wanted.border();
        (self.height - border, self.width - border, self.width)
    }

    /// Lists up to `block` tiles from `first`, whole groups, and says how many are real.
    fn list_tiles(&self, first: usize, block: usize, group: usize, tiles: &mut Vec<Tile>) -> usize {
        let count = block.min(self.tiles() - first);
        tiles.clear();
        match self.wanted {
            Wanted::Some(wanted) => tiles.extend_from_slice(&wanted[first..first + count]),
            Wanted::All => {
                let ((across, down), results) = (self.grid(), self.filter.results());
                tiles.extend((first..first + count).map(|index| {
                    let (image, index) = (index / (across * down), index % (across * down));
                    let (row, column) = (results * (index / across), results * (index % across));
                    let pixel = (image * self.height + row) * self.width + column;
                    Tile { pixel, row, column }
                }));
            }
        }
        // The last group repeats its last tile: the same code gives the same bits.
        tiles.resize(count.next_multiple_of(group), tiles[count - 1]);
        count
    }
}

/// Runs a job.
pub(super) fn run(isa: Isa, mut job: Job<'_>, patches: &mut Patches) {
    let pixels = job.source.len() / job.channels;
    assert_eq!(job.channels % LANES, 0, "channels of a convolution's input");
    assert_eq!(pixels % (job.height * job.width), 0, "whole maps");
    assert_eq!(pixels * job.channels, job.source.len(), "whole pixels");
    assert_eq!(
        job.weights.len(),
        job.filter.side().pow(2) * job.target.panels() * job.channels * LANES,
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

/// The matrix products of some positions.
#[derive(Clone, Copy)]
struct Products {
    positions: usize,
    channels: usize,
    panels: usize,
    tiles: usize,
}

/// A matrix product for each position. Panels are the outer loop, so that a panel's weights stay in the first two
/// caches while all groups pass.
///
/// # Safety
/// `patches` must be sized for the tiles, `positions` times `panels` panels of weights readable.
#[inline(always)]
unsafe fn multiply<V: Vector, const P: usize, const H: usize, const N: usize>(
    of: Products,
    weights: *const f32,
    patches: &mut Patches,
) {
    let Products { positions, channels, panels, tiles } = of;
    let groups = tiles.div_ceil(P);
    let panel_len = channels * LANES;
    for position in 0..positions {
        // SAFETY: by the caller's promise.
        unsafe {
            let inputs = patches.inputs.as_ptr().add(position * groups * channels * P);
            let products =
                patches.products.as_mut_ptr().add(position * groups * panels * P * LANES);
            let weights = weights.add(position * panels * panel_len);
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
    let Products { channels, panels, tiles, .. } = of;
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
