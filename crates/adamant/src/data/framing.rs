//! How pictures of any size become images of one shape when nothing is drawn: validation, evaluation, contact sheets.

use network::Shape;

use super::error::DataError;
use super::resize::{Filter, Region, Resampling};

/// How a picture becomes an image of the data set's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Framing {
    /// As it lies there; all pictures have one shape, grey ones stay grey.
    #[default]
    AsStored,
    /// In red, green and blue, the shorter side brought to `resize` and `crop` x `crop` taken out of the middle.
    ///
    /// Source: torchvision's `Resize(resize)` and `CenterCrop(crop)`; He et al. 2016 with 256 and 224.
    CentreCrop {
        /// Pixels of the shorter side after resampling.
        resize: u32,
        /// Pixels of both sides of the image.
        crop: u32,
        /// How source pixels are weighed.
        filter: Filter,
    },
}

impl Framing {
    /// The usual one for images of `side` pixels: the shorter side is 256 for 224, in that proportion for others.
    pub fn usual(side: u32) -> Self {
        let resize = (u64::from(side) * 256).div_ceil(224) as u32;
        Self::CentreCrop { resize, crop: side, filter: Filter::Bilinear }
    }

    /// The shape of images, where the framing decides it.
    pub fn shape(&self) -> Option<Shape> {
        match *self {
            Self::AsStored => None,
            Self::CentreCrop { crop, .. } => Some(Shape::new(3, crop as usize, crop as usize)),
        }
    }

    /// Checks the numbers.
    ///
    /// Errors: `Framing` if the crop is nothing, larger than what it is taken from, or beyond any picture.
    pub(super) fn check(&self) -> Result<(), DataError> {
        match *self {
            Self::CentreCrop { resize, crop, .. }
                if crop == 0 || crop > resize || resize > MOST_SIDE =>
            {
                Err(DataError::Framing { resize, crop, most: MOST_SIDE })
            }
            _ => Ok(()),
        }
    }
}

/// The longest shorter side that anybody resamples to; keeps all later arithmetic within its types.
const MOST_SIDE: u32 = 1 << 14;

/// The resampling of a centre crop. Source: torchvision `Resize`, `CenterCrop`: Python's rounding, half to even.
pub(super) fn centre_crop(
    width: usize,
    height: usize,
    resize: u32,
    crop: u32,
    filter: Filter,
) -> Resampling {
    let (resize, crop) = (resize as usize, crop as usize);
    let long = |long: usize, short: usize| resize * long / short;
    let (wide, high) =
        if width <= height { (resize, long(height, width)) } else { (long(width, height), resize) };
    let middle = |side: usize| ((side - crop) as f64 / 2.0).round_ties_even() as usize;
    let window = Region { left: middle(wide), top: middle(high), width: crop, height: crop };
    Resampling { region: Region::whole(width, height), width: wide, height: high, window, filter }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are those of torchvision 0.29 for the same sizes.
    #[test]
    fn g31_a_centre_crop_has_the_geometry_of_torchvision() {
        for ((width, height), (wide, high, left, top)) in [
            ((500, 375), (341, 256, 58, 16)),
            ((375, 500), (256, 341, 16, 58)),
            ((333, 500), (256, 384, 16, 80)),
            ((256, 256), (256, 256, 16, 16)),
            ((100, 101), (256, 258, 16, 17)),
            ((640, 427), (383, 256, 80, 16)),
        ] {
            let task = centre_crop(width, height, 256, 224, Filter::Bilinear);
            let found = (task.width, task.height, task.window.left, task.window.top);
            assert_eq!(found, (wide, high, left, top), "{width} x {height}");
        }
    }

    #[test]
    fn the_usual_framing_of_224_pixels_begins_with_256() {
        let resize = |side| match Framing::usual(side) {
            Framing::CentreCrop { resize, .. } => resize,
            Framing::AsStored => 0,
        };
        assert_eq!([224, 64, 32].map(resize), [256, 74, 37]);
    }

    #[test]
    fn a_crop_that_is_nothing_or_too_large_is_refused() {
        for (resize, crop) in [(256, 0), (223, 224), (1 << 20, 224)] {
            let framing = Framing::CentreCrop { resize, crop, filter: Filter::Bilinear };
            let error = framing.check().unwrap_err().to_string();
            assert!(error.contains(&crop.to_string()), "{error}");
        }
    }
}
