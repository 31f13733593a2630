//! A chunk backward through one step in half precision.

use super::super::backward::{Backward, Reverse};
use super::super::chunk::{Chunk, Run};
use super::super::lower::{Operation, Step};
use super::super::normalisation::Coefficients;
use super::forward::is_fast;
use super::{HalfProgram, convolution};
use kernels::bf16::{ImageCells, add, add_spread, keep, norm, spread_average};
use kernels::half::{CellLayout, Lines, from_cells, to_cells};
use kernels::{LANES, Relu, activation};
use network::Statistics;

/// A gradient on its way to a value.
#[derive(Debug)]
pub(crate) enum Carried {
    /// Channels last.
    Single(Vec<f32>),
    /// As the value lies.
    Cells(Lines<u16>),
}

impl Reverse {
    fn take_gradient(&mut self, half: &HalfProgram, value: usize) -> Carried {
        match half.layout(value) {
            Some(_) => Carried::Cells(std::mem::take(&mut self.cells[value])),
            None => Carried::Single(std::mem::take(&mut self.gradients[value])),
        }
    }
}

impl Backward<'_> {
    /// As [`Backward::reduce`].
    pub(in super::super) fn reduce_half(
        &self,
        half: &HalfProgram,
        chunk: &Chunk<'_>,
        reverse: &mut Reverse,
        index: usize,
    ) {
        let step = &self.context.program.steps[index];
        if !self.wanted[step.output] {
            return;
        }
        let needed = match &step.operation {
            Operation::Batch(_) => self.parameters || self.statistics == Statistics::Batch,
            Operation::Group { .. } => true,
            Operation::Convolution { bias, .. } => self.parameters && bias.is_some(),
            _ => false,
        };
        match half.layout(step.output) {
            Some(layout) if is_fast(half, step) => {
                reverse.sums[index] = match needed {
                    true => self.sums_of_cells(layout, chunk, &reverse.cells[step.output], index),
                    false => Vec::new(),
                };
            }
            None if half.layout(step.input).is_none() => self.reduce(chunk, reverse, index),
            _ => {
                let over = self.copies(half, chunk, step);
                let dy = reverse.take_gradient(half, step.output);
                reverse.gradients[step.output] = self.widen(half, chunk, step.output, dy);
                self.reduce(&over, reverse, index);
                let dy = std::mem::take(&mut reverse.gradients[step.output]);
                match self.fit(half, chunk, step.output, Carried::Single(dy)) {
                    Carried::Single(dy) => reverse.gradients[step.output] = dy,
                    Carried::Cells(dy) => reverse.cells[step.output] = dy,
                }
                over.free(self.context.buffers);
            }
        }
    }

    /// Per image the sums of `dy` and of `dy * xhat`; of a convolution with an offset only the first.
    fn sums_of_cells(
        &self,
        layout: &CellLayout,
        chunk: &Chunk<'_>,
        dy: &[u16],
        index: usize,
    ) -> Vec<f64> {
        let step = &self.context.program.steps[index];
        let stride = self.context.program.values[step.output].stride;
        let isa = self.context.isa;
        let mut sums = vec![0.0; chunk.count * 2 * stride];
        let mut images = sums.chunks_exact_mut(2 * stride);
        if let Operation::Convolution { .. } = step.operation {
            let pixels = (layout.height * layout.width) as f64;
            for (image, sums) in images.enumerate() {
                let (sum, rest) = sums.split_at_mut(stride);
                let image = ImageCells { layout: *layout, image, values: dy };
                norm::moments(isa, image, sum, rest);
                sum.iter_mut().for_each(|mean| *mean *= pixels);
                rest.fill(0.0);
            }
            return sums;
        }
        let x = chunk.cells(step.input);
        for Run { first, end, coefficients } in chunk.runs(&self.context, index) {
            let Coefficients { mean, inverse, .. } = coefficients;
            for (image, sums) in (first..end).zip(&mut images) {
                let (gradient, product) = sums.split_at_mut(stride);
                let of = |values| ImageCells { layout: *layout, image, values };
                norm::backward_sums(isa, of(x), of(dy), mean, inverse, gradient, product);
            }
        }
        sums
    }

    /// As [`Backward::apply`].
    pub(in super::super) fn apply_half(
        &self,
        half: &HalfProgram,
        chunk: &Chunk<'_>,
        reverse: &mut Reverse,
        index: usize,
    ) {
        let program = self.context.program;
        let step = &program.steps[index];
        if !self.wanted[step.output] {
            return;
        }
        let mut dy = Some(reverse.take_gradient(half, step.output));
        let has_weights = self.parameters
            && matches!(step.operation, Operation::Convolution { .. } | Operation::Linear { .. });
        let added = step.add.filter(|&add| self.wanted[add]);
        if self.wanted[step.input] {
            let masked = self.to_input(half, chunk, reverse, index, &mut dy, added.is_some());
            if !masked && self.completes(index, step.input, step.add) {
                self.through_relu_half(half, chunk, reverse, step.input);
            }
        }
        if let Some(add) = added {
            let own = match has_weights {
                true => dy.as_ref().map(|dy| self.copy(half, step.output, dy)),
                false => dy.take(),
            };
            let own = own.expect("a gradient is passed on before it is dropped");
            self.deliver(half, chunk, reverse, add, own);
            if self.completes(index, add, None) {
                self.through_relu_half(half, chunk, reverse, add);
            }
        }
        match dy {
            Some(Carried::Cells(dy)) if has_weights => reverse.pending_cells[index] = dy,
            Some(Carried::Single(dy)) if has_weights => reverse.pending[index] = dy,
            Some(Carried::Cells(dy)) => self.context.buffers.give_cells(dy),
            Some(Carried::Single(dy)) => self.context.buffers.give(dy),
            None => {}
        }
    }

    /// The gradient by a step's input, added to what there is; whether its ReLU has been applied. `dy` stays unless it
    /// became that gradient; `needed` says that it has to.
    fn to_input(
        &self,
        half: &HalfProgram,
        chunk: &Chunk<'_>,
        reverse: &mut Reverse,
        index: usize,
        dy: &mut Option<Carried>,
        needed: bool,
    ) -> bool {
        let program = self.context.program;
        let step = &program.steps[index];
        match (&step.operation, dy.as_mut()) {
            (Operation::Convolution { .. }, Some(Carried::Cells(from))) => {
                self.through_convolution(half, chunk, reverse, index, from);
                return true;
            }
            (Operation::Identity, Some(from)) => {
                let own = match needed {
                    true => self.copy(half, step.output, from),
                    false => dy.take().expect("it was just seen"),
                };
                self.deliver(half, chunk, reverse, step.input, own);
            }
            (Operation::GlobalAveragePool, Some(Carried::Single(from))) if is_fast(half, step) => {
                let layout = half.layout(step.input).expect("an average over cells");
                let mut dx = self.context.buffers.take_cells(half.len(layout));
                let rows = from.chunks_exact(program.values[step.output].stride);
                for (image, row) in rows.take(chunk.count).enumerate() {
                    spread_average(layout, image, row, &mut dx);
                }
                self.deliver(half, chunk, reverse, step.input, Carried::Cells(dx));
            }
            (&Operation::Subsample { stride, pad_before }, Some(Carried::Cells(from)))
                if is_fast(half, step) =>
            {
                let read = half.layout(step.input).expect("a fast step reads cells");
                let written = half.layout(step.output).expect("a fast step writes cells");
                if reverse.cells[step.input].is_empty() {
                    let mut nothing = self.context.buffers.take_cells(half.len(read));
                    nothing.fill(0);
                    reverse.cells[step.input] = nothing;
                }
                let sums = &mut reverse.cells[step.input];
                add_spread((written, from), (read, sums), chunk.count, stride, pad_before);
            }
            (_, Some(Carried::Cells(from))) if is_fast(half, step) => {
                let layout = half.layout(step.input).expect("a fast step reads cells");
                let mut dx = self.context.buffers.take_cells(half.len(layout));
                self.through_norm(chunk, reverse, index, layout, from, &mut dx);
                self.deliver(half, chunk, reverse, step.input, Carried::Cells(dx));
            }
            (_, Some(from)) => {
                let over = self.copies(half, chunk, step);
                let from = self.copy(half, step.output, from);
                let from = self.widen(half, chunk, step.output, from);
                let mut dx = self.take(step.input);
                let (given, asked) =
                    (self.length(chunk, step.output), self.length(chunk, step.input));
                self.input_gradient(&over, reverse, index, &from[..given], &mut dx[..asked]);
                over.free(self.context.buffers);
                self.context.buffers.give(from);
                self.deliver(half, chunk, reverse, step.input, Carried::Single(dx));
            }
            (_, None) => unreachable!("the gradient has just been taken"),
        }
        false
    }

    fn through_convolution(
        &self,
        half: &HalfProgram,
        chunk: &Chunk<'_>,
        reverse: &mut Reverse,
        index: usize,
        dy: &mut [u16],
    ) {
        let step = &self.context.program.steps[index];
        if half.layout(step.input).is_some() {
            let before = std::mem::take(&mut reverse.cells[step.input]);
            let before = (!before.is_empty()).then_some(before);
            let words = chunk.words(step.input);
            let complete = self.completes(index, step.input, step.add);
            let mask = (complete && !words.is_empty()).then_some(words);
            reverse.cells[step.input] =
                convolution::backward(&self.context, half, index, chunk.count, dy, before, mask);
            return;
        }
        let cells = convolution::backward(&self.context, half, index, chunk.count, dy, None, None);
        let mut rows = self.take(step.input);
        let used = self.length(chunk, step.input);
        let stride = kernels::padded(self.context.program.values[step.input].shape.channels);
        convolution::widen_gradient(
            self.context.isa,
            half,
            index,
            chunk.count,
            stride,
            &cells,
            &mut rows[..used],
        );
        self.context.buffers.give_cells(cells);
        self.deliver(half, chunk, reverse, step.input, Carried::Single(rows));
    }

    fn through_norm(
        &self,
        chunk: &Chunk<'_>,
        reverse: &Reverse,
        index: usize,
        layout: &CellLayout,
        dy: &[u16],
        dx: &mut [u16],
    ) {
        let isa = self.context.isa;
        let step = &self.context.program.steps[index];
        let stride = self.context.program.values[step.input].stride;
        let zeros = vec![0.0; stride];
        for run in chunk.runs(&self.context, index) {
            let images = run.first..run.end;
            match self.norm_coefficients(chunk, reverse, index, &run) {
                Some(back) => {
                    let x = chunk.cells(step.input);
                    norm::backward_apply(isa, layout, images, &back, x, dy, dx);
                }
                None => {
                    let affine = run.coefficients.slope(&zeros);
                    let job = norm::Apply { affine, add: None, relu: Relu::No, mask: None };
                    norm::apply(isa, layout, images, dy, job, dx);
                }
            }
        }
    }

    /// A chunk over another in which what a step reads is f32.
    fn copies<'c>(&self, half: &HalfProgram, chunk: &'c Chunk<'c>, step: &Step) -> Chunk<'c> {
        let mut over = Chunk::over(self.context.program, chunk);
        for read in step.reads() {
            if half.layout(read).is_some()
                && over.values[read].is_empty()
                && !chunk.cells(read).is_empty()
            {
                over.values[read] = chunk.widened(&self.context, half, read, self.chunk_images);
            }
        }
        over
    }

    /// A gradient in f32.
    fn widen(&self, half: &HalfProgram, chunk: &Chunk<'_>, value: usize, it: Carried) -> Vec<f32> {
        let cells = match it {
            Carried::Single(rows) => return rows,
            Carried::Cells(cells) => cells,
        };
        let layout = half.layout(value).expect("only cells are widened");
        let mut rows = self.take(value);
        let used = &mut rows[..self.length(chunk, value)];
        let stride = self.context.program.values[value].stride;
        from_cells(self.context.isa, layout, chunk.count, stride, &cells, used);
        self.context.buffers.give_cells(cells);
        rows
    }

    /// A gradient as a value is stored.
    fn fit(&self, half: &HalfProgram, chunk: &Chunk<'_>, value: usize, it: Carried) -> Carried {
        match (it, half.layout(value)) {
            (Carried::Single(rows), Some(layout)) => {
                let mut cells = self.context.buffers.take_cells(half.len(layout));
                cells.fill(0);
                let stride = self.context.program.values[value].stride;
                to_cells(self.context.isa, layout, chunk.count, stride, &rows, &mut cells);
                self.context.buffers.give(rows);
                Carried::Cells(cells)
            }
            (same, _) => same,
        }
    }

    fn copy(&self, half: &HalfProgram, value: usize, it: &Carried) -> Carried {
        match it {
            Carried::Single(rows) => {
                let mut copy = self.take(value);
                copy.copy_from_slice(rows);
                Carried::Single(copy)
            }
            Carried::Cells(cells) => {
                let layout = half.layout(value).expect("cells of a value in cells");
                let mut copy = self.context.buffers.take_cells(half.len(layout));
                copy.copy_from_slice(cells);
                Carried::Cells(copy)
            }
        }
    }

    /// Adds a gradient to a value's, taking the buffer if it is the first.
    fn deliver(
        &self,
        half: &HalfProgram,
        chunk: &Chunk<'_>,
        reverse: &mut Reverse,
        value: usize,
        gradient: Carried,
    ) {
        let gradient = match (gradient, half.layout(value)) {
            (Carried::Cells(cells), None) => {
                unreachable!("{} cells for a value in f32", cells.len())
            }
            (gradient, _) => self.fit(half, chunk, value, gradient),
        };
        match gradient {
            Carried::Single(rows) => self.add_to(reverse, value, rows),
            Carried::Cells(cells) if reverse.cells[value].is_empty() => {
                reverse.cells[value] = cells;
            }
            Carried::Cells(cells) => {
                add(self.context.isa, &cells, &mut reverse.cells[value]);
                self.context.buffers.give_cells(cells);
            }
        }
    }

    /// Zeroes the gradient of a value where the ReLU that made it did.
    fn through_relu_half(
        &self,
        half: &HalfProgram,
        chunk: &Chunk<'_>,
        reverse: &mut Reverse,
        value: usize,
    ) {
        let isa = self.context.isa;
        match half.layout(value) {
            Some(layout) => {
                let words = chunk.words(value);
                if !words.is_empty() {
                    keep(isa, layout, chunk.count, words, &mut reverse.cells[value]);
                }
            }
            None => {
                let mask = chunk.mask(value);
                if !mask.is_empty() {
                    let words = self.length(chunk, value) / LANES;
                    let gradient = &mut reverse.gradients[value][..words * LANES];
                    activation::apply_mask(isa, &mask[..words], gradient);
                }
            }
        }
    }
}
