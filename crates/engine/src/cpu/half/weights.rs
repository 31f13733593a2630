//! A network's parameters as the half-precision kernels read them.

use super::super::buffers::BufferPool;
use super::super::lower::{Operation, Program};
use super::plan::{Plan, backward, convolution_shape, depth, forward};
use super::stages::Kind;
use kernels::Isa;
use kernels::half::{CELL, Direction, PackedHalf, Source, pack_into};
use network::Network;
use rayon::prelude::*;
use std::borrow::Cow;

/// One step's.
#[derive(Debug)]
pub(crate) enum StepWeights {
    /// Pools and smooth activations have none, wide steps and group norms read the network itself.
    None,
    Convolution {
        forward: PackedHalf,
        backward: Vec<PackedHalf>,
        bias: Vec<f32>,
    },
    /// Up to whole cells.
    Pointwise {
        factors: Vec<f32>,
        shift: Vec<f32>,
    },
}

impl StepWeights {
    /// Returns what was packed into buffers.
    pub fn free(self, buffers: &BufferPool) {
        if let Self::Convolution { forward, backward, .. } = self {
            let packed = std::iter::once(forward).chain(backward);
            packed.for_each(|packed| buffers.give_cells(packed.into_storage()));
        }
    }
}

/// Packs all steps' weights, in parallel on the current pool.
pub(crate) fn pack_all(
    isa: Isa,
    network: &Network,
    program: &Program,
    plan: &Plan,
    buffers: &BufferPool,
) -> Vec<StepWeights> {
    (0..program.steps.len())
        .into_par_iter()
        .map(|index| step(isa, network, program, plan, index, buffers))
        .collect()
}

fn step(
    isa: Isa,
    network: &Network,
    program: &Program,
    plan: &Plan,
    index: usize,
    buffers: &BufferPool,
) -> StepWeights {
    let step = &program.steps[index];
    match plan.kinds[index] {
        Kind::Wide | Kind::Pool | Kind::Norm | Kind::Smooth => StepWeights::None,
        Kind::Pointwise => {
            let channels = program.values[step.output].shape.channels.next_multiple_of(CELL);
            let (mut factors, mut shift) = match &step.operation {
                Operation::Scale { scale, shift } => (scale.clone(), shift.clone()),
                _ => (vec![1.0; program.values[step.output].shape.channels], Vec::new()),
            };
            factors.resize(channels, 0.0);
            shift.resize(channels, 0.0);
            StepWeights::Pointwise { factors, shift }
        }
        Kind::Convolution => {
            let shape = convolution_shape(program, step);
            let (weights, bias) = match &step.operation {
                Operation::Convolution { weight, bias, .. } => (
                    Cow::Borrowed(&network.parameters[*weight].values[..]),
                    bias.map_or(Vec::new(), |bias| network.parameters[bias].values.clone()),
                ),
                Operation::Subsample { pad_before, .. } => {
                    let mut kept = vec![0.0; shape.out_channels * shape.in_channels];
                    for channel in 0..shape.in_channels {
                        kept[(channel + pad_before) * shape.in_channels + channel] = 1.0;
                    }
                    (Cow::Owned(kept), Vec::new())
                }
                other => panic!("{other:?} is no convolution"),
            };
            let source = plan.places[step.input].value;
            let gradient = plan.places[step.output].gradient;
            let (back, back_weights) = match depth(program, &plan.places, step) {
                Some(depth) => (depth.shape, Cow::Owned(depth.weights(&weights))),
                None => (shape, Cow::Borrowed(&weights[..])),
            };
            let pack = |shape: &_, weights: &_, pass: &_, direction, source| {
                let storage = |length| buffers.take_cells(length);
                pack_into(isa, shape, weights, pass, direction, source, storage)
            };
            let passes = backward(isa, &back, gradient);
            let backward = passes.iter().map(|pass| {
                pack(&back, &back_weights, pass, Direction::Backward, Source::Cells(gradient))
            });
            let pass = forward(isa, &shape, source);
            StepWeights::Convolution {
                forward: pack(&shape, &weights, &pass, Direction::Forward, source),
                backward: backward.collect(),
                bias,
            }
        }
    }
}
