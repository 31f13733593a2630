//! Smooth activations over cells, image by image. Their slope is that of what they were applied to, which is kept.

use super::super::chunk::function;
use super::forward::Tile;
use super::workplace::Workplace;
use kernels::activation::Function;
use kernels::bf16::ImageCells;
use kernels::bf16::activation::{Summands, backward, forward};
use kernels::half::{CellLayout, Lines};

/// A step's function, and where what it is applied to lies.
struct Step {
    function: Function,
    summands: [Option<(usize, CellLayout)>; 2],
}

impl Step {
    /// One image of what the function is applied to; values that are kept lie there for a whole tile.
    fn summands<'a>(&'a self, buffers: &'a [Lines<u16>], image: usize) -> Summands<'a> {
        let of = |(slot, layout): &'a (usize, CellLayout)| ImageCells {
            layout,
            image,
            values: &buffers[*slot][..],
        };
        let [input, add] = &self.summands;
        Summands { input: input.as_ref().map(of).expect("an input"), add: add.as_ref().map(of) }
    }
}

impl Tile<'_> {
    fn smooth(&self, index: usize) -> Step {
        let step = &self.frozen.program.steps[index];
        let place = |value: usize| {
            let slot = self.plan.slots[value].expect("a value in cells has a buffer");
            (slot, self.plan.places[value].cells())
        };
        Step {
            function: function(step.activation.expect("the step is an activation")),
            summands: [Some(place(step.input)), step.add.map(place)],
        }
    }

    /// `activation(input (+ add))` of these images.
    pub(super) fn activate(
        &self,
        index: usize,
        first: usize,
        images: usize,
        place: &mut Workplace,
    ) {
        let (step, output) = (self.smooth(index), self.frozen.program.steps[index].output);
        let slot = self.plan.slots[output].expect("a value in cells has a buffer");
        let layout = &self.plan.places[output].cells();
        let mut target = std::mem::take(&mut place.buffers[slot]);
        for image in first..first + images {
            let written = self.first(output, first) + image - first;
            let to = ImageCells { layout, image: written, values: &mut target[..] };
            let summands = step.summands(&place.buffers, image);
            forward(self.frozen.isa, step.function, summands, to, &mut place.rows);
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
        let (step, output) = (self.smooth(index), self.frozen.program.steps[index].output);
        let layout = &self.plan.places[output].gradient;
        let mut gradient = std::mem::take(&mut place.buffers[at]);
        for image in first..first + images {
            let own = self.gradient(output, first) + image - first;
            let values = ImageCells { layout, image: own, values: &mut gradient[..] };
            let summands = step.summands(&place.buffers, image);
            backward(self.frozen.isa, step.function, summands, values, &mut place.rows);
        }
        place.buffers[at] = gradient;
    }
}
