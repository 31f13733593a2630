//! A fixed run of images on its way through the program: the unit of parallel work.
//!
//! Chunks have a size that depends on the network only, never on threads, and own their buffers. Between two batch
//! norms with batch statistics nothing passes from one chunk to another, so a worker takes one chunk through all steps
//! in between while its values are in cache.

use super::buffers::BufferPool;
pub(crate) use super::context::{Context, Keep};
use super::lower::{BatchParameters, Operation, Program, Step, Value};
use super::normalisation::{BatchState, Coefficients, GroupLayer, variant};
use super::rearrange::{flatten, subsample};
use super::segments::makes_mask;
use kernels::activation::Function;
use kernels::convolution::{self, Add, Epilogue, Scratch};
use kernels::half::Lines;
use kernels::linear::{self, LinearShape};
use kernels::norm::{self, Affine};
use kernels::pooling::{self, PoolingShape};
use kernels::{LANES, Relu, activation};
use network::Activation;
use std::ops::Range;

/// A run of images and what the forward has computed for it.
#[derive(Debug, Default)]
pub(crate) struct Chunk<'a> {
    /// Position of the first image in the pass.
    pub first: usize,
    /// Number of images.
    pub count: usize,
    /// Where to look for what is not here: a recording's chunk, under one that computes parts of it again.
    below: Option<&'a Chunk<'a>>,
    /// By value; empty if not computed yet, fused away or freed.
    pub values: Vec<Vec<f32>>,
    /// By value in half precision; empty as `values`.
    pub cells: Vec<Lines<u16>>,
    /// By value that a ReLU made: one bit per number, set where it is above zero.
    pub masks: Vec<Vec<u16>>,
    /// The same by value in half precision, one word a cell.
    pub words: Vec<Vec<u32>>,
    /// By step: which pixel won in a max pool.
    winners: Vec<Vec<u32>>,
    /// By step: coefficients per image of group norms.
    pub groups: Vec<Vec<Coefficients>>,
    /// By value, for batch statistics: per image the means, then the centred squares.
    pub moments: Vec<Vec<f64>>,
}

impl<'a> Chunk<'a> {
    /// A chunk with nothing computed.
    pub fn new(program: &Program, first: usize, count: usize) -> Self {
        Self {
            first,
            count,
            below: None,
            values: vec![Vec::new(); program.values.len()],
            cells: program.values.iter().map(|_| Lines::default()).collect(),
            masks: vec![Vec::new(); program.values.len()],
            words: vec![Vec::new(); program.values.len()],
            winners: vec![Vec::new(); program.steps.len()],
            groups: vec![Vec::new(); program.steps.len()],
            moments: vec![Vec::new(); program.values.len()],
        }
    }

    /// A chunk with nothing computed that finds in `recorded` what it does not hold.
    pub fn over(program: &Program, recorded: &'a Chunk<'a>) -> Self {
        Self { below: Some(recorded), ..Self::new(program, recorded.first, recorded.count) }
    }

    /// The part of a value in use: buffers are as long as a full chunk needs.
    pub fn value(&self, program: &Program, value: usize) -> &[f32] {
        &self.find(|chunk| &chunk.values[value])[..self.count * program.values[value].len()]
    }

    /// A value in half precision, as long as a full chunk needs; empty for others.
    pub fn cells(&self, value: usize) -> &[u16] {
        &self.holder(|chunk| chunk.cells[value].is_empty()).cells[value]
    }

    /// The mask of a value in half precision that a ReLU made; empty for others. As long as a full chunk needs.
    pub fn words(&self, value: usize) -> &[u32] {
        self.find(|chunk| &chunk.words[value])
    }

    /// The mask of a value that a ReLU made; empty for others. As long as a full chunk needs.
    pub fn mask(&self, value: usize) -> &[u16] {
        self.find(|chunk| &chunk.masks[value])
    }

    /// Which pixels won in a max pool.
    pub fn winners(&self, step: usize) -> &[u32] {
        self.find(|chunk| &chunk.winners[step])
    }

    /// What is here, else what is below.
    fn find<T>(&self, own: impl for<'c> Fn(&'c Chunk<'a>) -> &'c Vec<T>) -> &[T] {
        own(self.holder(|chunk| own(chunk).is_empty()))
    }

