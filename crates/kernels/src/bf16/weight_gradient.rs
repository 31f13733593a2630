//! The gradient by the weights: pixels inside, output channels times taps and input channels outside.

use super::line::Line;
use super::transpose::transpose;
use super::weight_block::{self, Block, COLUMNS, Extent, Step};
use super::weight_operands::{Grid, Inputs};
use crate::half::{CellLayout, TILE};
use crate::{ConvolutionShape, Isa, LANES};
use std::ops::Range;

/// Working memory of one thread; grows at first use and is then kept.
#[derive(Clone, Debug, Default)]
pub struct WeightScratch {
    inputs: Vec<Line>,
    gradients: Vec<Line>,
    steps: Vec<Step>,
}

/// One weight gradient of some images.
#[derive(Clone, Copy, Debug)]
pub struct WeightGradient<'a> {
    /// The convolution.
    pub shape: ConvolutionShape,
    /// Number of images.
    pub images: usize,
    /// Images of every run but perhaps the last.
    pub run: usize,
    /// What it has read.
    pub inputs: Inputs<'a>,
    /// Where the gradients by its output lie.
    pub layout: CellLayout,
    /// Those gradients, run by run.
    pub gradients: &'a [&'a [u16]],
}

/// Numbers of a tile of sums.
const SUMS: usize = LANES * LANES;

/// Sums of `panels` panels of 16 output channels, as [`weight_gradient`] adds to them.
pub fn weight_sums_len(shape: &ConvolutionShape, panels: usize) -> usize {
    panels * shape.kernel * shape.kernel * shape.in_channels.div_ceil(LANES) * SUMS
}

/// ADDS the gradient by the weights of the output channels of `panels`. The order of the sum is a function of the shape
/// and the number of images of each call.
///
/// Shapes: `sums` `[panels.len(), kernel * kernel, in_channels / 16, 16 outputs, 16 inputs]`.
pub fn weight_gradient(
    isa: Isa,
    job: &WeightGradient<'_>,
    panels: Range<usize>,
    sums: &mut [f32],
    scratch: &mut WeightScratch,
) {
    let shape = &job.shape;
    assert!(panels.end <= shape.out_panels(), "panels {panels:?} of {shape:?}");
    assert_eq!(sums.len(), weight_sums_len(shape, panels.len()), "weight sums of {shape:?}");
    assert!(isa.is_available(), "{isa} kernels on a processor without them");
    let block = block_images(shape, panels.len());
    for first in (0..job.images).step_by(block) {
        let grid = Grid::new(shape, first, block.min(job.images - first), job.run);
        add_images(isa, job, &grid, panels.clone(), sums, scratch);
    }
}

/// Images whose operands fill half of a usual second-level cache, but so many that sums do not pass through memory more
/// often than operands.
fn block_images(shape: &ConvolutionShape, panels: usize) -> usize {
    const BYTES: usize = 5 << 17;
    const TILES: usize = 64;
    let inputs = shape.height * (shape.width + 2 * shape.padding) * shape.in_channels;
    let outputs = shape.out_height() * shape.out_width();
    let bytes = 2 * (inputs + outputs * panels * LANES);
    // A tile holds sixteen places of two images.
    (BYTES / bytes).max(TILES * 2 * TILE / outputs).max(2).next_multiple_of(2)
}

