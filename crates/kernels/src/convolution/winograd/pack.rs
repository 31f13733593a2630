//! `G g G'` of every pair of channels, in the order in which the products read it.

// Rows and columns of a patch are indexed alike.
#![allow(clippy::needless_range_loop)]

use super::super::ConvolutionShape;
use super::super::pack::Direction;
use super::SIDE;
use crate::LANES;
use crate::lines::Lines;

/// Numbers of a vector, worked on together.
type Lane = [f32; LANES];

/// Taps of a kernel.
const TAPS: usize = 9;

/// For the forward `[16][out panels][in_stride][16]`; for the gradient by the input, with flipped taps,
/// `[16][in panels][out_stride][16]`.
pub(in super::super) fn pack(
    shape: &ConvolutionShape,
    weights: &[f32],
    direction: Direction,
) -> Lines<f32> {
    let mut values = Lines::zeros(SIDE * SIDE * shape.in_stride * shape.out_stride());
    let (ins, outs) = (shape.in_channels, shape.out_channels);
    let place = |out: usize, channel: usize| (out * ins + channel) * TAPS;
    match direction {
        Direction::Forward => Read { results: outs, inputs: ins, stride: shape.in_stride }
            .transform(&mut values, |out, channel, tap| weights[place(out, channel) + tap]),
        Direction::BackwardData => Read { results: ins, inputs: outs, stride: shape.out_stride() }
            .transform(&mut values, |channel, out, tap| {
                weights[place(out, channel) + TAPS - 1 - tap]
            }),
    }
    values
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
    fn transform(&self, values: &mut Lines<f32>, weight: impl Fn(usize, usize, usize) -> f32) {
        let panels = self.results.div_ceil(LANES);
        let panel_len = self.stride * LANES;
        assert_eq!(values.len(), SIDE * SIDE * panels * panel_len, "room for transformed weights");
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
    }
}

/// `G` is (1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1).
#[inline(always)]
fn stretch([a, b, c]: [Lane; 3]) -> [Lane; SIDE] {
    let mut sum = [0.0; LANES];
    let mut difference = [0.0; LANES];
    for lane in 0..LANES {
        let outer = a[lane] + c[lane];
        sum[lane] = 0.5 * (outer + b[lane]);
        difference[lane] = 0.5 * (outer - b[lane]);
    }
    [a, sum, difference, c]
}
