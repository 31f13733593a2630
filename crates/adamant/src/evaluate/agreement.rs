//! How far two arithmetics agree on the direction of an attack.

use crate::image::Images;

/// Values of two gradients whose signs were compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// How many values there are.
    pub values: u64,
    /// How many of them are above the noise.
    pub compared: u64,
    /// How many of those have equal signs.
    pub equal: u64,
}

impl Agreement {
    /// Compares signs where `exact` is above `floor` times the largest magnitude of its image: below, signs are rounding
    /// noise in any precision.
    ///
    /// Shapes: both `[N, C, H, W]`, equal.
    pub fn of(exact: &Images, other: &Images, floor: f32) -> Self {
        assert_eq!(exact.pixels.len(), other.pixels.len(), "gradients of the same images");
        let mut found = Self { values: exact.pixels.len() as u64, ..Self::default() };
        for image in 0..exact.count {
            let (left, right) = (exact.one(image), other.one(image));
            let largest = left.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            for (&a, &b) in left.iter().zip(right) {
                if a.abs() > floor * largest {
                    found.compared += 1;
                    // Not by the product, which underflows.
                    found.equal += u64::from(b != 0.0 && (a < 0.0) == (b < 0.0));
                }
            }
        }
        found
    }

    /// Share of equal signs among the values compared; 1 where there are none.
    pub fn share(&self) -> f64 {
        if self.compared == 0 { 1.0 } else { self.equal as f64 / self.compared as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Shape;

    #[test]
    fn values_below_the_noise_of_their_own_image_are_left_out() {
        let images = |pixels: [f32; 8]| {
            let (count, shape) = (2, Shape::new(1, 2, 2));
            Images { count, shape, pixels: pixels.to_vec() }
        };
        let exact = images([1.0, -0.5, 0.01, 0.0, 1e-6, -1e-6, 1e-6, 1e-9]);
        let other = images([1.0, 0.5, -0.01, 1.0, 1e-6, -1e-9, 0.0, -1e-9]);
        let found = Agreement::of(&exact, &other, 0.1);
        assert_eq!(found, Agreement { values: 8, compared: 5, equal: 3 });
        assert_eq!(found.share(), 0.6);
    }
}
