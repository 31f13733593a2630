//! Steps that only move numbers, and their gradients.

use super::lower::{Operation, Program, Step};

/// Keeps every `stride`-th row and column, with zero channels around.
pub(crate) fn subsample(
    program: &Program,
    step: &Step,
    stride: usize,
    before: usize,
    input: &[f32],
    output: &mut [f32],
) {
    let (from, to) = (program.values[step.input], program.values[step.output]);
    output.fill(0.0);
    for (source, target) in input.chunks_exact(from.len()).zip(output.chunks_exact_mut(to.len())) {
        for (index, pixel) in target.chunks_exact_mut(to.stride).enumerate() {
            let (row, column) = (index / to.shape.width, index % to.shape.width);
            let read = (row * stride * from.shape.width + column * stride) * from.stride;
            pixel[before..before + from.shape.channels]
                .copy_from_slice(&source[read..read + from.shape.channels]);
        }
    }
}

/// The gradient of [`subsample`].
pub(crate) fn spread(program: &Program, step: &Step, gradient: &[f32], input_gradient: &mut [f32]) {
    let Operation::Subsample { stride, pad_before } = step.operation else {
        panic!("the spread of {:?}", step.operation);
    };
    let (from, to) = (program.values[step.input], program.values[step.output]);
    let gap = from.gradient_len() / from.pixels();
    input_gradient.fill(0.0);
    let images =
        gradient.chunks_exact(to.len()).zip(input_gradient.chunks_exact_mut(from.gradient_len()));
    for (source, target) in images {
        for (index, pixel) in source.chunks_exact(to.stride).enumerate() {
            let (row, column) = (index / to.shape.width, index % to.shape.width);
            let write = (row * stride * from.shape.width + column * stride) * gap;
            target[write..write + from.shape.channels]
                .copy_from_slice(&pixel[pad_before..pad_before + from.shape.channels]);
        }
    }
}

/// Every image as one vector in channel, row, column order.
pub(crate) fn flatten(program: &Program, step: &Step, input: &[f32], output: &mut [f32]) {
    let (from, to) = (program.values[step.input], program.values[step.output]);
    output.fill(0.0);
    for (source, target) in input.chunks_exact(from.len()).zip(output.chunks_exact_mut(to.len())) {
        for (pixel, values) in source.chunks_exact(from.stride).enumerate() {
            for (channel, &value) in values[..from.shape.channels].iter().enumerate() {
                target[channel * from.pixels() + pixel] = value;
            }
        }
    }
}

/// The gradient of [`flatten`].
pub(crate) fn unflatten(
    program: &Program,
    step: &Step,
    gradient: &[f32],
    input_gradient: &mut [f32],
) {
    let (from, to) = (program.values[step.input], program.values[step.output]);
    let gap = from.gradient_len() / from.pixels();
    input_gradient.fill(0.0);
    let images =
        gradient.chunks_exact(to.len()).zip(input_gradient.chunks_exact_mut(from.gradient_len()));
    for (source, target) in images {
        for (pixel, values) in target.chunks_exact_mut(gap).enumerate() {
            for (channel, value) in values[..from.shape.channels].iter_mut().enumerate() {
                *value = source[channel * from.pixels() + pixel];
            }
        }
    }
}
