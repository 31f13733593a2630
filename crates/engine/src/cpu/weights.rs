//! Parameters as the kernels read them: packed once per pass or per freeze.

use super::bf16::HalfProgram;
use super::buffers::BufferPool;
use super::lower::{Operation, Program};
use super::normalisation::Coefficients;
use kernels::ConvolutionShape;
pub(crate) use kernels::convolution::Direction;
use kernels::convolution::{Algorithm, Packed, pack};
use kernels::half::PackedHalf;
use network::Network;
use rayon::prelude::*;
use std::ops::Range;

/// What one step reads besides values.
#[derive(Debug, Default)]
struct StepWeights {
    packed: Option<Packed>,
    /// In half precision: one forward, one for each phase of the stride backward.
    half: Vec<PackedHalf>,
    scale: Option<Coefficients>,
}

/// The weights of consecutive steps.
#[derive(Debug)]
pub(crate) struct Weights {
    /// Position of the first of them.
    first: usize,
    steps: Vec<StepWeights>,
}

impl Weights {
    /// Packs those of all steps for many passes, each for its fastest algorithm, in parallel on the current pool.
    pub fn fastest(network: &Network, program: &Program, direction: Direction) -> Self {
        let all = 0..program.steps.len();
        Self::packed(network, program, None, all, direction, |_, shape| Algorithm::fastest(shape))
    }

    /// The same with the first `head` steps' results depending, to the bit, on the inputs of their own windows alone.
    pub fn local(network: &Network, program: &Program, head: usize) -> Self {
        let all = 0..program.steps.len();
        let algorithm = |index, shape: &_| match index < head {
            true => Algorithm::local(shape),
            false => Algorithm::fastest(shape),
        };
        Self::packed(network, program, None, all, Direction::Forward, algorithm)
    }

    /// Packs those of some steps for one pass: a deep network's need not all exist at once.
    pub fn of(
        network: &Network,
        program: &Program,
        chosen: Range<usize>,
        direction: Direction,
    ) -> Self {
        Self::of_training(network, program, None, chosen, direction)
    }

    /// The same, in half precision if layouts for it are given and buffers to pack into.
    pub fn of_training(
        network: &Network,
        program: &Program,
        half: Option<(&HalfProgram, &BufferPool)>,
        chosen: Range<usize>,
        direction: Direction,
    ) -> Self {
        Self::packed(network, program, half, chosen, direction, |_, _| Algorithm::Direct)
    }

    fn packed(
        network: &Network,
        program: &Program,
        half: Option<(&HalfProgram, &BufferPool)>,
        chosen: Range<usize>,
        direction: Direction,
        algorithm: impl Fn(usize, &ConvolutionShape) -> Algorithm + Sync,
    ) -> Self {
        let first = chosen.start;
        let steps = chosen.into_par_iter().map(|index| (index, &program.steps[index]));
        let steps = steps.map(|(index, step)| match (&step.operation, half) {
            (Operation::Convolution { weight, .. }, Some((half, buffers))) => {
                let weight = &network.parameters[*weight].values;
                StepWeights {
                    half: half.pack(step, index, weight, direction, buffers),
                    ..Default::default()
                }
            }
            (Operation::Convolution { shape, weight, .. }, None) => {
                let weight = &network.parameters[*weight].values;
                let packed = pack(shape, weight, direction, algorithm(index, shape));
                StepWeights { packed: Some(packed), ..Default::default() }
            }
            (Operation::Scale { scale, shift }, _) => StepWeights {
                scale: Some(Coefficients::fixed(program.values[step.input].stride, scale, shift)),
                ..StepWeights::default()
            },
            _ => StepWeights::default(),
        });
        Self { first, steps: steps.collect() }
    }

    /// Returns what was packed into buffers.
    pub fn free(self, buffers: &BufferPool) {
        for packed in self.steps.into_iter().flat_map(|step| step.half) {
            buffers.give_cells(packed.into_storage());
        }
    }

    /// Of a convolution in half precision: one forward, one for each phase of the stride backward.
    pub fn half(&self, step: usize) -> &[PackedHalf] {
        &self.steps[step - self.first].half
    }

    /// Of a convolution, in the direction asked for.
    pub fn convolution(&self, step: usize) -> &Packed {
        let packed = self.steps[step - self.first].packed.as_ref();
        packed.expect("a convolution's weights were packed")
    }

    pub fn scale(&self, step: usize) -> &Coefficients {
        self.steps[step - self.first].scale.as_ref().expect("a scale has coefficients")
    }
}
