//! Weights as the blocks read them: panels of 16 outputs, pairs of inputs side by side.

use super::convert::from_f32;
use super::{CELL, HalfPass, Lines};
use crate::{ConvolutionShape, LANES};

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

/// Packs `[out_channels, in_channels, kernel, kernel]` weights for a pass over cells or, with `strip`, over a strip.
pub fn pack(
    shape: &ConvolutionShape,
    weights: &[f32],
    pass: &HalfPass,
    direction: Direction,
    from: super::Source,
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
    let kernel = shape.kernel;
    let weight = |output: usize, input: usize, (row, column): (usize, usize)| {
        let (o, i) = match direction {
            Direction::Forward => (output, input),
            Direction::Backward => (input, output),
        };
        weights[((o * shape.in_channels + i) * kernel + row) * kernel + column]
    };
    // What input `k` of step `s` is: a channel and a place in the kernel, or nothing.
    let blocks = inputs.div_ceil(CELL);
    let taps = pass.taps.len();
    let (reads, steps) = match from {
        super::Source::Cells(_) => (Reads::Cells, blocks * taps),
        super::Source::Strip(_) => (Reads::Strip, kernel),
    };
    let meaning = |step: usize, k: usize| match reads {
        Reads::Cells => {
            let channel = step / taps * CELL + k;
            (channel < inputs).then(|| (channel, pass.taps[step % taps].weight))
        }
        Reads::Strip => {
            let (column, channel) = (k / inputs, k % inputs);
            (column < kernel).then_some((channel, (step, column)))
        }
    };
    let panels = outputs.div_ceil(LANES);
    let mut values = Lines::zeros(panels * steps * PANEL);
    for pair in 0..panels.div_ceil(2) {
        let width = (panels - 2 * pair).min(2);
        let start = pair * 2 * steps * PANEL;
        for step in 0..steps {
            for k in 0..CELL {
                let Some((input, place)) = meaning(step, k) else { continue };
                for panel in 0..width {
                    let first = (2 * pair + panel) * LANES;
                    let at = start + (step * width + panel) * PANEL + k / 2 * CELL + k % 2;
                    for lane in 0..LANES.min(outputs - first) {
                        values[at + 2 * lane] = from_f32(weight(first + lane, input, place));
                    }
                }
            }
        }
    }
    PackedHalf { values, steps, panels }
}
