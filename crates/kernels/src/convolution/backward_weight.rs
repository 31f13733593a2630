//! The gradient by the weights.

use super::forward::{input_layout, input_pixels};
use super::weight_kernel::{WeightJob, run};
use super::{ConvolutionShape, Scratch};
use crate::{Isa, LANES};
use std::ops::Range;

/// ADDS the gradient by the weights of the output channels of `panels`, image by image in index order: calls over
/// images 0..4 and then 4..9 give the bits of one call over 0..9. Work is split by output panel or by fixed groups of
/// images, each with its own gradient.
///
/// Shapes: `input` `[images, height, width, in_stride]`, `output_gradient` `[images, out_height, out_width,
/// out_stride]`, `weight_gradient` `[panels.len(), kernel * kernel, in_channels, 16]`.
#[allow(clippy::too_many_arguments)]
pub fn backward_weight(
    isa: Isa,
    shape: &ConvolutionShape,
    images: usize,
    input: &[f32],
    output_gradient: &[f32],
    panels: Range<usize>,
    weight_gradient: &mut [f32],
    scratch: &mut Scratch,
) {
    shape.check();
    assert_eq!(input.len(), images * shape.input_len(), "input of {shape:?}");
    assert_eq!(output_gradient.len(), images * shape.output_len(), "output gradient of {shape:?}");
    assert!(panels.end <= shape.out_panels(), "panels {panels:?} of {shape:?}");
    assert_eq!(weight_gradient.len(), panels.len() * shape.panel_len(), "gradient of {shape:?}");
    let Scratch { bordered, pixels, runs, .. } = scratch;
    let layout = input_layout(shape);
    layout.runs(shape.kernel, shape.kernel, runs);
    let tile = layout.tile(images);
    input_pixels(shape, &layout, tile, pixels);
    let per_image = shape.out_height() * shape.out_width();
    for first in (0..images).step_by(tile) {
        let count = tile.min(images - first);
        let maps = &input[first * shape.input_len()..][..count * shape.input_len()];
        run(
            isa,
            WeightJob {
                source: layout.lay_out(maps, bordered),
                runs,
                pixels: &pixels[..count * per_image],
                pixels_per_image: per_image,
                gradient: &output_gradient[first * shape.output_len()..]
                    [..count * shape.output_len()],
                stride: shape.out_stride(),
                panels: panels.clone(),
                sums: weight_gradient,
            },
        );
    }
}

/// From the layout of [`backward_weight`], over all panels, to PyTorch's.
///
/// Shapes: `packed` `[out_channels / 16, kernel * kernel, in_channels, 16]`, result `[out_channels, in_channels, kernel, kernel]`.
pub fn unpack_weight_gradient(shape: &ConvolutionShape, packed: &[f32]) -> Vec<f32> {
    assert_eq!(packed.len(), shape.out_panels() * shape.panel_len(), "gradient of {shape:?}");
    let taps = shape.kernel * shape.kernel;
    let mut weights = vec![0.0; shape.weight_len()];
    for (out, weights) in weights.chunks_exact_mut(shape.in_channels * taps).enumerate() {
        let panel = &packed[out / LANES * shape.panel_len()..][..shape.panel_len()];
        for (channel, weights) in weights.chunks_exact_mut(taps).enumerate() {
            for (tap, weight) in weights.iter_mut().enumerate() {
                *weight = panel[(tap * shape.in_channels + channel) * LANES + out % LANES];
            }
        }
    }
    weights
}
