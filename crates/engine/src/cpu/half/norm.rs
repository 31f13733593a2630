//! Group norms over cells, image by image: the statistics of one image's values, and what they were for its way back.

use super::super::normalisation::{Coefficients, GroupLayer};
use super::forward::{Leaves, Tile};
use super::gradients::To;
use super::workplace::Workplace;
use kernels::Relu;
use kernels::bf16::image_norm::{Apply, Backward, apply, backward};
use kernels::bf16::{ImageCells, norm};
use kernels::half::Adds;
use network::Activation;

impl Tile<'_> {
    fn layer(&self, index: usize) -> GroupLayer<'_> {
        let program = &self.frozen.program;
        let layer = GroupLayer::of(&self.frozen.network, program, &program.steps[index]);
        layer.expect("the step is a group norm")
    }

    /// One image of a value's mask, which lies as its gradient does, for a whole tile.
    fn mask_image<T>(&self, value: usize, image: usize, values: T) -> ImageCells<T> {
        ImageCells { layout: self.plan.places[value].gradient, image, values }
    }

    /// `relu(norm(input) (+ add))` of these images.
    pub(super) fn norm(
        &self,
        index: usize,
        first: usize,
        images: usize,
        place: &mut Workplace,
        leaves: Leaves,
    ) {
        let program = &self.frozen.program;
        let (isa, layer, step) = (self.frozen.isa, self.layer(index), &program.steps[index]);
        let slot = |value: usize| self.plan.slot(value);
        let stride = program.values[step.input].stride;
        let relu = if step.activation == Some(Activation::Relu) { Relu::Yes } else { Relu::No };
        let leaves_mask = relu == Relu::Yes && leaves == Leaves::Masks;
        let (mut mean, mut squares) = (vec![0.0; stride], vec![0.0; stride]);
        let mut target = std::mem::take(&mut place.buffers[slot(step.output)]);
        let mut mask = std::mem::take(&mut place.masks[step.output]);
        place.norms[index].truncate(first);
        for image in first..first + images {
            let of = |value| self.image(value, first, image, &place.buffers[slot(value)][..]);
            let input = of(step.input);
            norm::moments(isa, input, &mut mean, &mut squares);
            let coefficients = layer.coefficients(&mean, &squares);
            let job = Apply {
                input,
                affine: coefficients.affine(),
                add: step.add.map(of),
                relu,
                mask: leaves_mask.then_some(self.mask_image(step.output, image, &mut mask[..])),
                output: self.image(step.output, first, image, &mut target[..]),
            };
            apply(isa, job);
            place.norms[index].push(coefficients);
        }
        place.buffers[slot(step.output)] = target;
        place.masks[step.output] = mask;
    }

    /// The gradient by what was normalised, of these images.
    pub(super) fn back_through_norm(
        &self,
        index: usize,
        first: usize,
        images: usize,
        from: usize,
        to: To,
        place: &mut Workplace,
    ) {
        let program = &self.frozen.program;
        let (isa, layer, step) = (self.frozen.isa, self.layer(index), &program.steps[index]);
        let stride = program.values[step.input].stride;
        let normalised = self.plan.slot(step.input);
        let slot = to.slot.expect("a gradient in cells has a buffer");
        let (mut sums, mut products) = (vec![0.0; stride], vec![0.0; stride]);
        let mut target = std::mem::take(&mut place.buffers[slot]);
        for image in first..first + images {
            let input = self.image(step.input, first, image, &place.buffers[normalised][..]);
            let output_gradient =
                self.gradient_image(step.output, first, image, &place.buffers[from][..]);
            let forward = &place.norms[index][image];
            let Coefficients { mean, inverse, .. } = forward;
            let (dy, by_xhat) = (&mut sums, &mut products);
            norm::backward_sums(isa, input, output_gradient, mean, inverse, dy, by_xhat);
            let mask = self.mask_image(to.value, image, &place.masks[to.value][..]);
            let job = Backward {
                input,
                output_gradient,
                adds: if to.adds { Adds::ToWhatIsThere } else { Adds::Nothing },
                keeps: to.keeps.then_some(mask),
                input_gradient: self.gradient_image(to.value, first, image, &mut target[..]),
            };
            backward(isa, &layer.backward(forward, &sums, &products), job);
        }
        place.buffers[slot] = target;
    }
}
