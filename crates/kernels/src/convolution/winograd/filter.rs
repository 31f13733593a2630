//! Which minimal filtering is for which convolution.

use super::super::ConvolutionShape;
use crate::LANES;

/// Results of a patch along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Filter {
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
