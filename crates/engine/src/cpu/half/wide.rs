//! Steps that have no kernel over cells: averages, the classifier, everything on maps of one pixel. They run in f32 by the
//! chunks of the f32 engine, all images of the tile at once; what other steps read or write of theirs is converted.

use super::super::backward::{Backward, Reverse};
use super::super::border;
use super::super::buffers::BufferPool;
use super::super::chunk::{Chunk, Context, Keep};
use super::super::lower::{Operation, Program};
use super::super::schedule::{Weighted, wanted};
use super::super::segments::Kept;
use super::super::weights::{Direction, Weights};
use super::forward::Tile;
use super::gradients::To;
use super::plan::Plan;
use super::stages::Kind;
use super::workplace::Workplace;
use crate::{Logits, Wants};
use kernels::convolution::Scratch;
use kernels::half::{Adds, from_cells, gradient_to_cells, mask_of_cells, to_cells};
use network::{Network, Statistics};
use std::collections::HashMap;

/// What the f32 steps read, prepared once a freeze.
#[derive(Debug)]
pub(crate) struct WideSteps {
    kept: Kept,
    readers: Vec<Option<(usize, usize)>>,
    /// Of steps with packed weights or coefficients: forward and backward.
    weights: HashMap<usize, [Weights; 2]>,
    none: Weights,
}

impl WideSteps {
    pub fn new(network: &Network, program: &Program, plan: &Plan) -> Self {
        let mut kept = Kept::all(program, Weighted::No);
        for (value, place) in plan.places.iter().enumerate() {
            // What lies in cells has its mask there.
            kept.masks[value] &= !place.forms.cells;
        }
        let packs = |index: &usize| {
            let operation = &program.steps[*index].operation;
            let has = matches!(operation, Operation::Convolution { .. } | Operation::Scale { .. });
            has && plan.kinds[*index] == Kind::Wide
        };
        let weights = (0..program.steps.len()).filter(packs).map(|index| {
            let of = |direction| Weights::of(network, program, index..index + 1, direction);
            (index, [of(Direction::Forward), of(Direction::BackwardData)])
        });
        Self {
            kept,
            readers: program.readers(),
            weights: weights.collect(),
            none: Weights::of(network, program, 0..0, Direction::Forward),
        }
    }
}

/// The f32 part of one tile.
pub(crate) struct Wide<'a> {
    pub chunk: Chunk<'static>,
    pub reverse: Reverse,
    pub buffers: &'a BufferPool,
    pub scratch: &'a mut Scratch,
}

impl<'a> Wide<'a> {
    pub fn new(tile: &Tile<'_>, buffers: &'a BufferPool, scratch: &'a mut Scratch) -> Self {
        let chunk = Chunk::new(&tile.frozen.program, 0, tile.count);
        Self { chunk, reverse: Reverse::default(), buffers, scratch }
    }

    /// Reads the images in f32.
    pub fn load(&mut self, tile: &Tile<'_>, pixels: &[f32]) {
        let program = &tile.frozen.program;
        let length = program.values[program.input].len();
        let mut buffer = self.buffers.take(tile.plan.images * length);
        border::load_images(program, pixels, &mut buffer);
        self.chunk.values[program.input] = buffer;
    }

    /// Rounds a value into its cells.
    pub fn give_to_cells(&mut self, tile: &Tile<'_>, value: usize, place: &mut Workplace) {
        let program = &tile.frozen.program;
        let own = &tile.plan.places[value];
        let layout = own.cells();
        let slot = tile.plan.slot(value);
        let rows = self.chunk.value(program, value);
        let cells = &mut place.buffers[slot];
        to_cells(tile.frozen.isa, &layout, tile.count, program.values[value].stride, rows, cells);
        if tile.plan.masks[value].is_some() {
            let mask = &mut place.masks[value];
            mask_of_cells(tile.frozen.isa, &layout, tile.count, cells, &own.gradient, mask);
        }
    }

