//! The forward convolution of parts of some maps, in place.
//!
//! Where a few pixels of an image change, its results change around them only. Maps lie with a border of one zero pixel
//! here, so that nothing is copied: the kernels take any list of pixels, or of tiles. A result has the bits that
//! [`super::forward`] gives it.

use super::forward::lay_out_bias;
use super::kernel::{self, Job};
use super::pack::Direction;
use super::table::{Pixel, Run};
use super::target::Target;
use super::winograd::{self, Tile, Wanted};
use super::{Add, Algorithm, ConvolutionShape, Epilogue, Packed, Scratch};
use crate::Isa;

/// A rectangle of one image's results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Position of the image.
    pub image: usize,
    /// Its first row.
    pub top: usize,
    /// The row behind its last.
    pub bottom: usize,
    /// Its first column.
    pub left: usize,
    /// The column behind its last.
    pub right: usize,
}

/// Convolves where it is asked to; with a kernel of 3 and padding 1, or of 1 and none.
///
/// With [`Algorithm::Winograd2`] results beside a region are computed again where they share its tiles: what they read must
/// be as it was when they were computed. [`Algorithm::Winograd4`] is refused: a change would alter, to the bit, more than
/// the results whose windows it meets.
///
/// Shapes: `input` `[images, height + 2, width + 2, in_stride]` and `output`
/// `[images, out_height + 2, out_width + 2, out_stride]`, zero in the first and last row and column; an addend has the
/// output's shape, and there is no mask.
#[allow(clippy::too_many_arguments)]
pub fn forward_regions(
    isa: Isa,
    shape: &ConvolutionShape,
    regions: &[Region],
    input: &[f32],
    weights: &Packed,
    output: &mut [f32],
    epilogue: Epilogue<'_>,
    scratch: &mut Scratch,
) {
    assert!(weights.shape == *shape && weights.direction == Direction::Forward, "packed weights");
    assert!(matches!((shape.kernel, shape.padding), (3, 1) | (1, 0)), "the window of {shape:?}");
    assert!(epilogue.mask.is_none(), "regions have no mask");
    assert!(weights.algorithm != Algorithm::Winograd4, "results of their own windows");
    let (height, width) = (shape.out_height(), shape.out_width());
    let map = (height + 2) * (width + 2);
    let images = output.len() / (map * shape.out_stride());
    let row = (shape.width + 2) * shape.in_stride;
    let image = (shape.height + 2) * row;
    assert_eq!(output.len(), images * map * shape.out_stride(), "output of {shape:?}");
    assert_eq!(input.len(), images * image, "input of {shape:?}");
    let is_within = |r: &Region| r.image < images && r.bottom <= height && r.right <= width;
    assert!(regions.iter().all(is_within), "regions of {shape:?}");
    if let Add::Other(other) = epilogue.add {
        assert_eq!(other.len(), output.len(), "addend of {shape:?}");
    }
    let Scratch { pixels, runs, bias, patches, tiles, .. } = scratch;
    lay_out_bias(shape, epilogue.bias, bias);
    let target = Target {
        output,
        stride: shape.out_stride(),
        bias: (!bias.is_empty()).then_some(&bias[..]),
        add: epilogue.add,
        relu: epilogue.relu,
        write_mask: None,
        keep_mask: None,
    };
    let pixel = |image: usize, row: usize, column: usize| {
        image * map + (row + 1) * (width + 2) + column + 1
    };

    if let Some(filter) = weights.algorithm.filter() {
        tiles.clear();
        for region in regions.iter().filter(|r| r.top < r.bottom) {
            for row in (region.top / 2 * 2..region.bottom).step_by(2) {
                tiles.extend((region.left / 2 * 2..region.right).step_by(2).map(|column| Tile {
                    pixel: pixel(region.image, row, column),
                    row: row + 1,
                    column: column + 1,
                }));
            }
        }
        let job = winograd::Job {
            filter,
            height: shape.height + 2,
            width: shape.width + 2,
            wanted: Wanted::Some(tiles),
            channels: shape.in_stride,
            source: input,
            weights: &weights.values,
            target,
        };
        return winograd::run(isa, job, patches);
    }

    runs.clear();
    for row in (0..shape.kernel).map(|y| y * row) {
        // One run a row where no padded channels lie between: the order of the chain is the same.
        if shape.in_channels == shape.in_stride {
            runs.push(Run { offset: row, length: shape.kernel * shape.in_channels });
        } else {
            runs.extend(
                (0..shape.kernel)
                    .map(|x| Run { offset: row + x * shape.in_stride, length: shape.in_channels }),
            );
        }
    }
    pixels.clear();
    let first_tap = 1 - shape.padding;
    for region in regions {
        for y in region.top..region.bottom {
            let start = region.image * image + (y * shape.stride + first_tap) * row;
            pixels.extend((region.left..region.right).map(|x| Pixel {
                input: start + (x * shape.stride + first_tap) * shape.in_stride,
                output: pixel(region.image, y, x),
            }));
        }
    }
    kernel::run(isa, Job { source: input, runs, pixels, weights: &weights.values, target });
}
