//! Section `data` of a recipe: which images, what they become, how they are read. And what that means.

use super::meaning::{require, small};
use super::recipe::Recipe;
use super::recipe_error::RecipeError;
use crate::data::{
    Augment, Colour, Filter, Flip, Framing, OnCorrupt, Order, PrefetchSettings, RandomCrop,
};
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;

/// Section `data`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSection {
    /// A name or a source such as `bin:PATH`.
    pub source: String,
    /// How many training images are held out to choose the best model (T45).
    pub validation: usize,
    /// How many of the others are learned from, drawn by the seed; 0 for all.
    pub images: usize,
    /// Pixels of both sides of an image, cut out of pictures of any size; 0 for pictures as they are stored.
    pub size: usize,
    /// Pixels of the shorter side before `size` is cut out of the middle; 0 for 256 to 224 in proportion.
    pub resize: usize,
    /// How source pixels are weighed where the middle is cut out.
    pub resize_filter: Filter,
    /// What is cut out of a training picture.
    pub crop: CropKind,
    /// Smallest and largest share of the area with `crop = "random-resized"`.
    pub crop_area: [f64; 2],
    /// Smallest and largest width divided by height with `crop = "random-resized"`.
    pub crop_aspect: [f64; 2],
    /// How source pixels are weighed with `crop = "random-resized"`.
    pub crop_filter: Filter,
    /// Pixels of zero border before a random crop; 0 for none.
    pub pad: usize,
    /// Whether images are mirrored at random.
    pub flip: bool,
    /// Brightness is multiplied by 1 plus or minus at most this.
    pub brightness: f64,
    /// Contrast is multiplied by 1 plus or minus at most this.
    pub contrast: f64,
    /// Saturation is multiplied by 1 plus or minus at most this.
    pub saturation: f64,
    /// Standard deviation of the shift along the principal axes of colours.
    pub lighting: f64,
    /// What happens when a training image cannot be read.
    pub on_corrupt: OnCorrupt,
    /// Shards among which images are shuffled together; 0 for all.
    pub shuffle_shards: usize,
    /// Threads that read ahead, at low priority; 0 for as many as compute.
    pub workers: usize,
    /// MiB of batches that are read ahead; always at least one batch.
    pub prefetch_mib: usize,
}

impl Default for DataSection {
    fn default() -> Self {
        let crop = RandomCrop::default();
        Self {
            source: "fashion-sample".into(),
            validation: 500,
            images: 0,
            size: 0,
            resize: 0,
            resize_filter: Filter::Bilinear,
            crop: CropKind::None,
            crop_area: crop.area,
            crop_aspect: crop.aspect,
            crop_filter: crop.filter,
            pad: 2,
            flip: true,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            lighting: 0.0,
            on_corrupt: OnCorrupt::Fail,
            shuffle_shards: 0,
            workers: 0,
            prefetch_mib: 512,
        }
    }
}

/// What is cut out of a training picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CropKind {
    /// What is cut out for validation too.
    None,
    /// A box of random size, place and proportions, brought to the size of the image.
    RandomResized,
}

/// What becomes of a picture when nothing is drawn.
pub(super) fn framing(recipe: &Recipe) -> Result<Framing, RecipeError> {
    let data = &recipe.data;
    let crop = small(recipe, "data.size", data.size)?;
    if crop == 0 {
        let hint = "data.size says how large images become";
        return match data.resize {
            0 => Ok(Framing::AsStored),
            _ => Err(recipe.value_error("data.resize", "0 where data.size is 0", Some(hint))),
        };
    }
    require(crop <= 1 << 13, recipe, "data.size", "at most 8192")?;
    let resize = match (small(recipe, "data.resize", data.resize)?, Framing::usual(crop)) {
        (0, Framing::CentreCrop { resize, .. }) => resize,
        (resize, _) => resize,
    };
    let fits = resize >= crop && resize <= 1 << 14;
    require(fits, recipe, "data.resize", "0, or data.size to 16384")?;
    Ok(Framing::CentreCrop { resize, crop, filter: data.resize_filter })
}