fn add_images(
    isa: Isa,
    job: &WeightGradient<'_>,
    grid: &Grid,
    panels: Range<usize>,
    sums: &mut [f32],
    scratch: &mut WeightScratch,
) {
    let WeightScratch { inputs, gradients, steps } = scratch;
    let inputs = grid.lay_out_inputs(isa, job.inputs, inputs);
    let gradients =
        grid.lay_out_gradients(isa, job.layout, job.gradients, panels.clone(), gradients);
    let kernel = job.shape.kernel;
    let in_panels = job.shape.in_channels.div_ceil(LANES);
    #[cfg(target_arch = "x86_64")]
    let _tiles = (isa == Isa::Amx).then(crate::amx::Tiles::configure);
    for row in 0..kernel {
        list_steps(grid, row, steps);
        let place = |(column, panel): (usize, usize)| Column {
            input: panel * grid.panel_lines() + grid.shift(column),
            sums: ((row * kernel + column) * in_panels + panel) * SUMS,
        };
        for columns in column_lists(kernel, job.shape.stride, in_panels) {
            let columns: Vec<Column> = columns.into_iter().map(place).collect();
            let stride = kernel * kernel * in_panels * SUMS;
            sweep(isa, grid, steps, inputs, gradients, &columns, stride, sums);
        }
    }
}

/// Kernel columns and input panels that one block takes.
///
/// Three taps side by side read the same lines but for the first and the last; elsewhere two panels of one tap share theirs
/// with the next tap.
fn column_lists(kernel: usize, stride: usize, in_panels: usize) -> Vec<Vec<(usize, usize)>> {
    let threes = if stride == 1 { kernel / COLUMNS } else { 0 };
    let mut lists = Vec::new();
    for panel in 0..in_panels {
        let three = |at: usize| (0..COLUMNS).map(|tap| (at * COLUMNS + tap, panel)).collect();
        lists.extend((0..threes).map(three));
    }
    for pair in (0..in_panels).step_by(2) {
        let panels = pair..in_panels.min(pair + 2);
        let rest: Vec<(usize, usize)> = (threes * COLUMNS..kernel)
            .flat_map(|column| panels.clone().map(move |panel| (column, panel)))
            .collect();
        lists.extend(rest.chunks(2).map(<[_]>::to_vec));
    }
    lists
}

/// A tap and sixteen input channels.
#[derive(Clone, Copy)]
struct Column {
    /// The first line.
    input: usize,
    /// The first sum of a panel.
    sums: usize,
}

/// All output panels of one to three columns; a panel's sums are `stride` numbers.
#[allow(clippy::too_many_arguments)]
fn sweep(
    isa: Isa,
    grid: &Grid,
    steps: &[Step],
    inputs: &[Line],
    gradients: &[Line],
    columns: &[Column],
    stride: usize,
    sums: &mut [f32],
) {
    let panel_lines = grid.gradient_tiles() * TILE;
    let panels = gradients.len() / panel_lines;
    let reach = |offset: fn(&Step) -> u32| {
        steps.iter().map(|step| offset(step) as usize / size_of::<Line>() + TILE).max().unwrap_or(0)
    };
    let input = columns.iter().map(|column| column.input).max().expect("a column");
    assert!(input + reach(|step| step.input) <= inputs.len(), "inputs of a weight gradient");
    assert!(reach(|step| step.gradient) <= panel_lines, "gradients of a weight gradient");
    assert!(columns.iter().all(|column| column.sums + SUMS <= stride), "a panel's sums");
    let at = |column: usize| columns[column.min(columns.len() - 1)];
    let even = |of: fn(&Column) -> usize| {
        columns.is_sorted_by_key(of)
            && (columns.len() < 3 || of(&at(0)) + of(&at(2)) == 2 * of(&at(1)))
    };
    assert!(even(|column| column.sums), "columns in the order of their sums, evenly spaced");
    assert!(columns.len() < 3 || even(|column| column.input), "three columns, evenly spaced");
    assert_eq!(panels * stride, sums.len(), "weight sums");
    let base = sums.as_mut_ptr();
    for panel in (0..panels).step_by(2) {
        let own = [panel, (panel + 1).min(panels - 1)];
        let sum = |panel: usize, column: Column| base.wrapping_add(panel * stride + column.sums);
        let sums = own.map(|panel| std::array::from_fn(|column| sum(panel, at(column))));
        let block = Block {
            steps,
            gradients: own.map(|panel| gradients[panel * panel_lines..].as_ptr()),
            inputs: std::array::from_fn(|column| inputs[at(column).input..].as_ptr()),
            sums,
        };
        let extent = Extent { panels: (panels - panel).min(2), columns: columns.len() };
        // SAFETY: all steps and sums were checked above, the processor has the instructions, tiles are configured.
        unsafe { weight_block::run(isa, &block, extent) };
    }
}

