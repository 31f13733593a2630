//! Brightness, contrast, saturation and lighting, changed at random and in random order.

use serde::{Deserialize, Serialize};

use crate::stream::{Key, Purpose, Stream};

/// How much each may change; the default changes nothing.
///
/// Source: the paper's code (brightness and contrast 0.6 to 1.4, saturation +-0.4, lighting 0.1); the first three as
/// torchvision's `ColorJitter`, the last as Krizhevsky et al. 2012, section 4.1. As in the paper's code nothing is clipped between
/// the changes; here all is clipped to `[0, 1]` after the last, because an attack's ball ends there.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Colour {
    /// Pixels are multiplied by 1 plus or minus at most this.
    pub brightness: f64,
    /// Pixels move away from, or towards, the mean grey of the image by at most this share.
    pub contrast: f64,
    /// Pixels move away from, or towards, their own grey by at most this share.
    pub saturation: f64,
    /// Standard deviation of the light's shift along the colours' principal axes, in units of their deviations.
    pub lighting: f64,
}

/// Principal axes of ImageNet's colours, one row per channel. Source: Krizhevsky et al. 2012, values as published in
/// fb.resnet.torch.
const AXES: [[f32; 3]; 3] =
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]];
/// Their deviations, pixels in `[0, 1]`.
const DEVIATIONS: [f32; 3] = [0.2175, 0.0188, 0.0045];
/// Weights of red, green and blue in grey. Source: ITU-R BT.601.
const GREY: [f32; 3] = [0.299, 0.587, 0.114];

/// One change.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Brightness(f32),
    Contrast(f32),
    Saturation(f32),
    Lighting([f32; 3]),
}

impl Colour {
    /// Whether the numbers say something: none negative, the first three at most 1.
    pub fn is_possible(&self) -> bool {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        share(self.brightness)
            && share(self.contrast)
            && share(self.saturation)
            && self.lighting.is_finite()
            && self.lighting >= 0.0
    }

    /// Changes image `index` as `epoch` has it.
    ///
    /// Shapes: `[3, H, W]`. Units: pixels in `[0, 1]`.
    pub(super) fn apply(&self, stream: Stream, epoch: u32, index: u64, image: &mut [f32]) {
        if *self == Self::default() {
            return;
        }
        assert!(image.len().is_multiple_of(3), "colours are changed in images of three channels");
        for change in self.draw(stream, epoch, index) {
            change.apply(image);
        }
        for pixel in image {
            *pixel = pixel.clamp(0.0, 1.0);
        }
    }

    /// All numbers are drawn whatever the settings, so that turning one off leaves the others' draws alone.
    fn draw(&self, stream: Stream, epoch: u32, index: u64) -> [Change; 4] {
        let index = u32::try_from(index).expect("a data set has at most 2^32 images");
        let key = Key { purpose: Purpose::Colour, time: epoch, index, restart: 0 };
        let mut draws = stream.draws(key);
        let mut factor = |most: f64| 1.0 + most as f32 * (2.0 * draws.uniform() - 1.0);
        let [brightness, contrast, saturation] =
            [factor(self.brightness), factor(self.contrast), factor(self.saturation)];
        let light = DEVIATIONS.map(|deviation| self.lighting as f32 * draws.normal() * deviation);
        let shift = AXES.map(|axes| axes.iter().zip(light).map(|(axis, l)| axis * l).sum());
        let mut changes = [
            Change::Brightness(brightness),
            Change::Contrast(contrast),
            Change::Saturation(saturation),
            Change::Lighting(shift),
        ];
        for last in (1..changes.len()).rev() {
            changes.swap(last, draws.below(last as u32 + 1) as usize);
        }
        changes
    }
}

impl Change {
    fn apply(self, image: &mut [f32]) {
        let plane = image.len() / 3;
        match self {
            Self::Brightness(1.0) | Self::Contrast(1.0) | Self::Saturation(1.0) => {}
            Self::Brightness(factor) => image.iter_mut().for_each(|pixel| *pixel *= factor),
            Self::Contrast(factor) => {
                let mean = GREY.iter().zip(image.chunks_exact(plane));
                let mean = mean.map(|(&weight, plane)| f64::from(weight) * sum(plane)).sum::<f64>();
                let rest = (mean / plane as f64) as f32 * (1.0 - factor);
                image.iter_mut().for_each(|pixel| *pixel = *pixel * factor + rest);
            }
            Self::Saturation(factor) => {
                let (red, rest) = image.split_at_mut(plane);
                let (green, blue) = rest.split_at_mut(plane);
                for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
                    let grey = GREY[0] * *red + GREY[1] * *green + GREY[2] * *blue;
                    let rest = grey * (1.0 - factor);
                    for channel in [red, green, blue] {
                        *channel = *channel * factor + rest;
                    }
                }
            }
            Self::Lighting(shift) => {
                for (plane, shift) in image.chunks_exact_mut(plane).zip(shift) {
                    plane.iter_mut().for_each(|pixel| *pixel += shift);
                }
            }
        }
    }
}

