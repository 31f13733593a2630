//! The pickled files of CIFAR-10 and CIFAR-100 for Python, in a folder or in the archive they are published in.
//!
//! They are read as data and never run: see [`pickle`](super::pickle).
//! Source: Krizhevsky 2009, <https://www.cs.toronto.edu/~kriz/cifar.html>, "Dataset layout".

use std::fs;
use std::path::{Path, PathBuf};

use super::archive;
use super::cifar::{Kind, SHAPE};
use super::dataset::{Dataset, Part, Pixels};
use super::error::DataError;
use super::pickle::{Item, Pickle};

/// No batch comes near this; a larger file is something else.
const LARGEST: u64 = 4 << 30;

/// Names of the files with a part's images, without folders.
fn file_names(kind: Kind, part: Part) -> &'static [&'static str] {
    match (kind, part) {
        (Kind::Cifar10, Part::Test) => &["test_batch"],
        (Kind::Cifar10, Part::Train | Part::Whole) => {
            &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"]
        }
        (Kind::Cifar100, Part::Test) => &["test"],
        (Kind::Cifar100, Part::Train | Part::Whole) => &["train"],
    }
}

/// The file with the names of the classes, and the entry they stand under.
fn names_of_classes(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Cifar10 => ("batches.meta", "label_names"),
        Kind::Cifar100 => ("meta", "fine_label_names"),
    }
}

/// Whether `folder` holds all published files of the part.
pub fn is_present(folder: &Path, kind: Kind, part: Part) -> bool {
    file_names(kind, part).iter().all(|name| folder.join(name).is_file())
}

/// Reads one part of a published set from its folder, from its `.tar.gz` or `.tar`, or one pickled batch as a whole.
///
/// Errors: `Pickle` and `PickleLayout` naming the file, `Layout`, `Archive`, `LabelOutOfRange`, `Io`.
pub fn load(path: &Path, name: &str, part: Part) -> Result<Dataset, DataError> {
    if path.is_dir() {
        let kind = [Kind::Cifar10, Kind::Cifar100]
            .into_iter()
            .find(|&kind| is_present(path, kind, part))
            .ok_or_else(|| unlike(path, part, "neither"))?;
        let mut files = Vec::new();
        for file in file_names(kind, part) {
            files.push(read(path.join(file))?);
        }
        let meta = path.join(names_of_classes(kind).0);
        let meta = if meta.is_file() { Some(read(meta)?) } else { None };
        return assemble(name, part, kind, &files, meta.as_ref());
    }
    if !archive::is_tar(path) {
        return load_file(path, name);
    }
    let mut wanted: Vec<&str> = Vec::new();
    for kind in [Kind::Cifar10, Kind::Cifar100] {
        wanted.extend(file_names(kind, part));
        wanted.push(names_of_classes(kind).0);
    }
    let mut members = archive::members(path, &wanted, LARGEST)?;
    for kind in [Kind::Cifar10, Kind::Cifar100] {
        let names = file_names(kind, part);
        if names.iter().all(|name| members.iter().any(|(member, _)| member == name)) {
            let mut take = |name: &str| {
                let position = members.iter().position(|(member, _)| member == name)?;
                Some((path.join(name), members.swap_remove(position).1))
            };
            let files: Vec<_> = names.iter().filter_map(|name| take(name)).collect();
            let meta = take(names_of_classes(kind).0);
            return assemble(name, part, kind, &files, meta.as_ref());
        }
    }
    Err(unlike(path, part, "neither"))
}

fn load_file(path: &Path, name: &str) -> Result<Dataset, DataError> {
    let file = read(path.to_owned())?;
    let is_fine = Pickle::read(&file.1).is_ok_and(|p| p.root().entry("fine_labels").is_some());
    let kind = if is_fine { Kind::Cifar100 } else { Kind::Cifar10 };
    assemble(name, Part::Whole, kind, &[file], None)
}

fn unlike(path: &Path, part: Part, found: &str) -> DataError {
    DataError::Layout {
        path: path.to_owned(),
        found: found.to_owned(),
        expected: format!(
            "{} or {}",
            file_names(Kind::Cifar10, part).join(", "),
            file_names(Kind::Cifar100, part).join(", ")
        ),
    }
}

