//! One image's hunt: a change in a random window, kept if it helps.

use super::schedule::{odd_side, side};
use super::window::pyramids;
use crate::image::Shape;
use crate::stream::Draws;
use crate::threat::{Norm, Range, project};

/// Keeps a quotient by the length of an unchanged window defined.
const TINY: f64 = 1e-12;

/// The state of one image.
pub struct Hunt<'a> {
    norm: Norm,
    epsilon: f32,
    shape: Shape,
    origin: &'a [f32],
    draws: Draws,
    /// The best point so far.
    pub best: Vec<f32>,
    /// What the attack raises, there.
    pub gain: f64,
}

/// A square window of an image.
#[derive(Clone, Copy)]
struct Window {
    row: usize,
    column: usize,
    side: usize,
}

impl Window {
    fn holds(self, row: usize, column: usize) -> bool {
        let within = |from: usize, place: usize| (from..from + self.side).contains(&place);
        within(self.row, row) && within(self.column, column)
    }
}

impl<'a> Hunt<'a> {
    /// A hunt around `origin` with draws of its own.
    pub fn new(norm: Norm, epsilon: f32, shape: Shape, origin: &'a [f32], draws: Draws) -> Self {
        let (best, gain) = (origin.to_vec(), f64::NEG_INFINITY);
        Self { norm, epsilon, shape, origin, draws, best, gain }
    }

    /// The first point: stripes in Linf, a grid of pyramids else. Appended to `out`.
    pub fn begin(&mut self, out: &mut Vec<f32>) {
        let first = out.len();
        out.extend_from_slice(self.origin);
        let point = &mut out[first..];
        let Shape { channels, height, width } = self.shape;
        if self.norm == Norm::Linf {
            // Vertical stripes: one sign per channel and column. Source: Andriushchenko et al. 2020, section 3.2.
            for channel in 0..channels {
                for column in 0..width {
                    let change = self.epsilon * coin(&mut self.draws);
                    for row in 0..height {
                        let pixel = &mut point[(channel * height + row) * width + column];
                        *pixel = (*pixel + change).clamp(0.0, 1.0);
                    }
                }
            }
            return;
        }
        // Five tiles in a row, as in the authors' code.
        let side = (height / 5).max(1);
        let first = height.saturating_sub(5 * side) / 2;
        let mut change = vec![0.0; point.len()];
        for row in (first..(height + 1).saturating_sub(side)).step_by(side) {
            for column in (first..(width + 1).saturating_sub(side)).step_by(side) {
                let shape = pyramids(self.norm, side, &mut self.draws);
                for channel in 0..channels {
                    let sign = coin(&mut self.draws);
                    for (place, &value) in shape.iter().enumerate() {
                        let (row, column) = (row + place / side, column + place % side);
                        change[(channel * height + row) * width + column] = sign * value;
                    }
                }
            }
        }
        self.apply(&change, point);
    }

    /// A change of the best point in a random window; the result is appended to `out`.
    pub fn propose(&mut self, query: usize, out: &mut Vec<f32>) {
        let first = out.len();
        out.extend_from_slice(&self.best);
        let point = &mut out[first..];
        match self.norm {
            Norm::Linf => self.flip(query, point),
            Norm::L2 | Norm::L1 => self.shift(query, point),
        }
    }

    /// Linf: all pixels of a window to one side of the ball, a sign per channel.
    fn flip(&mut self, query: usize, point: &mut [f32]) {
        let Shape { channels, height, width } = self.shape;
        let window = self.window(side(query, height, width));
        for channel in 0..channels {
            // Twice epsilon, clipped to the ball: from wherever it is to its border.
            let change = self.epsilon * coin(&mut self.draws);
            for row in window.row..window.row + window.side {
                let from = (channel * height + row) * width + window.column;
                let origin = &self.origin[from..from + window.side];
                for (pixel, &center) in point[from..from + window.side].iter_mut().zip(origin) {
                    *pixel = (center + change).clamp(0.0, 1.0);
                }
            }
        }
    }

    /// L2 and L1: the change of one window and what the image has left go to pyramids in another.
    fn shift(&mut self, query: usize, point: &mut [f32]) {
        let Shape { channels, height, width } = self.shape;
        let side = odd_side(query, height, width);
        let (to, from) = (self.window(side), self.window(side));
        let shape = pyramids(self.norm, side, &mut self.draws);
        let mut change: Vec<f32> = point.iter().zip(self.origin).map(|(p, o)| p - o).collect();
        let power = |value: f32| match self.norm {
            Norm::L1 => f64::from(value).abs(),
            Norm::L2 | Norm::Linf => f64::from(value) * f64::from(value),
        };
        let root = |sum: f64| if self.norm == Norm::L1 { sum } else { sum.sqrt() };
        let allowed = power(self.epsilon);
        let used: f64 = change.iter().map(|&c| power(c)).sum();
        let free = (allowed - used).max(0.0) / channels as f64;
        for channel in 0..channels {
            let sign = coin(&mut self.draws);
            let plane = &mut change[channel * height * width..(channel + 1) * height * width];
            let (mut in_to, mut in_either) = (0.0, 0.0);
            for row in 0..height {
                for column in 0..width {
                    let power = power(plane[row * width + column]);
                    let is_in = to.holds(row, column);
                    in_to += if is_in { power } else { 0.0 };
                    in_either += if is_in || from.holds(row, column) { power } else { 0.0 };
                }
            }
            let old = 1.0 / (TINY + root(in_to));
            let place = |index: usize| (to.row + index / side) * width + to.column + index % side;
            let new: Vec<f64> = shape
                .iter()
                .enumerate()
                .map(|(index, &value)| {
                    f64::from(sign * value) + f64::from(plane[place(index)]) * old
                })
                .collect();
            let length = root(new.iter().map(|&n| power(n as f32)).sum());
            // In L1 the authors' code grants every channel the whole of what is free, and projects afterwards.
            let granted = match self.norm {
                Norm::L1 => (free + in_either) * channels as f64,
                Norm::L2 | Norm::Linf => (free + in_either).sqrt(),
            };
            let factor = granted / (TINY + length);
            for row in from.row..from.row + side {
                plane[row * width + from.column..][..side].fill(0.0);
            }
            for (index, new) in new.into_iter().enumerate() {
                plane[place(index)] = (new * factor) as f32;
            }
        }
        self.apply(&change, point);
    }

