//! One convolution in half precision: its tables, its weights, forward and backward by data.

use super::super::buffers::BufferPool;
use super::super::chunk::{Chunk, Context};
use super::super::lower::Operation;
use super::{HalfProgram, HalfScratch, interleaved};
use kernels::bf16::{clear_borders, copy_cells};
use kernels::half::{
    Addend, Ahead, CELL, CellLayout, Columns, Convolve, Destination, Direction, Epilogue, HalfPass,
    Lines, PackedHalf, Source, StripLayout, Table, Weights, backward_passes, convolve,
    forward_pass, from_cells, from_f32, pack_into, to_cells,
};
use kernels::{ConvolutionShape, Isa, Relu};

/// What a forward reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    /// The value as it lies.
    Direct,
    /// A copy in which tiles are whole.
    Copy(CellLayout),
    /// f32 images of few channels, side by side.
    Strip(StripLayout),
    /// f32 images as cells.
    Rounded(CellLayout),
}

/// Tables of a convolution.
#[derive(Debug)]
pub(crate) struct Passes {
    shape: ConvolutionShape,
    reads: Reads,
    forward: (HalfPass, Table),
    /// By remainder of the position by the stride.
    backward: Vec<(HalfPass, Table)>,
    /// Where the input's gradient is written: the value's layout, or one of its own for f32 images.
    gradient: CellLayout,
}

/// Columns beyond the map that the convolution or its backward reads.
pub(super) fn reach(shape: &ConvolutionShape) -> usize {
    let beyond = |pass: &HalfPass, width: usize| {
        let left = pass.taps.iter().map(|tap| -tap.column).max().unwrap_or(0);
        let last = (pass.width.max(1) - 1) * pass.source_step;
        let right = pass.taps.iter().map(|tap| tap.column).max().unwrap_or(0);
        left.max(last as isize + right - (width as isize - 1)).max(0) as usize
    };
    let back = backward_passes(shape).iter().map(|pass| beyond(pass, shape.out_width())).max();
    beyond(&forward_pass(shape), shape.width).max(back.unwrap_or(0))
}

impl Passes {
    pub fn new(shape: &ConvolutionShape, input: Option<CellLayout>, output: CellLayout) -> Self {
        let pass = forward_pass(shape);
        let cells = |images: usize, columns: Columns| CellLayout {
            channels: shape.in_channels,
            height: shape.height,
            width: shape.width,
            images,
            border: output.border,
            columns,
        };
        let strip = StripLayout {
            channels: shape.in_channels,
            height: shape.height,
            width: shape.width,
            border: output.border,
        };
        // Read at a distance, interleaved images need their columns apart; beyond a stride of 2 they are not interleaved.
        let spaced = match shape.stride {
            1 => cells(output.images, Columns::Together),
            2 if output.images > 1 => cells(output.images, Columns::Apart),
            _ => cells(1, Columns::Together),
        };
        let reads = match input {
            None if shape.kernel * shape.in_channels <= CELL => Reads::Strip(strip),
            None => Reads::Rounded(spaced),
            Some(layout) if layout == spaced => Reads::Direct,
            Some(_) => Reads::Copy(spaced),
        };
        let source = match reads {
            Reads::Strip(layout) => Source::Strip(layout),
            Reads::Direct | Reads::Copy(_) | Reads::Rounded(_) => Source::Cells(spaced),
        };
        let table = |pass: &HalfPass, source: Source, target: CellLayout| {
            Table::new(pass, source, target, target, target)
                .expect("sources are laid out as their passes read them")
        };
        let gradient = input
            .unwrap_or(cells(interleaved(shape.width, output.images.max(1)), Columns::Together));
        let back = |pass: HalfPass| {
            let table = table(&pass, Source::Cells(output), gradient);
            (pass, table)
        };
        Self {
            shape: *shape,
            reads,
            forward: (pass.clone(), table(&pass, source, output)),
            backward: backward_passes(shape).into_iter().map(back).collect(),
            gradient,
        }
    }

    pub fn shape(&self) -> &ConvolutionShape {
        &self.shape
    }

    fn source(&self, input: Option<&CellLayout>) -> Source {
        match self.reads {
            Reads::Strip(layout) => Source::Strip(layout),
            Reads::Copy(layout) | Reads::Rounded(layout) => Source::Cells(layout),
            Reads::Direct => Source::Cells(*input.expect("cells are read as they lie")),
        }
    }

    /// Weights as the forward reads them.
    pub fn pack_forward(
        &self,
        isa: Isa,
        input: Option<&CellLayout>,
        weights: &[f32],
        buffers: &BufferPool,
    ) -> PackedHalf {
        let (pass, source) = (&self.forward.0, self.source(input));
        let storage = |length| buffers.take_cells(length);
        pack_into(isa, &self.shape, weights, pass, Direction::Forward, source, storage)
    }

