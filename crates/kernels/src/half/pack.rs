//! Weights as the blocks read them: panels of 16 outputs, pairs of inputs side by side.

use super::convert::from_f32;
use super::filter::{COLUMNS, ROWS, TransformedWeights};
use super::turn::Turned;
use super::{Algorithm, CELL, HalfPass, Lines};
use crate::{ConvolutionShape, Isa, LANES};
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
    /// Outputs.
    pub(crate) outputs: usize,
    /// Panels of 16 of them.
    pub(crate) panels: usize,
    /// How windows are multiplied by them.
    pub(crate) algorithm: Algorithm,
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
    isa: Isa,
    shape: &ConvolutionShape,
    weights: &[f32],
    pass: &HalfPass,
    direction: Direction,
    from: super::Source,
) -> PackedHalf {
    pack_into(isa, shape, weights, pass, direction, from, Lines::zeros)
}

/// As [`pack`], into numbers of the length that `storage` is asked for; what they hold is overwritten.
#[allow(clippy::too_many_arguments)]
pub fn pack_into(
    isa: Isa,
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
    let window = shape.kernel * shape.kernel;
    let taps: Vec<usize> = match pass.algorithm {
        Algorithm::Direct => {
            pass.taps.iter().map(|tap| tap.weight.0 * shape.kernel + tap.weight.1).collect()
        }
        Algorithm::Filtered => (0..ROWS * COLUMNS).collect(),
    };
    let (reads, steps) = match from {
        super::Source::Cells(_) => (Reads::Cells, inputs.div_ceil(CELL) * taps.len()),
        super::Source::Strip(_) => (Reads::Strip, shape.kernel),
    };
    let panels = outputs.div_ceil(LANES);
    let mut values = storage(panels * steps * PANEL);
    assert_eq!(values.len(), panels * steps * PANEL, "storage of packed weights");
    let mut turned = Turned::default();
    let mut transformed = TransformedWeights::default();
    let whole = inputs.is_multiple_of(CELL) && outputs.is_multiple_of(LANES);
    if !whole || reads == Reads::Strip {
        values.fill(0);
    }
    let tensor = match direction {
        Direction::Forward => Tensor {
            inputs,
            between_inputs: window,
            between_outputs: shape.in_channels * window,
            window,
        },
        Direction::Backward => Tensor {
            inputs,
            between_inputs: shape.in_channels * window,
            between_outputs: window,
            window,
        },
    };
    for pair in 0..panels.div_ceil(2) {
        let width = (panels - 2 * pair).min(2);
        let start = pair * 2 * steps * PANEL;
        for panel in 0..width {
            let first = (2 * pair + panel) * LANES;
            let own = first..outputs.min(first + LANES);
            let (tensor, weights, own) = match pass.algorithm {
                Algorithm::Direct => (tensor, weights, own),
                Algorithm::Filtered => {
                    let tensor = transformed.fill(isa, weights, tensor, pass, own.clone());
                    (tensor, &transformed.values[..], 0..own.len())
                }
            };
            let place = Place { first: start + panel * PANEL, between: width * PANEL };
            match reads {
                Reads::Cells if whole => {
                    for input in (0..inputs).step_by(CELL) {
                        let output = own.start;
                        turned.pack(isa, weights, tensor, &taps, input, output, place, &mut values);
                    }
                }
                Reads::Cells => pack_cells(isa, weights, tensor, &taps, own, place, &mut values),
                Reads::Strip => pack_strip(shape, weights, own, place, &mut values),
            }
        }
    }
    PackedHalf { values, steps, outputs, panels, algorithm: pass.algorithm }
}

/// How a weight tensor is read in one direction: distances in numbers.
#[derive(Clone, Copy)]
pub(super) struct Tensor {
    pub inputs: usize,
    pub between_inputs: usize,
    pub between_outputs: usize,
    pub window: usize,
}

/// Where the steps of one panel lie.
#[derive(Clone, Copy)]
pub(super) struct Place {
    first: usize,
    between: usize,
}

impl Place {
    pub fn of(self, step: usize) -> usize {
        self.first + step * self.between
    }
}

