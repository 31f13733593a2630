//! How many bytes each thing takes that a pass makes. All chunks together: they go through the steps side by side.

use super::super::bf16::{HalfProgram, split};
use super::super::lower::{BatchParameters, Operation, Program, Step};
use super::super::normalisation::{Coefficients, variant};
use super::super::weight_gradient::tasks;
use kernels::bf16::weight_sums_len;
use kernels::convolution::Algorithm;
use kernels::half::CellLayout;
use kernels::{ConvolutionShape, LANES};
use std::ops::Range;
use std::sync::Arc;

/// Sizes of one pass.
pub(crate) struct Sizes<'a> {
    pub program: &'a Program,
    /// Domain of every image.
    pub domains: &'a [usize],
    pub chunks: usize,
    /// Images of a full chunk: every buffer is as long as one.
    pub chunk_images: usize,
    pub threads: usize,
    /// Layouts if the pass is in half precision.
    pub half: Option<Arc<HalfProgram>>,
}

/// Bytes of one stored value or gradient in f32.
const NUMBER: usize = size_of::<f32>();

impl Sizes<'_> {
    fn images(&self) -> usize {
        self.domains.len()
    }

    /// Images that buffers have room for.
    fn room(&self) -> usize {
        self.chunks * self.chunk_images
    }

    /// The layouts and the layout of a value that lies in cells.
    fn cells(&self, value: usize) -> Option<(&HalfProgram, &CellLayout)> {
        self.half.as_deref().and_then(|half| Some((half, half.layout(value)?)))
    }

    pub fn value(&self, value: usize) -> u64 {
        (match self.cells(value) {
            Some((half, layout)) => self.chunks * half.len(layout) * size_of::<u16>(),
            None => self.room() * self.program.values[value].len() * NUMBER,
        }) as u64
    }

    pub fn gradient(&self, value: usize) -> u64 {
        (match self.cells(value) {
            Some((half, layout)) => self.chunks * half.len(layout) * size_of::<u16>(),
            None => self.room() * self.program.values[value].gradient_len() * NUMBER,
        }) as u64
    }

    pub fn mask(&self, value: usize) -> u64 {
        let bytes = match self.cells(value) {
            Some((half, layout)) => half.words(layout) * size_of::<u32>(),
            None => self.chunk_images * self.program.values[value].len() / LANES * size_of::<u16>(),
        };
        (self.chunks * bytes) as u64
    }

    /// Which pixels won, and what group norms multiply with.
    pub fn state(&self, step: &Step) -> u64 {
        let images = self.images();
        let bytes = match step.operation {
            Operation::MaxPool { .. } => self.program.values[step.output].len() * size_of::<u32>(),
            Operation::Group { .. } => {
                Coefficients::bytes_of(self.program.values[step.input].stride)
            }
            _ => 0,
        };
        (images * bytes) as u64
    }

    /// Means and centred squares of every image.
    pub fn measured(&self, value: usize) -> u64 {
        (self.images() * 2 * self.program.values[value].stride * size_of::<f64>()) as u64
    }

    /// The statistics of a batch norm, and the copy that the trainer absorbs.
    pub fn batch_state(&self, step: &Step, batch_statistics: bool) -> u64 {
        let Operation::Batch(layer) = &step.operation else { return 0 };
        let stride = self.program.values[step.input].stride;
        let copies = if batch_statistics { 2 } else { 0 };
        batch_state_bytes(layer, stride, self.domains, copies) as u64
    }

    /// What a convolution lays out before it runs, on every thread.
    pub fn scratch(&self, step: &Step) -> u64 {
        let Operation::Convolution { shape, .. } = &step.operation else { return 0 };
        let padded = |side: usize| side + 2 * shape.padding;
        let map = padded(shape.height) * padded(shape.width) * shape.in_stride;
        (self.threads.min(self.chunks) * self.chunk_images * map * size_of::<f32>()) as u64
    }

    /// Partial sums of a weight gradient, one buffer a task.
    pub fn weight_sums(&self, shape: &ConvolutionShape) -> Vec<u64> {
        if self.half.is_some() {
            let (ranges, groups) = split(shape, self.chunks);
            let length = |panels: &Range<usize>| {
                (weight_sums_len(shape, panels.len()) * size_of::<f32>()) as u64
            };
            return ranges.iter().flat_map(|r| groups.iter().map(move |_| length(r))).collect();
        }
        let tasks = tasks(shape, self.chunks);
        let length = |panels: usize| (panels * shape.panel_len() * size_of::<f32>()) as u64;
        let sums = tasks.iter().map(|task| length(task.panels.len()));
        sums.chain([length(shape.out_panels())]).collect()
    }

    /// Packed weights of a step's convolution, in the direction that `single` counts in f32.
    pub fn packed(&self, step: &Step, single: fn(&Step) -> u64) -> u64 {
        match &self.half {
            Some(_) => single(step) / 2,
            None => single(step),
        }
    }
}

/// Bytes of the coefficients of the variants in use and of `copies` of the moments of the branches in use.
fn batch_state_bytes(
    layer: &BatchParameters,
    stride: usize,
    domains: &[usize],
    copies: usize,
) -> usize {
    let mut variants = vec![false; layer.norm.domains];
    let mut branches = vec![false; layer.statistics.len()];
    for &domain in domains {
        variants[variant(layer, domain)] = true;
        branches[layer.norm.statistics_branch(domain)] = true;
    }
    let count = |used: &[bool]| used.iter().filter(|&&used| used).count();
    count(&variants) * Coefficients::bytes_of(stride)
        + copies * count(&branches) * layer.norm.channels * 2 * size_of::<f64>()
}

/// Packed weights of a step's convolution, forward.
pub(crate) fn packed_forward(step: &Step) -> u64 {
    match &step.operation {
        Operation::Convolution { shape, .. } => {
            (shape.out_panels() * shape.panel_len() * size_of::<f32>()) as u64
        }
        _ => 0,
    }
}

/// Packed weights of a step's convolution, backward: every tap belongs to one phase of the stride.
pub(crate) fn packed_backward(step: &Step) -> u64 {
    match &step.operation {
        Operation::Convolution { shape, .. } => {
            let channels = shape.input_gradient_stride() * shape.out_channels;
            (channels * shape.kernel * shape.kernel * size_of::<f32>()) as u64
        }
        _ => 0,
    }
}

/// Packed weights of a step's convolution in a frozen network, both directions.
pub(crate) fn packed_frozen(step: &Step) -> u64 {
    let direct = packed_forward(step) + packed_backward(step);
    match &step.operation {
        Operation::Convolution { shape, .. } => {
            direct * Algorithm::fastest(shape).weights_per_nine() as u64 / 9
        }
        _ => direct,
    }
}
