//! The gradient by a convolution's weights in half precision: the work is split by output channels and by fixed groups
//! of chunks, never by threads.

use super::super::CpuEngine;
use super::super::backward::Reverse;
use super::super::chunk::Chunk;
use super::super::lower::{Operation, Program};
use super::HalfProgram;
use kernels::bf16::{Inputs, WeightGradient, unpack_weight_sums, weight_gradient, weight_sums_len};
use kernels::{ConvolutionShape, LANES};
use rayon::prelude::*;
use std::ops::Range;

/// Adds a convolution's weight gradient to `by_weight` and frees the gradients it was made of.
pub(crate) fn accumulate(
    engine: &CpuEngine,
    half: &HalfProgram,
    program: &Program,
    chunks: &[Chunk<'_>],
    reverses: &mut [Reverse],
    index: usize,
    by_weight: &mut [f32],
) {
    let step = &program.steps[index];
    let Operation::Convolution { shape, .. } = &step.operation else {
        panic!("the weights of a convolution, not of {:?}", step.operation);
    };
    // A rank that shares its batch norms may have no images: its gradient stays zero.
    if chunks.is_empty() {
        return;
    }
    let (ranges, groups) = split(shape, chunks.len());
    let tasks: Vec<(Range<usize>, Range<usize>)> = ranges
        .iter()
        .flat_map(|panels| groups.iter().map(move |group| (panels.clone(), group.clone())))
        .collect();
    let buffers = &engine.shared.buffers;
    let sum = |(panels, group): &(Range<usize>, Range<usize>)| {
        let mut sums = buffers.take(weight_sums_len(shape, panels.len()));
        sums.fill(0.0);
        let own = &chunks[group.clone()];
        let gradients: Vec<&[u16]> = reverses[group.clone()]
            .iter()
            .map(|reverse| &reverse.pending_cells[index][..])
            .collect();
        let layout = half.layout(step.output).expect("a convolution's result lies in cells");
        let job = |inputs| WeightGradient {
            shape: *shape,
            images: own.iter().map(|chunk| chunk.count).sum(),
            run: own[0].count,
            inputs,
            layout: *layout,
            gradients: &gradients,
        };
        let mut scratch = half.scratch();
        let weights = &mut scratch.weights;
        match half.layout(step.input) {
            Some(&layout) => {
                let runs: Vec<&[u16]> = own.iter().map(|chunk| chunk.cells(step.input)).collect();
                let job = job(Inputs::Cells { layout, runs: &runs });
                weight_gradient(engine.isa, &job, panels.clone(), &mut sums, weights);
            }
            None => {
                let value = |chunk| Chunk::value(chunk, program, step.input);
                let runs: Vec<&[f32]> = own.iter().map(value).collect();
                let job = job(Inputs::Pixels(&runs));
                weight_gradient(engine.isa, &job, panels.clone(), &mut sums, weights);
            }
        }
        half.return_scratch(scratch);
        sums
    };
    let parts: Vec<Vec<f32>> = tasks.par_iter().map(sum).collect();
    let row = shape.in_channels * shape.kernel * shape.kernel;
    let rows = by_weight.par_chunks_mut(ranges[0].len() * LANES * row);
    rows.zip(parts.par_chunks(groups.len())).zip(&ranges).for_each(|((rows, parts), panels)| {
        for part in parts {
            unpack_weight_sums(engine.isa, shape, panels.len(), part, rows);
        }
    });
    parts.into_iter().for_each(|part| buffers.give(part));
    for reverse in reverses {
        buffers.give_cells(std::mem::take(&mut reverse.pending_cells[index]));
    }
}

/// Ranges of panels and groups of chunks; a function of the layer and the number of chunks only.
///
/// Wide layers are split by panels, because each group has sums of its own that pass through memory; narrow ones by
/// images, because each range of panels lays the inputs out again.
pub(crate) fn split(
    shape: &ConvolutionShape,
    chunks: usize,
) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    const TASKS: usize = 8;
    const SUMS: usize = 1 << 19;
    let panels = shape.out_panels();
    let all = weight_sums_len(shape, panels);
    let ranges = all.div_ceil(SUMS).clamp(1, TASKS.min(panels.div_ceil(2)));
    let each = panels.div_ceil(ranges).next_multiple_of(2);
    let ranges: Vec<_> =
        (0..panels).step_by(each).map(|first| first..(first + each).min(panels)).collect();
    let groups = (TASKS / ranges.len()).clamp(1, chunks.max(1));
    let each = chunks.div_ceil(groups).max(1);
    let groups = (0..chunks).step_by(each).map(|first| first..(first + each).min(chunks)).collect();
    (ranges, groups)
}
