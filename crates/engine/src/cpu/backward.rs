//! A chunk on its way back, step by step: what one worker does on its own.

use super::CpuEngine;
use super::border;
use super::chunk::{Chunk, Context, Run, function, linear_shape, pooling_shape};
use super::lower::{Operation, Program};
use super::normalisation::{Coefficients, GroupLayer, variant};
use super::rearrange::{spread, unflatten};
use super::schedule::Part;
use crate::Logits;
use kernels::convolution::{self, Add, GradientEpilogue, Scratch};
use kernels::half::Lines;
use kernels::norm::{self, BackwardCoefficients};
use kernels::{LANES, Relu, activation, linear, pooling};
use network::{Activation, Statistics};
use rayon::prelude::*;
use std::borrow::Cow;

/// What a chunk holds on its way back.
#[derive(Debug, Default)]
pub(crate) struct Reverse {
    /// By value: the sum of the gradients so far; empty if none has come.
    pub gradients: Vec<Vec<f32>>,
    /// The same of values in half precision.
    pub cells: Vec<Lines<u16>>,
    /// By step: the gradient by the output of a step with weights, until the weights' gradient is summed.
    pub pending: Vec<Vec<f32>>,
    /// The same where the output is in half precision.
    pub pending_cells: Vec<Lines<u16>>,
    /// By step: per image the sums of `dy` and of `dy * xhat` (a gain: of `dy * x`).
    pub sums: Vec<Vec<f64>>,
}

/// What all chunks share in a backward.
pub(crate) struct Backward<'a> {
    pub context: Context<'a>,
    pub chunk_images: usize,
    /// By value: whether anybody wants its gradient.
    pub wanted: Vec<bool>,
    pub parameters: bool,
    pub statistics: Statistics,
    /// By step and variant: how batch norms go back.
    pub norms: Vec<Vec<Option<BackwardCoefficients>>>,
}

impl Reverse {
    /// No gradient has come yet.
    fn new(program: &Program) -> Self {
        Self {
            gradients: vec![Vec::new(); program.values.len()],
            cells: program.values.iter().map(|_| Lines::default()).collect(),
            pending: vec![Vec::new(); program.steps.len()],
            pending_cells: program.steps.iter().map(|_| Lines::default()).collect(),
            sums: vec![Vec::new(); program.steps.len()],
        }
    }
}