/// Every tile of outputs that a kernel row's taps reach, and where its inputs lie.
fn list_steps(grid: &Grid, kernel_row: usize, steps: &mut Vec<Step>) {
    steps.clear();
    let bytes = |lines: usize| (lines * size_of::<Line>()) as u32;
    let (height, tiles) = (grid.shape.out_height(), grid.row_tiles());
    for group in 0..grid.groups {
        for output in 0..height {
            let Some(input) = grid.input_row(output, kernel_row) else { continue };
            steps.extend((0..tiles).map(|tile| Step {
                gradient: bytes(((group * height + output) * tiles + tile) * TILE),
                input: bytes(grid.row(group, input) + tile * TILE),
            }));
        }
    }
}

/// Adds sums of some panels to the weights of their output channels in PyTorch's layout.
///
/// Shapes: `sums` as [`weight_gradient`] leaves them, `weights` `[at most 16 panels, in_channels, kernel, kernel]`.
pub fn unpack_weight_sums(
    isa: Isa,
    shape: &ConvolutionShape,
    panels: usize,
    sums: &[f32],
    weights: &mut [f32],
) {
    let (taps, channels) = (shape.kernel * shape.kernel, shape.in_channels);
    let outputs = weights.len() / (channels * taps);
    assert_eq!(outputs.div_ceil(LANES), panels, "weights of {panels} panels of {shape:?}");
    assert_eq!(sums.len(), weight_sums_len(shape, panels), "weight sums of {shape:?}");
    let in_panels = channels.div_ceil(LANES);
    let mut window = Vec::new();
    let panel_rows = weights.chunks_mut(LANES * channels * taps);
    for (rows, sums) in panel_rows.zip(sums.chunks_exact(taps * in_panels * SUMS)) {
        // Sums of sixteen inputs and sixteen outputs are read whole, tap by tap.
        for panel in 0..in_panels {
            add_square(isa, rows, sums, (channels, taps), panel, &mut window);
        }
    }
}

/// Sixteen input channels of up to sixteen outputs. `window` is working memory.
fn add_square(
    isa: Isa,
    rows: &mut [f32],
    sums: &[f32],
    (channels, taps): (usize, usize),
    panel: usize,
    window: &mut Vec<f32>,
) {
    let between_taps = sums.len() / taps;
    let inputs = panel * LANES..channels.min((panel + 1) * LANES);
    // Taps are outside in the sums and inside in the weights: turned sixteen at a time, the last ones first, because they
    // may go past an input's end, where the next input's first ones come.
    window.resize(LANES * (taps + LANES), 0.0);
    for (output, row) in rows.chunks_exact_mut(channels * taps).enumerate() {
        let at = panel * SUMS + output * LANES;
        for first in (0..taps).step_by(LANES).rev() {
            let (mut from, mut to) = ([Line::ZERO; LANES], [Line::ZERO; LANES]);
            for (line, tap) in from.iter_mut().zip(first..taps) {
                let own = &sums[tap * between_taps + at..][..LANES];
                line.0.iter_mut().zip(own).for_each(|(bits, sum)| *bits = sum.to_bits());
            }
            transpose(isa, &from, &mut to);
            for (input, line) in to.iter().enumerate() {
                let window = &mut window[input * taps + first..][..LANES];
                window.copy_from_slice(&line.0.map(f32::from_bits));
            }
        }
        let row = &mut row[inputs.start * taps..inputs.end * taps];
        row.iter_mut().zip(&*window).for_each(|(weight, sum)| *weight += sum);
    }
}
