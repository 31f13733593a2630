//! Transformed weights: each window of nine becomes one of 24.

use super::{COLUMNS, ROWS, WINDOW, transform_window};
use crate::Isa;
use crate::half::HalfPass;
use crate::half::pack::Tensor;
use std::ops::Range;

/// Some outputs' transformed weights; grows at first use.
#[derive(Debug, Default)]
pub(crate) struct TransformedWeights {
    pub values: Vec<f32>,
}

impl TransformedWeights {
    /// Transforms the weights of some outputs of `weights`; says how the result is read, whose first output is the first of
    /// `outputs`.
    pub fn fill(
        &mut self,
        isa: Isa,
        weights: &[f32],
        tensor: Tensor,
        pass: &HalfPass,
        outputs: Range<usize>,
    ) -> Tensor {
        let window = pass.window_of_three().expect("a pass that can be filtered");
        let places = window.weights.map(|row| row.map(|(row, column)| row * WINDOW + column));
        let count = outputs.len();
        // What changes slower in the tensor changes slower here; windows are neighbours along the other.
        let outputs_are_slower = tensor.between_outputs > tensor.between_inputs;
        let (slow, fast, between) = if outputs_are_slower {
            (count, tensor.inputs, tensor.between_outputs)
        } else {
            (tensor.inputs, count, tensor.between_inputs)
        };
        self.values.resize(slow * fast * ROWS * COLUMNS, 0.0);
        let first = outputs.start * tensor.between_outputs;
        let rows = self.values.chunks_exact_mut(fast * ROWS * COLUMNS);
        for (at, to) in rows.enumerate() {
            let from = &weights[first + at * between..][..fast * tensor.window];
            transform_windows(isa, from, &places, to);
        }
        let (near, far) = (ROWS * COLUMNS, fast * ROWS * COLUMNS);
        let (between_inputs, between_outputs) =
            if outputs_are_slower { (near, far) } else { (far, near) };
        Tensor { inputs: tensor.inputs, between_inputs, between_outputs, window: near }
    }
}

per_isa! {
    fn transform_windows(from: &[f32], places: &[[usize; WINDOW]; WINDOW], to: &mut [f32]) {
        let windows = from.chunks_exact(WINDOW * WINDOW);
        for (from, to) in windows.zip(to.chunks_exact_mut(ROWS * COLUMNS)) {
            let g = places.map(|row| row.map(|place| from[place]));
            for (row, to) in transform_window(g).iter().zip(to.chunks_exact_mut(COLUMNS)) {
                to.copy_from_slice(row);
            }
        }
    }
}
