//! The gradient by the input: the forward kernel over the output gradient, with flipped and transposed weights.

use super::kernel::{Job, run};
use super::narrow;
use super::pack::{Direction, is_narrow, phases};
use super::table::{Bordered, Pixel};
use super::target::Target;
use super::winograd;
use super::{Add, ConvolutionShape, Packed, Relu, Scratch};
use crate::{Isa, LANES};

/// What happens to an input gradient between its sum and memory, in this order.
#[derive(Clone, Copy, Debug)]
pub struct GradientEpilogue<'a> {
    /// Added first, `[images, height, width, input_gradient_stride]`.
    pub add: Add<'a>,
    /// Then zeroed where the bit is not set: the derivative of the ReLU that made the input,
    /// `[images, height, width, input_gradient_stride / 16]`.
    pub mask: Option<&'a [u16]>,
}

impl GradientEpilogue<'_> {
    /// Nothing: the bare gradient.
    pub const NONE: Self = Self { add: Add::Nothing, mask: None };
}

/// The gradient by the input of [`super::forward`]; with a stride, each remainder of the input position by the stride
/// is a convolution of its own with its own taps.
///
/// Shapes: `output_gradient` `[images, out_height, out_width, out_stride]`,
/// `input_gradient` `[images, height, width, input_gradient_stride]`.
#[allow(clippy::too_many_arguments)]
pub fn backward_data(
    isa: Isa,
    shape: &ConvolutionShape,
    images: usize,
    output_gradient: &[f32],
    weights: &Packed,
    input_gradient: &mut [f32],
    epilogue: GradientEpilogue<'_>,
    scratch: &mut Scratch,
) {
    let direction = Direction::BackwardData;
    assert!(weights.shape == *shape && weights.direction == direction, "packed weights");
    assert_eq!(output_gradient.len(), images * shape.output_len(), "output gradient of {shape:?}");
    let per_image = shape.input_gradient_len();
    assert_eq!(input_gradient.len(), images * per_image, "input gradient of {shape:?}");
    if let Add::Other(other) = epilogue.add {
        assert_eq!(other.len(), input_gradient.len(), "addend of {shape:?}");
    }
    if let Some(mask) = epilogue.mask {
        assert_eq!(mask.len() * LANES, input_gradient.len(), "mask of {shape:?}");
    }

    let Scratch { bordered, pixels, runs, patches, .. } = scratch;
    if let Some(filter) = weights.algorithm.filter() {
        let target = Target {
            output: input_gradient,
            stride: shape.input_gradient_stride(),
            bias: None,
            add: epilogue.add,
            relu: Relu::No,
            write_mask: None,
            keep_mask: epilogue.mask,
        };
        let job = winograd::Job {
            filter,
            height: shape.height,
            width: shape.width,
            wanted: winograd::Wanted::All,
            channels: shape.out_stride(),
            source: output_gradient,
            weights: &weights.values,
            target,
        };
        return winograd::run(isa, job, patches);
    }
    let layout = output_layout(shape);
    let tile = layout.tile(images);
    let stride = shape.input_gradient_stride();
    for first in (0..images).step_by(tile) {
        let count = tile.min(images - first);
        let values = first * per_image..(first + count) * per_image;
        let maps = &output_gradient[first * shape.output_len()..][..count * shape.output_len()];
        let source = layout.lay_out(maps, bordered);
        let mut packed = &weights.values[..];
        for phase in phases(shape) {
            layout.runs(phase.rows.count, phase.columns.count, runs);
            let results = if is_narrow(shape) { shape.in_channels } else { stride };
            let length = phase.rows.count * phase.columns.count * layout.channels * results;
            let (own, rest) = packed.split_at(length);
            packed = rest;
            pixels.clear();
            for image in 0..count {
                for row in (phase.rows.first..shape.height).step_by(shape.stride) {
                    let y = phase.rows.first_output(shape.padding, row) + layout.top as isize;
                    for column in (phase.columns.first..shape.width).step_by(shape.stride) {
                        let x = phase.columns.first_output(shape.padding, column)
                            + layout.left as isize;
                        pixels.push(Pixel {
                            input: match phase.rows.count * phase.columns.count {
                                // Without taps nothing is read, and the position may lie outside.
                                0 => 0,
                                _ => {
                                    image * layout.image()
                                        + y as usize * layout.row()
                                        + x as usize * layout.stride()
                                }
                            },
                            output: (image * shape.height + row) * shape.width + column,
                        });
                    }
                }
            }
            let job = Job {
                source,
                runs,
                pixels,
                weights: own,
                target: Target {
                    output: &mut input_gradient[values.clone()],
                    stride,
                    bias: None,
                    add: epilogue.add.part(values.clone()),
                    relu: Relu::No,
                    write_mask: None,
                    keep_mask: epilogue.mask.map(|m| &m[values.start / LANES..values.end / LANES]),
                },
            };
            if is_narrow(shape) {
                narrow::run(isa, job, shape.in_channels);
            } else {
                run(isa, job);
            }
        }
    }
}

/// The output gradient with as much border as the flipped windows reach.
fn output_layout(shape: &ConvolutionShape) -> Bordered {
    let before = (shape.kernel - 1).saturating_sub(shape.padding).div_ceil(shape.stride);
    let after = |length: usize, outputs: usize| {
        ((length - 1 + shape.padding) / shape.stride).saturating_sub(outputs - 1)
    };
    Bordered {
        height: shape.out_height(),
        width: shape.out_width(),
        map_stride: shape.out_stride(),
        // The narrow kernel reads whole vectors of channels.
        channels: if is_narrow(shape) { shape.out_stride() } else { shape.out_channels },
        top: before,
        left: before,
        bottom: after(shape.height, shape.out_height()),
        right: after(shape.width, shape.out_width()),
    }
}
