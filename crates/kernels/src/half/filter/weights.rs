//! Transformed weights: each row of a window becomes six numbers.

use super::{COLUMNS, POSITIONS, transform_weights};
use crate::Isa;
use crate::half::HalfPass;
use crate::half::pack::Tensor;
use std::ops::Range;

/// Some outputs' weights with windows of six numbers a row; grows at first use.
#[derive(Debug, Default)]
pub(crate) struct Expanded {
    pub values: Vec<f32>,
}

impl Expanded {
    /// Transforms the weights of some outputs of `weights`, with the rows of the window in `pass`'s order; says how the result
    /// is read, its first output being the first of `outputs`.
    pub fn fill(
        &mut self,
        isa: Isa,
        weights: &[f32],
        tensor: Tensor,
        (pass, side): (&HalfPass, usize),
        outputs: Range<usize>,
    ) -> Tensor {
        let rows = pass.rows_of_three().expect("a pass that can be filtered");
        let place = |(row, column): (usize, usize)| row * side + column;
        let kernel: Vec<[usize; COLUMNS]> = rows.iter().map(|row| row.weights.map(place)).collect();
        let window = kernel.len() * POSITIONS;
        let count = outputs.len();
        self.values.resize(tensor.inputs * count * window, 0.0);
        // What changes slower in the tensor changes slower here.
        let outputs_are_slower = tensor.between_outputs > tensor.between_inputs;
        let (slow, fast) =
            if outputs_are_slower { (count, tensor.inputs) } else { (tensor.inputs, count) };
        let (between_slow, between_fast) = if outputs_are_slower {
            (tensor.between_outputs, tensor.between_inputs)
        } else {
            (tensor.between_inputs, tensor.between_outputs)
        };
        debug_assert_eq!(between_fast, tensor.window, "windows are neighbours");
        let first = outputs.start * tensor.between_outputs;
        for (at, to) in self.values.chunks_exact_mut(fast * window).enumerate().take(slow) {
            let from = &weights[first + at * between_slow..][..fast * tensor.window];
            expand(isa, from, tensor.window, &kernel, to);
        }
        let (between_inputs, between_outputs) =
            if outputs_are_slower { (window, fast * window) } else { (fast * window, window) };
        Tensor { inputs: tensor.inputs, between_inputs, between_outputs, window }
    }
}

per_isa! {
    fn expand(from: &[f32], window: usize, kernel: &[[usize; COLUMNS]], to: &mut [f32]) {
        let windows = from.chunks_exact(window);
        for (from, to) in windows.zip(to.chunks_exact_mut(kernel.len() * POSITIONS)) {
            for (row, to) in kernel.iter().zip(to.chunks_exact_mut(POSITIONS)) {
                to.copy_from_slice(&transform_weights([from[row[0]], from[row[1]], from[row[2]]]));
            }
        }
    }
}
