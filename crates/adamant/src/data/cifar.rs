//! The binary files of CIFAR-10 and CIFAR-100: records of labels and then the red, green and blue plane.
//!
//! Source: Krizhevsky 2009, "The CIFAR-10 dataset", section "Binary version".

use std::fs;
use std::path::{Path, PathBuf};

use network::Shape;

use super::dataset::{Dataset, Part, Pixels};
use super::error::DataError;

pub(super) const SHAPE: Shape = Shape::new(3, 32, 32);

/// Which of the two sets a file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One label byte; ten classes.
    Cifar10,
    /// The superclass and then the class, a byte each; a hundred classes.
    Cifar100,
}

impl Kind {
    /// Bytes of a record: 3,073 or 3,074.
    pub fn record(self) -> usize {
        self.label_bytes() + SHAPE.len()
    }

    /// What the classes are called, by label.
    pub fn class_names(self) -> Vec<String> {
        let names: &[&str] = match self {
            Self::Cifar10 => &CIFAR10_CLASSES,
            Self::Cifar100 => &CIFAR100_CLASSES,
        };
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn label_bytes(self) -> usize {
        match self {
            Self::Cifar10 => 1,
            Self::Cifar100 => 2,
        }
    }

    fn file_names(self, part: Part) -> &'static [&'static str] {
        match (self, part) {
            (Self::Cifar10, Part::Test) => &["test_batch.bin"],
            (Self::Cifar10, Part::Train | Part::Whole) => &[
                "data_batch_1.bin",
                "data_batch_2.bin",
                "data_batch_3.bin",
                "data_batch_4.bin",
                "data_batch_5.bin",
            ],
            (Self::Cifar100, Part::Test) => &["test.bin"],
            (Self::Cifar100, Part::Train | Part::Whole) => &["train.bin"],
        }
    }
}

/// Whether `folder` holds all published files of the part.
pub fn is_present(folder: &Path, kind: Kind, part: Part) -> bool {
    kind.file_names(part).iter().all(|name| folder.join(name).is_file())
}

/// Reads one part of a published set from the folder of its files.
///
/// Errors: `Io`, `WrongLength`, `LabelOutOfRange`, `Empty`; each names the file.
pub fn load(folder: &Path, name: &str, kind: Kind, part: Part) -> Result<Dataset, DataError> {
    let files: Vec<PathBuf> = kind.file_names(part).iter().map(|file| folder.join(file)).collect();
    read(&files, name, kind, part)
}

/// Reads a `.bin` file or a folder of them; whether records are CIFAR-10's or CIFAR-100's follows from the length.
///
/// A folder with the published names has a training and a test part. Any other folder, and any single file, is one whole.
/// Errors: as [`load`], and `Layout` for a folder without what was asked for.
pub fn load_any(path: &Path, name: &str, part: Part) -> Result<Dataset, DataError> {
    if !path.is_dir() {
        return read(&[path.to_owned()], name, kind_of(path)?, Part::Whole);
    }
    for kind in [Kind::Cifar10, Kind::Cifar100] {
        if is_present(path, kind, part) {
            return load(path, name, kind, part);
        }
    }
    let entries =
        fs::read_dir(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        if entry.path().extension().is_some_and(|extension| extension == "bin") {
            files.push(entry.path());
        }
    }
    files.sort();
    let is_published = |file: &PathBuf| {
        [Kind::Cifar10, Kind::Cifar100].iter().any(|kind| {
            [Part::Train, Part::Test]
                .iter()
                .any(|&part| kind.file_names(part).iter().any(|name| file.ends_with(name)))
        })
    };
    // Some of the published files without the others are a part lost, not a set of its own.
    let found = match files.first() {
        None => "no .bin files".to_owned(),
        Some(_) if files.iter().any(is_published) => {
            let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
            format!("only {names:?}")
        }
        Some(first) => return read(&files, name, kind_of(first)?, Part::Whole),
    };
    Err(DataError::Layout {
        path: path.to_owned(),
        found,
        expected: format!(
            "{} or {}",
            Kind::Cifar10.file_names(part).join(", "),
            Kind::Cifar100.file_names(part).join(", ")
        ),
    })
}

