//! Whole blocks of weights, turned: in a tensor the numbers of a window lie side by side, in a step those of sixteen outputs.

use super::CELL;
use super::convert::from_f32;
use super::pack::{Place, Tensor};
use crate::bf16::line::Line;
use crate::bf16::transpose::transpose;
use crate::{Isa, LANES};

/// Pairs of inputs in a block.
const PAIRS: usize = CELL / 2;

/// Working memory; grows at first use.
#[derive(Debug, Default)]
pub(super) struct Turned {
    /// Rounded numbers.
    rounded: Vec<u16>,
    /// Pairs of them, row by row.
    pairs: Vec<u32>,
    /// `[pair of inputs][place in the window]`: sixteen outputs each.
    lines: Vec<Line>,
}

impl Turned {
    /// Sixteen outputs from `output` on by 32 inputs from `input` on: into the steps of their block.
    #[allow(clippy::too_many_arguments)]
    pub fn pack(
        &mut self,
        isa: Isa,
        weights: &[f32],
        tensor: Tensor,
        taps: &[usize],
        input: usize,
        output: usize,
        place: Place,
        values: &mut [u16],
    ) {
        let Tensor { between_inputs, between_outputs, window, .. } = tensor;
        // Sixteen pairs are written where perhaps fewer are left: the last of a row may go past its end.
        self.pairs.resize(LANES * (PAIRS * window + LANES), 0);
        self.lines.resize(PAIRS * window + LANES, Line::ZERO);
        let first = input * between_inputs + output * between_outputs;
        let windows_are_neighbours = between_inputs == window;
        if windows_are_neighbours {
            self.rounded.resize(CELL * window + LANES, 0);
            let rows = self.pairs.chunks_exact_mut(PAIRS * window + LANES);
            for (lane, pairs) in rows.enumerate() {
                let row = &weights[first + lane * between_outputs..][..CELL * window];
                pair_windows(isa, row, window, &mut self.rounded, pairs);
            }
            for group in 0..window {
                let row = |lane: usize| lane * (PAIRS * window + LANES) + group * LANES;
                turn(isa, &self.pairs, row, &mut self.lines[group * LANES..][..LANES]);
            }
        } else {
            for pair in 0..PAIRS {
                let row =
                    |input: usize| &weights[first + input * between_inputs..][..LANES * window];
                pair_rows(isa, row(2 * pair), row(2 * pair + 1), &mut self.pairs);
                if window == 1 {
                    self.lines[pair].0.copy_from_slice(&self.pairs[..LANES]);
                    continue;
                }
                for column in (0..window).step_by(LANES) {
                    let row = |lane: usize| lane * window + column;
                    // Beyond the window come numbers of the next output, which the next pair overwrites.
                    turn(isa, &self.pairs, row, &mut self.lines[pair * window + column..][..LANES]);
                }
            }
        }
        for (tap, &at) in taps.iter().enumerate() {
            let step = place.of(input / CELL * taps.len() + tap);
            let step = &mut values[step..step + PAIRS * CELL];
            for (pair, to) in step.chunks_exact_mut(CELL).enumerate() {
                let line = &self.lines[pair * window + at];
                for (to, &both) in to.chunks_exact_mut(2).zip(&line.0) {
                    (to[0], to[1]) = (both as u16, (both >> 16) as u16);
                }
            }
        }
    }
}

/// Sixteen numbers of each of sixteen rows become sixteen lines of a number of each row.
fn turn(isa: Isa, pairs: &[u32], row: impl Fn(usize) -> usize, to: &mut [Line]) {
    let from: [Line; LANES] = std::array::from_fn(|lane| {
        Line(pairs[row(lane)..][..LANES].try_into().expect("sixteen numbers"))
    });
    transpose(isa, &from, to.try_into().expect("sixteen lines"));
}

per_isa! {
    /// Windows of inputs `2 i` and `2 i + 1` side by side in memory: `pairs[i][at]` holds both numbers of place `at`.
    fn pair_windows(row: &[f32], window: usize, rounded: &mut [u16], pairs: &mut [u32]) {
        for (to, from) in rounded.iter_mut().zip(row) {
            *to = from_f32(*from);
        }
        if window == 1 {
            for (to, both) in pairs.iter_mut().zip(rounded.chunks_exact(2)) {
                *to = u32::from(both[0]) | u32::from(both[1]) << 16;
            }
            return;
        }
        for pair in 0..PAIRS {
            for column in 0..window.div_ceil(LANES) {
                let at = 2 * pair * window + column * LANES;
                let low: &[u16; LANES] = rounded[at..at + LANES].try_into().expect("sixteen");
                let at = at + window;
                let high: &[u16; LANES] = rounded[at..at + LANES].try_into().expect("sixteen");
                let to = pair * window + column * LANES;
                let to: &mut [u32; LANES] = (&mut pairs[to..to + LANES]).try_into().expect("sixteen");
                for lane in 0..LANES {
                    to[lane] = u32::from(low[lane]) | u32::from(high[lane]) << 16;
                }
            }
        }
    }
}

per_isa! {
    /// `pairs[i]` holds the rounded `low[i]` and `high[i]`.
    fn pair_rows(low: &[f32], high: &[f32], pairs: &mut [u32]) {
        for ((to, &low), &high) in pairs.iter_mut().zip(low).zip(high) {
            *to = u32::from(from_f32(low)) | u32::from(from_f32(high)) << 16;
        }
    }
}