impl Backward<'_> {
    /// At a value whose gradient is complete: `gradient` holds that of the chunk's images first.
    pub fn resume(&self, chunk: &Chunk<'_>, value: usize, gradient: &[f32]) -> Reverse {
        let mut reverse = Reverse::new(self.context.program);
        let mut buffer = self.take(value);
        let length = self.length(chunk, value);
        buffer[..length].copy_from_slice(&gradient[..length]);
        reverse.gradients[value] = buffer;
        reverse
    }

    /// At the logits.
    pub fn start(&self, chunk: &Chunk<'_>, logit_gradient: &Logits) -> Reverse {
        let program = self.context.program;
        let classes = program.classes;
        let mut reverse = Reverse::new(program);
        let mut buffer = self.take(program.output);
        let rows = &logit_gradient.values[chunk.first * classes..][..chunk.count * classes];
        border::load_padded(rows, classes, &mut buffer);
        reverse.gradients[program.output] = buffer;
        if self.context.readers[program.output].is_none() {
            self.through_relu(chunk, &mut reverse, program.output);
        }
        reverse
    }

    /// All chunks through a stretch, each on its own.
    pub fn run(
        &self,
        engine: &CpuEngine,
        stretch: &[Part],
        chunks: &[Chunk<'_>],
        reverses: &mut [Reverse],
    ) {
        chunks.par_iter().zip(reverses).for_each(|(chunk, reverse)| {
            let mut scratch = engine.shared.scratch();
            for part in stretch {
                match (*part, self.context.half) {
                    (Part::Reduce(index), None) => self.reduce(chunk, reverse, index),
                    (Part::Reduce(index), Some(half)) => {
                        self.reduce_half(half, chunk, reverse, index);
                    }
                    (Part::Apply(index), None) => self.apply(chunk, reverse, index, &mut scratch),
                    (Part::Apply(index), Some(half)) => {
                        self.apply_half(half, chunk, reverse, index);
                    }
                }
            }
            engine.shared.return_scratch(scratch);
        });
    }

    pub fn take(&self, value: usize) -> Vec<f32> {
        let length = self.context.program.values[value].gradient_len();
        self.context.buffers.take(self.chunk_images * length)
    }

    pub fn length(&self, chunk: &Chunk<'_>, value: usize) -> usize {
        chunk.count * self.context.program.values[value].gradient_len()
    }

    /// Through the activation; then the sums over pixels that norms and gains need.
    pub fn reduce(&self, chunk: &Chunk<'_>, reverse: &mut Reverse, index: usize) {
        let step = &self.context.program.steps[index];
        if !self.wanted[step.output] {
            return;
        }
        let length = self.length(chunk, step.output);
        self.through_activation(chunk, reverse, index);
        let dy = &reverse.gradients[step.output][..length];
        reverse.sums[index] = match &step.operation {
            // Constant statistics and no parameters wanted: the gradient is only scaled.
            Operation::Batch(_) if !self.parameters && self.statistics == Statistics::Running => {
                Vec::new()
            }
            Operation::Batch(_) | Operation::Group { .. } => self.norm_sums(chunk, index, dy),
            Operation::Convolution { bias: Some(_), .. } if self.parameters => {
                let stride = self.context.program.values[step.output].stride;
                let pixels = length / stride / chunk.count;
                let mut sums = vec![0.0; chunk.count * 2 * stride];
                let images = dy.chunks_exact(pixels * stride);
                for (image, sums) in images.zip(sums.chunks_exact_mut(2 * stride)) {
                    norm::sums(self.context.isa, image, &mut sums[..stride]);
                }
                sums
            }
            Operation::Gain { .. } if self.parameters => {
                let input = chunk.value(self.context.program, step.input);
                let products = |(x, dy): (&f32, &f32)| f64::from(*x) * f64::from(*dy);
                let per_image = length / chunk.count;
                let images = input.chunks_exact(per_image).zip(dy.chunks_exact(per_image));
                images.map(|(x, dy)| x.iter().zip(dy).map(products).sum()).collect()
            }
            _ => Vec::new(),
        };
    }

    fn through_activation(&self, chunk: &Chunk<'_>, reverse: &mut Reverse, index: usize) {
        let program = self.context.program;
        let step = &program.steps[index];
        // The derivative of a ReLU is applied by whoever completes the gradient of its output.
        let smooth = step.activation.filter(|&activation| activation != Activation::Relu);
        let Some(pointwise) = smooth else { return };
        let length = self.length(chunk, step.output);
        let mut before = self.take(step.output);
        match &step.operation {
            Operation::Identity => {
                let input = chunk.value(program, step.input);
                match step.add {
                    None => before[..length].copy_from_slice(input),
                    Some(add) => {
                        super::chunk::sum(input, chunk.value(program, add), &mut before[..length]);
                    }
                }
            }
            _ => chunk.normalise(&self.context, index, Relu::No, None, &mut before[..length]),
        }
        let mut dx = self.take(step.output);
        let dy = std::mem::take(&mut reverse.gradients[step.output]);
        let (from, to) = (&dy[..length], &mut dx[..length]);
        activation::backward(self.context.isa, function(pointwise), &before[..length], from, to);
        self.context.buffers.give(before);
        self.context.buffers.give(dy);
        reverse.gradients[step.output] = dx;
    }

    fn norm_sums(&self, chunk: &Chunk<'_>, index: usize, dy: &[f32]) -> Vec<f64> {
        let program = self.context.program;
        let layout = program.values[program.steps[index].input];
        let input = chunk.value(program, program.steps[index].input);
        let mut sums = vec![0.0; chunk.count * 2 * layout.stride];
        for run in chunk.runs(&self.context, index) {
            for image in run.first..run.end {
                let range = image * layout.len()..(image + 1) * layout.len();
                let (gradient, product) = sums[image * 2 * layout.stride..][..2 * layout.stride]
                    .split_at_mut(layout.stride);
                let Coefficients { mean, inverse, .. } = run.coefficients;
                norm::backward_sums(
                    self.context.isa,
                    &input[range.clone()],
                    &dy[range],
                    mean,
                    inverse,
                    gradient,
                    product,
                );
            }
        }
        sums
    }

    /// From the gradient by a step's producer to those by what it read.
    pub fn apply(
        &self,
        chunk: &Chunk<'_>,
        reverse: &mut Reverse,
        index: usize,
        scratch: &mut Scratch,
    ) {
        let Context { isa, program, .. } = self.context;
        let step = &program.steps[index];
        if !self.wanted[step.output] {
            return;
        }
        let mut dy = std::mem::take(&mut reverse.gradients[step.output]);
        let output_length = self.length(chunk, step.output);
        if self.wanted[step.input] {
            let length = self.length(chunk, step.input);
            let from = &dy[..output_length];
            match &step.operation {
                Operation::Convolution { shape, .. } => {
                    let mask = self.completed_mask(chunk, index, step.input);
                    let (mut dx, add) = match reverse.gradients[step.input].is_empty() {
                        true => (self.take(step.input), Add::Nothing),
                        false => (std::mem::take(&mut reverse.gradients[step.input]), Add::Output),
                    };
                    convolution::backward_data(
                        isa,
                        shape,
                        chunk.count,
                        from,
                        self.context.weights.convolution(index),
                        &mut dx[..length],
                        GradientEpilogue { add, mask },
                        scratch,
                    );
                    reverse.gradients[step.input] = dx;
                }
                Operation::Identity => {
                    self.pass_on(reverse, step.input, &mut dy, step.add.is_some())
                }
                _ => {
                    let mut dx = self.take(step.input);
                    self.input_gradient(chunk, reverse, index, from, &mut dx[..length]);
                    self.add_to(reverse, step.input, dx);
                }
            }
            let masks_itself = matches!(step.operation, Operation::Convolution { .. });
            if !masks_itself && self.completes(index, step.input, step.add) {
                self.through_relu(chunk, reverse, step.input);
            }
        }
        let has_weights = self.parameters
            && matches!(step.operation, Operation::Convolution { .. } | Operation::Linear { .. });
        if let Some(add) = step.add.filter(|&add| self.wanted[add]) {
            self.pass_on(reverse, add, &mut dy, has_weights);
            if self.completes(index, add, None) {
                self.through_relu(chunk, reverse, add);
            }
        }
        match has_weights {
            true => reverse.pending[index] = dy,
            false => self.context.buffers.give(dy),
        }
    }

    /// The gradient by the input of a step that overwrites it; what came before is added afterwards.
    pub fn input_gradient(
        &self,
        chunk: &Chunk<'_>,
        reverse: &Reverse,
        index: usize,
        from: &[f32],
        to: &mut [f32],
    ) {
        let Context { isa, network, program, .. } = self.context;
        let step = &program.steps[index];
        match &step.operation {
            Operation::Batch(_) | Operation::Group { .. } | Operation::Scale { .. } => {
                self.apply_norm(chunk, reverse, index, from, to);
            }
            Operation::Gain { gain } => {
                let gain = network.parameters[*gain].values[0];
                to.iter_mut().zip(from).for_each(|(dx, dy)| *dx = gain * dy);
            }
            Operation::Subsample { .. } => spread(program, step, from, to),
            Operation::MaxPool { .. } => {
                let shape = pooling_shape(program, step);
                pooling::max_backward(&shape, from, chunk.winners(index), to);
            }
            Operation::GlobalAveragePool => {
                let source = program.values[step.input];
                let stride = source.gradient_len() / source.pixels();
                pooling::average_backward(isa, source.pixels(), stride, from, to);
            }
            Operation::Flatten => unflatten(program, step, from, to),
            Operation::Linear { weight, .. } => {
                let shape = linear_shape(program, step);
                let mut dense = vec![0.0; chunk.count * shape.outputs];
                border::store_dense(from, shape.outputs, &mut dense);
                let weight = &network.parameters[*weight].values;
                linear::backward_input(isa, &shape, &dense, weight, to);
            }
            Operation::Convolution { .. } | Operation::Identity => {
                unreachable!("convolutions and sums write their own gradients")
            }
        }
    }

    /// Whether a step is the last to add to a value's gradient; `after` is what it will add to later.
    pub fn completes(&self, index: usize, value: usize, after: Option<usize>) -> bool {
        let first = self.context.readers[value].map(|(first, _)| first);
        first == Some(index) && after != Some(value)
    }

    /// The mask that completes the gradient of a convolution's input.
    fn completed_mask<'c>(
        &self,
        chunk: &'c Chunk<'_>,
        index: usize,
        value: usize,
    ) -> Option<&'c [u16]> {
        let mask = chunk.mask(value);
        let complete = self.completes(index, value, self.context.program.steps[index].add);
        let words = self.length(chunk, value) / LANES;
        (complete && !mask.is_empty()).then(|| &mask[..words])
    }

    /// Zeroes the gradient of a value where the ReLU that made it did.
    fn through_relu(&self, chunk: &Chunk<'_>, reverse: &mut Reverse, value: usize) {
        let mask = chunk.mask(value);
        if !mask.is_empty() {
            let words = self.length(chunk, value) / LANES;
            let gradient = &mut reverse.gradients[value][..words * LANES];
            activation::apply_mask(self.context.isa, &mask[..words], gradient);
        }
    }

    fn apply_norm(
        &self,
        chunk: &Chunk<'_>,
        reverse: &Reverse,
        index: usize,
        dy: &[f32],
        dx: &mut [f32],
    ) {
        let Context { isa, program, .. } = self.context;
        let step = &program.steps[index];
        let layout = program.values[step.input];
        let zeros = vec![0.0; layout.stride];
        for run in chunk.runs(&self.context, index) {
            let range = run.first * layout.len()..run.end * layout.len();
            let (dy, dx) = (&dy[range.clone()], &mut dx[range.clone()]);
            match self.norm_coefficients(chunk, reverse, index, &run) {
                Some(coefficients) => {
                    let x = &chunk.value(program, step.input)[range];
                    norm::backward_apply(isa, &coefficients, x, dy, dx);
                }
                None => {
                    let slope = run.coefficients.slope(&zeros);
                    norm::apply(isa, dy, slope, None, Relu::No, None, dx);
                }
            }
        }
    }

    /// How a normalisation with statistics of its images goes back; none where the gradient is scaled and that is all.
    pub fn norm_coefficients(
        &self,
        chunk: &Chunk<'_>,
        reverse: &Reverse,
        index: usize,
        run: &Run<'_>,
    ) -> Option<Cow<'_, BackwardCoefficients>> {
        let step = &self.context.program.steps[index];
        match &step.operation {
            Operation::Batch(layer) => {
                let domain = self.context.domains[chunk.first + run.first];
                let known = self.norms[index].get(variant(layer, domain));
                known.and_then(Option::as_ref).map(Cow::Borrowed)
            }
            Operation::Group { .. } => {
                let layer = GroupLayer::of(self.context.network, self.context.program, step)?;
                let stride = self.context.program.values[step.input].stride;
                let sums = &reverse.sums[index][run.first * 2 * stride..];
                let (gradient, product) = sums[..2 * stride].split_at(stride);
                Some(Cow::Owned(layer.backward(run.coefficients, gradient, product)))
            }
            _ => None,
        }
    }

    /// Adds a gradient to a value's, taking the buffer if it is the first.
    pub fn add_to(&self, reverse: &mut Reverse, value: usize, gradient: Vec<f32>) {
        let sum = &mut reverse.gradients[value];
        if sum.is_empty() {
            *sum = gradient;
        } else {
            activation::add(self.context.isa, &gradient, sum);
            self.context.buffers.give(gradient);
        }
    }

    /// As [`Self::add_to`], leaving `gradient` in place if it is still needed.
    fn pass_on(&self, reverse: &mut Reverse, value: usize, gradient: &mut Vec<f32>, needed: bool) {
        if !reverse.gradients[value].is_empty() {
            activation::add(self.context.isa, gradient, &mut reverse.gradients[value]);
        } else if needed {
            let mut copy = self.take(value);
            copy.copy_from_slice(gradient);
            reverse.gradients[value] = copy;
        } else {
            reverse.gradients[value] = std::mem::take(gradient);
        }
    }
}
