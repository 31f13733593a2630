//! Weight gradients: sums over all images, so the work is split by output channel and by fixed groups of chunks.

use super::CpuEngine;
use super::backward::Reverse;
use super::bf16::{self, HalfProgram};
use super::border;
use super::chunk::{Chunk, linear_shape};
use super::lower::{Operation, Program};
use kernels::{ConvolutionShape, convolution, linear};
use rayon::prelude::*;
use std::ops::Range;

/// Writes the weight gradient of a convolution or linear step, if it is one, and frees the gradient it was made of.
pub(crate) fn accumulate(
    engine: &CpuEngine,
    half: Option<&HalfProgram>,
    program: &Program,
    chunks: &[Chunk<'_>],
    reverses: &mut [Reverse],
    index: usize,
    gradients: &mut [Vec<f32>],
) {
    let step = &program.steps[index];
    match (&step.operation, half) {
        (Operation::Convolution { weight, .. }, Some(half)) => {
            let by_weight = &mut gradients[weight.0];
            return bf16::accumulate(engine, half, program, chunks, reverses, index, by_weight);
        }
        (Operation::Convolution { shape, weight, .. }, None) => {
            gradients[weight.0] =
                convolution_weights(engine, program, chunks, reverses, index, shape);
        }
        (Operation::Linear { weight, bias }, _) => {
            let shape = linear_shape(program, step);
            let mut by_weight = std::mem::take(&mut gradients[weight.0]);
            for (chunk, reverse) in chunks.iter().zip(&*reverses) {
                let mut dense = vec![0.0; chunk.count * shape.outputs];
                border::store_dense(&reverse.pending[index], shape.outputs, &mut dense);
                let input = chunk.value(program, step.input);
                let by_bias = &mut gradients[bias.0];
                linear::backward_weight(engine.isa, &shape, input, &dense, &mut by_weight, by_bias);
            }
            gradients[weight.0] = by_weight;
        }
        _ => return,
    }
    for reverse in reverses {
        engine.shared.buffers.give(std::mem::take(&mut reverse.pending[index]));
    }
}

fn convolution_weights(
    engine: &CpuEngine,
    program: &Program,
    chunks: &[Chunk<'_>],
    reverses: &[Reverse],
    index: usize,
    shape: &ConvolutionShape,
) -> Vec<f32> {
    let step = &program.steps[index];
    let tasks = tasks(shape, chunks.len());
    let parts: Vec<Vec<f32>> = tasks
        .par_iter()
        .map(|task| {
            let mut scratch = engine.shared.scratch();
            let mut sum = engine.shared.buffers.take(task.panels.len() * shape.panel_len());
            sum.fill(0.0);
            for position in task.chunks.clone() {
                let chunk = &chunks[position];
                let dy = &reverses[position].pending[index][..chunk.count * shape.output_len()];
                let input = chunk.value(program, step.input);
                let panels = task.panels.clone();
                convolution::backward_weight(
                    engine.isa,
                    shape,
                    chunk.count,
                    input,
                    dy,
                    panels,
                    &mut sum,
                    &mut scratch,
                );
            }
            engine.shared.return_scratch(scratch);
            sum
        })
        .collect();
    let mut packed = engine.shared.buffers.take(shape.out_panels() * shape.panel_len());
    packed.fill(0.0);
    for (task, part) in tasks.iter().zip(parts) {
        let target = &mut packed[task.panels.start * shape.panel_len()..][..part.len()];
        target.iter_mut().zip(&part).for_each(|(sum, x)| *sum += x);
        engine.shared.buffers.give(part);
    }
    let weights = convolution::unpack_weight_gradient(shape, &packed);
    engine.shared.buffers.give(packed);
    weights
}

/// Some output panels over some chunks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub panels: Range<usize>,
    chunks: Range<usize>,
}

/// The split depends on the layer and the number of chunks only, never on threads.
pub(crate) fn tasks(shape: &ConvolutionShape, chunks: usize) -> Vec<Task> {
    const TASKS: usize = 16;
    let panels = shape.out_panels();
    let panels_each = panels.div_ceil(TASKS).max(2).min(panels);
    let ranges = panels.div_ceil(panels_each);
    let groups = TASKS.div_ceil(ranges).min(chunks).max(1);
    let chunks_each = chunks.div_ceil(groups);
    let mut tasks = Vec::new();
    for first in (0..panels).step_by(panels_each) {
        for chunk in (0..chunks).step_by(chunks_each.max(1)) {
            tasks.push(Task {
                panels: first..(first + panels_each).min(panels),
                chunks: chunk..(chunk + chunks_each).min(chunks),
            });
        }
    }
    tasks
}
