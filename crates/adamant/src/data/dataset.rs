//! Images with labels, by position.

use std::sync::Arc;

use network::Shape;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::error::DataError;
use super::framing::Framing;
use super::pictures::Pictures;
use super::read::{Scratch, first_shape};
use super::sample::hex;
use crate::image::{Batch, Images};

/// Which part of a source a data set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Images to learn from.
    Train,
    /// Images that only judge.
    Test,
    /// All of a source that makes no such distinction: what is judged on it may have been learned from it.
    Whole,
}

/// Where the pixels are.
#[derive(Clone, Debug)]
pub enum Pixels {
    /// All in memory, `[N, C, H, W]`, 0 to 255.
    Memory(Vec<u8>),
    /// Pictures that are read each time they are asked for.
    Pictures(Arc<dyn Pictures>),
}

/// Labelled images of one shape.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    part: Part,
    shape: Shape,
    class_names: Vec<String>,
    labels: Vec<u32>,
    pixels: Pixels,
    /// Shape of what is in memory; of pictures that keep their shape, the same as `shape`.
    stored: Shape,
    framing: Framing,
}

impl Dataset {
    /// Puts a data set of images of one shape together.
    ///
    /// Shapes: pixels in memory `[labels, C, H, W]`, or one picture per label. Units: bytes 0 to 255.
    /// Errors: `Empty`, `TooMany`, `WrongPixelCount`, `LabelOutOfRange`.
    pub fn new(
        name: impl Into<String>,
        part: Part,
        shape: Shape,
        class_names: Vec<String>,
        labels: Vec<u32>,
        pixels: Pixels,
    ) -> Result<Self, DataError> {
        let name = name.into();
        if labels.is_empty() || shape.is_empty() {
            return Err(DataError::Empty { name });
        }
        if labels.len() > u32::MAX as usize {
            return Err(DataError::TooMany { name, found: labels.len() });
        }
        let expected = labels.len() * shape.len();
        let found = match &pixels {
            Pixels::Memory(bytes) => bytes.len(),
            Pixels::Pictures(pictures) => pictures.len() * shape.len(),
        };
        if found != expected {
            return Err(DataError::WrongPixelCount { name, found, expected, labels: labels.len() });
        }
        let classes = class_names.len();
        if let Some(index) = labels.iter().position(|&label| label as usize >= classes) {
            let found = labels[index];
            return Err(DataError::LabelOutOfRange { origin: name, index, found, classes });
        }
        let (stored, framing) = (shape, Framing::AsStored);
        Ok(Self { name, part, shape, class_names, labels, pixels, stored, framing })
    }

    /// Puts a data set of pictures together, one per label, that become images as `framing` says.
    ///
    /// Pictures taken as they are stored must all have the shape of the first, which is read to learn it.
    /// Errors: as [`Dataset::new`]; `Framing`; what is wrong with the first picture.
    pub fn of_pictures(
        name: impl Into<String>,
        part: Part,
        class_names: Vec<String>,
        labels: Vec<u32>,
        pictures: Arc<dyn Pictures>,
        framing: Framing,
    ) -> Result<Self, DataError> {
        let name = name.into();
        framing.check()?;
        let shape = match framing.shape() {
            Some(shape) => shape,
            None if pictures.is_empty() => return Err(DataError::Empty { name }),
            None => first_shape(&*pictures)?,
        };
        let pixels = Pixels::Pictures(pictures);
        Ok(Self { framing, ..Self::new(name, part, shape, class_names, labels, pixels)? })
    }

    /// The same images framed in another way.
    ///
    /// Errors: `Framing`.
    pub fn framed(self, framing: Framing) -> Result<Self, DataError> {
        framing.check()?;
        let shape = framing.shape().unwrap_or(self.stored);
        Ok(Self { shape, framing, ..self })
    }

    /// How a stored picture becomes an image.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Which shard an image lies in; images in memory lie in one.
    pub(super) fn block(&self, index: u64) -> u32 {
        match &self.pixels {
            Pixels::Memory(_) => 0,
            Pixels::Pictures(pictures) => pictures.block(index as usize),
        }
    }

    pub(super) fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    pub(super) fn stored(&self) -> Shape {
        self.stored
    }

    /// As the user named it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which part of the source it is.
    pub fn part(&self) -> Part {
        self.part
    }

    /// Shape of one image.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// What the classes are called, by label.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// The true class of every image.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Number of images; never 0.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never true: an empty data set cannot be made.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Writes the bytes of one image.
    ///
    /// Shapes: `into` is `[C, H, W]`. Units: 0 to 255.
    /// Errors: `NoSuchImage`; what decoding says for pictures that are not in memory.
    pub fn read(&self, index: u64, into: &mut [u8]) -> Result<(), DataError> {
        self.read_with(index, None, &mut Scratch::default(), into)
    }