/// Rows of eight partial sums, so that the order is fixed and still more than one addition is under way at once.
fn sum(values: &[f32]) -> f64 {
    let mut partial = [0.0_f64; 8];
    for row in values.chunks(8) {
        for (sum, &value) in partial.iter_mut().zip(row) {
            *sum += f64::from(value);
        }
    }
    partial.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAPER: Colour = Colour { brightness: 0.4, contrast: 0.4, saturation: 0.4, lighting: 0.1 };

    fn image() -> Vec<f32> {
        [0.2, 0.4, 0.6, 0.1, 0.5, 0.3].to_vec()
    }

    fn near(found: &[f32], expected: &[f32]) {
        let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(found.len() == expected.len() && worst < 1e-6, "{found:?}, expected {expected:?}");
    }

    /// Two pixels, planes red, green, blue; their greys by hand: .299 * .2 + .587 * .6 + .114 * .5 = .469 and
    /// .299 * .4 + .587 * .1 + .114 * .3 = .2125.
    #[test]
    fn g31_each_change_is_what_its_formula_says() {
        let apply = |change: Change| {
            let mut image = image();
            change.apply(&mut image);
            image
        };
        near(&apply(Change::Brightness(1.5)), &[0.3, 0.6, 0.9, 0.15, 0.75, 0.45]);
        let grey = [0.469_f32, 0.2125];
        let mean = 0.5 * (grey[0] + grey[1]) * 0.5;
        near(&apply(Change::Contrast(0.5)), &image().map_half(|_| mean));
        near(&apply(Change::Saturation(0.5)), &image().map_half(|at| 0.5 * grey[at % 2]));
        near(&apply(Change::Lighting([0.1, 0.0, -0.1])), &[0.3, 0.5, 0.6, 0.1, 0.4, 0.2]);
    }

    trait Half {
        fn map_half(&self, rest: impl Fn(usize) -> f32) -> Vec<f32>;
    }

    impl Half for Vec<f32> {
        fn map_half(&self, rest: impl Fn(usize) -> f32) -> Vec<f32> {
            self.iter().enumerate().map(|(at, pixel)| 0.5 * pixel + rest(at)).collect()
        }
    }

    #[test]
    fn g31_the_draws_are_a_function_of_seed_epoch_and_index() {
        let draw = |seed, epoch, index| PAPER.draw(Stream::new(seed), epoch, index);
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        for other in [draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)] {
            assert_ne!(draw(1, 2, 3), other);
        }
    }

    /// n = 4,000, seed 9: factors of 0.6 to 1.4 have mean 1 within 4 standard errors (0.23 / sqrt(n)) and stay in range; the
    /// first of four changes is each of them with frequency 1/4 within 4 standard errors (27 of 1,000).
    #[test]
    fn g31_factors_and_order_are_uniform() {
        let (mut sum, mut first) = (0.0, [0_i64; 4]);
        for index in 0..4000 {
            let changes = PAPER.draw(Stream::new(9), 0, index);
            first[match changes[0] {
                Change::Brightness(_) => 0,
                Change::Contrast(_) => 1,
                Change::Saturation(_) => 2,
                Change::Lighting(_) => 3,
            }] += 1;
            for change in changes {
                if let Change::Brightness(factor) = change {
                    assert!((0.6..=1.4).contains(&factor));
                    sum += f64::from(factor);
                }
            }
        }
        assert!((sum / 4000.0 - 1.0).abs() < 0.0146, "{sum}");
        assert!(first.iter().all(|n| (n - 1000).abs() < 110), "{first:?}");
    }

    #[test]
    fn no_change_leaves_the_bits_and_any_change_stays_in_range() {
        let mut unchanged = image();
        Colour::default().apply(Stream::new(0), 0, 0, &mut unchanged);
        assert_eq!(unchanged, image());
        let wild = Colour { brightness: 1.0, contrast: 1.0, saturation: 1.0, lighting: 9.0 };
        for index in 0..100 {
            let mut changed = image();
            wild.apply(Stream::new(0), 0, index, &mut changed);
            assert!(changed.iter().all(|pixel| (0.0..=1.0).contains(pixel)), "{changed:?}");
        }
    }

    #[test]
    fn impossible_numbers_are_known() {
        assert!(PAPER.is_possible() && Colour::default().is_possible());
        for colour in [
            Colour { brightness: 1.1, ..PAPER },
            Colour { contrast: -0.1, ..PAPER },
            Colour { lighting: f64::NAN, ..PAPER },
        ] {
            assert!(!colour.is_possible(), "{colour:?}");
        }
    }
}