    /// Weights as every phase of the backward reads them.
    pub fn pack_backward(
        &self,
        isa: Isa,
        output: &CellLayout,
        weights: &[f32],
        buffers: &BufferPool,
    ) -> Vec<PackedHalf> {
        let (source, direction) = (Source::Cells(*output), Direction::Backward);
        let pack = |(pass, _): &(_, _)| {
            let storage = |length| buffers.take_cells(length);
            pack_into(isa, &self.shape, weights, pass, direction, source, storage)
        };
        self.backward.iter().map(pack).collect()
    }
}

/// Lays f32 images out as a strip, rounded.
fn fill_strip(layout: &StripLayout, stride: usize, pixels: &[f32], strip: &mut [u16]) {
    strip.fill(0);
    let rows = pixels.chunks_exact(layout.width * stride);
    for (from, to) in rows.zip(strip.chunks_exact_mut(layout.row())) {
        let to = &mut to[layout.border * layout.channels..];
        for (from, to) in from.chunks_exact(stride).zip(to.chunks_exact_mut(layout.channels)) {
            for (to, &x) in to.iter_mut().zip(from) {
                *to = from_f32(x);
            }
        }
    }
}

/// The forward of a convolution step into `output`.
pub(super) fn forward(
    chunk: &Chunk<'_>,
    context: &Context<'_>,
    half: &HalfProgram,
    index: usize,
    relu: Relu,
    mask: Option<&mut [u32]>,
    output: &mut [u16],
) {
    let step = &context.program.steps[index];
    let Operation::Convolution { shape, bias, .. } = &step.operation else {
        panic!("a convolution, not {:?}", step.operation);
    };
    let passes = half.passes(index);
    let mut scratch = half.scratch();
    let HalfScratch { workspace, source: storage, .. } = &mut scratch;
    let source = match passes.reads {
        Reads::Direct => chunk.cells(step.input),
        Reads::Copy(layout) => {
            let from = half.layout(step.input).expect("cells are copied from cells");
            let copy = HalfScratch::source(storage, layout.len(half.room));
            copy_cells(from, chunk.count, chunk.cells(step.input), &layout, copy);
            &*copy
        }
        Reads::Strip(layout) => {
            let strip = HalfScratch::source(storage, layout.len(chunk.count));
            fill_strip(&layout, shape.in_stride, chunk.value(context.program, step.input), strip);
            &*strip
        }
        Reads::Rounded(layout) => {
            let copy = HalfScratch::source(storage, layout.len(half.room));
            copy.fill(0);
            let rows = chunk.value(context.program, step.input);
            to_cells(context.isa, &layout, chunk.count, shape.in_stride, rows, copy);
            &*copy
        }
    };
    let add = step.add.map_or(Addend::Nothing, |add| Addend::Other(chunk.cells(add)));
    let job = Convolve {
        table: &passes.forward.1,
        weights: Weights::Packed(&context.weights.half(index)[0]),
        bias: bias.map(|bias| &context.network.parameters[bias].values[..]),
        images: chunk.count,
        first: 0,
        firsts: [0; 3],
        source,
        ahead: Ahead::default(),
    };
    let epilogue = Epilogue::Activate { relu, mask };
    convolve(context.isa, &job, Destination::Cells { target: output, add, epilogue }, workspace);
    half.return_scratch(scratch);
}

/// The gradient by the input of a convolution step: `before` is what other readers have added to it, `mask` what its
/// ReLU keeps. `dy` loses what was in its border.
pub(super) fn backward(
    context: &Context<'_>,
    half: &HalfProgram,
    index: usize,
    count: usize,
    dy: &mut [u16],
    before: Option<Lines<u16>>,
    mask: Option<&[u32]>,
) -> Lines<u16> {
    let step = &context.program.steps[index];
    let passes = half.passes(index);
    let output = half.layout(step.output).expect("a convolution's result lies in cells");
    clear_borders(output, dy);
    let add = if before.is_some() { Addend::Target } else { Addend::Nothing };
    let length = half.len(&passes.gradient);
    let mut dx = before.unwrap_or_else(|| context.buffers.take_cells(length));
    let mut scratch = half.scratch();
    for ((_, table), weights) in passes.backward.iter().zip(context.weights.half(index)) {
        let job = Convolve {
            table,
            weights: Weights::Packed(weights),
            bias: None,
            images: count,
            first: 0,
            firsts: [0; 3],
            source: dy,
            ahead: Ahead::default(),
        };
        let epilogue = Epilogue::Keep { mask };
        let target = Destination::Cells { target: &mut dx, add, epilogue };
        convolve(context.isa, &job, target, &mut scratch.workspace);
    }
    half.return_scratch(scratch);
    dx
}

/// The gradient by f32 images, channels last.
pub(super) fn widen_gradient(
    isa: Isa,
    half: &HalfProgram,
    index: usize,
    count: usize,
    stride: usize,
    cells: &[u16],
    rows: &mut [f32],
) {
    from_cells(isa, &half.passes(index).gradient, count, stride, cells, rows);
}
