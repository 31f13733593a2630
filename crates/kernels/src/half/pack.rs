//! Weights as the blocks read them: panels of 16 outputs, pairs of inputs side by side.

use super::convert::from_f32;
use super::{CELL, HalfPass, Lines};
use crate::{ConvolutionShape, LANES};
use std::ops::Range;

/// Which tensor is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    /// Cells of 32 channels: a step is a tap and a block of channels.
    Cells,
    /// A strip: a step is a row of the kernel, all its columns and channels at once.
    Strip,
}

/// Weights of one pass: `[pair of panels][step][panel of the pair][16 pairs of inputs][16 outputs][2]`.
///
/// If 16 outputs or fewer remain, the last pair is one panel.
#[derive(Debug)]
pub struct PackedHalf {
    pub(crate) values: Lines<u16>,
    /// Steps of a tile that sees the whole window.
    pub(crate) steps: usize,
    /// Panels of 16 outputs.
    pub(crate) panels: usize,
}

/// bf16 numbers of one step and panel.
pub(crate) const PANEL: usize = CELL * LANES;

/// Which way a pass goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From inputs to outputs.
    Forward,
    /// From the outputs' gradient to the inputs'.
    Backward,
}

/// Whether a kernel's row fits into one step.
pub(crate) fn fits_strip(shape: &ConvolutionShape) -> bool {
    shape.kernel * shape.in_channels <= CELL
}

impl PackedHalf {
    /// What a pass reads first: the weights of its first panels.
    pub fn first(&self) -> &[u16] {
        &self.values[..self.panels.min(2) * self.steps * PANEL]
    }

    /// The numbers, to pack other weights into.
    pub fn into_storage(self) -> Lines<u16> {
        self.values
    }
}

/// Packs `[out_channels, in_channels, kernel, kernel]` weights for a pass over cells or, with `strip`, over a strip.
pub fn pack(
    shape: &ConvolutionShape,
    weights: &[f32],
    pass: &HalfPass,
    direction: Direction,
    from: super::Source,
) -> PackedHalf {
    pack_into(shape, weights, pass, direction, from, Lines::zeros)
}

/// As [`pack`], into numbers of the length that `storage` is asked for; what they hold is overwritten.
pub fn pack_into(
    shape: &ConvolutionShape,
    weights: &[f32],
    pass: &HalfPass,
    direction: Direction,
    from: super::Source,
    storage: impl FnOnce(usize) -> Lines<u16>,
) -> PackedHalf {
    assert_eq!(
        weights.len(),
        shape.out_channels * shape.in_channels * shape.kernel * shape.kernel,
        "weights of {shape:?}"
    );
    let (inputs, outputs) = match direction {
        Direction::Forward => (shape.in_channels, shape.out_channels),
        Direction::Backward => (shape.out_channels, shape.in_channels),
    };
    let taps = pass.taps.len();
    let (reads, steps) = match from {
        super::Source::Cells(_) => (Reads::Cells, inputs.div_ceil(CELL) * taps),
        super::Source::Strip(_) => (Reads::Strip, shape.kernel),
    };
    let panels = outputs.div_ceil(LANES);
    let mut values = storage(panels * steps * PANEL);
    assert_eq!(values.len(), panels * steps * PANEL, "storage of packed weights");
    let whole = inputs.is_multiple_of(CELL) && outputs.is_multiple_of(LANES);
    if !whole || reads == Reads::Strip {
        values.fill(0);
    }
    for pair in 0..panels.div_ceil(2) {
        let width = (panels - 2 * pair).min(2);
        let start = pair * 2 * steps * PANEL;
        for panel in 0..width {
            let first = (2 * pair + panel) * LANES;
            let own = first..outputs.min(first + LANES);
            let place = |step: usize| start + (step * width + panel) * PANEL;
            match reads {
                Reads::Cells => {
                    pack_cells(shape, weights, pass, direction, own, place, &mut values)
                }
                Reads::Strip => pack_strip(shape, weights, own, place, &mut values),
            }
        }
    }
    PackedHalf { values, steps, panels }
}

/// One panel over cells: input `k` of step `(block, tap)` is a channel of the block. What a block writes stays in the
/// nearest cache.
fn pack_cells(
    shape: &ConvolutionShape,
    weights: &[f32],
    pass: &HalfPass,
    direction: Direction,
    own: Range<usize>,
    place: impl Fn(usize) -> usize,
    values: &mut [u16],
) {
    let (kernel, taps) = (shape.kernel, pass.taps.len());
    let window = kernel * kernel;
    let (inputs, between_inputs, between_outputs) = match direction {
        Direction::Forward => (shape.in_channels, window, shape.in_channels * window),
        Direction::Backward => (shape.out_channels, shape.in_channels * window, window),
    };
    for first in (0..inputs).step_by(CELL) {
        for input in first..inputs.min(first + CELL) {
            let k = input - first;
            let row = &weights[input * between_inputs + own.start * between_outputs..];
            for (tap, from) in pass.taps.iter().enumerate() {
                let row = &row[from.weight.0 * kernel + from.weight.1..];
                let row = row.iter().step_by(between_outputs).take(own.len());
                let to = &mut values[place(first / CELL * taps + tap)..][..PANEL];
                let to = to[k / 2 * CELL + k % 2..].iter_mut().step_by(2);
                to.zip(row).for_each(|(to, &from)| *to = from_f32(from));
            }
        }
    }
}

/// One panel over a strip: input `k` of step `row` is a column of the kernel and a channel.
fn pack_strip(
    shape: &ConvolutionShape,
    weights: &[f32],
    own: Range<usize>,
    place: impl Fn(usize) -> usize,
    values: &mut [u16],
) {
    let (kernel, inputs) = (shape.kernel, shape.in_channels);
    for output in own {
        for row in 0..kernel {
            for k in 0..kernel * inputs {
                let (column, input) = (k / inputs, k % inputs);
                let weight = ((output * inputs + input) * kernel + row) * kernel + column;
                let at = k / 2 * CELL + k % 2 + 2 * (output % LANES);
                values[place(row) + at] = from_f32(weights[weight]);
            }
        }
    }
}
