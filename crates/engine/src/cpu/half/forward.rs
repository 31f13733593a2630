//! The forward of one tile of images.

use super::frozen::HalfFrozen;
use super::plan::Plan;
use super::stages::{Kind, Stage, StageKind};
use super::weights::StepWeights;
use super::wide::Wide;
use super::workplace::Workplace;
use crate::observe::{Direction, StepObserver};
use kernels::Relu;
use kernels::bf16::ImageCells;
use kernels::half::{
    Addend, Convolve, Destination, Epilogue, Firsts, Pool, Source, Weights, convolve, to_strip,
};
use network::Activation;

/// What a forward leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// Logits alone.
    Logits,
    /// Masks too.
    Masks,
}

/// One tile on its way.
pub(crate) struct Tile<'a> {
    pub frozen: &'a HalfFrozen,
    pub plan: &'a Plan,
    pub count: usize,
}

impl Tile<'_> {
    /// Runs all steps; the logits are then in `wide`.
    pub fn forward(
        &self,
        pixels: &[f32],
        place: &mut Workplace,
        wide: &mut Wide<'_>,
        leaves: Leaves,
        observer: &mut dyn StepObserver,
    ) {
        self.load(pixels, place, wide);
        for stage in &self.plan.stages {
            match stage.kind {
                StageKind::Wide => {
                    observer.before(Direction::Forward, stage.first);
                    wide.forward(self, stage.first, place);
                    observer.after(Direction::Forward, stage.first);
                }
                StageKind::Cells => {
                    for first in (0..self.count).step_by(stage.images) {
                        self.run(stage, first, place, leaves, observer);
                    }
                }
            }
        }
    }

    fn load(&self, pixels: &[f32], place: &mut Workplace, wide: &mut Wide<'_>) {
        let program = &self.frozen.program;
        match self.plan.places[program.input].value {
            Source::Strip(layout) => {
                let slot = self.plan.slots[program.input].expect("the images have a buffer");
                let channels = layout.channels;
                let (scale, shift) = match &program.input_scale {
                    Some((scale, shift)) => (scale.clone(), shift.clone()),
                    None => (vec![1.0; channels], vec![0.0; channels]),
                };
                to_strip(&layout, pixels, &scale, &shift, &mut place.buffers[slot]);
            }
            Source::Cells(_) => {
                wide.load(self, pixels);
                wide.give_to_cells(self, program.input, place);
            }
        }
    }

    /// One stage's steps for its next images.
    fn run(
        &self,
        stage: &Stage,
        first: usize,
        place: &mut Workplace,
        leaves: Leaves,
        observer: &mut dyn StepObserver,
    ) {
        let images = stage.images.min(self.count - first);
        for index in stage.first..stage.end {
            observer.before(Direction::Forward, index);
            self.step(stage, index, first, images, place, leaves);
            observer.after(Direction::Forward, index);
        }
    }

    /// The first of these images in a value's buffer.
    fn first(&self, value: usize, first: usize) -> usize {
        self.plan.places[value].scope.first(first)
    }

    /// One of these images of a value in cells, whose numbers are `values`.
    pub(super) fn image<T>(
        &self,
        value: usize,
        first: usize,
        image: usize,
        values: T,
    ) -> ImageCells<T> {
        let layout = self.plan.places[value].cells();
        ImageCells { layout, image: self.first(value, first) + image - first, values }
    }

    fn pool(&self, pool: &Pool, index: usize, first: usize, images: usize, place: &mut Workplace) {
        let step = &self.frozen.program.steps[index];
        let slot = |value: usize| self.plan.slot(value);
        let mut target = std::mem::take(&mut place.buffers[slot(step.output)]);
        let firsts = Firsts {
            read: self.first(step.input, first),
            written: self.first(step.output, first),
            kept: first,
        };
        let input = &place.buffers[slot(step.input)];
        pool.forward(
            self.frozen.isa,
            images,
            firsts,
            input,
            &mut target,
            &mut place.winners[index],
        );
        place.buffers[slot(step.output)] = target;
    }

    fn step(
        &self,
        stage: &Stage,
        index: usize,
        first: usize,
        images: usize,
        place: &mut Workplace,
        leaves: Leaves,
    ) {
        let step = &self.frozen.program.steps[index];
        if let Some(pool) = &self.plan.pools[index] {
            self.pool(pool, index, first, images, place);
            return;
        }
        match self.plan.kinds[index] {
            Kind::Norm => return self.norm(index, first, images, place, leaves),
            Kind::Smooth => return self.activate(index, first, images, place),
            _ => {}
        }
        let table = self.plan.forward[index].as_ref().expect("a step over cells has a table");
        let (weights, bias) = match &self.frozen.weights[index] {
            StepWeights::Convolution { forward, bias, .. } => (Weights::Packed(forward), bias),
            StepWeights::Pointwise { factors, shift } => (Weights::Channels(factors), shift),
            StepWeights::None => panic!("a step over cells has weights"),
        };
        let slot = |value: usize| self.plan.slot(value);
        let to = slot(step.output);
        let mut target = std::mem::take(&mut place.buffers[to]);
        let mut mask = std::mem::take(&mut place.masks[step.output]);
        let relu = step.activation == Some(Activation::Relu);
        let add = step.add.unwrap_or(step.output);
        let job = Convolve {
            table,
            weights,
            bias: Some(bias),
            images,
            first: self.first(step.input, first),
            firsts: [self.first(step.output, first), self.first(add, first), first],
            source: &place.buffers[slot(step.input)],
            ahead: self.ahead(Direction::Forward, stage, index, first, &place.buffers),
        };
        let destination = Destination::Cells {
            target: &mut target,
            add: match step.add {
                None => Addend::Nothing,
                Some(add) if slot(add) == to => Addend::Target,
                Some(add) => Addend::Other(&place.buffers[slot(add)]),
            },
            epilogue: Epilogue::Activate {
                relu: if relu { Relu::Yes } else { Relu::No },
                mask: (relu && leaves == Leaves::Masks).then_some(&mut mask[..]),
            },
        };
        convolve(self.frozen.isa, &job, destination, &mut place.workspace);
        place.buffers[to] = target;
        place.masks[step.output] = mask;
    }
}
