//! Inputs, layouts and sums in f64 for the tests of half-precision convolutions.

// No test uses all of it.
#![allow(dead_code)]

use kernels::half::*;
use kernels::{ConvolutionShape, Isa, Relu, padded};

/// Numbers that bf16 holds exactly, so that only the order of sums differs.
pub fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            to_f32(from_f32((state >> 8) as f32 / (1 << 24) as f32 - 0.5))
        })
        .collect()
}

pub fn shape(
    inputs: usize,
    outputs: usize,
    side: (usize, usize),
    kernel: usize,
    stride: usize,
) -> ConvolutionShape {
    ConvolutionShape {
        in_channels: inputs,
        in_stride: inputs,
        height: side.0,
        width: side.1,
        out_channels: outputs,
        kernel,
        stride,
        padding: kernel / 2,
    }
}

/// `[images, out_height, out_width, out_channels]` in f64.
pub fn forward_f64(
    s: &ConvolutionShape,
    images: usize,
    input: &[f32],
    weights: &[f32],
) -> Vec<f64> {
    let (oh, ow) = (s.out_height(), s.out_width());
    let mut output = vec![0.0; images * oh * ow * s.out_channels];
    visit(s, images, |o, i, w| output[o] += f64::from(input[i]) * f64::from(weights[w]));
    output
}

/// `[images, height, width, in_channels]` in f64.
pub fn backward_f64(
    s: &ConvolutionShape,
    images: usize,
    gradient: &[f32],
    weights: &[f32],
) -> Vec<f64> {
    let mut input = vec![0.0; images * s.height * s.width * s.in_channels];
    visit(s, images, |o, i, w| input[i] += f64::from(gradient[o]) * f64::from(weights[w]));
    input
}

/// Every product of a convolution: positions in output, input and weights.
pub fn visit(s: &ConvolutionShape, images: usize, mut product: impl FnMut(usize, usize, usize)) {
    for n in 0..images {
        for y in 0..s.out_height() {
            for x in 0..s.out_width() {
                for ky in 0..s.kernel {
                    for kx in 0..s.kernel {
                        let row = (y * s.stride + ky).wrapping_sub(s.padding);
                        let column = (x * s.stride + kx).wrapping_sub(s.padding);
                        if row >= s.height || column >= s.width {
                            continue;
                        }
                        for o in 0..s.out_channels {
                            for i in 0..s.in_channels {
                                product(
                                    ((n * s.out_height() + y) * s.out_width() + x) * s.out_channels
                                        + o,
                                    ((n * s.height + row) * s.width + column) * s.in_channels + i,
                                    ((o * s.in_channels + i) * s.kernel + ky) * s.kernel + kx,
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

pub fn cells(
    channels: usize,
    side: (usize, usize),
    images: usize,
    border: usize,
    columns: Columns,
) -> CellLayout {
    CellLayout { channels, height: side.0, width: side.1, images, border, columns }
}

/// A pass's results `[images, height, width, padded(channels)]`.
pub fn rows_of(isa: Isa, job: &Convolve<'_>, target: &CellLayout, relu: Relu) -> Vec<f32> {
    let mut written = vec![0; target.len(job.images)];
    let epilogue = Epilogue::Activate { relu, mask: None };
    let destination = Destination::Cells { target: &mut written, add: Addend::Nothing, epilogue };
    convolve(isa, job, destination, &mut Workspace::default());
    let stride = padded(target.channels);
    let mut rows = vec![0.0; job.images * target.height * target.width * stride];
    from_cells(isa, target, job.images, stride, &written, &mut rows);
    rows
}

/// A pass over all images of a source.
pub fn all<'a>(
    table: &'a Table,
    weights: &'a PackedHalf,
    images: usize,
    source: &'a [u16],
) -> Convolve<'a> {
    Convolve {
        table,
        weights: Weights::Packed(weights),
        bias: None,
        images,
        first: 0,
        firsts: [0; 3],
        source,
        ahead: Ahead::default(),
    }
}

pub fn filled(layout: &CellLayout, images: usize, rows: &[f32]) -> Vec<u16> {
    let mut buffer = vec![0; layout.len(images)];
    to_cells(Isa::Portable, layout, images, layout.channels, rows, &mut buffer);
    buffer
}
