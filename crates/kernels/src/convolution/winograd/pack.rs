//! `G g G'` of every pair of channels, in the order in which the products read it.

// Rows and columns of a patch are indexed alike.
#![allow(clippy::needless_range_loop)]

use super::super::ConvolutionShape;
use super::super::pack::Direction;
use super::Filter;
use crate::LANES;
use crate::filtering::{self, weights_of_four, weights_of_two};
use crate::lines::Lines;

/// Numbers of a vector, worked on together.
type Lane = [f32; LANES];

/// Taps of a kernel.
const TAPS: usize = 9;

/// For the forward `[side * side][out panels][in_stride][16]`; for the gradient by the input, with flipped taps,
/// `[side * side][in panels][out_stride][16]`.
pub(in super::super) fn pack(
    filter: Filter,
    shape: &ConvolutionShape,
    weights: &[f32],
    direction: Direction,
) -> Lines<f32> {
    let (ins, outs) = (shape.in_channels, shape.out_channels);
    let place = |out: usize, channel: usize| (out * ins + channel) * TAPS;
    let forward = |out, channel, tap| weights[place(out, channel) + tap];
    let backward = |channel, out, tap| weights[place(out, channel) + TAPS - 1 - tap];
    let read = match direction {
        Direction::Forward => Read { results: outs, inputs: ins, stride: shape.in_stride },
        Direction::BackwardData => Read { results: ins, inputs: outs, stride: shape.out_stride() },
    };
    match (filter, direction) {
        (Filter::Two, Direction::Forward) => read.transform(weights_of_two, forward),
        (Filter::Two, Direction::BackwardData) => read.transform(weights_of_two, backward),
        (Filter::Four, Direction::Forward) => read.transform(weights_of_four, forward),
        (Filter::Four, Direction::BackwardData) => read.transform(weights_of_four, backward),
    }
}

/// Which weights there are.
struct Read {
    results: usize,
    inputs: usize,
    /// Channels of the inputs in memory.
    stride: usize,
}

impl Read {
    /// Channels of padding, of either side, have no weights: they become zero.
    #[inline(always)]
    fn transform<const SIDE: usize>(
        &self,
        weights: impl Fn([f32; filtering::TAPS]) -> [f32; SIDE],
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Lines<f32> {
        let panels = self.results.div_ceil(LANES);
        let panel_len = self.stride * LANES;
        let mut values = Lines::zeros(SIDE * SIDE * panels * panel_len);
        for panel in 0..panels {
            let first = panel * LANES;
            let real = LANES.min(self.results - first);
            for input in 0..self.stride {
                let mut taps = [[0.0; LANES]; TAPS];
                if input < self.inputs {
                    for lane in 0..real {
                        for (tap, values) in taps.iter_mut().enumerate() {
                            values[lane] = weight(first + lane, input, tap);
                        }
                    }
                }
                let at = panel * panel_len + input * LANES;
                let columns =
                    [0, 1, 2].map(|x| by_lane([taps[x], taps[3 + x], taps[6 + x]], &weights));
                for row in 0..SIDE {
                    let patch =
                        by_lane([columns[0][row], columns[1][row], columns[2][row]], &weights);
                    for (column, patch) in patch.into_iter().enumerate() {
                        let plane = (row * SIDE + column) * panels * panel_len;
                        values[plane + at..][..LANES].copy_from_slice(&patch);
                    }
                }
            }
        }
        values
    }
}

/// The `weights` of three taps, for sixteen outputs.
#[inline(always)]
fn by_lane<const SIDE: usize>(
    taps: [Lane; filtering::TAPS],
    weights: impl Fn([f32; filtering::TAPS]) -> [f32; SIDE],
) -> [Lane; SIDE] {
    let mut values = [[0.0; LANES]; SIDE];
    for lane in 0..LANES {
        let own = weights([taps[0][lane], taps[1][lane], taps[2][lane]]);
        for at in 0..SIDE {
            values[at][lane] = own[at];
        }
    }
    values
}