/// What is drawn for training images.
pub(super) fn augment(recipe: &Recipe) -> Result<Augment, RecipeError> {
    let data = &recipe.data;
    let crop =
        RandomCrop { area: data.crop_area, aspect: data.crop_aspect, filter: data.crop_filter };
    let possible = RandomCrop { aspect: RandomCrop::default().aspect, ..crop }.is_possible();
    require(possible, recipe, "data.crop_area", "two rising shares in (0, 1]")?;
    require(crop.is_possible(), recipe, "data.crop_aspect", "two rising numbers above 0")?;
    let colour = Colour {
        brightness: data.brightness,
        contrast: data.contrast,
        saturation: data.saturation,
        lighting: data.lighting,
    };
    for (key, value) in [
        ("data.brightness", data.brightness),
        ("data.contrast", data.contrast),
        ("data.saturation", data.saturation),
    ] {
        require((0.0..=1.0).contains(&value), recipe, key, "a share in [0, 1]")?;
    }
    let light = "a standard deviation that is not negative";
    require(colour.is_possible(), recipe, "data.lighting", light)?;
    Ok(Augment {
        crop: (data.crop == CropKind::RandomResized).then_some(crop),
        pad: small(recipe, "data.pad", data.pad)?,
        flip: if data.flip { Flip::Horizontal } else { Flip::Never },
        colour,
    })
}

/// In which order an epoch goes through the training images.
pub(super) fn order(recipe: &Recipe) -> Order {
    NonZeroUsize::new(recipe.data.shuffle_shards).map_or(Order::Shuffled, Order::ShuffledShards)
}

/// How far ahead training images are read.
pub(super) fn prefetch(recipe: &Recipe) -> Result<PrefetchSettings, RecipeError> {
    let data = &recipe.data;
    require(data.workers <= 1024, recipe, "data.workers", "at most 1024 threads")?;
    let bytes = data.prefetch_mib.checked_mul(1 << 20);
    let bytes =
        bytes.ok_or_else(|| recipe.value_error("data.prefetch_mib", "less memory", None))?;
    Ok(PrefetchSettings { workers: data.workers, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn recipe(text: &str) -> Recipe {
        Recipe::parse(&format!("[data]\n{text}"), Path::new("r.toml"), &[]).unwrap()
    }

    #[test]
    fn pictures_stay_as_they_are_unless_a_size_is_given() {
        assert_eq!(framing(&recipe("")).unwrap(), Framing::AsStored);
        assert_eq!(framing(&recipe("size = 224")).unwrap(), Framing::usual(224));
        let cubic = recipe("size = 64\nresize = 70\nresize_filter = \"bicubic\"");
        let expected = Framing::CentreCrop { resize: 70, crop: 64, filter: Filter::Bicubic };
        assert_eq!(framing(&cubic).unwrap(), expected);
    }

    #[test]
    fn what_is_drawn_is_what_is_written() {
        let drawn = augment(&recipe("pad = 0\ncrop = \"random-resized\"\nlighting = 0.1")).unwrap();
        assert_eq!((drawn.crop, drawn.pad), (Some(RandomCrop::default()), 0));
        assert_eq!(drawn.colour, Colour { lighting: 0.1, ..Colour::default() });
        assert_eq!(augment(&recipe("")).unwrap().crop, None);
        let read = prefetch(&recipe("workers = 3\nprefetch_mib = 2")).unwrap();
        assert_eq!(read, PrefetchSettings { workers: 3, bytes: 2 << 20 });
        assert_eq!(order(&recipe("")), Order::Shuffled);
        let four = NonZeroUsize::new(4).unwrap();
        assert_eq!(order(&recipe("shuffle_shards = 4")), Order::ShuffledShards(four));
    }

    #[test]
    fn numbers_that_say_nothing_name_their_key() {
        for (text, key) in [
            ("resize = 256", "data.resize"),
            ("size = 224\nresize = 223", "data.resize"),
            ("size = 10000", "data.size"),
            ("crop_area = [0.0, 1.0]", "data.crop_area"),
            ("crop_aspect = [2.0, 1.0]", "data.crop_aspect"),
            ("brightness = 1.5", "data.brightness"),
            ("contrast = -0.5", "data.contrast"),
            ("saturation = 2.0", "data.saturation"),
            ("lighting = -1.0", "data.lighting"),
            ("workers = 5000", "data.workers"),
        ] {
            let recipe = recipe(text);
            let error = framing(&recipe).err().or_else(|| augment(&recipe).err());
            let error = error.or_else(|| prefetch(&recipe).err()).expect("it is refused");
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}
