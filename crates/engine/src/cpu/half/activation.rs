//! Smooth activations over cells, image by image. Their slope is that of what they were applied to, which is kept.

use super::super::chunk::function;
use super::forward::Tile;
use super::workplace::Workplace;
use kernels::activation::Function;
use kernels::bf16::activation::{Summands, backward, forward};
use kernels::half::Lines;

impl Tile<'_> {
    fn function(&self, index: usize) -> Function {
        let step = &self.frozen.program.steps[index];
        function(step.activation.expect("the step is an activation"))
    }

    /// What the step's function is applied to.
    fn summands<'a>(
        &self,
        index: usize,
        first: usize,
        image: usize,
        buffers: &'a [Lines<u16>],
    ) -> Summands<'a> {
        let step = &self.frozen.program.steps[index];
        let of =
            |value: usize| self.image(value, first, image, &buffers[self.plan.slot(value)][..]);
        Summands { input: of(step.input), add: step.add.map(of) }
    }

    /// `activation(input (+ add))` of these images.
    pub(super) fn activate(
        &self,
        index: usize,
        first: usize,
        images: usize,
        place: &mut Workplace,
    ) {
        let (function, output) = (self.function(index), self.frozen.program.steps[index].output);
        let slot = self.plan.slot(output);
        let mut target = std::mem::take(&mut place.buffers[slot]);
        for image in first..first + images {
            let summands = self.summands(index, first, image, &place.buffers);
            let to = self.image(output, first, image, &mut target[..]);
            forward(self.frozen.isa, function, summands, to, &mut place.rows);
        }
        place.buffers[slot] = target;
    }

    /// Multiplies the gradient in the buffer `at` by the activation's slope.
    pub(super) fn back_through_activation(
        &self,
        index: usize,
        first: usize,
        images: usize,
        at: usize,
        place: &mut Workplace,
    ) {
        let (function, output) = (self.function(index), self.frozen.program.steps[index].output);
        let mut gradient = std::mem::take(&mut place.buffers[at]);
        for image in first..first + images {
            let summands = self.summands(index, first, image, &place.buffers);
            let values = self.gradient_image(output, first, image, &mut gradient[..]);
            backward(self.frozen.isa, function, summands, values, &mut place.rows);
        }
        place.buffers[at] = gradient;
    }
}