fn read(path: PathBuf) -> Result<(PathBuf, Vec<u8>), DataError> {
    let io = |source| DataError::Io { path: path.clone(), source };
    let length = fs::metadata(&path).map_err(io)?.len();
    if length > LARGEST {
        return Err(DataError::WrongLength {
            path,
            found: length,
            expected: LARGEST,
            reason: "at most, for a pickled batch".to_owned(),
        });
    }
    let bytes = fs::read(&path).map_err(io)?;
    Ok((path, bytes))
}

type File = (PathBuf, Vec<u8>);

fn assemble(
    name: &str,
    part: Part,
    kind: Kind,
    files: &[File],
    meta: Option<&File>,
) -> Result<Dataset, DataError> {
    let mut class_names = kind.class_names();
    if let Some((path, bytes)) = meta {
        let pickle = open(path, bytes)?;
        let entry = names_of_classes(kind).1;
        let names = field(path, pickle.root(), &[entry])?;
        class_names = names.texts().ok_or_else(|| layout(path, entry, names, "names"))?;
    }
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    for (path, bytes) in files {
        let pickle = open(path, bytes)?;
        append(path, pickle.root(), kind, class_names.len(), &mut labels, &mut pixels)?;
    }
    Dataset::new(name, part, SHAPE, class_names, labels, Pixels::Memory(pixels))
}

fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<Pickle<'a>, DataError> {
    Pickle::read(bytes).map_err(|source| DataError::Pickle { path: path.to_owned(), source })
}

fn append(
    path: &Path,
    root: Item<'_>,
    kind: Kind,
    classes: usize,
    labels: &mut Vec<u32>,
    pixels: &mut Vec<u8>,
) -> Result<(), DataError> {
    let names: &[&'static str] = match kind {
        // The last is of the 500,000 tiny images that Carmon et al. 2019 labelled by a model.
        Kind::Cifar10 => &["labels", "label", "extrapolated_targets"],
        Kind::Cifar100 => &["fine_labels", "labels"],
    };
    let item = field(path, root, names)?;
    let values = item.integers().ok_or_else(|| layout(path, names[0], item, "whole numbers"))?;
    let item = field(path, root, &["data"])?;
    let planes = [values.len(), SHAPE.len()];
    let rows = [values.len(), SHAPE.height, SHAPE.width, SHAPE.channels];
    let array = item.array().filter(|array| array.shape() == planes || array.shape() == rows);
    let Some((array, bytes)) = array.and_then(|array| Some((array, array.unsigned_bytes()?)))
    else {
        let expected = format!("an array {planes:?} or {rows:?} of uint8");
        return Err(layout(path, "data", item, &expected));
    };
    for (index, value) in values.into_iter().enumerate() {
        let label = u32::try_from(value).ok().filter(|&label| (label as usize) < classes);
        labels.push(label.ok_or_else(|| DataError::WrongLabel {
            origin: format!("{}: label of image {index}", path.display()),
            found: value.to_string(),
            expected: format!("0 to {}", classes.saturating_sub(1)),
        })?);
    }
    if array.shape() == planes {
        pixels.extend_from_slice(bytes);
        return Ok(());
    }
    for image in bytes.chunks_exact(SHAPE.len()) {
        for channel in 0..SHAPE.channels {
            pixels.extend(image.iter().skip(channel).step_by(SHAPE.channels));
        }
    }
    Ok(())
}

