//! A chunk forward through one step in half precision.

use super::super::chunk::{Chunk, Context, relu};
use super::super::lower::{Operation, Step};
use super::super::segments::makes_mask;
use super::{HalfProgram, convolution};
use kernels::bf16::{ImageCells, average, clear_borders, norm, subsample};
use kernels::convolution::Scratch;
use kernels::half::{CELL, CellLayout, each_pixel, from_cells, to_cells};
use kernels::norm::Affine;
use kernels::{LANES, Relu};
use network::Activation;

/// Whether a step's own kernel works on cells; if not it runs in f32 on copies.
pub(super) fn is_fast(half: &HalfProgram, step: &Step) -> bool {
    let plain = matches!(step.activation, None | Some(Activation::Relu));
    let input = half.layout(step.input);
    let same = |value: usize| half.layout(value) == half.layout(step.output);
    plain
        && match step.operation {
            Operation::Convolution { .. } => step.add.is_none_or(|add| half.layout(add).is_some()),
            Operation::Batch(_)
            | Operation::Group { .. }
            | Operation::Scale { .. }
            | Operation::Identity => {
                input.is_some() && same(step.input) && step.add.is_none_or(same)
            }
            Operation::GlobalAveragePool | Operation::Subsample { .. } => {
                input.is_some() && step.activation.is_none() && step.add.is_none()
            }
            _ => false,
        }
}

