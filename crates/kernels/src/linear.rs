//! `weight x + bias` and its gradients; small beside the convolutions, so the loops are plain.

use crate::LANES;

/// Lengths of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinearShape {
    /// Length of the vector read.
    pub inputs: usize,
    /// Distance between two images' input vectors, at least `inputs`.
    pub input_stride: usize,
    /// Length of the vector given; outputs are dense.
    pub outputs: usize,
}

impl LinearShape {
    fn check(&self, input: usize, weight: usize, output: usize) {
        assert!(
            self.input_stride >= self.inputs && self.inputs > 0 && self.outputs > 0,
            "{self:?}"
        );
        assert_eq!(weight, self.inputs * self.outputs, "weight of {self:?}");
        let images = output / self.outputs;
        assert_eq!(output, images * self.outputs, "output of {self:?}");
        assert_eq!(input, images * self.input_stride, "input of {self:?}");
    }
}

per_isa! {
    /// `output = weight input + bias` for every image.
    ///
    /// Shapes: `input` `[images, input_stride]`, `weight` `[outputs, inputs]`, `bias` `[outputs]`, `output` `[images, outputs]`.
    pub fn forward(shape: &LinearShape, input: &[f32], weight: &[f32], bias: Option<&[f32]>, output: &mut [f32]) {
        shape.check(input.len(), weight.len(), output.len());
        // Weights outside: those of a thousand classes are larger than a second-level cache and are read once so.
        for first in (0..shape.outputs).step_by(FOUR) {
            let weight = &weight[first * shape.inputs..];
            let images = input.chunks_exact(shape.input_stride).zip(output.chunks_exact_mut(shape.outputs));
            for (input, output) in images {
                let input = &input[..shape.inputs];
                match &mut output[first..] {
                    [a, b, c, d, ..] => [*a, *b, *c, *d] = dots(input, weight),
                    rest => {
                        for (output, weight) in rest.iter_mut().zip(weight.chunks_exact(shape.inputs)) {
                            [*output] = dots(input, weight);
                        }
                    }
                }
            }
        }
        if let Some(bias) = bias {
            for output in output.chunks_exact_mut(shape.outputs) {
                for (output, bias) in output.iter_mut().zip(bias) {
                    *output += bias;
                }
            }
        }
    }
}

per_isa! {
    /// The gradient by the input; padding between the vectors becomes zeros.
    ///
    /// Shapes: as in [`forward`]; `input_gradient` `[images, input_stride]`, overwritten.
    pub fn backward_input(shape: &LinearShape, output_gradient: &[f32], weight: &[f32], input_gradient: &mut [f32]) {
        shape.check(input_gradient.len(), weight.len(), output_gradient.len());
        input_gradient.fill(0.0);
        for first in (0..shape.outputs).step_by(FOUR) {
            let weight = &weight[first * shape.inputs..];
            let images = output_gradient.chunks_exact(shape.outputs).zip(input_gradient.chunks_exact_mut(shape.input_stride));
            for (output, input) in images {
                match &output[first..] {
                    [a, b, c, d, ..] => add_products(&[*a, *b, *c, *d], weight, &mut input[..shape.inputs]),
                    rest => {
                        for (gradient, weight) in rest.iter().zip(weight.chunks_exact(shape.inputs)) {
                            add_products(&[*gradient], weight, &mut input[..shape.inputs]);
                        }
                    }
                }
            }
        }
    }
}

per_isa! {
    /// ADDS the gradients by weight and bias, image by image in index order.
    ///
    /// Shapes: as in [`forward`]; `weight_gradient` `[outputs, inputs]`, `bias_gradient` `[outputs]`.
    pub fn backward_weight(shape: &LinearShape, input: &[f32], output_gradient: &[f32],
                           weight_gradient: &mut [f32], bias_gradient: &mut [f32]) {
        shape.check(input.len(), weight_gradient.len(), output_gradient.len());
        assert_eq!(bias_gradient.len(), shape.outputs, "bias gradient of {shape:?}");
        let rows = weight_gradient.chunks_exact_mut(shape.inputs).zip(bias_gradient.iter_mut());
        for (index, (row, bias)) in rows.enumerate() {
            for (input, output) in input.chunks_exact(shape.input_stride).zip(output_gradient.chunks_exact(shape.outputs)) {
                let gradient = output[index];
                *bias += gradient;
                for (sum, &input) in row.iter_mut().zip(input) {
                    *sum += gradient * input;
                }
            }
        }
    }
}

