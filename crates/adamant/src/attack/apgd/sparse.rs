//! One image's climb in the L1 ball: few pixels at a time, and as many as the best point so far has moved.

use super::ascent::Best;
use super::climb::Climb;
use crate::threat::{Norm, Range, project};

/// How many times sparser than the best point a step is. This and what follows is from the authors' code of "Mind the
/// box" (Croce & Hein 2021).
const SPARSER: f32 = 1.5;
/// What the step is divided by where the support no longer shrinks.
const SHORTER: f32 = 1.5;
/// The step never falls below this part of epsilon.
const LEAST_PART: f32 = 10.0;
/// The support shrinks if it falls below this share of what it was.
const SHRINKING: f32 = 0.95;

/// The state of one image.
pub struct Sparse<'a> {
    epsilon: f32,
    origin: &'a [f32],
    point: Vec<f32>,
    gradient: Vec<f32>,
    best: Best,
    step: f32,
    share: f32,
    support: usize,
    magnitudes: Vec<f32>,
}

impl<'a> Sparse<'a> {
    /// A climb that begins at `point`; its first step is sparser than that.
    pub fn new(epsilon: f32, origin: &'a [f32], point: Vec<f32>) -> Self {
        let length = point.len();
        let support = support(&point, origin);
        let share = support as f32 / length as f32 / SPARSER;
        Self {
            epsilon,
            origin,
            gradient: vec![0.0; length],
            best: Best::none(length),
            magnitudes: vec![0.0; length],
            point,
            step: epsilon,
            share,
            support,
        }
    }

    /// The magnitude that a gradient entry must have to move its pixel.
    fn threshold(&mut self) -> f32 {
        let length = self.gradient.len();
        self.magnitudes.iter_mut().zip(&self.gradient).for_each(|(m, g)| *m = g.abs());
        let place = ((1.0 - self.share) * length as f32).max(0.0) as usize;
        *self.magnitudes.select_nth_unstable_by(place.min(length - 1), f32::total_cmp).1
    }
}

fn support(point: &[f32], origin: &[f32]) -> usize {
    point.iter().zip(origin).filter(|(a, b)| a != b).count()
}

impl Climb for Sparse<'_> {
    fn point(&self) -> &[f32] {
        &self.point
    }

    fn begin(&mut self, loss: f64, gradient: &[f32]) {
        self.learn(loss, gradient);
    }

    fn step(&mut self) {
        let threshold = self.threshold();
        let moves = |g: f32| g != 0.0 && g.abs() >= threshold;
        let moving = self.gradient.iter().filter(|&&g| moves(g)).count();
        if moving > 0 {
            let each = self.step / moving as f32;
            for (pixel, &g) in self.point.iter_mut().zip(&self.gradient) {
                if moves(g) {
                    *pixel += each * g.signum();
                }
            }
        }
        project(Norm::L1, &mut self.point, self.origin, self.epsilon, Range::Pixels);
    }

    fn learn(&mut self, loss: f64, gradient: &[f32]) {
        self.gradient.copy_from_slice(gradient);
        self.best.offer(&self.point, gradient, loss);
    }

    fn check(&mut self, _interval: usize) {
        let support = support(&self.best.point, self.origin);
        let shrinks = (support as f32) < SHRINKING * self.support as f32;
        self.share = support as f32 / self.origin.len() as f32 / SPARSER;
        self.support = support;
        if shrinks {
            self.step = self.epsilon;
            self.point.copy_from_slice(&self.best.point);
            self.gradient.copy_from_slice(&self.best.gradient);
        } else {
            self.step = (self.step / SHORTER).max(self.epsilon / LEAST_PART);
        }
    }

    fn into_best(self) -> (Vec<f32>, f64) {
        (self.best.point, self.best.loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_length_epsilon_is_shared_by_the_steepest_pixels() {
        let origin = [0.5; 10];
        // Three pixels have moved, so two may.
        let mut start = origin;
        (start[0], start[1], start[2]) = (0.52, 0.52, 0.52);
        let mut climb = Sparse::new(0.2, &origin, start.to_vec());
        let mut gradient = [0.1; 10];
        (gradient[3], gradient[7]) = (2.0, -3.0);
        climb.begin(0.0, &gradient);
        climb.step();
        for (pixel, &found) in climb.point().iter().enumerate() {
            let expected = match pixel {
                // Changes .02, .02, .02, .1, .1 are .06 too long, shared by five.
                0..3 => 0.508,
                3 => 0.588,
                7 => 0.412,
                _ => 0.5,
            };
            assert!((found - expected).abs() < 1e-6, "{pixel}: {found}");
        }
    }

    #[test]
    fn the_step_shrinks_while_the_support_stays_and_returns_when_it_shrinks() {
        let origin = [0.5; 10];
        let mut climb = Sparse::new(0.2, &origin, vec![0.51; 10]);
        climb.begin(0.0, &[1.0; 10]);
        climb.check(4);
        assert!((climb.step - 0.2 / 1.5).abs() < 1e-6);
        let mut sparser = origin;
        sparser[0] = 0.6;
        climb.point = sparser.to_vec();
        climb.learn(1.0, &[1.0; 10]);
        climb.check(4);
        assert_eq!((climb.step, climb.support), (0.2, 1));
        assert!((climb.share - 0.1 / 1.5).abs() < 1e-6);
    }
}
