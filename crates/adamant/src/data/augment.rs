//! What is drawn for a training image: a function of (seed, epoch, index), so that neither batch nor thread nor resume changes it.

use network::Shape;
use serde::{Deserialize, Serialize};

use super::colour::Colour;
use super::crop::RandomCrop;
use super::dataset::unit;
use super::error::DataError;
use crate::stream::{Key, Purpose, Stream};

/// Whether images are mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flip {
    /// Never: digits and letters.
    #[default]
    Never,
    /// Left and right exchanged with probability one half.
    Horizontal,
}

/// What is done to a training image; the default does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// A box drawn from the stored picture and brought to the image's size, instead of the data set's framing.
    pub crop: Option<RandomCrop>,
    /// Black pixels put around the image before a crop of its own size is taken at a uniform offset.
    pub pad: u32,
    /// Whether images are mirrored.
    pub flip: Flip,
    /// How much colours change.
    pub colour: Colour,
}

/// What the draws of one image say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Drawn {
    /// How far the crop lies below the image's own place; negative is above.
    down: i64,
    /// How far the crop lies to the right; negative is to the left.
    right: i64,
    mirrored: bool,
}

impl Augment {
    /// Checks the numbers for images of `shape`.
    ///
    /// Errors: `Augment`.
    pub(super) fn check(&self, shape: Shape) -> Result<(), DataError> {
        let refuse =
            |key, found: String, expected| Err(DataError::Augment { key, found, expected });
        if let Some(crop) = self.crop
            && !crop.is_possible()
        {
            let found = format!("area {:?} and aspect {:?}", crop.area, crop.aspect);
            return refuse("crop", found, "shares of (0, 1] and proportions above 0, both rising");
        }
        if !self.colour.is_possible() {
            let found = format!("{:?}", self.colour);
            return refuse(
                "colour",
                found,
                "shares of [0, 1] and a deviation that is not negative",
            );
        }
        if self.colour != Colour::default() && shape.channels != 3 {
            let found = format!("changed in images of {} channel", shape.channels);
            return refuse("colour", found, "no changes, or images of three channels");
        }
        Ok(())
    }

    /// Writes image `index` as it looks in `epoch`, from its bytes after the crop.
    ///
    /// Shapes: both `[C, H, W]`. Units: bytes in, pixels in `[0, 1]` out.
    /// Source: He et al. 2016, section 4.2 (pad 4, random crop, horizontal flip).
    pub fn apply(
        &self,
        bytes: &[u8],
        shape: Shape,
        stream: Stream,
        epoch: u32,
        index: u64,
        into: &mut [f32],
    ) {
        assert_eq!((bytes.len(), into.len()), (shape.len(), shape.len()), "one image of {shape:?}");
        let drawn = self.draw(stream, epoch, index);
        let height = shape.height as i64;
        for channel in 0..shape.channels {
            for row in 0..shape.height {
                let output =
                    &mut into[(channel * shape.height + row) * shape.width..][..shape.width];
                let source_row = row as i64 + drawn.down;
                if !(0..height).contains(&source_row) {
                    output.fill(0.0);
                    continue;
                }
                let start = (channel * shape.height + source_row as usize) * shape.width;
                let source = &bytes[start..start + shape.width];
                // The crop is mirrored, not the image: as RandomCrop followed by RandomHorizontalFlip.
                let shown = source_columns(drawn.right, shape.width);
                let left = (-drawn.right).max(0) as usize;
                output.fill(0.0);
                let placed = output[left..].iter_mut().zip(&source[shown]);
                placed.for_each(|(pixel, &byte)| *pixel = unit(byte));
                if drawn.mirrored {
                    output.reverse();
                }
            }
        }
        self.colour.apply(stream, epoch, index, into);
    }

    /// All three numbers are drawn whatever the settings, so that turning one off leaves the others' draws alone.
    fn draw(&self, stream: Stream, epoch: u32, index: u64) -> Drawn {
        let index = u32::try_from(index).expect("a data set has at most 2^32 images");
        let key = Key { purpose: Purpose::Augment, time: epoch, index, restart: 0 };
        let mut draws = stream.draws(key);
        let coin = draws.bits() >> 31 == 1;
        let mut offset = || i64::from(draws.below(2 * self.pad + 1)) - i64::from(self.pad);
        Drawn { down: offset(), right: offset(), mirrored: coin && self.flip == Flip::Horizontal }
    }
}

