//! The training pass in half precision: bf16 values and gradients in cells, f32 weights, statistics and sums.
//!
//! Values with pixels lie in cells ([`CellLayout`]); the images and what follows the last pooling stay f32. Convolutions,
//! normalisations with or without ReLU, sums and the average pool work on cells; every other step runs its f32 kernel
//! on a copy, so that whatever the f32 pass can train, this one can. The order of the pass, the meetings of the chunks
//! and recomputation are those of the f32 pass.

mod backward;
mod convolution;
mod forward;
mod weight_gradient;

pub(crate) use convolution::Passes;
pub(crate) use weight_gradient::{accumulate, split};

use super::buffers::BufferPool;
use super::lower::{Operation, Program, Step, Value};
use super::weights::Direction;
use convolution::reach;
use kernels::bf16::WeightScratch;
use kernels::half::{CellLayout, Columns, Lines, PackedHalf, TILE, Workspace};
use kernels::{ConvolutionShape, Isa};
use std::sync::Mutex;

/// A program's layouts and tables in half precision.
#[derive(Debug)]
pub(crate) struct HalfProgram {
    isa: Isa,
    /// By value; none where it is kept in f32.
    layouts: Vec<Option<CellLayout>>,
    /// By step that is a convolution.
    convolutions: Vec<Option<Passes>>,
    /// By value: whether a convolution reads its border.
    bordered: Vec<bool>,
    /// Images that buffers have room for.
    pub room: usize,
    scratches: Mutex<Vec<HalfScratch>>,
}

/// Working memory of one thread.
#[derive(Debug, Default)]
pub(crate) struct HalfScratch {
    workspace: Workspace,
    source: Lines<u16>,
    weights: WeightScratch,
}

impl HalfScratch {
    /// At least `length` numbers, not cleared.
    fn source(source: &mut Lines<u16>, length: usize) -> &mut [u16] {
        if source.len() < length {
            *source = Lines::zeros(length);
        }
        &mut source[..length]
    }
}

impl HalfProgram {
    /// Whether it was made for this program and these chunks.
    pub fn fits(&self, program: &Program, chunk_images: usize) -> bool {
        let layouts = layouts(program, chunk_images);
        let shapes = self.convolutions.iter().map(|passes| passes.as_ref().map(Passes::shape));
        let same = |(step, shape): (&Step, Option<&ConvolutionShape>)| match &step.operation {
            Operation::Convolution { shape: own, .. } => Some(own) == shape,
            _ => shape.is_none(),
        };
        layouts == self.layouts
            && bordered(program) == self.bordered
            && program.steps.len() == self.convolutions.len()
            && program.steps.iter().zip(shapes).all(same)
    }

    /// For chunks of `chunk_images` images.
    pub fn new(isa: Isa, program: &Program, chunk_images: usize) -> Self {
        let layouts = layouts(program, chunk_images);
        let most = layouts.iter().flatten().map(|layout| layout.images).max().unwrap_or(1);
        let passes = program.steps.iter().map(|step| match &step.operation {
            Operation::Convolution { shape, .. } => {
                let output = layouts[step.output].expect("a convolution's result lies in cells");
                Some(Passes::new(shape, layouts[step.input], output))
            }
            _ => None,
        });
        Self {
            isa,
            convolutions: passes.collect(),
            bordered: bordered(program),
            room: chunk_images.next_multiple_of(most),
            scratches: Mutex::default(),
            layouts,
        }
    }

    /// Where a value lies; none where it is kept in f32.
    pub fn layout(&self, value: usize) -> Option<&CellLayout> {
        self.layouts[value].as_ref()
    }

    /// Numbers of a buffer for a value.
    pub fn len(&self, layout: &CellLayout) -> usize {
        layout.len(self.room)
    }

    /// Words of a mask of a value.
    pub fn words(&self, layout: &CellLayout) -> usize {
        layout.groups(self.room) * layout.group_cells()
    }

    /// How a step's convolution runs.
    pub fn passes(&self, step: usize) -> &Passes {
        self.convolutions[step].as_ref().expect("the passes of a convolution")
    }

    /// A convolution's weights as its passes read them.
    pub fn pack(
        &self,
        step: &Step,
        index: usize,
        weights: &[f32],
        direction: Direction,
        buffers: &BufferPool,
    ) -> Vec<PackedHalf> {
        let passes = self.passes(index);
        match direction {
            Direction::Forward => {
                vec![passes.pack_forward(self.isa, self.layout(step.input), weights, buffers)]
            }
            Direction::BackwardData => {
                let output = self.layout(step.output).expect("a convolution's result in cells");
                passes.pack_backward(self.isa, output, weights, buffers)
            }
        }
    }

    fn scratch(&self) -> HalfScratch {
        self.lock().pop().unwrap_or_default()
    }

    fn return_scratch(&self, scratch: HalfScratch) {
        self.lock().push(scratch);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<HalfScratch>> {
        self.scratches.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// By value: where it lies; none where it is kept in f32. One border for all, so that values of one shape have one
/// layout.
fn layouts(program: &Program, chunk_images: usize) -> Vec<Option<CellLayout>> {
    let mut in_cells = vec![false; program.values.len()];
    let mut border = 0;
    for step in &program.steps {
        in_cells[step.output] = match &step.operation {
            Operation::Convolution { shape, .. } => {
                border = reach(shape).max(border);
                true
            }
            Operation::GlobalAveragePool | Operation::Flatten | Operation::Linear { .. } => false,
            _ => in_cells[step.input],
        };
    }
    let layout = |(value, in_cells): (&Value, bool)| {
        in_cells.then(|| CellLayout {
            channels: value.shape.channels,
            height: value.shape.height,
            width: value.shape.width,
            images: interleaved(value.shape.width, chunk_images),
            border,
            columns: Columns::Together,
        })
    };
    program.values.iter().zip(in_cells).map(layout).collect()
}

/// By value: whether a convolution reads it.
fn bordered(program: &Program) -> Vec<bool> {
    let mut bordered = vec![false; program.values.len()];
    for step in &program.steps {
        if matches!(step.operation, Operation::Convolution { .. }) {
            bordered[step.input] = true;
        }
    }
    bordered
}

/// Images to interleave, so that rows fill whole tiles: as many as waste the least, as few as do.
pub(crate) fn interleaved(width: usize, images: usize) -> usize {
    let most = images.next_power_of_two().min(TILE);
    let waste = |&count: &usize| (width * count).next_multiple_of(TILE) * (TILE / count);
    [1, 2, 4, 8, 16].into_iter().filter(|&count| count <= most).min_by_key(waste).unwrap_or(1)
}