fn field<'p>(path: &Path, root: Item<'p>, names: &[&'static str]) -> Result<Item<'p>, DataError> {
    let found = names.iter().find_map(|name| root.entry(name));
    found.ok_or_else(|| DataError::PickleLayout {
        path: path.to_owned(),
        found: root.kind(),
        expected: format!("a dictionary with {:?}", names[0]),
    })
}

fn layout(path: &Path, entry: &str, item: Item<'_>, expected: &str) -> DataError {
    DataError::PickleLayout {
        path: path.to_owned(),
        found: format!("{entry:?} is {}", item.kind()),
        expected: expected.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::archive as gzipped;
    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pickles").join(name)
    }

    fn published(folder: &Path) -> Vec<u8> {
        let batch = fs::read(fixture("python2.pickle")).unwrap();
        let mut members = vec![("cifar-10-batches-py/readme.html".to_owned(), b"hello".to_vec())];
        for name in [file_names(Kind::Cifar10, Part::Train), &["test_batch"]].concat() {
            fs::write(folder.join(name), &batch).unwrap();
            members.push((format!("cifar-10-batches-py/{name}"), batch.clone()));
        }
        let members: Vec<(&str, &[u8])> =
            members.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
        gzipped(&members)
    }

    #[test]
    fn g31_a_folder_and_its_archive_give_the_images_of_the_pickles() {
        let folder = tempfile::tempdir().unwrap();
        let archive = published(folder.path());
        let packed = folder.path().join("cifar-10-python.tar.gz");
        fs::write(&packed, archive).unwrap();
        for path in [folder.path(), &packed] {
            let train = load(path, "c", Part::Train).unwrap();
            assert_eq!((train.part(), train.len(), train.classes()), (Part::Train, 10, 10));
            let test = load(path, "c", Part::Test).unwrap();
            assert_eq!((test.labels(), test.part()), (&[3, 8][..], Part::Test));
            assert_eq!(test.class_names()[8], "ship");
            let mut bytes = vec![0; 3072];
            test.read(1, &mut bytes).unwrap();
            assert_eq!(bytes[..3], [31, 38, 45]);
        }
        let one = load(&folder.path().join("data_batch_2"), "c", Part::Test).unwrap();
        assert_eq!((one.part(), one.len()), (Part::Whole, 2));
        fs::remove_file(folder.path().join("data_batch_4")).unwrap();
        let error = load(folder.path(), "c", Part::Train).unwrap_err();
        assert!(matches!(error, DataError::Layout { .. }), "{error}");
    }

    #[test]
    fn g31_a_batch_with_code_names_the_file_and_what_it_asks_for() {
        let error = load(&fixture("runs-code.pickle"), "c", Part::Test).unwrap_err().to_string();
        assert!(
            error.contains("runs-code.pickle: pickle opcode STACK_GLOBAL at offset"),
            "{error}"
        );
        assert!(error.contains("posix.system") && error.contains("hint:"), "{error}");
    }

    #[test]
    fn a_batch_of_other_things_says_what_was_found_and_expected() {
        for (name, words) in [
            ("floats.pickle", ["\"data\" is an array [2, 8] of float32", "[2, 3072] or"]),
            ("README.md", ["pickle opcode", "README.md"]),
        ] {
            let error = load(&fixture(name), "c", Part::Test).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }

    /// Carmon et al. 2019 pickled rows of pixels and called their labels `extrapolated_targets`.
    #[test]
    fn pixels_by_rows_become_planes() {
        let rows: Vec<u8> =
            (0..3072_u32).map(|byte| (byte % 3 * 50 + byte / 3 % 7) as u8).collect();
        let mut pickle =
            b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n".to_vec();
        pickle.extend(
            b"K\x00\x85U\x01b\x87R(K\x01(K\x01K K K\x03tcnumpy\ndtype\nU\x02u1K\x00K\x01\x87R",
        );
        pickle.extend(
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x0c\x00\x00",
        );
        pickle.extend(&rows);
        pickle.extend(b"tbU\x14extrapolated_targets](K\x09eu.");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ti.pickle");
        fs::write(&path, pickle).unwrap();
        let set = load(&path, "c", Part::Train).unwrap();
        assert_eq!((set.labels(), set.len()), (&[9][..], 1));
        let mut bytes = vec![0; 3072];
        set.read(0, &mut bytes).unwrap();
        assert_eq!(bytes[..3], [0, 1, 2]);
        assert_eq!(bytes[1024..1027], [50, 51, 52]);
    }

    #[test]
    fn a_label_beyond_the_classes_names_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = fs::read(fixture("python2.pickle")).unwrap();
        let position = bytes.windows(4).position(|window| window == b"K\x03K\x08").unwrap();
        bytes[position + 3] = 10;
        let path = folder.path().join("batch");
        fs::write(&path, bytes).unwrap();
        let error = load(&path, "c", Part::Test).unwrap_err().to_string();
        assert!(error.ends_with("batch: label of image 1 is \"10\", expected 0 to 9"), "{error}");
    }
}
