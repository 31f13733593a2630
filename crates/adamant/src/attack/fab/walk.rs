//! One image's walk along the boundary: towards it where the label still holds, back towards the image where it does not.

use crate::attack::hyperplane::to_hyperplane;
use crate::threat::{Norm, distance, dual_length};

/// Largest share of a step that is taken from the image's own projection instead of the walk's. Source: Croce & Hein 2020,
/// section 2.4: alpha_max.
const MOST_FROM_IMAGE: f32 = 0.1;
/// How far beyond the linearised boundary a step goes: eta.
const OVERSHOOT: f32 = 1.05;
/// What is kept of the way from the image once the boundary is crossed: beta.
const KEPT: f32 = 0.9;
/// How far beyond the crossing that a line promises the final search looks, as a part of what is left of the line: the
/// crossing itself would be right or wrong by rounding.
const FURTHER: f64 = 0.02;
/// Keeps the quotient of two vanishing lengths defined.
const TINY: f64 = 1e-8;

/// The state of one image.
pub struct Walk<'a> {
    norm: Norm,
    origin: &'a [f32],
    /// Where it is.
    pub point: Vec<f32>,
    /// Whether the victim has said what it sees there.
    pub is_known: bool,
    /// The nearest point beyond the boundary.
    pub nearest: Option<Beyond>,
    inside: (Vec<f32>, f64),
    slope: Slope,
    own_move: Vec<f32>,
    image_move: Vec<f32>,
}

/// A point beyond the boundary.
#[derive(Clone, Debug)]
pub struct Beyond {
    /// The point,
    pub point: Vec<f32>,
    /// how far it is from the image
    pub distance: f64,
    /// and how far the strongest wrong logit is above the label's there.
    pub margin: f64,
}

/// The boundary towards the nearest class, linearised.
struct Slope {
    gradient: Vec<f32>,
    gap: f64,
    distance: f64,
}

impl<'a> Walk<'a> {
    /// A walk that begins at `point`.
    pub fn new(norm: Norm, origin: &'a [f32], point: Vec<f32>) -> Self {
        let zeros = vec![0.0; point.len()];
        let slope = Slope { gradient: zeros.clone(), gap: 0.0, distance: f64::INFINITY };
        let (own_move, image_move) = (zeros.clone(), zeros);
        let (is_known, nearest) = (false, None);
        let inside = (Vec::new(), 0.0);
        Self { norm, origin, point, is_known, nearest, inside, slope, own_move, image_move }
    }

    /// Takes what the victim says of the point: whether it lies beyond the boundary, by which margin. If so the walk goes
    /// back a little.
    pub fn settle(&mut self, is_beyond: bool, margin: f64) {
        self.is_known = true;
        if !is_beyond {
            return;
        }
        let distance = distance(self.norm, &self.point, self.origin);
        if self.nearest.as_ref().is_none_or(|nearest| distance < nearest.distance) {
            self.nearest = Some(Beyond { point: self.point.clone(), distance, margin });
        }
        for (pixel, &center) in self.point.iter_mut().zip(self.origin) {
            *pixel = center + (*pixel - center) * KEPT;
        }
    }

    /// Takes the image itself as the point inside for the final search.
    pub fn begin_final_search(&mut self, margin: f64) {
        self.inside = (self.origin.to_vec(), margin);
    }

    /// Where a line from the point inside to the nearest beyond should cross the boundary, a little further; appended to
    /// `out`.
    pub fn try_between(&self, out: &mut Vec<f32>) {
        let (inside, low) = &self.inside;
        let nearest = self.nearest.as_ref().expect("only what was found is refined");
        let crossing = if nearest.margin > *low { -low / (nearest.margin - low) } else { 1.0 };
        let part = (crossing + FURTHER * (1.0 - crossing)).clamp(0.0, 1.0) as f32;
        out.extend(inside.iter().zip(&nearest.point).map(|(&a, &b)| a + part * (b - a)));
    }

