//! Looking at every image of a set: does it decode, how large is it, what are its levels.

use network::Shape;
use rayon::prelude::*;

use super::dataset::{Dataset, Pixels};
use super::error::DataError;
use super::picture::{self, Colours, Picture};
use super::pictures::Stored;
use super::png_file;

/// Images looked at between two tellings of progress.
const STEP: usize = 512;

/// What is in a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// Images of each class.
    pub per_class: Vec<usize>,
    /// Images that do not decode, in order.
    pub corrupt: Vec<Corrupt>,
    /// Sizes of the others; `None` if there are none.
    pub sizes: Option<Sizes>,
    /// Images of one channel.
    pub grey: usize,
    /// Bytes as stored: files, or decoded where there are none.
    pub bytes: u64,
    /// Mean of each channel. Units: pixels in `[0, 1]`; grey counts as red, green and blue unless all are grey.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel over all pixels, in the same units.
    pub standard_deviation: Vec<f64>,
}

/// An image that does not decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// Its position in the set.
    pub index: usize,
    /// What is wrong, with the name of the file.
    pub reason: String,
}

/// How large images are, as rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Of the fewest pixels.
    pub smallest: [usize; 2],
    /// Of the median.
    pub median: [usize; 2],
    /// Of the most pixels.
    pub largest: [usize; 2],
    /// How many different ones there are.
    pub distinct: usize,
}

/// Whole numbers, so that sums are exact in any order.
#[derive(Clone, Copy, Default)]
struct Levels {
    pixels: u64,
    sums: [u64; 3],
    squares: [u64; 3],
}

/// Decodes every image; `progress` is told how many are done.
pub fn inspect(set: &Dataset, progress: &mut dyn FnMut(usize)) -> Inspection {
    let mut per_class = vec![0; set.classes()];
    set.labels().iter().for_each(|&label| per_class[label as usize] += 1);
    let (mut corrupt, mut shapes, mut levels, mut bytes) =
        (Vec::new(), Vec::new(), Levels::default(), 0);
    let indices: Vec<usize> = (0..set.len()).collect();
    for indices in indices.chunks(STEP) {
        let looked: Vec<Result<(Shape, u64, Levels), DataError>> = indices
            .par_iter()
            .map_init(Default::default, |(file, picture), &index| look(set, index, file, picture))
            .collect();
        for (&index, looked) in indices.iter().zip(looked) {
            match looked {
                Ok((shape, stored, its_levels)) => {
                    shapes.push((shape.height, shape.width, shape.channels));
                    bytes += stored;
                    levels.add(&its_levels);
                }
                Err(error) => corrupt.push(Corrupt { index, reason: error.to_string() }),
            }
        }
        progress(indices[indices.len() - 1] + 1);
    }
    let grey = shapes.iter().filter(|(.., channels)| *channels == 1).count();
    let channels = if grey == shapes.len() { 1 } else { 3 };
    let mean = (0..channels).map(|channel| levels.mean(channel)).collect();
    let standard_deviation = (0..channels).map(|channel| levels.deviation(channel)).collect();
    let sizes = sizes(shapes);
    Inspection { per_class, corrupt, sizes, grey, bytes, mean, standard_deviation }
}

