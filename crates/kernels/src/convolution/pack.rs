//! Weights in the order in which the micro-kernel reads them.

use super::ConvolutionShape;
use super::narrow::NARROW;
use super::winograd::{self, Filter};
use crate::LANES;
use crate::lines::Lines;

/// Weights of one convolution for one direction: panels of 16 result channels, each `[tap][channel][16]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    pub(super) shape: ConvolutionShape,
    pub(super) direction: Direction,
    pub(super) algorithm: Algorithm,
    pub(super) values: Lines<f32>,
}

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The sum over taps and channels.
    Direct,
    /// Minimal filtering F(2x2, 3x3): 2.25 times fewer multiplications, no more rounding error, 16/9 of the
    /// weights' memory.
    Winograd2,
    /// Minimal filtering F(4x4, 3x3): four times fewer multiplications, some more rounding error, four times the
    /// weights' memory; for few channels.
    Winograd4,
}

impl Algorithm {
    /// The faster one for many passes over the same weights.
    pub fn fastest(shape: &ConvolutionShape) -> Self {
        match Filter::fastest(shape) {
            Some(Filter::Two) => Self::Winograd2,
            Some(Filter::Four) => Self::Winograd4,
            None => Self::Direct,
        }
    }

    /// The faster one of those whose results depend, to the bit, on the inputs of their own window alone.
    pub fn local(shape: &ConvolutionShape) -> Self {
        if Filter::Two.pays(shape) { Self::Winograd2 } else { Self::Direct }
    }

    /// How many numbers it makes of a channel's nine taps, where the kernel is 3x3.
    pub fn weights_per_nine(self) -> usize {
        match self {
            Self::Direct => 9,
            Self::Winograd2 => 16,
            Self::Winograd4 => 36,
        }
    }

    /// The minimal filtering, if it is one.
    pub(super) fn filter(self) -> Option<Filter> {
        match self {
            Self::Direct => None,
            Self::Winograd2 => Some(Filter::Two),
            Self::Winograd4 => Some(Filter::Four),
        }
    }
}

/// Which way weights are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the input to the output.
    Forward,
    /// From the output's gradient to the input's.
    BackwardData,
}

