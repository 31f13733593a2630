//! Group norms over cells, image by image: the statistics of one image's values, and what they were for its way back.

use super::super::normalisation::{Coefficients, GroupLayer};
use super::forward::{Leaves, Tile};
use super::gradients::To;
use super::workplace::Workplace;
use kernels::Relu;
use kernels::bf16::ImageCells;
use kernels::bf16::norm::{self, ApplyImage, BackwardImage};
use kernels::half::Adds;
use network::Activation;

impl Tile<'_> {
    fn layer(&self, index: usize) -> GroupLayer<'_> {
        let program = &self.frozen.program;
        let layer = GroupLayer::of(&self.frozen.network, program, &program.steps[index]);
        layer.expect("the step is a group norm")
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
        let slot = |value: usize| self.plan.slots[value].expect("a value in cells has a buffer");
        let layouts = |value: usize| self.plan.places[value].cells();
        let (read, written) = (layouts(step.input), layouts(step.output));
        let added = step.add.map(layouts);
        let bits = self.plan.places[step.output].gradient;
        let stride = program.values[step.input].stride;
        let relu = if step.activation == Some(Activation::Relu) { Relu::Yes } else { Relu::No };
        let leaves_mask = relu == Relu::Yes && leaves == Leaves::Masks;
        let (mut mean, mut squares) = (vec![0.0; stride], vec![0.0; stride]);
        let mut target = std::mem::take(&mut place.buffers[slot(step.output)]);
        let mut mask = std::mem::take(&mut place.masks[step.output]);
        let mut known = std::mem::take(&mut place.norms[index]);
        known.truncate(first);
        for image in first..first + images {
            let within = image - first;
            let input = ImageCells {
                layout: &read,
                image: self.first(step.input, first) + within,
                values: &place.buffers[slot(step.input)][..],
            };
            norm::moments(isa, &read, input.values, input.image, &mut mean, &mut squares);
            let coefficients = layer.coefficients(&mean, &squares);
            norm::apply_image(
                isa,
                ApplyImage {
                    input,
                    affine: coefficients.affine(),
                    add: step.add.zip(added.as_ref()).map(|(add, layout)| ImageCells {
                        layout,
                        image: self.first(add, first) + within,
                        values: &place.buffers[slot(add)][..],
                    }),
                    relu,
                    mask: leaves_mask.then_some(ImageCells {
                        layout: &bits,
                        image,
                        values: &mut mask[..],
                    }),
                    output: ImageCells {
                        layout: &written,
                        image: self.first(step.output, first) + within,
                        values: &mut target[..],
                    },
                },
            );
            known.push(coefficients);
        }
        place.buffers[slot(step.output)] = target;
        place.masks[step.output] = mask;
        place.norms[index] = known;
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
        let places = &self.plan.places;
        let stride = program.values[step.input].stride;
        let input = self.plan.slots[step.input].expect("a value in cells has a buffer");
        let slot = to.slot.expect("a gradient in cells has a buffer");
        let (mut sums, mut products) = (vec![0.0; stride], vec![0.0; stride]);
        let mut target = std::mem::take(&mut place.buffers[slot]);
        for image in first..first + images {
            let within = image - first;
            let input = ImageCells {
                layout: &places[step.input].cells(),
                image: self.first(step.input, first) + within,
                values: &place.buffers[input][..],
            };
            let output_gradient = ImageCells {
                layout: &places[step.output].gradient,
                image: self.gradient(step.output, first) + within,
                values: &place.buffers[from][..],
            };
            let forward: &Coefficients = &place.norms[index][image];
            let Coefficients { mean, inverse, .. } = forward;
            norm::backward_sums(
                isa,
                input,
                output_gradient,
                mean,
                inverse,
                &mut sums,
                &mut products,
            );
            let layout = &places[to.value].gradient;
            norm::backward_image(
                isa,
                &layer.backward(forward, &sums, &products),
                BackwardImage {
                    input,
                    output_gradient,
                    adds: if to.adds { Adds::ToWhatIsThere } else { Adds::Nothing },
                    keeps: to.keeps.then_some(ImageCells {
                        layout,
                        image,
                        values: &place.masks[to.value][..],
                    }),
                    input_gradient: ImageCells {
                        layout,
                        image: self.gradient(to.value, first) + within,
                        values: &mut target[..],
                    },
                },
            );
        }
        place.buffers[slot] = target;
    }
}