/// A picture of some images of each class, a row a class; of many classes, one image of each of some.
///
/// `set` is framed to images of one shape. Errors: as [`Dataset::read`]; a corrupt image is left dark.
pub fn contact_sheet(set: &Dataset) -> Vec<u8> {
    const ROWS: usize = 16;
    const COLUMNS: usize = 12;
    let mut cells: Vec<Option<u64>> = Vec::new();
    let mut by_class: Vec<Vec<u64>> = vec![Vec::new(); set.classes()];
    for (index, &label) in set.labels().iter().enumerate() {
        by_class[label as usize].push(index as u64);
    }
    if set.classes() <= ROWS {
        for images in by_class.iter().filter(|images| !images.is_empty()) {
            let step = images.len().div_ceil(COLUMNS);
            cells.extend((0..COLUMNS).map(|column| images.get(column * step).copied()));
        }
    } else {
        let present: Vec<&Vec<u64>> = by_class.iter().filter(|i| !i.is_empty()).collect();
        let step = present.len().div_ceil(ROWS * COLUMNS);
        cells.extend(present.iter().step_by(step).map(|images| images.first().copied()));
    }
    let Shape { channels, height, width } = set.shape();
    let (rows, columns) = (cells.len().div_ceil(COLUMNS).max(1), COLUMNS);
    // One dark pixel between images.
    let (high, wide) = (rows * (height + 1), columns * (width + 1));
    let mut sheet = vec![0; channels * high * wide];
    let mut image = vec![0; set.shape().len()];
    for (cell, index) in cells.iter().enumerate() {
        let Some(index) = index else { continue };
        if set.read(*index, &mut image).is_err() {
            continue;
        }
        let (top, left) = (cell / columns * (height + 1), cell % columns * (width + 1));
        for (line, source) in image.chunks_exact(width).enumerate() {
            let (channel, row) = (line / height, line % height);
            let start = (channel * high + top + row) * wide + left;
            sheet[start..start + width].copy_from_slice(source);
        }
    }
    png_file::encode(Shape::new(channels, high, wide), &sheet)
}

fn look(
    set: &Dataset,
    index: usize,
    file: &mut Vec<u8>,
    picture: &mut Picture,
) -> Result<(Shape, u64, Levels), DataError> {
    let mut levels = Levels::default();
    let (shape, stored) = match set.pixels() {
        Pixels::Memory(bytes) => {
            let length = set.stored().len();
            levels.planes(set.stored(), &bytes[index * length..(index + 1) * length]);
            (set.stored(), length as u64)
        }
        Pixels::Pictures(pictures) => {
            let stored = pictures.read(index, file)?;
            let length = file.len() as u64;
            match stored {
                Stored::Planes(shape) => {
                    levels.planes(shape, file);
                    (shape, length)
                }
                Stored::File => {
                    picture::decode(file, &pictures.name(index), Colours::AsStored, picture)?;
                    levels.interleaved(picture);
                    (picture.shape(), length)
                }
            }
        }
    };
    Ok((shape, stored, levels))
}

impl Levels {
    fn planes(&mut self, shape: Shape, bytes: &[u8]) {
        let plane = shape.height * shape.width;
        self.pixels = plane as u64;
        for channel in 0..3 {
            let of = channel.min(shape.channels - 1);
            self.sum(channel, bytes[of * plane..][..plane].iter());
        }
    }

    fn interleaved(&mut self, picture: &Picture) {
        self.pixels = (picture.height * picture.width) as u64;
        for channel in 0..3 {
            let of = channel.min(picture.channels - 1);
            self.sum(channel, picture.pixels.iter().skip(of).step_by(picture.channels));
        }
    }

    fn sum<'a>(&mut self, channel: usize, bytes: impl Iterator<Item = &'a u8>) {
        for &byte in bytes {
            self.sums[channel] += u64::from(byte);
            self.squares[channel] += u64::from(byte) * u64::from(byte);
        }
    }

    fn add(&mut self, other: &Self) {
        self.pixels += other.pixels;
        for channel in 0..3 {
            self.sums[channel] += other.sums[channel];
            self.squares[channel] += other.squares[channel];
        }
    }

    fn mean(&self, channel: usize) -> f64 {
        self.sums[channel] as f64 / self.pixels.max(1) as f64 / 255.0
    }

    fn deviation(&self, channel: usize) -> f64 {
        let square = self.squares[channel] as f64 / self.pixels.max(1) as f64 / 255.0 / 255.0;
        (square - self.mean(channel) * self.mean(channel)).max(0.0).sqrt()
    }
}