/// Outputs computed at once: one chain of additions alone would wait for each.
const FOUR: usize = 4;

/// Products of `N` rows of weights with an input, each as sixteen partial sums side by side and then one total: a fixed
/// order that vectorises.
#[inline(always)]
fn dots<const N: usize>(input: &[f32], weights: &[f32]) -> [f32; N] {
    let mut sums = [[0.0_f32; LANES]; N];
    let (parts, rest) = input.as_chunks::<LANES>();
    let length = input.len();
    let weights = &weights[..N * length];
    for (part, input) in parts.iter().enumerate() {
        for (row, sums) in sums.iter_mut().enumerate() {
            let weights = &weights[row * length + part * LANES..][..LANES];
            for lane in 0..LANES {
                sums[lane] += input[lane] * weights[lane];
            }
        }
    }
    let mut totals = [0.0; N];
    for row in 0..N {
        let last = &weights[row * length + parts.len() * LANES..];
        let mut total = 0.0;
        // Plain loops: closures would not inherit the instruction set.
        for (input, weight) in rest.iter().zip(last) {
            total += input * weight;
        }
        let mut sum = 0.0;
        for lane in sums[row] {
            sum += lane;
        }
        totals[row] = sum + total;
    }
    totals
}

/// Adds `N` gradients times their rows of weights, in order.
#[inline(always)]
fn add_products<const N: usize>(gradients: &[f32; N], weights: &[f32], sums: &mut [f32]) {
    let length = sums.len();
    let weights = &weights[..N * length];
    for (index, sum) in sums.iter_mut().enumerate() {
        let mut total = *sum;
        for row in 0..N {
            total += gradients[row] * weights[row * length + index];
        }
        *sum = total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    /// Small integers: every product and sum is exact in f32.
    #[test]
    fn forward_and_gradients_are_exact_on_small_integers() {
        let shape = LinearShape { inputs: 19, input_stride: 32, outputs: 3 };
        let mut input = vec![0.0; 64];
        for image in 0..2 {
            for i in 0..19 {
                input[image * 32 + i] = ((i * 7 + image * 3) % 5) as f32 - 2.0;
            }
        }
        let weight: Vec<f32> = (0..57).map(|i| ((i * 5) % 7) as f32 - 3.0).collect();
        let gradient = [1.0, -2.0, 3.0, 0.0, 4.0, -1.0];
        for isa in Isa::available() {
            let mut output = [0.0; 6];
            forward(isa, &shape, &input, &weight, Some(&[10.0, 20.0, 30.0]), &mut output);
            let mut dx = vec![9.0; 64];
            backward_input(isa, &shape, &gradient, &weight, &mut dx);
            let (mut dw, mut db) = (vec![1.0; 57], vec![1.0; 3]);
            backward_weight(isa, &shape, &input, &gradient, &mut dw, &mut db);
            for n in 0..2 {
                for o in 0..3 {
                    let product: f32 =
                        (0..19).map(|i| input[n * 32 + i] * weight[o * 19 + i]).sum();
                    assert_eq!(output[n * 3 + o], product + 10.0 * (o + 1) as f32);
                }
                for i in 0..32 {
                    let expected: f32 = if i < 19 {
                        (0..3).map(|o| gradient[n * 3 + o] * weight[o * 19 + i]).sum()
                    } else {
                        0.0
                    };
                    assert_eq!(dx[n * 32 + i], expected);
                }
            }
            for o in 0..3 {
                assert_eq!(db[o], 1.0 + gradient[o] + gradient[3 + o]);
                for i in 0..19 {
                    let expected = gradient[o] * input[i] + gradient[3 + o] * input[32 + i];
                    assert_eq!(dw[o * 19 + i], 1.0 + expected);
                }
            }
        }
    }
}
