//! `G g G'` of every pair of channels, in the order in which the products read it.

// Rows and columns of a patch are indexed alike.
#![allow(clippy::needless_range_loop)]

use super::super::ConvolutionShape;
use super::super::pack::Direction;
use super::transform_four::{A, B};
use super::{Filter, four, two};
use crate::LANES;
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
        (Filter::Two, Direction::Forward) => read.transform(stretch_two, forward),
        (Filter::Two, Direction::BackwardData) => read.transform(stretch_two, backward),
        (Filter::Four, Direction::Forward) => read.transform(stretch_four, forward),
        (Filter::Four, Direction::BackwardData) => read.transform(stretch_four, backward),
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
        stretch: fn([Lane; 3]) -> [Lane; SIDE],
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
                let columns = [0, 1, 2].map(|x| stretch([taps[x], taps[3 + x], taps[6 + x]]));
                for row in 0..SIDE {
                    let patch = stretch([columns[0][row], columns[1][row], columns[2][row]]);
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

/// `G` of F(2, 3) is (1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1).
#[inline(always)]
fn stretch_two([a, b, c]: [Lane; 3]) -> [Lane; two::SIDE] {
    let mut sum = [0.0; LANES];
    let mut difference = [0.0; LANES];
    for lane in 0..LANES {
        let outer = a[lane] + c[lane];
        sum[lane] = 0.5 * (outer + b[lane]);
        difference[lane] = 0.5 * (outer - b[lane]);
    }
    [a, sum, difference, c]
}

/// `G` of F(4, 3): the taps' polynomial at 0, A, -A, B, -B, over the product of that point's distances to the others;
/// and its leading coefficient.
#[inline(always)]
fn stretch_four(taps: [Lane; 3]) -> [Lane; four::SIDE] {
    let mut values = [[0.0; LANES]; four::SIDE];
    let [square_a, square_b] = [A * A, B * B];
    let over = [
        1.0 / (square_a * square_b),
        0.5 / (square_a * (square_a - square_b)),
        0.5 / (square_b * (square_b - square_a)),
    ];
    for lane in 0..LANES {
        let [a, b, c] = taps.map(|tap| tap[lane]);
        let (even_a, odd_a) = (a + square_a * c, A * b);
        let (even_b, odd_b) = (a + square_b * c, B * b);
        values[0][lane] = over[0] * a;
        values[1][lane] = over[1] * (even_a + odd_a);
        values[2][lane] = over[1] * (even_a - odd_a);
        values[3][lane] = over[2] * (even_b + odd_b);
        values[4][lane] = over[2] * (even_b - odd_b);
        values[5][lane] = c;
    }
    values
}
