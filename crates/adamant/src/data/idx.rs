//! IDX files, plain or gzipped: the format of MNIST and Fashion-MNIST.
//!
//! Four bytes of magic (two zeros, the type 8 = unsigned byte, the number of dimensions), the dimensions as big-endian
//! 32-bit numbers, then the bytes. Source: LeCun, "The MNIST database", section "File formats".

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use network::Shape;

use super::dataset::{Dataset, Part, Pixels};
use super::error::DataError;

const IMAGES: u32 = 0x0000_0803;
const LABELS: u32 = 0x0000_0801;

/// The classes of MNIST.
pub(super) const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// The names of the two files of a part, without `.gz`.
pub fn file_names(part: Part) -> [&'static str; 2] {
    match part {
        Part::Train | Part::Whole => ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"],
        Part::Test => ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"],
    }
}

/// Whether `folder` holds both files of the part, plain or gzipped.
pub fn is_present(folder: &Path, part: Part) -> bool {
    file_names(part).iter().all(|name| existing(folder, name).is_some())
}

/// Reads one part from `folder`; without `class_names` the classes are the numbers up to the largest label of either part.
///
/// Errors: `Absent`, `Io`, `Gzip`, `WrongMagic`, `WrongLength`, `CountMismatch`, `LabelOutOfRange`, `Empty`.
pub fn load(
    folder: &Path,
    name: &str,
    part: Part,
    class_names: &[&str],
) -> Result<Dataset, DataError> {
    let [image_file, label_file] = file_names(part).map(|file| {
        existing(folder, file).ok_or_else(|| DataError::Absent {
            name: name.to_owned(),
            looked: vec![folder.join(file), folder.join(format!("{file}.gz"))],
            hint: format!("an IDX folder holds {} or their .gz", file_names(part).join(" and ")),
        })
    });
    let (image_file, label_file) = (image_file?, label_file?);
    let image_bytes = read(&image_file)?;
    let label_bytes = read(&label_file)?;
    let (images, labels) = ((&*image_file, &*image_bytes), (&*label_file, &*label_bytes));
    if !class_names.is_empty() {
        return assemble(name, part, class_names, images, labels);
    }
    let numbers: Vec<String> = (0..classes(folder)?).map(|class| class.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    assemble(name, part, &numbers, images, labels)
}

/// One more than the largest label of both parts: a class absent from one part must not change the number of classes.
fn classes(folder: &Path) -> Result<u32, DataError> {
    let mut classes = 0;
    for part in [Part::Train, Part::Test] {
        if let Some(path) = existing(folder, file_names(part)[1]) {
            let bytes = decompress(&path, &read(&path)?)?;
            let ([_], labels) = body(&path, &bytes, LABELS)?;
            classes = labels.iter().fold(classes, |most, &label| most.max(u32::from(label) + 1));
        }
    }
    Ok(classes)
}

/// Makes a data set of the bytes of two files, gzipped or not; the paths are for messages.
///
/// Errors: as [`load`], without `Absent` and `Io`.
pub(super) fn assemble(
    name: &str,
    part: Part,
    class_names: &[&str],
    images: (&Path, &[u8]),
    labels: (&Path, &[u8]),
) -> Result<Dataset, DataError> {
    let (image_file, label_file) = (images.0, labels.0);
    let image_bytes = decompress(image_file, images.1)?;
    let label_bytes = decompress(label_file, labels.1)?;
    let ([count, rows, columns], pixels) = body(image_file, &image_bytes, IMAGES)?;
    let ([label_count], labels) = body(label_file, &label_bytes, LABELS)?;
    if count != label_count {
        return Err(DataError::CountMismatch {
            image_file: image_file.to_owned(),
            images: count,
            label_file: label_file.to_owned(),
            labels: label_count,
        });
    }
    let labels: Vec<u32> = labels.iter().map(|&label| u32::from(label)).collect();
    let class_names: Vec<String> = class_names.iter().map(|&class| class.to_owned()).collect();
    if let Some(index) = labels.iter().position(|&label| label as usize >= class_names.len()) {
        return Err(DataError::LabelOutOfRange {
            origin: label_file.display().to_string(),
            index,
            found: labels[index],
            classes: class_names.len(),
        });
    }
    let shape = Shape::new(1, rows, columns);
    Dataset::new(name, part, shape, class_names, labels, Pixels::Memory(pixels.to_vec()))
}

fn existing(folder: &Path, name: &str) -> Option<PathBuf> {
    [folder.join(name), folder.join(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    fs::read(path).map_err(|source| DataError::Io { path: path.to_owned(), source })
}

/// Undoes gzip where the bytes say it is there; the name of the file decides nothing.
fn decompress(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes.to_vec());
    }
    let mut plain = Vec::new();
    MultiGzDecoder::new(bytes)
        .read_to_end(&mut plain)
        .map_err(|source| DataError::Gzip { path: path.to_owned(), source })?;
    Ok(plain)
}

/// The dimensions and the bytes behind them, the length checked before anything is sized by the header.
fn body<'a, const DIMENSIONS: usize>(
    path: &Path,
    bytes: &'a [u8],
    magic: u32,
) -> Result<([usize; DIMENSIONS], &'a [u8]), DataError> {
    let header = 4 + 4 * DIMENSIONS;
    let length = |expected: u64, reason: String| DataError::WrongLength {
        path: path.to_owned(),
        found: bytes.len() as u64,
        expected,
        reason,
    };
    let word = |position: usize| {
        bytes.get(position..position + 4).map(|word| {
            u32::from_be_bytes(word.try_into().expect("a range of four bytes is four bytes"))
        })
    };
    let found = word(0).ok_or_else(|| length(header as u64, "an IDX header".to_owned()))?;
    if found != magic {
        let meaning = if magic == IMAGES { "IDX images of bytes" } else { "IDX labels of bytes" };
        return Err(DataError::WrongMagic {
            path: path.to_owned(),
            found,
            expected: magic,
            meaning,
        });
    }
    let mut dimensions = [0; DIMENSIONS];
    for (axis, dimension) in dimensions.iter_mut().enumerate() {
        *dimension = word(4 + 4 * axis)
            .ok_or_else(|| length(header as u64, "an IDX header".to_owned()))?
            as usize;
    }
    // Three 32-bit numbers can overflow 64 bits; no file is that long.
    let expected = dimensions
        .iter()
        .try_fold(1_u64, |product, &dimension| product.checked_mul(dimension as u64))
        .and_then(|product| product.checked_add(header as u64))
        .unwrap_or(u64::MAX);
    if bytes.len() as u64 != expected {
        return Err(length(expected, format!("its header says {dimensions:?}")));
    }
    Ok((dimensions, &bytes[header..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(count: u32, rows: u32, columns: u32, bytes: usize) -> Vec<u8> {
        let mut file = [IMAGES, count, rows, columns].map(u32::to_be_bytes).concat();
        file.extend((0..bytes).map(|byte| byte as u8));
        file
    }

    fn labels(count: u32, labels: &[u8]) -> Vec<u8> {
        let mut file = [LABELS, count].map(u32::to_be_bytes).concat();
        file.extend_from_slice(labels);
        file
    }

    fn write(folder: &Path, part: Part, images: &[u8], labels: &[u8]) {
        let [image_file, label_file] = file_names(part);
        fs::write(folder.join(image_file), images).unwrap();
        fs::write(folder.join(label_file), labels).unwrap();
    }

    fn load_bytes(images: &[u8], labels: &[u8]) -> Result<Dataset, DataError> {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), Part::Train, images, labels);
        load(folder.path(), "idx", Part::Train, &[])
    }

    #[test]
    fn plain_and_gzipped_files_give_the_same_images() {
        use std::io::Write;
        let (images, labels) = (images(2, 2, 3, 12), labels(2, &[1, 0]));
        let plain = load_bytes(&images, &labels).unwrap();
        assert_eq!(plain.shape(), Shape::new(1, 2, 3));
        assert_eq!(plain.labels(), [1, 0]);

        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in file_names(Part::Test).iter().zip([&images, &labels]) {
            let file = fs::File::create(folder.path().join(format!("{name}.gz"))).unwrap();
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::best());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap();
        }
        let zipped = load(folder.path(), "idx", Part::Test, &[]).unwrap();
        assert_eq!(plain.batch(&[0, 1]).unwrap(), zipped.batch(&[0, 1]).unwrap());
    }

    #[test]
    fn g31_a_truncated_idx_file_names_the_file_and_both_lengths() {
        let whole = images(2, 2, 3, 12);
        for length in 0..whole.len() {
            let error = load_bytes(&whole[..length], &labels(2, &[1, 0])).unwrap_err();
            assert!(matches!(error, DataError::WrongLength { .. }), "{length}: {error}");
        }
        let error = load_bytes(&whole[..20], &labels(2, &[1, 0])).unwrap_err().to_string();
        assert!(error.contains("train-images-idx3-ubyte: 20 bytes, expected 28"), "{error}");
    }

    #[test]
    fn g31_a_truncated_gzip_file_names_the_file() {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&images(2, 2, 3, 12)).unwrap();
        let zipped = encoder.finish().unwrap();
        let error = load_bytes(&zipped[..zipped.len() - 9], &labels(2, &[1, 0])).unwrap_err();
        assert!(matches!(error, DataError::Gzip { .. }));
        assert!(error.to_string().contains("train-images-idx3-ubyte"), "{error}");
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused() {
        let error = load_bytes(&images(2, 2, 3, 12), &labels(3, &[1, 0, 1])).unwrap_err();
        assert!(matches!(error, DataError::CountMismatch { images: 2, labels: 3, .. }));
        let error = load_bytes(&labels(3, &[1, 0, 1]), &labels(3, &[1, 0, 1])).unwrap_err();
        assert!(matches!(error, DataError::WrongMagic { found: LABELS, expected: IMAGES, .. }));
        let error = load_bytes(&images(u32::MAX, u32::MAX, u32::MAX, 12), &[]).unwrap_err();
        assert!(matches!(error, DataError::WrongLength { .. }), "{error}");
        let error = load_bytes(&images(0, 2, 3, 0), &labels(0, &[])).unwrap_err();
        assert!(matches!(error, DataError::Empty { .. }), "{error}");
    }

    #[test]
    fn both_parts_have_the_classes_of_the_larger() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), Part::Train, &images(2, 2, 3, 12), &labels(2, &[1, 4]));
        write(folder.path(), Part::Test, &images(2, 2, 3, 12), &labels(2, &[1, 0]));
        for part in [Part::Train, Part::Test] {
            let set = load(folder.path(), "idx", part, &[]).unwrap();
            assert_eq!(set.class_names(), ["0", "1", "2", "3", "4"]);
        }
    }

    #[test]
    fn a_label_beyond_the_classes_names_the_label_file() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), Part::Train, &images(2, 2, 3, 12), &labels(2, &[9, 10]));
        let error = load(folder.path(), "mnist", Part::Train, &DIGITS).unwrap_err().to_string();
        assert!(error.contains("train-labels-idx1-ubyte"), "{error}");
        assert!(error.contains("label of image 1 is 10, expected 0 to 9"), "{error}");
    }
}