fn sizes(mut shapes: Vec<(usize, usize, usize)>) -> Option<Sizes> {
    shapes.sort_unstable_by_key(|&(height, width, _)| (height * width, height, width));
    let size = |position: usize| shapes.get(position).map(|&(height, width, _)| [height, width]);
    let (smallest, median) = (size(0)?, size(shapes.len() / 2)?);
    let largest = size(shapes.len() - 1)?;
    let mut distinct: Vec<_> = shapes.iter().map(|&(height, width, _)| (height, width)).collect();
    distinct.dedup();
    Some(Sizes { smallest, median, largest, distinct: distinct.len() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use super::super::dataset::Part;
    use super::super::files::Files;
    use super::super::framing::Framing;
    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pictures");
        fs::read(folder.join(name)).unwrap()
    }

    fn set(folder: &Path, files: &[(&str, Vec<u8>)]) -> Dataset {
        let mut list = Files::default();
        list.add_folder(folder.to_owned());
        for (name, bytes) in files {
            fs::write(folder.join(name), bytes).unwrap();
            list.add(name);
        }
        let labels = (0..files.len() as u32).map(|index| index % 2).collect();
        let names = vec!["even".to_owned(), "odd".to_owned()];
        Dataset::of_pictures("d", Part::Whole, names, labels, Arc::new(list), Framing::usual(8))
            .unwrap()
    }

    #[test]
    fn g31_corrupt_images_are_listed_and_the_others_counted() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("a.png", fixture("palette.png")),
            ("b.jpg", fixture("grey.jpg")[..200].to_vec()),
            ("c.png", fixture("one-bit.png")),
            ("d.jpg", Vec::new()),
        ];
        let set = set(folder.path(), &files);
        let mut told = 0;
        let found = inspect(&set, &mut |done| told = done);
        assert_eq!((told, &found.per_class[..], found.grey), (4, &[2, 2][..], 1));
        let corrupt: Vec<usize> = found.corrupt.iter().map(|corrupt| corrupt.index).collect();
        assert_eq!(corrupt, [1, 3]);
        assert!(found.corrupt[0].reason.contains("b.jpg"), "{:?}", found.corrupt);
        let sizes = Sizes { smallest: [2, 2], median: [2, 3], largest: [2, 3], distinct: 2 };
        assert_eq!(found.sizes, Some(sizes));
        // Four pixels of (10, 30, 50) or (40, 20, 60)... and six of white, by hand.
        let white = 6.0 * 255.0;
        let expected = [
            (10.0 + 40.0 + 40.0 + 10.0 + white) / 2550.0,
            (20.0 + 50.0 + 50.0 + 20.0 + white) / 2550.0,
            (30.0 + 60.0 + 60.0 + 30.0 + white) / 2550.0,
        ];
        for (found, expected) in found.mean.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn images_of_one_kind_have_its_channels_and_deviation() {
        let pixels = Pixels::Memory(vec![0, 255, 0, 255, 0, 0, 255, 255]);
        let names = vec!["a".to_owned(), "b".to_owned()];
        let set = Dataset::new("d", Part::Whole, Shape::new(1, 2, 2), names, vec![0, 0], pixels);
        let found = inspect(&set.unwrap(), &mut |_| {});
        assert_eq!((&found.mean[..], &found.standard_deviation[..]), (&[0.5][..], &[0.5][..]));
        assert_eq!((found.bytes, &found.per_class[..]), (8, &[2, 0][..]));
    }

    #[test]
    fn a_contact_sheet_shows_a_row_a_class() {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<(String, Vec<u8>)> =
            (0..6).map(|n| (format!("{n}.png"), fixture("colour444.png"))).collect();
        let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(n, b)| (&**n, b.clone())).collect();
        let sheet = contact_sheet(&set(folder.path(), &files));
        let mut picture = Picture::default();
        picture::decode(&sheet, Path::new("sheet"), Colours::AsStored, &mut picture).unwrap();
        assert_eq!((picture.height, picture.width, picture.channels), (18, 108, 3));
        let lit = |column: usize| picture.pixels[(4 * 108 + column * 9 + 4) * 3] > 0;
        assert_eq!([0, 2, 3, 11].map(lit), [true, true, false, false]);
    }
}
