//! From a stored picture to the bytes of one image.

use std::path::{Path, PathBuf};

use network::Shape;

use super::crop::RandomCrop;
use super::dataset::{self, Dataset};
use super::error::DataError;
use super::framing::{Framing, centre_crop};
use super::picture::{self, Colours, Picture, planes};
use super::pictures::Stored;
use super::resize::{Filter, Pixels, Region, Resampling, Resizer};

/// Memory that reading uses again for the next image.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    file: Vec<u8>,
    picture: Picture,
    resizer: Resizer,
    resampled: Vec<u8>,
}

/// Which part of a picture of a width and a height is taken, and what it becomes.
pub(super) type Cut<'a> = &'a dyn Fn(usize, usize) -> Resampling;

impl Dataset {
    /// Writes image `index`, cut as the framing says or, where there is one, as `drawn` says.
    ///
    /// Shapes: `into` is `[C, H, W]`. Units: 0 to 255. Errors: as [`Dataset::read`].
    pub(super) fn read_with(
        &self,
        index: u64,
        drawn: Option<Cut<'_>>,
        scratch: &mut Scratch,
        into: &mut [u8],
    ) -> Result<(), DataError> {
        let position = self.position(index)?;
        let cut = |width: usize, height: usize| match (drawn, self.framing()) {
            (Some(drawn), _) => Some(drawn(width, height)),
            (None, Framing::AsStored) => None,
            (None, Framing::CentreCrop { resize, crop, filter }) => {
                Some(centre_crop(width, height, resize, crop, filter))
            }
        };
        let Scratch { file, picture, resizer, resampled } = scratch;
        let pictures = match self.pixels() {
            dataset::Pixels::Memory(bytes) => {
                let length = self.stored().len();
                let bytes = &bytes[position * length..(position + 1) * length];
                let task = cut(self.stored().width, self.stored().height);
                return self.cut_planes(bytes, self.stored(), task, resizer, into);
            }
            dataset::Pixels::Pictures(pictures) => pictures,
        };
        let same = |found: Shape| match self.framing() {
            Framing::AsStored if found != self.shape() => Err(DataError::PictureShape {
                path: pictures.name(position),
                found,
                expected: self.shape(),
                first: pictures.name(0),
            }),
            _ => Ok(()),
        };
        match pictures.read(position, file)? {
            Stored::Planes(shape) => {
                check_planes(file, shape, || pictures.name(position))?;
                same(shape)?;
                let task = cut(shape.width, shape.height);
                self.cut_planes(file, shape, task, resizer, into)
            }
            Stored::File => {
                let colours = match self.framing() {
                    Framing::AsStored => Colours::AsStored,
                    Framing::CentreCrop { .. } => Colours::Rgb,
                };
                let wanted = |width: usize, height: usize| {
                    cut(width, height).map_or(Region::whole(width, height), |task| task.needed())
                };
                let name = pictures.name(position);
                picture::decode_part(file, &name, colours, &wanted, picture)?;
                same(picture.shape())?;
                let Some(task) = cut(picture.width, picture.height) else {
                    picture.planes(into);
                    return Ok(());
                };
                let pixels = Pixels { bytes: &picture.pixels, part: picture.part };
                resampled.resize(task.window.width * task.window.height * picture.spacing, 0);
                match picture.spacing {
                    1 => resizer.run::<1>(pixels, &task, resampled),
                    3 => resizer.run::<3>(pixels, &task, resampled),
                    _ => resizer.run::<4>(pixels, &task, resampled),
                }
                planes(resampled, picture.spacing, into);
                Ok(())
            }
        }
    }

    /// Writes one image as a box of its picture, brought to the data set's size: what a random crop does once drawn.
    ///
    /// Shapes: `into` is `[C, H, W]`; the box lies within the picture. Units: 0 to 255. Errors: as [`Dataset::read`].
    pub fn read_box(
        &self,
        index: u64,
        region: Region,
        filter: Filter,
        into: &mut [u8],
    ) -> Result<(), DataError> {
        let crop = RandomCrop { filter, ..RandomCrop::default() };
        let cut = |width: usize, height: usize| {
            let left = region.left.min(width - 1);
            let top = region.top.min(height - 1);
            let (width, height) = (region.width.min(width - left), region.height.min(height - top));
            crop.resampling(Region { left, top, width, height }, self.shape())
        };
        self.read_with(index, Some(&cut), &mut Scratch::default(), into)
    }

    /// Writes an image out of planes of `stored`; a grey one is repeated where three channels are wanted.
    fn cut_planes(
        &self,
        bytes: &[u8],
        stored: Shape,
        task: Option<Resampling>,
        resizer: &mut Resizer,
        into: &mut [u8],
    ) -> Result<(), DataError> {
        let Some(task) = task else {
            into.copy_from_slice(bytes);
            return Ok(());
        };
        let (from, to) = (stored.height * stored.width, self.shape().height * self.shape().width);
        for (channel, plane) in into.chunks_exact_mut(to).enumerate() {
            let channel = channel.min(stored.channels - 1);
            resizer.plane(&bytes[channel * from..][..from], stored, &task, plane);
        }
        Ok(())
    }
}

/// The shape of the first picture: what all others must have where pictures are taken as they are stored.
pub(super) fn first_shape(pictures: &dyn super::Pictures) -> Result<Shape, DataError> {
    let mut file = Vec::new();
    match pictures.read(0, &mut file)? {
        Stored::Planes(shape) => check_planes(&file, shape, || pictures.name(0)).map(|()| shape),
        Stored::File => shape_of(&file, &pictures.name(0)),
    }
}

fn shape_of(file: &[u8], name: &Path) -> Result<Shape, DataError> {
    let mut picture = Picture::default();
    picture::decode(file, name, Colours::AsStored, &mut picture)?;
    Ok(picture.shape())
}

fn check_planes(
    bytes: &[u8],
    shape: Shape,
    name: impl FnOnce() -> PathBuf,
) -> Result<(), DataError> {
    if bytes.len() == shape.len() && matches!(shape.channels, 1 | 3) && !shape.is_empty() {
        return Ok(());
    }
    Err(DataError::WrongLength {
        path: name(),
        found: bytes.len() as u64,
        expected: shape.len() as u64,
        reason: format!("decoded bytes of {} x {} x {}", shape.channels, shape.height, shape.width),
    })
}