impl Packed {
    /// Memory taken, in bytes.
    pub fn bytes(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}

/// Packs weights for [`super::forward`].
///
/// Shapes: `weights` `[out_channels, in_channels, kernel, kernel]`.
pub fn pack_forward(shape: &ConvolutionShape, weights: &[f32]) -> Packed {
    pack(shape, weights, Direction::Forward, Algorithm::Direct)
}

/// Packs weights for [`super::backward_data`].
///
/// Shapes: `weights` `[out_channels, in_channels, kernel, kernel]`.
pub fn pack_backward_data(shape: &ConvolutionShape, weights: &[f32]) -> Packed {
    pack(shape, weights, Direction::BackwardData, Algorithm::Direct)
}

/// Packs weights for [`super::forward`] or [`super::backward_data`], which then use the algorithm.
///
/// Shapes: `weights` `[out_channels, in_channels, kernel, kernel]`. Panics if the algorithm does not suit the shape.
pub fn pack(
    shape: &ConvolutionShape,
    weights: &[f32],
    direction: Direction,
    algorithm: Algorithm,
) -> Packed {
    shape.check();
    assert_eq!(weights.len(), shape.weight_len(), "weights of {shape:?}");
    let values = match (algorithm.filter(), direction) {
        (None, Direction::Forward) => direct_forward(shape, weights),
        (None, Direction::BackwardData) => direct_backward_data(shape, weights),
        (Some(filter), _) => {
            assert!(Filter::suits(shape), "no minimal filtering for {shape:?}");
            winograd::pack(filter, shape, weights, direction)
        }
    };
    Packed { shape: *shape, direction, algorithm, values }
}

fn direct_forward(shape: &ConvolutionShape, weights: &[f32]) -> Lines<f32> {
    let taps = shape.kernel * shape.kernel;
    let mut values = Lines::zeros(shape.out_panels() * shape.panel_len());
    for (panel, weights) in values
        .chunks_exact_mut(shape.panel_len())
        .zip(weights.chunks(LANES * shape.in_channels * taps))
    {
        // Sixteen channels of all lanes at a time: what is written stays in the first cache until its lines are full.
        for first in (0..shape.in_channels).step_by(LANES) {
            let end = shape.in_channels.min(first + LANES);
            for (lane, weights) in weights.chunks_exact(shape.in_channels * taps).enumerate() {
                for channel in first..end {
                    for (tap, &weight) in weights[channel * taps..][..taps].iter().enumerate() {
                        panel[(tap * shape.in_channels + channel) * LANES + lane] = weight;
                    }
                }
            }
        }
    }
    values
}

/// Taps flipped, channels transposed, one block per phase.
fn direct_backward_data(shape: &ConvolutionShape, weights: &[f32]) -> Lines<f32> {
    let (kernel, channels) = (shape.kernel, shape.in_channels);
    let taps = kernel * kernel;
    let narrow = is_narrow(shape);
    // Padded channels, of either side, have no weights: they stay zero.
    let (width, outs, results) = match narrow {
        true => (1, shape.out_stride(), channels),
        false => (LANES, shape.out_channels, shape.input_gradient_stride()),
    };
    let mut values = Lines::zeros((taps * outs * results).next_multiple_of(LANES));
    let mut at = 0;
    for phase in phases(shape) {
        for first in (0..results).step_by(width) {
            let real = width.min(channels - first);
            for (row, column) in phase.taps() {
                let tap = row * kernel + column;
                for out in 0..shape.out_channels {
                    let from = &weights[(out * channels + first) * taps + tap..];
                    let to = &mut values[at + out * width..][..real];
                    if taps == 1 {
                        to.copy_from_slice(&from[..real]);
                        continue;
                    }
                    to.iter_mut().zip(from.iter().step_by(taps)).for_each(|(to, from)| *to = *from);
                }
                at += outs * width;
            }
        }
    }
    values
}

/// Whether the input gradient has so few channels that lanes hold what is read instead.
pub(super) fn is_narrow(shape: &ConvolutionShape) -> bool {
    shape.in_channels <= NARROW
}

/// Input positions of one remainder by the stride: they see the same taps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Phase {
    pub rows: PhaseAxis,
    pub columns: PhaseAxis,
}

impl Phase {
    /// Rows and columns of its taps in the kernel, in the order of ascending output position.
    fn taps(self) -> impl Iterator<Item = (usize, usize)> {
        let columns = self.columns;
        self.rows.taps().flat_map(move |row| columns.taps().map(move |column| (row, column)))
    }
}

/// One axis of a phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PhaseAxis {
    /// The input positions are `first`, `first + stride`, ...
    pub first: usize,
    /// Number of taps: may be none, for a 1x1 kernel with stride 2.
    pub count: usize,
    /// The largest tap: it meets the smallest output position.
    last_tap: usize,
    stride: usize,
}

impl PhaseAxis {
    /// Tap `k` carries output position `(i + padding - k) / stride` to input position `i`, where that divides.
    fn new(shape: &ConvolutionShape, first: usize) -> Self {
        let remainder = (first + shape.padding) % shape.stride;
        let count = shape.kernel.saturating_sub(remainder).div_ceil(shape.stride);
        let last_tap = remainder + count.saturating_sub(1) * shape.stride;
        Self { first, count, last_tap, stride: shape.stride }
    }

    /// Taps in the order of ascending output position.
    fn taps(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |index| self.last_tap - index * self.stride)
    }

    /// The smallest output position that input position `position` sees; negative in the border.
    pub fn first_output(self, padding: usize, position: usize) -> isize {
        ((position + padding) as isize - self.last_tap as isize).div_euclid(self.stride as isize)
    }
}

/// All phases, rows outer.
pub(super) fn phases(shape: &ConvolutionShape) -> impl Iterator<Item = Phase> {
    let (shape, side) = (*shape, shape.stride);
    (0..side * side).map(move |index| Phase {
        rows: PhaseAxis::new(&shape, index / side),
        columns: PhaseAxis::new(&shape, index % side),
    })
}
