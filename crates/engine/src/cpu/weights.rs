//! Parameters as the kernels read them: packed once per pass or per freeze.

use super::lower::{Operation, Program};
use super::normalisation::Coefficients;
use kernels::convolution::{self, Packed};
use network::Network;
use rayon::prelude::*;

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

/// All steps' weights.
#[derive(Debug)]
pub(crate) struct Weights {
    steps: Vec<StepWeights>,
}

impl Weights {
    /// Packs in parallel on the current pool.
    pub fn new(network: &Network, program: &Program, direction: Direction) -> Self {
        let steps = program.steps.par_iter().map(|step| match &step.operation {
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
        Self { steps: steps.collect() }
    }

    pub fn forward(&self, step: usize) -> &Packed {
        self.steps[step].forward.as_ref().expect("a convolution's forward weights were packed")
    }

    pub fn backward(&self, step: usize) -> &Packed {
        self.steps[step].backward.as_ref().expect("a convolution's backward weights were packed")
    }

    pub fn scale(&self, step: usize) -> &Coefficients {
        self.steps[step].scale.as_ref().expect("a scale has coefficients")
    }
}
