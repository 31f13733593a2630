//! The forward convolution.

use super::kernel::{Job, run};
use super::pack::Direction;
use super::table::{Bordered, Pixel};
use super::target::Target;
use super::winograd;
use super::{Add, ConvolutionShape, Packed, Relu, Scratch};
use crate::{Isa, LANES};

/// What happens to a result between its sum and memory, in this order.
#[derive(Debug)]
pub struct Epilogue<'a> {
    /// One offset per output channel, `[out_channels]`.
    pub bias: Option<&'a [f32]>,
    /// Added next, `[images, out_height, out_width, out_stride]`.
    pub add: Add<'a>,
    /// Applied last.
    pub relu: Relu,
    /// Receives one bit per value, set where the result is above zero:
    /// `[images, out_height, out_width, out_stride / 16]`, bit `l` for channel `16 panel + l`.
    pub mask: Option<&'a mut [u16]>,
}

impl Epilogue<'_> {
    /// Nothing: the bare convolution.
    pub const NONE: Self = Self { bias: None, add: Add::Nothing, relu: Relu::No, mask: None };
}

/// An offset with zeros in padded channels; nothing where there is none.
pub(super) fn lay_out_bias(shape: &ConvolutionShape, values: Option<&[f32]>, bias: &mut Vec<f32>) {
    bias.clear();
    if let Some(values) = values {
        assert_eq!(values.len(), shape.out_channels, "bias of {shape:?}");
        bias.extend_from_slice(values);
        bias.resize(shape.out_stride(), 0.0);
    }
}

/// Convolves `images` images.
///
/// Shapes: `input` `[images, height, width, in_stride]`, `output` `[images, out_height, out_width, out_stride]`.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    isa: Isa,
    shape: &ConvolutionShape,
    images: usize,
    input: &[f32],
    weights: &Packed,
    output: &mut [f32],
    epilogue: Epilogue<'_>,
    scratch: &mut Scratch,
) {
    assert!(weights.shape == *shape && weights.direction == Direction::Forward, "packed weights");
    assert_eq!(input.len(), images * shape.input_len(), "input of {shape:?}");
    assert_eq!(output.len(), images * shape.output_len(), "output of {shape:?}");
    let Scratch { bordered, pixels, runs, bias, patches, .. } = scratch;
    lay_out_bias(shape, epilogue.bias, bias);
    let mut mask = epilogue.mask;
    if let Some(mask) = &mask {
        assert_eq!(mask.len() * LANES, output.len(), "mask of {shape:?}");
    }
    if let Add::Other(other) = epilogue.add {
        assert_eq!(other.len(), output.len(), "addend of {shape:?}");
    }

    if let Some(filter) = weights.algorithm.filter() {
        let target = Target {
            output,
            stride: shape.out_stride(),
            bias: (!bias.is_empty()).then_some(&bias[..]),
            add: epilogue.add,
            relu: epilogue.relu,
            write_mask: mask,
            keep_mask: None,
        };
        let job = winograd::Job {
            filter,
            height: shape.height,
            width: shape.width,
            wanted: winograd::Wanted::All,
            channels: shape.in_stride,
            source: input,
            weights: &weights.values,
            target,
        };
        return winograd::run(isa, job, patches);
    }

    let layout = input_layout(shape);
    layout.runs(shape.kernel, shape.kernel, runs);
    let tile = layout.tile(images);
    input_pixels(shape, &layout, tile, pixels);
    let per_image = shape.out_height() * shape.out_width();
    for first in (0..images).step_by(tile) {
        let count = tile.min(images - first);
        let values = first * shape.output_len()..(first + count) * shape.output_len();
        let source = layout
            .lay_out(&input[first * shape.input_len()..][..count * shape.input_len()], bordered);
        run(
            isa,
            Job {
                source,
                runs,
                pixels: &pixels[..count * per_image],
                weights: &weights.values,
                target: Target {
                    output: &mut output[values.clone()],
                    stride: shape.out_stride(),
                    bias: (!bias.is_empty()).then_some(&bias[..]),
                    add: epilogue.add.part(values.clone()),
                    relu: epilogue.relu,
                    write_mask: mask
                        .as_deref_mut()
                        .map(|m| &mut m[values.start / LANES..values.end / LANES]),
                    keep_mask: None,
                },
            },
        );
    }
}

impl<'a> Add<'a> {
    /// The same for a part of the output.
    pub(super) fn part(self, values: std::ops::Range<usize>) -> Self {
        match self {
            Self::Other(other) => Self::Other(&other[values]),
            same => same,
        }
    }
}

/// The input with as much border as the windows reach.
pub(super) fn input_layout(shape: &ConvolutionShape) -> Bordered {
    let reach = |outputs: usize, length: usize| {
        ((outputs - 1) * shape.stride + shape.kernel).saturating_sub(shape.padding + length)
    };
    Bordered {
        height: shape.height,
        width: shape.width,
        map_stride: shape.in_stride,
        channels: shape.in_channels,
        top: shape.padding,
        left: shape.padding,
        bottom: reach(shape.out_height(), shape.height),
        right: reach(shape.out_width(), shape.width),
    }
}

/// Lists the output pixels of `images` images in order.
pub(super) fn input_pixels(
    shape: &ConvolutionShape,
    layout: &Bordered,
    images: usize,
    pixels: &mut Vec<Pixel>,
) {
    pixels.clear();
    for image in 0..images {
        for row in 0..shape.out_height() {
            let start = image * layout.image() + row * shape.stride * layout.row();
            let output = pixels.len();
            pixels.extend((0..shape.out_width()).map(|column| Pixel {
                input: start + column * shape.stride * layout.stride(),
                output: output + column,
            }));
        }
    }
}