    /// The images at `indices`, in that order, unaugmented; decoded on all threads.
    ///
    /// Units: pixels in `[0, 1]`. Errors: as [`Dataset::read`], of the first image that has one.
    pub fn batch(&self, indices: &[u64]) -> Result<Batch, DataError> {
        let mut images = Images::zeros(indices.len(), self.shape);
        let results: Vec<Result<(), DataError>> = images
            .pixels
            .par_chunks_mut(self.shape.len())
            .zip(indices)
            .map_init(Default::default, |(scratch, bytes): &mut (Scratch, Vec<u8>), work| {
                let (image, &index) = work;
                bytes.resize(self.shape.len(), 0);
                self.read_with(index, None, scratch, bytes)?;
                image.iter_mut().zip(bytes).for_each(|(pixel, &mut byte)| *pixel = unit(byte));
                Ok(())
            })
            .collect();
        results.into_iter().collect::<Result<(), DataError>>()?;
        let labels = indices.iter().map(|&index| self.labels[index as usize]).collect();
        Ok(Batch { images, labels, indices: indices.to_vec() })
    }

    /// SHA-256 of shape, labels and pixels, in lowercase hexadecimal digits: equal for equal images, whatever the files.
    ///
    /// A lossy copy of a set therefore never passes for the set (T28). Errors: as [`Dataset::read`].
    pub fn fingerprint(&self) -> Result<String, DataError> {
        let mut hash = Sha256::new();
        for size in [self.len(), self.shape.channels, self.shape.height, self.shape.width] {
            hash.update((size as u64).to_le_bytes());
        }
        let mut bytes = vec![0; self.shape.len()];
        for (index, label) in self.labels.iter().enumerate() {
            self.read(index as u64, &mut bytes)?;
            hash.update(label.to_le_bytes());
            hash.update(&bytes);
        }
        Ok(hex(&hash.finalize()))
    }

    pub(super) fn position(&self, index: u64) -> Result<usize, DataError> {
        usize::try_from(index).ok().filter(|&position| position < self.len()).ok_or_else(|| {
            DataError::NoSuchImage { name: self.name.clone(), index, images: self.len() }
        })
    }
}

/// A byte as a pixel in `[0, 1]`: divided, as PyTorch's `ToTensor` does, not multiplied by a rounded 1/255.
pub(super) fn unit(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|class| class.to_string()).collect()
    }

    #[test]
    fn impossible_data_sets_are_refused() {
        let shape = Shape::new(1, 2, 2);
        let make = |labels: Vec<u32>, bytes: usize| {
            Dataset::new("d", Part::Whole, shape, names(3), labels, Pixels::Memory(vec![0; bytes]))
        };
        assert!(matches!(make(vec![], 0), Err(DataError::Empty { .. })));
        assert!(matches!(
            make(vec![0, 1], 7),
            Err(DataError::WrongPixelCount { found: 7, expected: 8, .. })
        ));
        let error = make(vec![0, 3], 8).unwrap_err();
        assert_eq!(error.to_string(), "d: label of image 1 is 3, expected 0 to 2");
    }

    #[test]
    fn a_batch_holds_the_asked_images_in_the_asked_order() {
        let bytes = (0..12).map(|value| value * 20).collect();
        let shape = Shape::new(1, 2, 2);
        let set =
            Dataset::new("d", Part::Whole, shape, names(3), vec![2, 1, 0], Pixels::Memory(bytes))
                .unwrap();
        let batch = set.batch(&[2, 0]).unwrap();
        assert_eq!(batch.labels, [0, 2]);
        assert_eq!(batch.indices, [2, 0]);
        let expected = [160.0, 180.0, 200.0, 220.0, 0.0, 20.0, 40.0, 60.0].map(|v: f32| v / 255.0);
        assert_eq!(batch.images.pixels, expected);
        assert!(matches!(set.batch(&[3]), Err(DataError::NoSuchImage { index: 3, .. })));
    }

    #[test]
    fn a_fingerprint_changes_with_any_pixel_label_or_shape() {
        let make = |shape: Shape, labels: [u32; 2], bytes: [u8; 8]| {
            let pixels = Pixels::Memory(bytes.to_vec());
            let set = Dataset::new("d", Part::Whole, shape, names(3), labels.to_vec(), pixels);
            set.unwrap().fingerprint().unwrap()
        };
        let first = make(Shape::new(1, 2, 2), [0, 1], [0; 8]);
        assert_eq!(first, make(Shape::new(1, 2, 2), [0, 1], [0; 8]));
        assert_ne!(first, make(Shape::new(1, 2, 2), [0, 2], [0; 8]));
        assert_ne!(first, make(Shape::new(1, 1, 4), [0, 1], [0; 8]));
        assert_ne!(first, make(Shape::new(1, 2, 2), [0, 1], [0, 0, 0, 0, 0, 0, 0, 1]));
    }
}
