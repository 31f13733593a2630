//! One image's climb in the Linf or L2 ball: momentum, and a step that halves when it no longer pays.

use super::climb::Climb;
use super::schedule::RISING_SHARE;
use crate::threat::{Norm, Range, project, steepest_step};

/// How much of a step is new; the rest is the step before it. Source: Croce & Hein 2020, section 3.1.
const NEW_SHARE: f32 = 0.75;
/// The first step in epsilons. Source: Croce & Hein 2020, section 3.2.
const FIRST_STEP: f32 = 2.0;

/// The state of one image.
pub struct Ascent<'a> {
    norm: Norm,
    epsilon: f32,
    origin: &'a [f32],
    point: Vec<f32>,
    before: Vec<f32>,
    gradient: Vec<f32>,
    best: Best,
    step: f32,
    momentum: f32,
    rises: usize,
    last_loss: f64,
    checked_loss: f64,
    was_halved: bool,
}

/// The best point so far.
#[derive(Clone, Debug)]
pub struct Best {
    /// The point,
    pub point: Vec<f32>,
    /// the gradient there
    pub gradient: Vec<f32>,
    /// and the loss.
    pub loss: f64,
}

impl Best {
    /// Nothing yet.
    pub fn none(length: usize) -> Self {
        Self { point: vec![0.0; length], gradient: vec![0.0; length], loss: f64::NEG_INFINITY }
    }

    /// Remembers a point if it is better.
    pub fn offer(&mut self, point: &[f32], gradient: &[f32], loss: f64) {
        if loss > self.loss {
            self.point.copy_from_slice(point);
            self.gradient.copy_from_slice(gradient);
            self.loss = loss;
        }
    }
}

impl<'a> Ascent<'a> {
    /// A climb that begins at `point`.
    pub fn new(norm: Norm, epsilon: f32, origin: &'a [f32], point: Vec<f32>) -> Self {
        Self {
            norm,
            epsilon,
            origin,
            before: point.clone(),
            gradient: vec![0.0; point.len()],
            best: Best::none(point.len()),
            point,
            step: FIRST_STEP * epsilon,
            // The first step has no step before it.
            momentum: 0.0,
            rises: 0,
            // The authors' code compares the loss after the first step with zero, not with the start's.
            last_loss: 0.0,
            checked_loss: f64::NEG_INFINITY,
            // At the first checkpoint nothing has been tried with this step before.
            was_halved: true,
        }
    }

    fn linf_step(&mut self) {
        let (step, epsilon, momentum) = (self.step, self.epsilon, self.momentum);
        let state = self.point.iter_mut().zip(&mut self.before);
        for ((point, before), (&g, &center)) in state.zip(self.gradient.iter().zip(self.origin)) {
            let (low, high) = ((center - epsilon).max(0.0), (center + epsilon).min(1.0));
            // sign(0) = 0 (T29), without a branch.
            let sign = f32::from(g > 0.0) - f32::from(g < 0.0);
            let ahead = (*point + step * sign).max(low).min(high);
            let next = *point + (1.0 - momentum) * (ahead - *point) + momentum * (*point - *before);
            *before = *point;
            *point = next.max(low).min(high);
        }
    }

    fn l2_step(&mut self) {
        let (norm, epsilon, momentum) = (self.norm, self.epsilon, self.momentum);
        steepest_step(norm, &mut self.gradient, self.step);
        let mut ahead = self.gradient.clone();
        ahead.iter_mut().zip(&self.point).for_each(|(a, p)| *a += p);
        project(norm, &mut ahead, self.origin, epsilon, Range::Pixels);
        let state = self.point.iter_mut().zip(&mut self.before);
        for ((point, before), ahead) in state.zip(&ahead) {
            let next = *point + (1.0 - momentum) * (ahead - *point) + momentum * (*point - *before);
            *before = *point;
            *point = next;
        }
        project(norm, &mut self.point, self.origin, epsilon, Range::Pixels);
    }
}

