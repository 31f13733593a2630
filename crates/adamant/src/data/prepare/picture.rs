//! What becomes of one picture: copied, or decoded and made smaller.

use std::path::PathBuf;

use network::Shape;

use super::super::dataset::{Dataset, Pixels};
use super::super::error::DataError;
use super::super::picture::{self, Colours, Picture};
use super::super::pictures::Stored;
use super::super::png_file;
use super::super::resize::{Filter, Region, Resampling, Resizer};
use super::{Form, PrepareSettings};

/// A picture ready to be written.
#[derive(Debug)]
pub(super) enum Ready {
    /// A whole file, and the extension it goes by.
    File(&'static str, Vec<u8>),
    /// Planes `[C, H, W]`.
    Planes(Shape, Vec<u8>),
}

/// Memory that is used again for the next picture.
#[derive(Default)]
pub(super) struct Scratch {
    file: Vec<u8>,
    picture: Picture,
    resizer: Resizer,
}

/// Reads image `index` as it is stored, checks that it decodes, and makes of it what the settings say.
pub(super) fn ready(
    set: &Dataset,
    index: usize,
    settings: &PrepareSettings,
    scratch: &mut Scratch,
) -> Result<Ready, DataError> {
    let Scratch { file, picture, resizer } = scratch;
    let (stored, name): (Stored, Box<dyn Fn() -> PathBuf>) = match set.pixels() {
        Pixels::Memory(bytes) => {
            let length = set.stored().len();
            file.clear();
            file.extend_from_slice(&bytes[index * length..(index + 1) * length]);
            (Stored::Planes(set.stored()), Box::new(|| PathBuf::from(set.name())))
        }
        Pixels::Pictures(pictures) => {
            (pictures.read(index, file)?, Box::new(move || pictures.name(index)))
        }
    };
    let (shape, planes) = match stored {
        Stored::Planes(shape) => (shape, file.clone()),
        Stored::File => {
            picture::decode(file, &name(), Colours::AsStored, picture)?;
            let mut planes = vec![0; picture.shape().len()];
            picture.planes(&mut planes);
            (picture.shape(), planes)
        }
    };
    let smaller = settings.shorter_side.and_then(|side| smaller(shape, side as usize));
    if let (Form::Shards, Stored::File, None) = (settings.form, stored, smaller) {
        let extension = if file.starts_with(b"\x89PNG") { "png" } else { "jpg" };
        return Ok(Ready::File(extension, file.clone()));
    }
    let (shape, planes) = match smaller {
        Some(task) => resampled(shape, &planes, &task, resizer),
        None => (shape, planes),
    };
    Ok(match settings.form {
        Form::Shards => Ready::File("png", png_file::encode(shape, &planes)),
        Form::Cache => Ready::Planes(shape, planes),
    })
}

/// How a picture is brought to a shorter side of `side`; `None` if it is no larger: enlarging adds bytes, not detail.
fn smaller(shape: Shape, side: usize) -> Option<Resampling> {
    let short = shape.width.min(shape.height);
    if short <= side {
        return None;
    }
    // torchvision's `Resize`: the longer side is rounded down.
    let scaled = |length: usize| if length == short { side } else { side * length / short };
    let (width, height) = (scaled(shape.width), scaled(shape.height));
    let region = Region::whole(shape.width, shape.height);
    let window = Region::whole(width, height);
    Some(Resampling { region, width, height, window, filter: Filter::Bilinear })
}

fn resampled(
    shape: Shape,
    planes: &[u8],
    task: &Resampling,
    resizer: &mut Resizer,
) -> (Shape, Vec<u8>) {
    let smaller = Shape::new(shape.channels, task.height, task.width);
    let mut bytes = vec![0; smaller.len()];
    let (from, to) = (shape.height * shape.width, task.height * task.width);
    for (source, into) in planes.chunks_exact(from).zip(bytes.chunks_exact_mut(to)) {
        resizer.plane(source, shape, task, into);
    }
    (smaller, bytes)
}