    /// The first of the chunks from here down that holds something; the lowest if none does.
    fn holder(&self, is_empty: impl Fn(&Chunk<'a>) -> bool) -> &Chunk<'a> {
        let mut at = self;
        while let Some(below) = at.below.filter(|_| is_empty(at)) {
            at = below;
        }
        at
    }

    /// Takes a value, with its mask, from chunks that hold fewer images each, the first of them this chunk's first.
    pub fn gather<'c>(
        &mut self,
        context: &Context<'_>,
        value: usize,
        images: usize,
        parts: impl Iterator<Item = &'c mut Chunk<'static>>,
    ) {
        let length = context.program.values[value].len();
        self.values[value] = context.buffers.take(images * length);
        for part in parts {
            let own = (part.first - self.first) * length..;
            let numbers = &part.values[value][..part.count * length];
            self.values[value][own.clone()][..numbers.len()].copy_from_slice(numbers);
            if !part.masks[value].is_empty() {
                if self.masks[value].is_empty() {
                    self.masks[value] = context.buffers.take_mask(images * length / LANES);
                }
                let bits = &part.masks[value][..numbers.len() / LANES];
                self.masks[value][own.start / LANES..][..bits.len()].copy_from_slice(bits);
            }
            context.buffers.give(std::mem::take(&mut part.values[value]));
            context.buffers.give_mask(std::mem::take(&mut part.masks[value]));
        }
    }

    /// Returns all buffers.
    pub fn free(mut self, buffers: &BufferPool) {
        self.values.drain(..).for_each(|value| buffers.give(value));
        self.masks.drain(..).for_each(|mask| buffers.give_mask(mask));
        self.cells.drain(..).for_each(|cells| buffers.give_cells(cells));
        self.words.drain(..).for_each(|words| buffers.give_words(words));
    }

    /// Returns what some steps have made.
    pub fn free_steps(&mut self, program: &Program, steps: Range<usize>, buffers: &BufferPool) {
        for index in steps {
            let output = program.steps[index].output;
            buffers.give(std::mem::take(&mut self.values[output]));
            buffers.give_mask(std::mem::take(&mut self.masks[output]));
            buffers.give_cells(std::mem::take(&mut self.cells[output]));
            buffers.give_words(std::mem::take(&mut self.words[output]));
            self.winners[index] = Vec::new();
            self.groups[index] = Vec::new();
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let coefficients =
            |group: &Vec<Coefficients>| group.iter().map(Coefficients::bytes).sum::<usize>();
        4 * self.values.iter().map(Vec::len).sum::<usize>()
            + 2 * self.cells.iter().map(|cells| cells.len()).sum::<usize>()
            + 4 * self.words.iter().map(Vec::len).sum::<usize>()
            + 2 * self.masks.iter().map(Vec::len).sum::<usize>()
            + 4 * self.winners.iter().map(Vec::len).sum::<usize>()
            + 8 * self.moments.iter().map(Vec::len).sum::<usize>()
            + self.groups.iter().map(coefficients).sum::<usize>()
    }

    /// Computes per image and channel the mean and the centred squares of a value.
    pub fn measure(&mut self, context: &Context<'_>, value: usize) {
        if let Some(layout) = context.half.and_then(|half| half.layout(value))
            && !self.cells(value).is_empty()
        {
            return self.measure_cells(context, layout, value);
        }
        let layout = context.program.values[value];
        let mut moments = vec![0.0; self.count * 2 * layout.stride];
        let images = self.value(context.program, value).chunks_exact(layout.len());
        for (image, moments) in images.zip(moments.chunks_exact_mut(2 * layout.stride)) {
            let (mean, squares) = moments.split_at_mut(layout.stride);
            norm::sums(context.isa, image, mean);
            mean.iter_mut().for_each(|sum| *sum /= layout.pixels() as f64);
            norm::centred_squares(context.isa, image, mean, squares);
        }
        self.moments[value] = moments;
    }

    /// Runs one step, then frees what nobody will read again; what it reads must have been computed.
    pub fn forward(
        &mut self,
        context: &Context<'_>,
        index: usize,
        images: usize,
        scratch: &mut Scratch,
    ) {
        match context.half {
            Some(half) => self.forward_half(context, half, index, images, scratch),
            None => self.forward_single(context, index, images, scratch),
        }
    }

    /// One step in f32.
    pub fn forward_single(
        &mut self,
        context: &Context<'_>,
        index: usize,
        images: usize,
        scratch: &mut Scratch,
    ) {
        let program = context.program;
        let step = &program.steps[index];
        let layout = program.values[step.output];
        let mut buffer = context.buffers.take(images * layout.len());
        let mut bits = Vec::new();
        if makes_mask(step) && context.keep.mask(step.output) {
            bits = context.buffers.take_mask(images * layout.len() / LANES);
        }
        if matches!(step.operation, Operation::Group { .. }) {
            self.groups[index] = self.group_coefficients(context, step);
        }
        let used = self.count * layout.len();
        let mask = (!bits.is_empty()).then(|| &mut bits[..used / LANES]);
        self.compute(context, index, &mut buffer[..used], mask, scratch);
        self.values[step.output] = buffer;
        self.masks[step.output] = bits;
        if !context.keep.step(index) {
            self.winners[index] = Vec::new();
            self.groups[index] = Vec::new();
        }
        for read in step.reads() {
            let last = context.readers[read].is_some_and(|(_, last)| last == index);
            if last && !context.keep.value(read) {
                context.buffers.give(std::mem::take(&mut self.values[read]));
            }
        }
    }

    fn compute(
        &mut self,
        context: &Context<'_>,
        index: usize,
        output: &mut [f32],
        mask: Option<&mut [u16]>,
        scratch: &mut Scratch,
    ) {
        let program = context.program;
        let step = &program.steps[index];
        let layout = program.values[step.output];
        let input = self.value(program, step.input);
        let add = step.add.map(|add| self.value(program, add));
        match &step.operation {
            Operation::Convolution { shape, bias, .. } => {
                let epilogue = Epilogue {
                    bias: bias.map(|bias| &context.network.parameters[bias].values[..]),
                    add: add.map_or(Add::Nothing, Add::Other),
                    relu: relu(step),
                    mask,
                };
                let packed = context.weights.convolution(index);
                convolution::forward(
                    context.isa,
                    shape,
                    self.count,
                    input,
                    packed,
                    output,
                    epilogue,
                    scratch,
                );
            }
            Operation::Batch(_) | Operation::Group { .. } | Operation::Scale { .. } => {
                let smooth = step.activation.filter(|&it| it != Activation::Relu);
                self.normalise(context, index, relu(step), mask, output);
                if let Some(smooth) = smooth {
                    activate(context, layout, smooth, output);
                }
            }
            Operation::Identity => {
                if step.add.is_some() || mask.is_some() || relu(step) == Relu::Yes {
                    let ones = vec![1.0; layout.stride];
                    let zeros = vec![0.0; layout.stride];
                    let relu = relu(step);
                    let same = Affine { centre: &zeros, factor: &ones, shift: &zeros };
                    norm::apply(context.isa, input, same, add, relu, mask, output);
                } else {
                    output.copy_from_slice(input);
                }
                if let Some(smooth) = step.activation.filter(|&it| it != Activation::Relu) {
                    activate(context, layout, smooth, output);
                }
            }
            Operation::Gain { gain } => {
                let gain = context.network.parameters[*gain].values[0];
                output.iter_mut().zip(input).for_each(|(y, x)| *y = gain * x);
            }
            Operation::Subsample { stride, pad_before } => {
                subsample(program, step, *stride, *pad_before, input, output);
            }
            Operation::MaxPool { .. } => {
                let mut winners = vec![0; output.len()];
                pooling::max_forward(&pooling_shape(program, step), input, output, &mut winners);
                self.winners[index] = winners;
            }
            Operation::GlobalAveragePool => {
                let source = program.values[step.input];
                pooling::average_forward(
                    context.isa,
                    source.pixels(),
                    source.stride,
                    input,
                    output,
                );
            }
            Operation::Flatten => flatten(program, step, input, output),
            Operation::Linear { weight, bias } => {
                let shape = linear_shape(program, step);
                let mut dense = vec![0.0; self.count * shape.outputs];
                let weight = &context.network.parameters[*weight].values;
                let bias = &context.network.parameters[*bias].values;
                linear::forward(context.isa, &shape, input, weight, Some(bias), &mut dense);
                super::border::load_padded(&dense, shape.outputs, output);
            }
        }
    }

    /// `(input - centre) * scale + shift (+ add)`, per image where images differ.
    pub fn normalise(
        &self,
        context: &Context<'_>,
        index: usize,
        relu: Relu,
        mut mask: Option<&mut [u16]>,
        output: &mut [f32],
    ) {
        let step = &context.program.steps[index];
        let length = context.program.values[step.input].len();
        let input = self.value(context.program, step.input);
        let add = step.add.map(|add| self.value(context.program, add));
        for run in self.runs(context, index) {
            let range = run.first * length..run.end * length;
            let bits = range.start / LANES..range.end / LANES;
            norm::apply(
                context.isa,
                &input[range.clone()],
                run.coefficients.affine(),
                add.map(|add| &add[range.clone()]),
                relu,
                mask.as_deref_mut().map(|mask| &mut mask[bits]),
                &mut output[range],
            );
        }
    }

    /// Consecutive images that share their coefficients in a normalisation.
    pub fn runs<'r>(&'r self, context: &Context<'r>, index: usize) -> Vec<Run<'r>> {
        let program = context.program;
        let whole = |coefficients| vec![Run { first: 0, end: self.count, coefficients }];
        match &program.steps[index].operation {
            Operation::Batch(layer) => {
                let state = context.batch[index].as_ref();
                let state = state.expect("a batch norm's statistics are known before it runs");
                batch_runs(state, layer, &context.domains[self.first..self.first + self.count])
            }
            Operation::Group { .. } => {
                let images = self.find(|chunk| &chunk.groups[index]).iter().enumerate();
                images.map(|(i, one)| Run { first: i, end: i + 1, coefficients: one }).collect()
            }
            Operation::Scale { .. } => whole(context.weights.scale(index)),
            other => panic!("only normalisations have coefficients, not {other:?}"),
        }
    }

    pub fn group_coefficients(&mut self, context: &Context<'_>, step: &Step) -> Vec<Coefficients> {
        let layer = GroupLayer::of(context.network, context.program, step);
        let layer = layer.unwrap_or_else(|| panic!("group statistics of {:?}", step.operation));
        self.measure(context, step.input);
        let moments = std::mem::take(&mut self.moments[step.input]);
        let stride = context.program.values[step.input].stride;
        let image = |moments: &[f64]| {
            let (mean, squares) = moments.split_at(stride);
            layer.coefficients(mean, squares)
        };
        moments.chunks_exact(2 * stride).map(image).collect()
    }
}

/// Images `first..end` of a chunk and their coefficients.
pub(crate) struct Run<'a> {
    pub first: usize,
    pub end: usize,
    pub coefficients: &'a Coefficients,
}

fn batch_runs<'a>(
    state: &'a BatchState,
    layer: &BatchParameters,
    domains: &[usize],
) -> Vec<Run<'a>> {
    let mut runs = Vec::new();
    let mut first = 0;
    for images in domains.chunk_by(|&left, &right| variant(layer, left) == variant(layer, right)) {
        let coefficients = state.coefficients[variant(layer, images[0])].as_ref();
        let coefficients = coefficients.expect("the variant of every image has coefficients");
        runs.push(Run { first, end: first + images.len(), coefficients });
        first += images.len();
    }
    runs
}

