//! `fashion-sample`: real images inside the binary, so that the first command works without a network.
//!
//! The first 10,000 training and 1,000 test images of Fashion-MNIST (MIT licence); `fixtures/fashion-sample` holds the
//! files, their provenance and the script that cut them.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::dataset::{Dataset, Part};
use super::error::DataError;
use super::idx;

/// The classes of Fashion-MNIST, by label.
pub(super) const FASHION_CLASSES: [&str; 10] = [
    "t-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
];

struct Embedded {
    name: &'static str,
    bytes: &'static [u8],
}

macro_rules! embedded {
    ($name:literal) => {
        Embedded {
            name: concat!("fixtures/fashion-sample/", $name),
            bytes: include_bytes!(concat!("../../../../fixtures/fashion-sample/", $name)),
        }
    };
}

const TRAIN: [Embedded; 2] =
    [embedded!("train-images-idx3-ubyte.gz"), embedded!("train-labels-idx1-ubyte.gz")];
const TEST: [Embedded; 2] =
    [embedded!("t10k-images-idx3-ubyte.gz"), embedded!("t10k-labels-idx1-ubyte.gz")];
const CHECKSUMS: &str = include_str!("../../../../fixtures/fashion-sample/SHA256SUMS");

/// One part of the sample; `Part::Whole` is the training part.
///
/// Errors: `WrongChecksum` if the binary was built from other bytes than `SHA256SUMS` names.
pub(super) fn load(part: Part) -> Result<Dataset, DataError> {
    let [images, labels] = match part {
        Part::Train | Part::Whole => TRAIN,
        Part::Test => TEST,
    };
    for file in [&images, &labels] {
        verify(file, CHECKSUMS)?;
    }
    idx::assemble(
        "fashion-sample",
        part,
        &FASHION_CLASSES,
        (Path::new(images.name), images.bytes),
        (Path::new(labels.name), labels.bytes),
    )
}

fn verify(file: &Embedded, checksums: &str) -> Result<(), DataError> {
    let name = file.name.rsplit('/').next().expect("a split has at least one piece");
    let found = hex(&Sha256::digest(file.bytes));
    let expected = checksums
        .lines()
        .filter_map(|line| line.split_once("  "))
        .find(|(_, listed)| *listed == name)
        .map_or("nothing (not listed)", |(checksum, _)| checksum);
    if found == expected {
        return Ok(());
    }
    Err(DataError::WrongChecksum {
        origin: file.name.to_owned(),
        found,
        expected: expected.to_owned(),
    })
}

/// Bytes as lowercase hexadecimal digits, as checksum files write them.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::Shape;

    #[test]
    fn the_sample_is_what_its_readme_says() {
        for (part, count) in [(Part::Train, 10_000), (Part::Test, 1_000)] {
            let set = load(part).unwrap();
            assert_eq!((set.len(), set.classes()), (count, 10));
            assert_eq!(set.shape(), Shape::new(1, 28, 28));
            assert_eq!(set.part(), part);
            let mut per_class = [0; 10];
            set.labels().iter().for_each(|&label| per_class[label as usize] += 1);
            assert!(per_class.iter().all(|&n| n > count / 13 && n < count / 8), "{per_class:?}");
        }
        // The first training image of Fashion-MNIST is an ankle boot.
        assert_eq!(load(Part::Train).unwrap().labels()[..6], [9, 0, 0, 3, 0, 2]);
    }

    #[test]
    fn a_changed_byte_in_the_sample_is_found() {
        let file = Embedded { name: "x/t10k-labels-idx1-ubyte.gz", bytes: b"other" };
        let error = verify(&file, CHECKSUMS).unwrap_err();
        assert!(
            matches!(&error, DataError::WrongChecksum { expected, .. } if expected.len() == 64)
        );
    }
}
