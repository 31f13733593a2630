//! What a convolution reads for each result: forward, and backward split by the remainder of the position.

use crate::ConvolutionShape;

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
}

/// Every pixel by itself: what a factor and summand per channel is.
pub fn pointwise_pass(height: usize, width: usize) -> HalfPass {
    let tap = Tap { row: 0, column: 0, weight: (0, 0) };
    HalfPass { height, width, source_step: 1, target_step: 1, phase: (0, 0), taps: vec![tap] }
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
            }
        })
        .collect()
}
