//! Weights in the order in which the micro-kernel reads them.

use super::ConvolutionShape;
use super::narrow::NARROW;
use crate::LANES;

/// Weights of one convolution for one direction: panels of 16 result channels, each `[tap][channel][16]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    pub(super) shape: ConvolutionShape,
    pub(super) direction: Direction,
    pub(super) values: Vec<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
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
    shape.check();
    assert_eq!(weights.len(), shape.weight_len(), "weights of {shape:?}");
    let taps = shape.kernel * shape.kernel;
    let mut values = vec![0.0; shape.out_panels() * shape.panel_len()];
    for (out, weights) in weights.chunks_exact(shape.in_channels * taps).enumerate() {
        let panel = &mut values[out / LANES * shape.panel_len()..][..shape.panel_len()];
        for (channel, weights) in weights.chunks_exact(taps).enumerate() {
            for (tap, &weight) in weights.iter().enumerate() {
                panel[(tap * shape.in_channels + channel) * LANES + out % LANES] = weight;
            }
        }
    }
    Packed { shape: *shape, direction: Direction::Forward, values }
}

/// Packs weights for [`super::backward_data`]: taps flipped, channels transposed, one block per phase.
///
/// Shapes: `weights` `[out_channels, in_channels, kernel, kernel]`.
pub fn pack_backward_data(shape: &ConvolutionShape, weights: &[f32]) -> Packed {
    shape.check();
    assert_eq!(weights.len(), shape.weight_len(), "weights of {shape:?}");
    let (kernel, channels) = (shape.kernel, shape.in_channels);
    let weight = |out: usize, channel: usize, row: usize, column: usize| {
        // Padded channels, of either side, have no weights.
        if out < shape.out_channels && channel < channels {
            weights[((out * channels + channel) * kernel + row) * kernel + column]
        } else {
            0.0
        }
    };
    let mut values = Vec::new();
    for phase in phases(shape) {
        let mut block = |panel: std::ops::Range<usize>, outs: usize| {
            for row in phase.rows.taps() {
                for column in phase.columns.taps() {
                    for out in 0..outs {
                        values
                            .extend(panel.clone().map(|channel| weight(out, channel, row, column)));
                    }
                }
            }
        };
        if is_narrow(shape) {
            (0..channels).for_each(|channel| block(channel..channel + 1, shape.out_stride()));
        } else {
            (0..shape.input_gradient_stride())
                .step_by(LANES)
                .for_each(|first| block(first..first + LANES, shape.out_channels));
        }
    }
    Packed { shape: *shape, direction: Direction::BackwardData, values }
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
    pub fn taps(self) -> impl Iterator<Item = usize> {
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
