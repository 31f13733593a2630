//! The backward of one tile of images: from the logits' gradient to the images'.

use super::forward::Tile;
use super::gradients::{Backward, Factors, To};
use super::stages::{Stage, StageKind};
use super::weights::StepWeights;
use super::wide::Wide;
use super::workplace::Workplace;
use crate::observe::{Direction, StepObserver};
use kernels::bf16::ImageCells;
use kernels::half::{
    Addend, Adds, Convolve, Destination, Epilogue, Firsts, Table, Weights, convolve, keep,
};

/// A step over a stage's next images.
#[derive(Clone, Copy)]
struct Part<'a> {
    stage: &'a Stage,
    index: usize,
    first: usize,
    images: usize,
}

impl Tile<'_> {
    /// Runs all steps backward; the images' gradient is then in the lanes, a buffer or `wide`.
    pub fn backward(
        &self,
        place: &mut Workplace,
        wide: &mut Wide<'_>,
        observer: &mut dyn StepObserver,
    ) {
        for stage in self.plan.stages.iter().rev() {
            match stage.kind {
                StageKind::Wide => {
                    observer.before(Direction::Backward, stage.first);
                    for action in &self.plan.backward[stage.first] {
                        let Backward::Wide { from, to } = action else {
                            panic!("a wide step goes back in f32, not by {action:?}");
                        };
                        wide.backward(self, stage.first, *from, to, place);
                    }
                    observer.after(Direction::Backward, stage.first);
                }
                StageKind::Cells => {
                    for first in (0..self.count).step_by(stage.images) {
                        let images = stage.images.min(self.count - first);
                        for index in (stage.first..stage.end).rev() {
                            observer.before(Direction::Backward, index);
                            self.back(stage, index, first, images, place);
                            observer.after(Direction::Backward, index);
                        }
                    }
                }
            }
        }
    }

    fn back(
        &self,
        stage: &Stage,
        index: usize,
        first: usize,
        images: usize,
        place: &mut Workplace,
    ) {
        let output = self.frozen.program.steps[index].output;
        for action in &self.plan.backward[index] {
            match action {
                Backward::Convolution { tables, from, to } => {
                    let StepWeights::Convolution { backward, .. } = &self.frozen.weights[index]
                    else {
                        panic!("a convolution has weights");
                    };
                    for (table, packed) in tables.iter().zip(backward) {
                        let Some(table) = table else { continue };
                        let weights = Weights::Packed(packed);
                        let part = Part { stage, index, first, images };
                        self.pass(table, weights, *from, *to, part, place);
                    }
                }
                Backward::Pointwise { table, factors, from, to } => {
                    let ones;
                    let factors = match (factors, &self.frozen.weights[index]) {
                        (Factors::OfStep, StepWeights::Pointwise { factors, .. }) => factors,
                        _ => {
                            let channels = self.plan.places[output].gradient.blocks();
                            ones = vec![1.0; channels * kernels::half::CELL];
                            &ones
                        }
                    };
                    let part = Part { stage, index, first, images };
                    self.pass(table, Weights::Channels(factors), *from, *to, part, place);
                }
                Backward::Keep { value, slot } => {
                    let layout = self.plan.places[*value].gradient;
                    let cells = |images: usize| layout.groups(images) * layout.group_cells();
                    let own = cells(self.gradient(*value, first));
                    let bits = cells(first);
                    let count = cells(images);
                    let mask = &place.masks[*value][bits..bits + count];
                    let numbers = own * kernels::half::CELL..(own + count) * kernels::half::CELL;
                    keep(self.frozen.isa, mask, &mut place.buffers[*slot][numbers]);
                }
                Backward::Pool { from, to } => {
                    let pool = self.plan.pools[index].as_ref().expect("a pool has its layouts");
                    let slot = to.slot.expect("a gradient in cells has a buffer");
                    let mut target = std::mem::take(&mut place.buffers[slot]);
                    let firsts = Firsts {
                        read: self.gradient(output, first),
                        written: self.gradient(to.value, first),
                        kept: first,
                    };
                    pool.backward(
                        self.frozen.isa,
                        images,
                        firsts,
                        &place.buffers[*from],
                        &place.winners[index],
                        if to.adds { Adds::ToWhatIsThere } else { Adds::Nothing },
                        to.keeps.then_some(&place.masks[to.value][..]),
                        &mut target,
                    );
                    place.buffers[slot] = target;
                }
                Backward::Smooth { at } => {
                    self.back_through_activation(index, first, images, *at, place);
                }
                Backward::Norm { from, to } => {
                    self.back_through_norm(index, first, images, *from, *to, place);
                }
                Backward::Wide { .. } => panic!("a step over cells goes back over cells"),
            }
        }
    }

    /// The first of these images in the buffer of a value's gradient.
    fn gradient(&self, value: usize, first: usize) -> usize {
        self.plan.gradient_scopes[value].first(first)
    }

    /// One of these images of a value's gradient, whose numbers are `values`.
    pub(super) fn gradient_image<T>(
        &self,
        value: usize,
        first: usize,
        image: usize,
        values: T,
    ) -> ImageCells<T> {
        let layout = self.plan.places[value].gradient;
        ImageCells { layout, image: self.gradient(value, first) + image - first, values }
    }

    fn pass(
        &self,
        table: &Table,
        weights: Weights<'_>,
        from: usize,
        to: To,
        Part { stage, index, first, images }: Part<'_>,
        place: &mut Workplace,
    ) {
        let own = self.gradient(to.value, first);
        let output = self.frozen.program.steps[index].output;
        let Workplace { buffers, lanes, masks, workspace, .. } = place;
        let mut target = to.slot.map(|slot| std::mem::take(&mut buffers[slot]));
        let job = Convolve {
            table,
            weights,
            bias: None,
            images,
            first: self.gradient(output, first),
            firsts: [own, own, first],
            source: &buffers[from],
            ahead: self.ahead(Direction::Backward, stage, index, first, buffers),
        };
        let destination = match &mut target {
            None => Destination::Lanes(lanes),
            Some(target) => Destination::Cells {
                target,
                add: if to.adds { Addend::Target } else { Addend::Nothing },
                epilogue: Epilogue::Keep { mask: to.keeps.then_some(&masks[to.value][..]) },
            },
        };
        convolve(self.frozen.isa, &job, destination, workspace);
        if let Some((slot, target)) = to.slot.zip(target) {
            buffers[slot] = target;
        }
    }
}