    fn take_from_cells(&mut self, tile: &Tile<'_>, value: usize, place: &Workplace) {
        let layout = tile.plan.places[value].cells();
        let slot = tile.plan.slot(value);
        let own = tile.frozen.program.values[value];
        let mut buffer = self.buffers.take(tile.plan.images * own.len());
        let rows = &mut buffer[..tile.count * own.len()];
        from_cells(tile.frozen.isa, &layout, tile.count, own.stride, &place.buffers[slot], rows);
        self.chunk.values[value] = buffer;
    }

    /// Runs one step for all images.
    pub fn forward(&mut self, tile: &Tile<'_>, index: usize, place: &mut Workplace) {
        let step = &tile.frozen.program.steps[index];
        for read in step.reads() {
            if tile.plan.places[read].forms.cells && self.chunk.values[read].is_empty() {
                self.take_from_cells(tile, read, place);
            }
        }
        let keep = Keep::ForBackward(&tile.frozen.wide.kept);
        let context = context(tile, index, Direction::Forward, self.buffers, keep);
        self.chunk.forward(&context, index, tile.plan.images, self.scratch);
        if tile.plan.places[step.output].forms.cells {
            self.give_to_cells(tile, step.output, place);
        }
    }

    /// Takes the gradient by the logits.
    pub fn begin(&mut self, tile: &Tile<'_>, logit_gradient: &Logits) {
        let index = tile.frozen.program.steps.len() - 1;
        let backward = backward(tile, index, self.buffers);
        self.reverse = backward.start(&self.chunk, logit_gradient);
    }

    /// One step back for all images.
    pub fn backward(
        &mut self,
        tile: &Tile<'_>,
        index: usize,
        from: Option<usize>,
        to: &[To],
        place: &mut Workplace,
    ) {
        let program = &tile.frozen.program;
        let output = program.steps[index].output;
        let padded = |value: usize| kernels::padded(program.values[value].shape.channels);
        if let Some(slot) = from {
            let length = program.values[output].gradient_len();
            let mut buffer = self.buffers.take(tile.plan.images * length);
            let rows = &mut buffer[..tile.count * length];
            let layout = &tile.plan.places[output].gradient;
            from_cells(
                tile.frozen.isa,
                layout,
                tile.count,
                padded(output),
                &place.buffers[slot],
                rows,
            );
            self.reverse.gradients[output] = buffer;
        }
        let backward = backward(tile, index, self.buffers);
        backward.reduce(&self.chunk, &mut self.reverse, index);
        backward.apply(&self.chunk, &mut self.reverse, index, self.scratch);
        for to in to {
            let rows = std::mem::take(&mut self.reverse.gradients[to.value]);
            let slot = to.slot.expect("a gradient in cells has a buffer");
            gradient_to_cells(
                tile.frozen.isa,
                &tile.plan.places[to.value].gradient,
                tile.count,
                padded(to.value),
                &rows,
                if to.adds { Adds::ToWhatIsThere } else { Adds::Nothing },
                to.keeps.then_some(&place.masks[to.value][..]),
                &mut place.buffers[slot],
            );
            self.buffers.give(rows);
        }
    }

    /// Returns all buffers.
    pub fn free(self) {
        self.chunk.free(self.buffers);
        self.reverse.gradients.into_iter().for_each(|rows| self.buffers.give(rows));
    }
}

fn context<'c>(
    tile: &'c Tile<'_>,
    index: usize,
    direction: Direction,
    buffers: &'c BufferPool,
    keep: Keep<'c>,
) -> Context<'c> {
    let wide = &tile.frozen.wide;
    let place = usize::from(direction != Direction::Forward);
    Context {
        half: None,
        isa: tile.frozen.isa,
        network: &tile.frozen.network,
        program: &tile.frozen.program,
        readers: &wide.readers,
        weights: wide.weights.get(&index).map_or(&wide.none, |both| &both[place]),
        buffers,
        domains: &[],
        batch: &[],
        keep,
    }
}

fn backward<'c>(tile: &'c Tile<'_>, index: usize, buffers: &'c BufferPool) -> Backward<'c> {
    let program = &tile.frozen.program;
    Backward {
        context: context(tile, index, Direction::BackwardData, buffers, Keep::Nothing),
        chunk_images: tile.plan.images,
        wanted: wanted(program, Wants::Input),
        parameters: false,
        statistics: Statistics::Running,
        norms: vec![Vec::new(); program.steps.len()],
    }
}
