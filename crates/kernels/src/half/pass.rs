//! What a convolution reads for each result: forward, and backward split by the remainder of the position.

use super::filter::{COLUMNS, POSITIONS, RESULTS};
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
    /// Six products for four neighbouring results of each row: [`super::filter`].
    Filtered,
}

/// A row of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WindowRow {
    /// Its shift.
    pub row: isize,
    /// The shift of its first column.
    pub first: isize,
    /// Row and column of the kernel that meet its columns, from left to right.
    pub weights: [(usize, usize); COLUMNS],
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
        // For a row of results and a row of the window.
        let direct = COLUMNS * self.width;
        let filtered = POSITIONS * self.width.div_ceil(RESULTS);
        let suits = isa != Isa::Amx
            && source.columns == Columns::Together
            && source.channels.min(outputs) >= LANES
            && 4 * filtered <= 3 * direct
            && self.rows_of_three().is_some();
        let algorithm = if suits { Algorithm::Filtered } else { Algorithm::Direct };
        Self { algorithm, ..self }
    }

    /// The rows of the window in the order of the sum; `None` unless each is three neighbouring columns, the same ones.
    pub(crate) fn rows_of_three(&self) -> Option<Vec<WindowRow>> {
        let first = self.taps.iter().map(|tap| tap.column).min()?;
        let mut order: Vec<isize> = self.taps.iter().map(|tap| tap.row).collect();
        order.dedup();
        let rows = order.into_iter().map(|row| {
            let mut taps: Vec<&Tap> = self.taps.iter().filter(|tap| tap.row == row).collect();
            taps.sort_by_key(|tap| tap.column);
            let [left, middle, right] = taps[..] else { return None };
            let columns = [left, middle, right].map(|tap| tap.column - first);
            let weights = [left, middle, right].map(|tap| tap.weight);
            (columns == [0, 1, 2]).then_some(WindowRow { row, first, weights })
        });
        let neighbours = self.source_step == 1 && self.target_step == 1;
        rows.collect::<Option<Vec<_>>>().filter(|_| neighbours)
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