impl Climb for Ascent<'_> {
    fn point(&self) -> &[f32] {
        &self.point
    }

    fn begin(&mut self, loss: f64, gradient: &[f32]) {
        self.gradient.copy_from_slice(gradient);
        self.best.offer(&self.point, gradient, loss);
        self.checked_loss = loss;
    }

    fn step(&mut self) {
        match self.norm {
            Norm::Linf => self.linf_step(),
            Norm::L2 | Norm::L1 => self.l2_step(),
        }
        self.momentum = 1.0 - NEW_SHARE;
    }

    fn learn(&mut self, loss: f64, gradient: &[f32]) {
        self.gradient.copy_from_slice(gradient);
        self.best.offer(&self.point, gradient, loss);
        self.rises += usize::from(loss > self.last_loss);
        self.last_loss = loss;
    }

    fn check(&mut self, interval: usize) {
        // Condition 1: too few of the steps raised the loss. Condition 2: the step was kept at the last checkpoint and
        // the best loss is still that one. Source: Croce & Hein 2020, section 3.2.
        let seldom_rose = self.rises as f64 <= RISING_SHARE * interval as f64;
        let gained_nothing = !self.was_halved && self.checked_loss >= self.best.loss;
        self.was_halved = seldom_rose || gained_nothing;
        self.checked_loss = self.best.loss;
        self.rises = 0;
        if self.was_halved {
            self.step *= 0.5;
            // The momentum's earlier point stays what it was, as in the authors' code.
            self.point.copy_from_slice(&self.best.point);
            self.gradient.copy_from_slice(&self.best.gradient);
        }
    }

    fn into_best(self) -> (Vec<f32>, f64) {
        (self.best.point, self.best.loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ascent(origin: &[f32]) -> Ascent<'_> {
        Ascent::new(Norm::Linf, 0.1, origin, origin.to_vec())
    }

    #[test]
    fn g18_the_step_begins_at_two_radii_and_halves_where_the_loss_seldom_rose() {
        let origin = [0.5, 0.5];
        let mut climb = ascent(&origin);
        assert_eq!(climb.step, 0.2);
        climb.begin(1.0, &[1.0, -1.0]);
        climb.step();
        assert_eq!(climb.point, [0.6, 0.4]);
        // Of four comparisons three are rises: .75 of them, and not more.
        for loss in [2.0, 3.0, 2.5, 2.75] {
            climb.learn(loss, &[1.0, 1.0]);
        }
        climb.check(4);
        assert_eq!(climb.step, 0.1);
        // All rise, and the best loss with them: the step stays.
        for loss in [4.0, 5.0, 6.0, 7.0] {
            climb.learn(loss, &[1.0, 1.0]);
        }
        climb.check(4);
        assert_eq!(climb.step, 0.1);
        // All rise, but none above the best: halved by the second condition.
        climb.last_loss = 0.0;
        for loss in [1.0, 2.0, 3.0, 4.0] {
            climb.learn(loss, &[1.0, 1.0]);
        }
        climb.check(4);
        assert_eq!(climb.step, 0.05);
    }

    #[test]
    fn a_halved_climb_goes_on_from_its_best_point_with_the_gradient_there() {
        let origin = [0.5, 0.5];
        let mut climb = ascent(&origin);
        climb.begin(5.0, &[1.0, -1.0]);
        climb.step();
        climb.learn(-1.0, &[3.0, 3.0]);
        climb.check(1);
        assert_eq!(climb.point, origin);
        assert_eq!(climb.gradient, [1.0, -1.0]);
    }

    #[test]
    fn momentum_carries_a_quarter_of_the_step_before() {
        let origin = [0.5];
        let mut climb = Ascent::new(Norm::Linf, 0.4, &origin, vec![0.5]);
        climb.step = 0.1;
        climb.begin(0.0, &[1.0]);
        climb.step();
        assert!((climb.point[0] - 0.6).abs() < 1e-6);
        climb.learn(0.1, &[1.0]);
        climb.step();
        // .6 + .75 * .1 + .25 * .1
        assert!((climb.point[0] - 0.7).abs() < 1e-6, "{}", climb.point[0]);
        climb.learn(0.1, &[-1.0]);
        climb.step();
        // .7 - .75 * .1 + .25 * .1
        assert!((climb.point[0] - 0.65).abs() < 1e-6, "{}", climb.point[0]);
    }
}
