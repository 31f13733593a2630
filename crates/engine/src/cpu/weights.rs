//! Parameters as the kernels read them: packed once per pass or per freeze.

use super::lower::{Operation, Program};
use super::normalisation::Coefficients;
use kernels::convolution::{self, Packed};
use network::Network;
use rayon::prelude::*;
use std::ops::Range;

/// Which directions will run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// What one step reads besides values.
#[derive(Debug, Default)]
struct StepWeights {
    forward: Option<Packed>,
    backward: Option<Packed>,
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
    /// Packs those of all steps in parallel on the current pool.
    pub fn new(network: &Network, program: &Program, direction: Direction) -> Self {
        Self::of(network, program, 0..program.steps.len(), direction)
    }

    /// Packs those of some steps: a deep network's need not all exist at once.
    pub fn of(
        network: &Network,
        program: &Program,
        chosen: Range<usize>,
        direction: Direction,
    ) -> Self {
        let first = chosen.start;
        let steps = program.steps[chosen].par_iter().map(|step| match &step.operation {
            Operation::Convolution { shape, weight, .. } => {
                let weight = &network.parameters[*weight].values;
                StepWeights {
                    forward: (direction == Direction::Forward)
                        .then(|| convolution::pack_forward(shape, weight)),
                    backward: (direction == Direction::Backward)
                        .then(|| convolution::pack_backward_data(shape, weight)),
                    scale: None,
                }
            }
            Operation::Scale { scale, shift } => StepWeights {
                scale: Some(Coefficients::fixed(program.values[step.input].stride, scale, shift)),
                ..StepWeights::default()
            },
            _ => StepWeights::default(),
        });
        Self { first, steps: steps.collect() }
    }

    pub fn forward(&self, step: usize) -> &Packed {
        self.steps[step - self.first]
            .forward
            .as_ref()
            .expect("a convolution's forward weights were packed")
    }

    pub fn backward(&self, step: usize) -> &Packed {
        self.steps[step - self.first]
            .backward
            .as_ref()
            .expect("a convolution's backward weights were packed")
    }

    pub fn scale(&self, step: usize) -> &Coefficients {
        self.steps[step - self.first].scale.as_ref().expect("a scale has coefficients")
    }
}