impl Chunk<'_> {
    /// As [`Chunk::forward`], values with pixels in cells.
    pub(in super::super) fn forward_half(
        &mut self,
        context: &Context<'_>,
        half: &HalfProgram,
        index: usize,
        images: usize,
        scratch: &mut Scratch,
    ) {
        let step = &context.program.steps[index];
        if is_fast(half, step) {
            self.forward_cells(context, half, index);
        } else {
            self.forward_copies(context, half, index, images, scratch);
        }
        for read in step.reads() {
            let last = context.readers[read].is_some_and(|(_, last)| last == index);
            if last && !context.keep.value(read) {
                context.buffers.give_cells(std::mem::take(&mut self.cells[read]));
                context.buffers.give(std::mem::take(&mut self.values[read]));
            }
        }
    }

    fn forward_cells(&mut self, context: &Context<'_>, half: &HalfProgram, index: usize) {
        let step = &context.program.steps[index];
        if matches!(step.operation, Operation::Group { .. }) {
            self.groups[index] = self.group_coefficients(context, step);
        }
        let Some(layout) = half.layout(step.output) else {
            return self.average(context, half, index);
        };
        let mut output = context.buffers.take_cells(half.len(layout));
        let mut words = Vec::new();
        if makes_mask(step) && context.keep.mask(step.output) {
            words = context.buffers.take_words(half.words(layout));
        }
        let mask = (!words.is_empty()).then_some(&mut words[..]);
        match &step.operation {
            Operation::Convolution { .. } => {
                convolution::forward(self, context, half, index, relu(step), mask, &mut output);
            }
            Operation::Identity => {
                let (ones, zeros) = (vec![1.0; layout.channels], vec![0.0; layout.channels]);
                let affine = Affine { centre: &zeros, factor: &ones, shift: &zeros };
                let add = step.add.map(|add| self.cells(add));
                let job = norm::Apply { affine, add, relu: relu(step), mask };
                let images = 0..self.count;
                norm::apply(context.isa, layout, images, self.cells(step.input), job, &mut output);
            }
            Operation::Subsample { stride, pad_before } => {
                let from = half.layout(step.input).expect("a fast step reads cells");
                let from = (from, self.cells(step.input));
                subsample(from, (layout, &mut output), self.count, *stride, *pad_before);
            }
            _ => self.normalise_cells(context, layout, index, relu(step), mask, &mut output),
        }
        if half.bordered[step.output] {
            clear_borders(layout, &mut output);
        }
        self.cells[step.output] = output;
        self.words[step.output] = words;
        if !context.keep.step(index) {
            self.groups[index] = Vec::new();
        }
    }

    fn normalise_cells(
        &self,
        context: &Context<'_>,
        layout: &CellLayout,
        index: usize,
        relu: Relu,
        mut mask: Option<&mut [u32]>,
        output: &mut [u16],
    ) {
        let step = &context.program.steps[index];
        for run in self.runs(context, index) {
            let job = norm::Apply {
                affine: run.coefficients.affine(),
                add: step.add.map(|add| self.cells(add)),
                relu,
                mask: mask.as_deref_mut(),
            };
            let images = run.first..run.end;
            norm::apply(context.isa, layout, images, self.cells(step.input), job, output);
        }
    }

    fn average(&mut self, context: &Context<'_>, half: &HalfProgram, index: usize) {
        let step = &context.program.steps[index];
        let layout = half.layout(step.input).expect("an average over cells");
        let length = context.program.values[step.output].len();
        let mut means = context.buffers.take(half.room * length);
        for (image, means) in means.chunks_exact_mut(length).take(self.count).enumerate() {
            average(context.isa, layout, self.cells(step.input), image, means);
        }
        self.values[step.output] = means;
    }

    /// The f32 kernel between a copy of what it reads and the cells of what it writes.
    fn forward_copies(
        &mut self,
        context: &Context<'_>,
        half: &HalfProgram,
        index: usize,
        images: usize,
        scratch: &mut Scratch,
    ) {
        let step = &context.program.steps[index];
        for read in step.reads() {
            if half.layout(read).is_some() && self.values[read].is_empty() {
                self.values[read] = self.widened(context, half, read, images);
            }
        }
        self.forward_single(context, index, images, scratch);
        for read in step.reads() {
            if half.layout(read).is_some() {
                context.buffers.give(std::mem::take(&mut self.values[read]));
            }
        }
        if let Some(layout) = half.layout(step.output) {
            let rows = std::mem::take(&mut self.values[step.output]);
            let value = context.program.values[step.output];
            let mut cells = context.buffers.take_cells(half.len(layout));
            cells.fill(0);
            to_cells(context.isa, layout, self.count, value.stride, &rows, &mut cells);
            self.cells[step.output] = cells;
            context.buffers.give(rows);
            let bits = std::mem::take(&mut self.masks[step.output]);
            if !bits.is_empty() {
                let mut words = context.buffers.take_words(half.words(layout));
                let panels = value.stride / LANES;
                each_pixel(layout, self.count, |pixel, block, cell| {
                    let first = pixel * panels + 2 * block;
                    let second = if 2 * block + 1 < panels { bits[first + 1] } else { 0 };
                    words[cell] = u32::from(bits[first]) | u32::from(second) << LANES;
                });
                self.words[step.output] = words;
                context.buffers.give_mask(bits);
            }
        }
    }

    /// A value in f32, channels last, as long as a full chunk needs.
    pub(super) fn widened(
        &self,
        context: &Context<'_>,
        half: &HalfProgram,
        value: usize,
        images: usize,
    ) -> Vec<f32> {
        let layout = half.layout(value).expect("only cells are widened");
        let shape = context.program.values[value];
        let mut rows = context.buffers.take(images * shape.len());
        let used = &mut rows[..self.count * shape.len()];
        from_cells(context.isa, layout, self.count, shape.stride, self.cells(value), used);
        rows
    }

    /// As [`Chunk::measure`], of a value in cells.
    pub(in super::super) fn measure_cells(
        &mut self,
        context: &Context<'_>,
        layout: &CellLayout,
        value: usize,
    ) {
        const { assert!(CELL == 2 * LANES) };
        let stride = context.program.values[value].stride;
        let mut moments = vec![0.0; self.count * 2 * stride];
        for (image, moments) in moments.chunks_exact_mut(2 * stride).enumerate() {
            let (mean, squares) = moments.split_at_mut(stride);
            let image = ImageCells { layout: *layout, image, values: self.cells(value) };
            norm::moments(context.isa, image, mean, squares);
        }
        self.moments[value] = moments;
    }
}
