//! A first convolution of stride `s` as one of stride 1 over `s * s` times the channels of a map `s` times smaller.
//!
//! Its backward then needs one pass instead of one for each remainder: three channels of four remainders fill twelve of
//! the sixteen columns of a panel, where each remainder alone fills three.

use super::{CellLayout, Columns};
use crate::{ConvolutionShape, LANES};

/// The convolution of stride 1; its channel `(row % s * s + column % s) * channels + c` is channel `c` of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceToDepth {
    /// The convolution that was meant.
    from: ConvolutionShape,
    /// The one of stride 1. Its kernel may reach further on one side, so only its backward means anything.
    pub shape: ConvolutionShape,
}

impl SpaceToDepth {
    /// `None` where nothing would be won or the images cannot be cut into whole squares.
    pub fn of(shape: &ConvolutionShape) -> Option<Self> {
        let stride = shape.stride;
        let channels = stride * stride * shape.in_channels;
        let whole = shape.height.is_multiple_of(stride) && shape.width.is_multiple_of(stride);
        if stride == 1 || channels > LANES || !whole {
            return None;
        }
        // Kernel place k reads the pixel k - padding away, which is in the square floor((k - padding) / stride) away.
        let padding = shape.padding.div_ceil(stride);
        let last = (shape.kernel as isize - 1 - shape.padding as isize).div_euclid(stride as isize);
        Some(Self {
            from: *shape,
            shape: ConvolutionShape {
                in_channels: channels,
                in_stride: channels,
                height: shape.height / stride,
                width: shape.width / stride,
                out_channels: shape.out_channels,
                kernel: (last + padding as isize + 1) as usize,
                stride: 1,
                padding,
            },
        })
    }

    /// Its weights, from those that were meant.
    ///
    /// Shapes: `[out_channels, in_channels, kernel, kernel]` of either convolution.
    pub fn weights(&self, weights: &[f32]) -> Vec<f32> {
        let (from, to) = (&self.from, &self.shape);
        let mut own = vec![0.0; to.out_channels * to.in_channels * to.kernel * to.kernel];
        // Square and place in it.
        let place = |k: usize| {
            let at = k + to.padding * from.stride - from.padding;
            (at / from.stride, at % from.stride)
        };
        let window = from.kernel * from.kernel;
        for (filter, weights) in weights.chunks_exact(window).enumerate() {
            let (output, channel) = (filter / from.in_channels, filter % from.in_channels);
            for (position, &weight) in weights.iter().enumerate() {
                let (row, row_place) = place(position / from.kernel);
                let (column, column_place) = place(position % from.kernel);
                let depth = (row_place * from.stride + column_place) * from.in_channels + channel;
                let filter = output * to.in_channels + depth;
                own[(filter * to.kernel + row) * to.kernel + column] = weight;
            }
        }
        own
    }

    /// Where the gradient by the images lies: sixteen numbers for each square.
    pub fn layout(&self) -> CellLayout {
        CellLayout {
            channels: self.shape.in_channels,
            height: self.shape.height,
            width: self.shape.width,
            images: 1,
            border: 0,
            columns: Columns::Together,
        }
    }

    /// Writes one channel of an image's gradient.
    ///
    /// Shapes: `lanes` `[squares, 16]`, `plane` `[height, width]`.
    pub fn plane(&self, lanes: &[f32], channel: usize, plane: &mut [f32]) {
        let (stride, channels) = (self.from.stride, self.from.in_channels);
        let squares = lanes.chunks_exact(self.shape.width * LANES);
        for (band, squares) in plane.chunks_exact_mut(stride * self.from.width).zip(squares) {
            for (row, to) in band.chunks_exact_mut(self.from.width).enumerate() {
                for column in 0..stride {
                    let depth = (row * stride + column) * channels + channel;
                    let from = squares[depth..].iter().step_by(LANES);
                    to[column..].iter_mut().step_by(stride).zip(from).for_each(|(to, &x)| *to = x);
                }
            }
        }
    }
}