pub(crate) fn relu(step: &Step) -> Relu {
    match step.activation {
        Some(Activation::Relu) => Relu::Yes,
        _ => Relu::No,
    }
}

/// The kernel for an activation.
pub(crate) fn function(activation: Activation) -> Function {
    match activation {
        Activation::Relu => Function::Relu,
        Activation::Silu => Function::Silu,
        Activation::SmoothRelu { beta } => Function::SmoothRelu { beta },
        Activation::Gelu => Function::Gelu,
        Activation::Elu => Function::Elu,
    }
}

/// Applies a smooth activation in place.
fn activate(context: &Context<'_>, layout: Value, smooth: Activation, output: &mut [f32]) {
    let mut before = context.buffers.take(output.len());
    before.copy_from_slice(output);
    let (channels, stride) = (layout.shape.channels, layout.stride);
    activation::forward(context.isa, function(smooth), channels, stride, &before, output);
    context.buffers.give(before);
}

pub(crate) fn sum(left: &[f32], right: &[f32], output: &mut [f32]) {
    output.iter_mut().zip(left.iter().zip(right)).for_each(|(y, (a, b))| *y = a + b);
}

pub(crate) fn linear_shape(program: &Program, step: &Step) -> LinearShape {
    let input = program.values[step.input];
    LinearShape {
        inputs: input.shape.channels,
        input_stride: input.stride,
        outputs: program.values[step.output].shape.channels,
    }
}

pub(crate) fn pooling_shape(program: &Program, step: &Step) -> PoolingShape {
    let Operation::MaxPool { kernel, stride, padding } = step.operation else {
        panic!("pooling geometry of {:?}", step.operation);
    };
    let input = program.values[step.input];
    PoolingShape {
        channel_stride: input.stride,
        height: input.shape.height,
        width: input.shape.width,
        kernel,
        stride,
        padding,
    }
}