/// CIFAR-10 unless only CIFAR-100's record divides the length: the shorter record is the commoner file.
fn kind_of(path: &Path) -> Result<Kind, DataError> {
    let metadata =
        fs::metadata(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let divides = |kind: Kind| metadata.len() % kind.record() as u64 == 0;
    if divides(Kind::Cifar100) && !divides(Kind::Cifar10) {
        return Ok(Kind::Cifar100);
    }
    Ok(Kind::Cifar10)
}

fn read(files: &[PathBuf], name: &str, kind: Kind, part: Part) -> Result<Dataset, DataError> {
    let class_names = kind.class_names();
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    for path in files {
        let bytes =
            fs::read(path).map_err(|source| DataError::Io { path: path.clone(), source })?;
        let records = bytes.chunks_exact(kind.record());
        if !records.remainder().is_empty() || bytes.is_empty() {
            let whole = bytes.len() / kind.record();
            return Err(DataError::WrongLength {
                path: path.clone(),
                found: bytes.len() as u64,
                expected: (whole.max(1) * kind.record()) as u64,
                reason: format!(
                    "records of {} bytes; {} trailing",
                    kind.record(),
                    bytes.len() - whole * kind.record()
                ),
            });
        }
        for (index, record) in records.enumerate() {
            // The class is the last label byte: CIFAR-100 puts the superclass before it.
            let label = u32::from(record[kind.label_bytes() - 1]);
            if label as usize >= class_names.len() {
                return Err(DataError::LabelOutOfRange {
                    origin: path.display().to_string(),
                    index,
                    found: label,
                    classes: class_names.len(),
                });
            }
            labels.push(label);
            pixels.extend_from_slice(&record[kind.label_bytes()..]);
        }
    }
    Dataset::new(name, part, SHAPE, class_names, labels, Pixels::Memory(pixels))
}

const CIFAR10_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

#[rustfmt::skip]
const CIFAR100_CLASSES: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
    "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard",
    "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum",
    "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
    "woman", "worm",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: Kind, label: u8, value: u8) -> Vec<u8> {
        let mut record = vec![19; kind.label_bytes()];
        record[kind.label_bytes() - 1] = label;
        record.extend((0..SHAPE.len()).map(|position| value.wrapping_add((position / 1024) as u8)));
        record
    }

    fn write(path: &Path, kind: Kind, labels: &[u8]) {
        let bytes: Vec<u8> = labels.iter().flat_map(|&label| record(kind, label, label)).collect();
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn the_record_length_tells_the_two_sets_apart() {
        let folder = tempfile::tempdir().unwrap();
        for (kind, classes, label) in [(Kind::Cifar10, 10, 9), (Kind::Cifar100, 100, 99)] {
            let path = folder.path().join(format!("{classes}.bin"));
            write(&path, kind, &[3, label]);
            let set = load_any(&path, "bin", Part::Test).unwrap();
            assert_eq!((set.classes(), set.part()), (classes, Part::Whole));
            assert_eq!(set.labels(), [3, u32::from(label)]);
            let batch = set.batch(&[0]).unwrap();
            // Planes: red all 3, green all 4, blue all 5.
            let corners = [0, 1023, 1024, 2048].map(|pixel| batch.images.pixels[pixel] * 255.0);
            assert_eq!(corners.map(f32::round), [3.0, 3.0, 4.0, 5.0]);
        }
        assert_eq!(Kind::Cifar100.class_names()[99], "worm");
    }

    #[test]
    fn g31_trailing_bytes_are_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.bin");
        for (length, message) in [
            (
                3073 + 100,
                "cut.bin: 3173 bytes, expected 3073 (records of 3073 bytes; 100 trailing)",
            ),
            (0, "cut.bin: 0 bytes, expected 3073"),
            (17, "cut.bin: 17 bytes, expected 3073"),
        ] {
            fs::write(&path, vec![0; length]).unwrap();
            let error = load_any(&path, "bin", Part::Train).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        write(&path, Kind::Cifar10, &[3, 10]);
        let error = load_any(&path, "bin", Part::Train).unwrap_err().to_string();
        assert!(error.ends_with("cut.bin: label of image 1 is 10, expected 0 to 9"), "{error}");
    }

    #[test]
    fn a_folder_with_the_published_names_has_two_parts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for batch in 1..=5 {
            write(&path.join(format!("data_batch_{batch}.bin")), Kind::Cifar10, &[batch]);
        }
        write(&path.join("test_batch.bin"), Kind::Cifar10, &[7, 8]);
        let train = load_any(path, "bin", Part::Train).unwrap();
        assert_eq!((train.part(), train.labels()), (Part::Train, &[1, 2, 3, 4, 5][..]));
        let test = load_any(path, "bin", Part::Test).unwrap();
        assert_eq!((test.part(), test.labels()), (Part::Test, &[7, 8][..]));

        fs::remove_file(path.join("data_batch_3.bin")).unwrap();
        let error = load_any(path, "bin", Part::Train).unwrap_err();
        assert!(matches!(error, DataError::Layout { .. }), "{error}");
        let empty = tempfile::tempdir().unwrap();
        let error = load_any(empty.path(), "bin", Part::Train).unwrap_err().to_string();
        assert!(error.contains("no .bin files"), "{error}");
    }

    #[test]
    fn a_folder_of_other_names_is_one_whole_in_sorted_order() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("b.bin"), Kind::Cifar10, &[2]);
        write(&folder.path().join("a.bin"), Kind::Cifar10, &[1]);
        let set = load_any(folder.path(), "bin", Part::Test).unwrap();
        assert_eq!((set.part(), set.labels()), (Part::Whole, &[1, 2][..]));
    }
}