per_isa! {
    /// One panel over cells: input `k` of step `(block, tap)` is a channel of the block. For any number of either; whole
    /// blocks are turned faster.
    fn pack_cells(weights: &[f32], tensor: Tensor, taps: &[usize], own: Range<usize>, place: Place,
                  values: &mut [u16]) {
        let Tensor { inputs, between_inputs, between_outputs, window } = tensor;
        let mut columns = vec![[0.0_f32; LANES]; 2 * taps.len()];
        for input in (0..inputs).step_by(2) {
            let (low, high) = columns.split_at_mut(taps.len());
            if input + 1 == inputs {
                high.fill([0.0; LANES]);
            }
            for (input, columns) in (input..inputs).zip([low, high]) {
                for (lane, output) in own.clone().enumerate() {
                    let at = input * between_inputs + output * between_outputs;
                    let row = &weights[at..at + window];
                    for (column, &tap) in columns.iter_mut().zip(taps) {
                        column[lane] = row[tap];
                    }
                }
            }
            let (low, high) = columns.split_at(taps.len());
            for (tap, (low, high)) in low.iter().zip(high).enumerate() {
                let line = place.of(input / CELL * taps.len() + tap) + input % CELL / 2 * CELL;
                let line: &mut [u16; CELL] =
                    (&mut values[line..line + CELL]).try_into().expect("a line");
                for lane in 0..LANES {
                    line[2 * lane] = from_f32(low[lane]);
                    line[2 * lane + 1] = from_f32(high[lane]);
                }
            }
        }
    }
}

/// One panel over a strip: input `k` of step `row` is a column of the kernel and a channel.
fn pack_strip(
    shape: &ConvolutionShape,
    weights: &[f32],
    own: Range<usize>,
    place: Place,
    values: &mut [u16],
) {
    let (kernel, inputs) = (shape.kernel, shape.in_channels);
    for output in own {
        for row in 0..kernel {
            for k in 0..kernel * inputs {
                let (column, input) = (k / inputs, k % inputs);
                let weight = ((output * inputs + input) * kernel + row) * kernel + column;
                let at = k / 2 * CELL + k % 2 + 2 * (output % LANES);
                values[place.of(row) + at] = from_f32(weights[weight]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CellLayout, Columns, Source, backward_passes, forward_pass};
    use super::*;

    /// Number `k` of a step for `output`, straight from the tensor; zero beyond its ends.
    fn expected(
        shape: &ConvolutionShape,
        weights: &[f32],
        direction: Direction,
        (input, output): (usize, usize),
        tap: (usize, usize),
    ) -> u16 {
        let (o, i) = match direction {
            Direction::Forward => (output, input),
            Direction::Backward => (input, output),
        };
        if o >= shape.out_channels || i >= shape.in_channels {
            return 0;
        }
        let window = shape.kernel * shape.kernel;
        from_f32(weights[(o * shape.in_channels + i) * window + tap.0 * shape.kernel + tap.1])
    }

    #[test]
    fn every_weight_is_where_the_blocks_read_it_whole_channels_or_not() {
        for (in_channels, out_channels, kernel, stride) in [
            (32, 32, 1, 1),
            (64, 96, 1, 2),
            (32, 64, 3, 1),
            (96, 32, 3, 2),
            (32, 32, 5, 1),
            (32, 32, 7, 2),
            (48, 16, 3, 1),
            (7, 40, 3, 2),
        ] {
            let shape = ConvolutionShape {
                in_channels,
                in_stride: in_channels.next_multiple_of(LANES),
                height: 8,
                width: 8,
                out_channels,
                kernel,
                stride,
                padding: kernel / 2,
            };
            let count = in_channels * out_channels * kernel * kernel;
            let weights: Vec<f32> = (0..count).map(|at| 1.0 + at as f32 * 0.37).collect();
            let forward = (forward_pass(&shape), Direction::Forward, in_channels, out_channels);
            let backward = backward_passes(&shape)
                .into_iter()
                .map(|pass| (pass, Direction::Backward, out_channels, in_channels));
            for (pass, direction, inputs, outputs) in std::iter::once(forward).chain(backward) {
                let (height, width, images) = (8, 8, 2);
                let columns = Columns::Together;
                let source =
                    CellLayout { channels: inputs, height, width, images, border: 3, columns };
                for isa in Isa::available() {
                    let packed =
                        pack(isa, &shape, &weights, &pass, direction, Source::Cells(source));
                    assert_eq!(packed.panels, outputs.div_ceil(LANES));
                    for output in 0..packed.panels * LANES {
                        let (pair, panel) = (output / LANES / 2, output / LANES % 2);
                        let width = (packed.panels - 2 * pair).min(2);
                        for step in 0..packed.steps {
                            let (block, tap) = (step / pass.taps.len(), step % pass.taps.len());
                            let start = (pair * 2 * packed.steps + step * width + panel) * PANEL;
                            for k in 0..CELL {
                                let at = start + k / 2 * CELL + output % LANES * 2 + k % 2;
                                let own = (block * CELL + k, output);
                                let tap = pass.taps[tap].weight;
                                let expected = expected(&shape, &weights, direction, own, tap);
                                assert_eq!(packed.values[at], expected, "{shape:?} {isa} {own:?}");
                            }
                        }
                    }
                }
            }
        }
    }
}