    /// The image with this change, brought to length epsilon in L2 and into the ball in L1.
    fn apply(&self, change: &[f32], point: &mut [f32]) {
        let factor = match self.norm {
            Norm::L1 => 1.0,
            Norm::L2 | Norm::Linf => {
                let length =
                    change.iter().map(|&c| f64::from(c) * f64::from(c)).sum::<f64>().sqrt();
                f64::from(self.epsilon) / (TINY + length)
            }
        };
        for ((pixel, &center), &change) in point.iter_mut().zip(self.origin).zip(change) {
            *pixel = center + (f64::from(change) * factor) as f32;
        }
        project(self.norm, point, self.origin, self.epsilon, Range::Pixels);
    }

    /// A window drawn from all there are: the public code never reaches the last row and column (T37).
    fn window(&mut self, side: usize) -> Window {
        let mut draw = |length: usize| self.draws.below((length - side) as u32 + 1) as usize;
        let (row, column) = (draw(self.shape.height), draw(self.shape.width));
        Window { row, column, side }
    }

    /// Keeps a point that is better, and says whether it is.
    pub fn offer(&mut self, point: &[f32], gain: f64) -> bool {
        let is_better = gain > self.gain;
        if is_better {
            self.best.copy_from_slice(point);
            self.gain = gain;
        }
        is_better
    }
}

fn coin(draws: &mut Draws) -> f32 {
    if draws.bits() & 1 == 0 { 1.0 } else { -1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Key, Purpose, Stream};
    use crate::threat::distance;

    fn hunt(norm: Norm, epsilon: f32, origin: &[f32], seed: u64) -> Hunt<'_> {
        let key = Key { purpose: Purpose::AttackQuery, time: 0, index: 0, restart: 0 };
        Hunt::new(norm, epsilon, Shape::new(2, 8, 8), origin, Stream::new(seed).draws(key))
    }

    #[test]
    fn the_first_point_of_linf_is_striped_and_a_proposal_changes_one_window() {
        let origin = vec![0.5; 128];
        let mut hunt = hunt(Norm::Linf, 0.125, &origin, 4);
        let mut out = Vec::new();
        hunt.begin(&mut out);
        for (place, pixel) in out.iter().enumerate() {
            assert_eq!((pixel - 0.5).abs(), 0.125);
            assert_eq!(*pixel, out[place / 64 * 64 + place % 8], "stripes are vertical");
        }
        hunt.offer(&out.clone(), 1.0);
        let mut next = Vec::new();
        hunt.propose(600, &mut next);
        // Share .8 / 16 of 64 pixels: a window of 2 x 2 in each of 2 channels.
        assert!(next.iter().zip(&out).filter(|(a, b)| a != b).count() <= 8);
    }

    #[test]
    fn g18_windows_reach_every_row_and_column() {
        let origin = vec![0.5; 128];
        let mut hunt = hunt(Norm::Linf, 0.1, &origin, 4);
        let windows: Vec<Window> = (0..300).map(|_| hunt.window(3)).collect();
        for last in 0..=5 {
            assert!(windows.iter().any(|w| w.row == last), "row {last}");
            assert!(windows.iter().any(|w| w.column == last), "column {last}");
        }
        assert!(windows.iter().all(|w| w.row <= 5 && w.column <= 5));
    }

    #[test]
    fn every_proposal_lies_in_ball_and_range() {
        let origin: Vec<f32> = (0..128).map(|i| (i % 11) as f32 / 10.0).collect();
        for (norm, epsilon) in [(Norm::Linf, 0.1), (Norm::L2, 0.7), (Norm::L1, 3.0)] {
            let mut hunt = hunt(norm, epsilon, &origin, 9);
            let mut out = Vec::new();
            hunt.begin(&mut out);
            for query in 0..200 {
                let found = distance(norm, &out, &origin);
                assert!(found <= f64::from(epsilon) + 1e-6, "{norm}, query {query}: {found}");
                assert!(found > 0.5 * f64::from(epsilon), "{norm}, query {query}: {found}");
                assert!(out.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
                hunt.offer(&out, query as f64);
                out.clear();
                hunt.propose(query, &mut out);
            }
        }
    }
}
