//! What a convolution reads for each result: forward, and backward split by the remainder of the position.

use super::filter::{ACROSS, COLUMNS, DOWN, ROWS, WINDOW};
use super::{CellLayout, Columns};
use crate::{ConvolutionShape, Isa, LANES};

/// One read: the shift from the grid position times [`HalfPass::source_step`], and which weight it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap {
    /// Rows.
    pub row: isize,
    /// Columns.
    pub column: isize,
    /// Row and column of the kernel.
    pub weight: (usize, usize),
}

/// How windows are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Tap by tap.
    Direct,
    /// 24 products for two rows of four results: minimal filtering, as Lavin & Gray 2016, section 4.
    Filtered,
}

/// A window of 3x3 neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowOfThree {
    /// The shift of its first row and column.
    pub first: (isize, isize),
    /// Row and column of the kernel by row and column of the window.
    pub weights: [[(usize, usize); WINDOW]; WINDOW],
}

/// A grid of results: position `(i, j)` reads the source at `step * (i, j) + tap` and writes the target at
/// `target_step * (i, j) + phase`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HalfPass {
    /// Rows of the grid.
    pub height: usize,
    /// Columns of the grid.
    pub width: usize,
    /// Distance of reads.
    pub source_step: usize,
    /// Distance of writes.
    pub target_step: usize,
    /// First row and column written.
    pub phase: (usize, usize),
    /// In the order of the sum.
    pub taps: Vec<Tap>,
    /// How they are multiplied; [`HalfPass::on`] chooses.
    pub algorithm: Algorithm,
}

impl HalfPass {
    /// The same pass by the algorithm that is fastest on `isa` for cells of this layout and so many outputs.
    ///
    /// AMX multiplies faster than transformed inputs can be written and read. How many images lie together decides nothing:
    /// an image has the same bits in any batch.
    pub fn on(self, isa: Isa, source: &CellLayout, outputs: usize) -> Self {
        // For each channel; rows of the window that lie outside the map are left out where windows are multiplied directly.
        let direct = WINDOW * self.width * (WINDOW * self.height).saturating_sub(WINDOW - 1);
        let filtered = ROWS * COLUMNS * self.width.div_ceil(ACROSS) * self.height.div_ceil(DOWN);
        let suits = isa != Isa::Amx
            && source.columns == Columns::Together
            && source.channels.min(outputs) >= LANES
            && 4 * filtered <= 3 * direct
            && self.window_of_three().is_some();
        let algorithm = if suits { Algorithm::Filtered } else { Algorithm::Direct };
        Self { algorithm, ..self }
    }

    /// The window, if it is 3x3 neighbours.
    pub(crate) fn window_of_three(&self) -> Option<WindowOfThree> {
        if (self.source_step, self.target_step, self.taps.len()) != (1, 1, WINDOW * WINDOW) {
            return None;
        }
        let mut taps: Vec<&Tap> = self.taps.iter().collect();
        taps.sort_by_key(|tap| (tap.row, tap.column));
        let first = (taps[0].row, taps[0].column);
        let place =
            |at: usize| (first.0 + (at / WINDOW) as isize, first.1 + (at % WINDOW) as isize);
        let neighbours =
            taps.iter().enumerate().all(|(at, tap)| (tap.row, tap.column) == place(at));
        let weight = |row: usize, column: usize| taps[row * WINDOW + column].weight;
        (neighbours && first.1 <= 0).then(|| WindowOfThree {
            first,
            weights: std::array::from_fn(|row| std::array::from_fn(|column| weight(row, column))),
        })
    }
}

/// Every pixel by itself: what a factor and summand per channel is.
pub fn pointwise_pass(height: usize, width: usize) -> HalfPass {
    let tap = Tap { row: 0, column: 0, weight: (0, 0) };
    HalfPass {
        height,
        width,
        source_step: 1,
        target_step: 1,
        phase: (0, 0),
        taps: vec![tap],
        algorithm: Algorithm::Direct,
    }
}

/// The forward of a convolution.
pub fn forward_pass(shape: &ConvolutionShape) -> HalfPass {
    let padding = shape.padding as isize;
    let positions = (0..shape.kernel * shape.kernel).map(|i| (i / shape.kernel, i % shape.kernel));
    HalfPass {
        height: shape.out_height(),
        width: shape.out_width(),
        source_step: shape.stride,
        target_step: 1,
        phase: (0, 0),
        taps: positions
            .map(|(row, column)| Tap {
                row: row as isize - padding,
                column: column as isize - padding,
                weight: (row, column),
            })
            .collect(),
        algorithm: Algorithm::Direct,
    }
}

/// The backward by data: one pass for each remainder of the input position by the stride.
///
/// Input `y` meets kernel row `k` in output `(y + padding - k) / stride` where that is whole.
pub fn backward_passes(shape: &ConvolutionShape) -> Vec<HalfPass> {
    let axis = |phase: usize| -> Vec<(isize, usize)> {
        (0..shape.kernel)
            .filter(|k| {
                (phase + shape.padding + shape.stride - k % shape.stride)
                    .is_multiple_of(shape.stride)
            })
            .map(|k| {
                let distance = phase as isize + shape.padding as isize - k as isize;
                (distance.div_euclid(shape.stride as isize), k)
            })
            .collect()
    };
    let phases =
        (0..shape.stride).flat_map(|row| (0..shape.stride).map(move |column| (row, column)));
    phases
        .filter(|&(row, column)| row < shape.height && column < shape.width)
        .map(|(row, column)| {
            let columns = axis(column);
            HalfPass {
                height: (shape.height - row).div_ceil(shape.stride),
                width: (shape.width - column).div_ceil(shape.stride),
                source_step: 1,
                target_step: shape.stride,
                phase: (row, column),
                taps: axis(row)
                    .into_iter()
                    .flat_map(|(down, i)| {
                        columns.iter().map(move |&(right, j)| Tap {
                            row: down,
                            column: right,
                            weight: (i, j),
                        })
                    })
                    .collect(),
                algorithm: Algorithm::Direct,
            }
        })
        .collect()
}