/// The columns that are still there `right` columns further to the right.
fn source_columns(right: i64, width: usize) -> std::ops::Range<usize> {
    let end = (width as i64 + right.min(0)).max(0) as usize;
    (right.max(0) as usize).min(end)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape::new(2, 3, 4);

    fn bytes() -> Vec<u8> {
        (1..=24).collect()
    }

    fn apply(augment: Augment, epoch: u32, index: u64) -> Vec<f32> {
        let mut into = vec![f32::NAN; SHAPE.len()];
        augment.apply(&bytes(), SHAPE, Stream::new(3), epoch, index, &mut into);
        into
    }

    #[test]
    fn g31_no_augmentation_gives_the_bytes_over_255() {
        let expected: Vec<f32> = bytes().iter().map(|&byte| f32::from(byte) / 255.0).collect();
        assert_eq!(apply(Augment::default(), 5, 9), expected);
    }

    /// The stored reference is a padded image cropped and mirrored by hand, pixel by pixel.
    #[test]
    fn g31_crop_and_flip_have_the_geometry_of_a_padded_image() {
        let augment = Augment { pad: 2, flip: Flip::Horizontal, ..Augment::default() };
        let (height, width) = (SHAPE.height + 4, SHAPE.width + 4);
        for index in 0..50 {
            let drawn = augment.draw(Stream::new(3), 1, index);
            let mut padded = vec![0.0; SHAPE.channels * height * width];
            for (position, byte) in bytes().into_iter().enumerate() {
                let (channel, within) = (position / 12, position % 12);
                let (row, column) = (within / 4 + 2, within % 4 + 2);
                padded[(channel * height + row) * width + column] = f32::from(byte) / 255.0;
            }
            let (top, left) = ((drawn.down + 2) as usize, (drawn.right + 2) as usize);
            let result = apply(augment, 1, index);
            for channel in 0..SHAPE.channels {
                for row in 0..SHAPE.height {
                    for column in 0..SHAPE.width {
                        let from = if drawn.mirrored { SHAPE.width - 1 - column } else { column };
                        let expected = padded[(channel * height + row + top) * width + from + left];
                        let found = result[(channel * SHAPE.height + row) * SHAPE.width + column];
                        assert_eq!(found, expected, "{drawn:?} {channel} {row} {column}");
                    }
                }
            }
        }
    }

    /// n = 9,000, seed 0: each of 9 offsets within 4 sigma (sigma = 29.8) of 1,000, mirrored within 4 sigma (47.4) of half.
    #[test]
    fn g31_offsets_and_mirroring_are_uniform() {
        let augment = Augment { pad: 4, flip: Flip::Horizontal, ..Augment::default() };
        let (mut down, mut right, mut mirrored) = ([0_i64; 9], [0_i64; 9], 0_i64);
        for index in 0..9000 {
            let drawn = augment.draw(Stream::new(0), 0, index);
            down[(drawn.down + 4) as usize] += 1;
            right[(drawn.right + 4) as usize] += 1;
            mirrored += i64::from(drawn.mirrored);
        }
        assert!(down.iter().chain(&right).all(|n| (n - 1000).abs() < 120), "{down:?} {right:?}");
        assert!((mirrored - 4500).abs() < 190, "{mirrored}");
    }

    #[test]
    fn g31_augmentation_is_a_function_of_seed_epoch_and_index() {
        let augment = Augment { pad: 4, flip: Flip::Horizontal, ..Augment::default() };
        let draws = |seed, epoch| -> Vec<Drawn> {
            (0..64).map(|index| augment.draw(Stream::new(seed), epoch, index)).collect()
        };
        assert_eq!(draws(1, 2), draws(1, 2));
        assert_ne!(draws(1, 2), draws(1, 3));
        assert_ne!(draws(1, 2), draws(2, 2));
    }
}