    /// Takes what the victim says of that point.
    pub fn refine(&mut self, point: &[f32], is_beyond: bool, margin: f64) {
        if !is_beyond {
            self.inside = (point.to_vec(), margin);
            return;
        }
        let distance = distance(self.norm, point, self.origin);
        let nearest = self.nearest.as_mut().expect("only what was found is refined");
        if distance < nearest.distance {
            *nearest = Beyond { point: point.to_vec(), distance, margin };
        }
    }

    /// Forgets the boundaries seen from where the walk was.
    pub fn look_anew(&mut self) {
        self.slope.distance = f64::INFINITY;
    }

    /// Takes the boundary towards one class: the difference of logits and its gradient at the point. The nearest counts.
    pub fn offer(&mut self, gap: f64, gradient: &[f32]) {
        let distance = gap.abs() / (1e-12 + dual_length(self.norm, gradient));
        if distance < self.slope.distance {
            self.slope.gradient.copy_from_slice(gradient);
            (self.slope.gap, self.slope.distance) = (gap, distance);
        }
    }

    /// Steps to the boundary, a little beyond, between its nearest point to the walk and its nearest point to the image.
    pub fn step(&mut self) {
        let (norm, gradient) = (self.norm, &self.slope.gradient);
        to_hyperplane(norm, &self.point, gradient, self.slope.gap, &mut self.own_move);
        let between = self.origin.iter().zip(&self.point).zip(gradient);
        let lies: f64 = between.map(|((&o, &p), &g)| f64::from(g) * f64::from(o - p)).sum();
        to_hyperplane(norm, self.origin, gradient, self.slope.gap + lies, &mut self.image_move);
        let own = size(norm, &self.own_move).max(TINY);
        let image = size(norm, &self.image_move).max(TINY);
        let from_image = ((own / (own + image)) as f32).min(MOST_FROM_IMAGE);
        let moves = self.own_move.iter().zip(&self.image_move);
        for ((pixel, &center), (&own, &image)) in self.point.iter_mut().zip(self.origin).zip(moves)
        {
            let of_walk = *pixel + OVERSHOOT * own;
            let of_image = center + OVERSHOOT * image;
            *pixel = (of_walk * (1.0 - from_image) + of_image * from_image).clamp(0.0, 1.0);
        }
        self.is_known = false;
    }
}

fn size(norm: Norm, change: &[f32]) -> f64 {
    let sizes = change.iter().map(|&c| f64::from(c).abs());
    match norm {
        Norm::Linf => sizes.fold(0.0, f64::max),
        Norm::L2 => sizes.map(|s| s * s).sum::<f64>().sqrt(),
        Norm::L1 => sizes.sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g18_a_step_goes_five_hundredths_too_far_and_a_crossing_takes_a_tenth_back() {
        let origin = [0.5, 0.5];
        let mut walk = Walk::new(Norm::L2, &origin, origin.to_vec());
        walk.look_anew();
        walk.offer(-0.1, &[1.0, 0.0]);
        // Farther away: it does not count.
        walk.offer(-0.3, &[0.0, 1.0]);
        walk.step();
        assert!((walk.point[0] - 0.605).abs() < 1e-6, "{:?}", walk.point);
        walk.settle(true, 0.005);
        let nearest = walk.nearest.clone().expect("it crossed");
        assert!((nearest.point[0] - 0.605).abs() < 1e-6 && (nearest.distance - 0.105).abs() < 1e-6);
        assert!((walk.point[0] - 0.5945).abs() < 1e-6, "{:?}", walk.point);
        assert_eq!(walk.point[1], 0.5);
    }

    #[test]
    fn the_final_search_finds_where_a_line_crosses() {
        let origin = [0.5, 0.5];
        let mut walk = Walk::new(Norm::L2, &origin, vec![0.7, 0.5]);
        walk.settle(true, 0.1);
        walk.begin_final_search(-0.1);
        for _ in 0..3 {
            let mut point = Vec::new();
            walk.try_between(&mut point);
            let margin = f64::from(point[0]) - 0.6;
            walk.refine(&point, margin > 0.0, margin);
        }
        let nearest = walk.nearest.expect("it crossed");
        assert!(nearest.distance > 0.1 && nearest.distance < 0.1001, "{}", nearest.distance);
    }
}
