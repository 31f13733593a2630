//! Square convolutions with symmetric zero padding: forward, and backward by data and by weight.
//!
//! A convolution is a table. The input is copied once with its zero border; then every output pixel is an offset into
//! that copy and every tap a constant shift. One micro-kernel (`kernel`) runs all three of forward, strided forward
//! and backward-data: a group of pixels times one or two panels of 16 output channels in registers, inputs broadcast,
//! weights loaded. Pixels are a flat list over images, rows and columns, so small maps waste nothing.
//!
//! 3x3 convolutions of stride 1 have two further ways, [`Algorithm::Winograd2`] and [`Algorithm::Winograd4`], with 2.25
//! and 4 times fewer multiplications. Beside the plain sum, as shares of the peak measured beside each (16 images, one
//! thread of a shared machine, AVX-512; `--example convolution`): `Winograd4` 2.1 to 2.5 times as fast with 16 to 256
//! channels, `Winograd2` 1.4 to 1.8 times with 32 to 512.
//!
//! Where the frozen pass in f32 spends its time (samples of a profile, AVX-512, one thread, networks' set-up left out):
//! in ResNet-18 with 64 images of 32x32 about 58 % are the products of `winograd`, 15 % its transforms, 21 % the direct
//! kernel (stride 2, the first layer, projections). Gathering a group's inputs into one run before the
//! direct kernel was tried and gave nothing in whole networks, nor did a software prefetch of the next panels.
//!
//! **Each output value is one multiply-add chain from zero in a fixed (tap, channel) order, whatever the tile, the
//! batch or the group (`winograd`: sixteen or thirty-six chains, added in a fixed order): batch independence to the bit (G7) depends
//! on it.** Bias, addition and ReLU come after it.

mod backward_data;
mod backward_weight;
mod forward;
mod kernel;
mod narrow;
mod pack;
mod product;
mod regions;
mod table;
mod target;
mod weight_kernel;
mod winograd;

pub use backward_data::{GradientEpilogue, backward_data};
pub use backward_weight::{backward_weight, unpack_weight_gradient};
pub use forward::{Epilogue, forward};
pub use pack::{Algorithm, Direction, Packed, pack, pack_backward_data, pack_forward};
pub use regions::{Region, forward_regions};
pub use table::Scratch;

use crate::padded;

/// Geometry of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvolutionShape {
    /// Channels read.
    pub in_channels: usize,
    /// Distance between two input pixels in memory, at least `in_channels`: exactly that for images, else
    /// [`padded`].
    pub in_stride: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels given.
    pub out_channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Step between output pixels.
    pub stride: usize,
    /// Zero border on each side.
    pub padding: usize,
}

impl ConvolutionShape {
    /// Rows of the output.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Columns of the output.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Channels of the output in memory.
    pub fn out_stride(&self) -> usize {
        padded(self.out_channels)
    }

    /// Channels of the input's gradient in memory: padded also where the input itself is not.
    pub fn input_gradient_stride(&self) -> usize {
        padded(self.in_channels)
    }

    /// Values in the input of one image.
    pub fn input_len(&self) -> usize {
        self.height * self.width * self.in_stride
    }

    /// Values in the output of one image.
    pub fn output_len(&self) -> usize {
        self.out_height() * self.out_width() * self.out_stride()
    }

    /// Values in the input gradient of one image.
    pub fn input_gradient_len(&self) -> usize {
        self.height * self.width * self.input_gradient_stride()
    }

    /// Panels of 16 output channels.
    pub fn out_panels(&self) -> usize {
        self.out_stride() / crate::LANES
    }

    /// Values in one panel of the packed weights or of their gradient: `[tap][in_channels][16]`.
    pub fn panel_len(&self) -> usize {
        self.kernel * self.kernel * self.in_channels * crate::LANES
    }

    /// Values in the weights `[out_channels, in_channels, kernel, kernel]`.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.in_channels * self.kernel * self.kernel
    }

    /// Nominal floating-point operations of one image: two per multiply-add, taps in the border included.
    pub fn flops(&self) -> u64 {
        2 * (self.out_height() * self.out_width() * self.weight_len()) as u64
    }

    /// Panics on a geometry without output: shape inference has refused it long before.
    fn check(&self) {
        assert!(
            self.in_channels > 0
                && self.out_channels > 0
                && self.kernel > 0
                && self.stride > 0
                && self.in_stride >= self.in_channels
                && self.height + 2 * self.padding >= self.kernel
                && self.width + 2 * self.padding >= self.kernel,
            "a convolution without output: {self:?}"
        );
    }
}

/// Whether negative values become zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relu {
    /// Values stay as they are.
    No,
    /// `max(x, 0)`.
    Yes,
}

/// What is added to a result before it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Add<'a> {
    /// Nothing.
    Nothing,
    /// Another array of the output's shape.
    Other(&'a [f32]),
    /// What the output holds already.
    Output,
}
