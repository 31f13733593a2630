//! numpy's `.npz`: a zip of `.npy` arrays, as MedMNIST and generated training sets come.
//!
//! Read as data: arrays of plain numbers only; a pickled object inside is refused by its type. Images are
//! `[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]` of bytes, labels `[N]` or `[N, 1]` of whole numbers.
//! Source: PKWARE APPNOTE 6.3 (end record, central directory, zip64); NEP 1 (the `.npy` format).

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use flate2::read::DeflateDecoder;
use network::Shape;

use super::dataset::{Dataset, Part, Pixels};
use super::error::DataError;
use super::part_files;
use super::pickle::{Array, Element};

/// Names of the array of images, behind `train_`, `test_` or `val_` where there are parts.
const IMAGES: [&str; 4] = ["images", "image", "data", "x"];

/// Names of the array of labels.
const LABELS: [&str; 4] = ["labels", "label", "targets", "y"];

/// The end record and the longest comment behind it.
const LONGEST_END: u64 = 22 + 0xffff;

/// A central directory beyond this is of no array file.
const LONGEST_DIRECTORY: u64 = 1 << 24;

/// Reads one part of a file; arrays whose names say no part are one whole.
///
/// Errors: `Npz` naming the place in the file, `NpzLayout` for arrays of other kinds, `WrongLabel`, `Io`.
pub fn load(path: &Path, name: &str, part: Part) -> Result<Dataset, DataError> {
    let archive = Archive::open(path)?;
    let (images, labels, part) = archive.choose(part)?;
    let images = archive.array(images)?;
    let (shape, pixels) = planes(&archive, &images)?;
    let labels = archive.array(labels)?;
    let values = match labels.shape() {
        [count] | [count, 1] if *count == images.shape()[0] => labels.integers(),
        _ => None,
    };
    let values = values.ok_or_else(|| {
        let found = format!("labels {:?} of {}", labels.shape(), labels.element());
        archive.unlike(found, &format!("[{}] of whole numbers", images.shape()[0]))
    })?;
    let mut largest = None;
    for (index, &value) in values.iter().enumerate() {
        let label = u32::try_from(value).map_err(|_| DataError::WrongLabel {
            origin: format!("{}: label of image {index}", path.display()),
            found: value.to_string(),
            expected: "a class: 0 or more".to_owned(),
        })?;
        largest = largest.max(Some(label));
    }
    let class_names = part_files::class_names(path.parent().unwrap_or(Path::new("")), largest)?;
    let labels = values.into_iter().map(|value| value as u32).collect();
    Dataset::new(name, part, shape, class_names, labels, Pixels::Memory(pixels))
}

/// One part, as planes.
fn planes(archive: &Archive<'_>, images: &Array<'_>) -> Result<(Shape, Vec<u8>), DataError> {
    let shape = match *images.shape() {
        [_, rows, columns] => Some((Shape::new(1, rows, columns), true)),
        [_, rows, columns, channels @ (1 | 3)] => {
            Some((Shape::new(channels, rows, columns), false))
        }
        [_, channels @ (1 | 3), rows, columns] => Some((Shape::new(channels, rows, columns), true)),
        _ => None,
    };
    let (Some((shape, is_planes)), Some(bytes)) = (shape, images.unsigned_bytes()) else {
        let found = format!("images {:?} of {}", images.shape(), images.element());
        return Err(archive.unlike(found, "[N, H, W], [N, H, W, C] or [N, C, H, W] of uint8"));
    };
    if is_planes || shape.channels == 1 || shape.is_empty() {
        return Ok((shape, bytes.to_vec()));
    }
    let mut pixels = Vec::with_capacity(bytes.len());
    for image in bytes.chunks_exact(shape.len()) {
        for channel in 0..shape.channels {
            pixels.extend(image.iter().skip(channel).step_by(shape.channels));
        }
    }
    Ok((shape, pixels))
}

/// A member of the zip.
struct Entry {
    /// Without `.npy`.
    name: String,
    method: u16,
    compressed: u64,
    bytes: u64,
    header: u64,
}

struct Archive<'a> {
    path: &'a Path,
    file: File,
    length: u64,
    entries: Vec<Entry>,
}

impl<'a> Archive<'a> {
    fn open(path: &'a Path) -> Result<Self, DataError> {
        let io = |source| DataError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut archive = Self { path, file, length, entries: Vec::new() };
        let start = length.saturating_sub(LONGEST_END);
        let tail = archive.bytes(start, length - start)?;
        let end = tail.windows(4).rposition(|window| window == b"PK\x05\x06");
        let end = end.ok_or_else(|| archive.broken(length, "no end record of a zip"))?;
        let record =
            tail.get(end..end + 22).ok_or_else(|| archive.broken(length, "half an end record"))?;
        let (mut size, mut offset) = (u64::from(u32_at(record, 12)), u64::from(u32_at(record, 16)));
        let at = start + end as u64;
        if offset == u64::from(u32::MAX) || size == u64::from(u32::MAX) {
            let locator =
                at.checked_sub(20).ok_or_else(|| archive.broken(at, "no zip64 locator"))?;
            let locator = archive.bytes(locator, 20)?;
            let record = archive.bytes(u64_at(&locator, 8), 56)?;
            if !locator.starts_with(b"PK\x06\x07") || !record.starts_with(b"PK\x06\x06") {
                return Err(archive.broken(at, "no zip64 end record"));
            }
            (size, offset) = (u64_at(&record, 40), u64_at(&record, 48));
        }
        if size > LONGEST_DIRECTORY {
            return Err(archive.broken(offset, "a directory beyond 16 MiB"));
        }
        let directory = archive.bytes(offset, size)?;
        archive.entries = archive.directory(&directory, offset)?;
        Ok(archive)
    }

    fn directory(&self, mut rest: &[u8], offset: u64) -> Result<Vec<Entry>, DataError> {
        let broken = || self.broken(offset, "a damaged directory of a zip");
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let fixed =
                rest.get(..46).filter(|r| r.starts_with(b"PK\x01\x02")).ok_or_else(broken)?;
            let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(fixed, at)));
            let after = rest.get(46..46 + name + extra + comment).ok_or_else(broken)?;
            let file_name = String::from_utf8_lossy(&after[..name]).into_owned();
            let mut sizes = [24, 20, 42].map(|at| u64::from(u32_at(fixed, at)));
            // Sizes that 32 bits cannot hold stand in the extra field 1, in this order, as many as are needed.
            let mut fields = &after[name..name + extra];
            while let Some((head, tail)) = fields.split_at_checked(4) {
                let (kind, length) = (u16_at(head, 0), usize::from(u16_at(head, 2)));
                let Some((mut values, next)) = tail.split_at_checked(length) else { break };
                for size in
                    sizes.iter_mut().filter(|size| kind == 1 && **size == u64::from(u32::MAX))
                {
                    let (value, others) = values.split_at_checked(8).ok_or_else(broken)?;
                    (*size, values) = (u64_at(value, 0), others);
                }
                fields = next;
            }
            let [bytes, compressed, header] = sizes;
            let name = file_name.strip_suffix(".npy").unwrap_or(&file_name).to_owned();
            entries.push(Entry { name, method: u16_at(fixed, 10), compressed, bytes, header });
            rest = &rest[46 + after.len()..];
        }
        Ok(entries)
    }

    /// The arrays of images and labels of a part, and which part they are.
    fn choose(&self, part: Part) -> Result<(&Entry, &Entry, Part), DataError> {
        let find = |prefix: &str, names: [&str; 4]| {
            let is = |entry: &&Entry, name: &str| entry.name == format!("{prefix}{name}");
            names.iter().find_map(|name| self.entries.iter().find(|entry| is(entry, name)))
        };
        let (prefixes, part): (&[&str], Part) = match part {
            Part::Test => (&["test_", "val_"], Part::Test),
            Part::Train | Part::Whole => (&["train_"], Part::Train),
        };
        let of = |prefix: &str| Some((find(prefix, IMAGES)?, find(prefix, LABELS)?));
        if let Some((images, labels)) = prefixes.iter().find_map(|prefix| of(prefix)) {
            return Ok((images, labels, part));
        }
        if let Some((images, labels)) = of("") {
            return Ok((images, labels, Part::Whole));
        }
        let names: Vec<&str> = self.entries.iter().map(|entry| &*entry.name).collect();
        let expected = "images and labels, or train_images, train_labels and so on";
        Err(self.unlike(format!("arrays {names:?}"), expected))
    }

    fn array(&self, entry: &Entry) -> Result<Array<'static>, DataError> {
        let local = self.bytes(entry.header, 30)?;
        if !local.starts_with(b"PK\x03\x04") {
            return Err(self.broken(entry.header, "no header of a member"));
        }
        let skip = 30 + u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
        let start = entry.header.saturating_add(skip);
        let stored = self.bytes(start, entry.compressed)?;
        let contents = match entry.method {
            0 => stored,
            8 => {
                // Grows with what there is, not with what the directory says; one byte more shows a lie.
                let mut plain = Vec::new();
                DeflateDecoder::new(&*stored)
                    .take(entry.bytes.saturating_add(1))
                    .read_to_end(&mut plain)
                    .map_err(|error| {
                        self.broken(start, &format!("damaged deflate data: {error}"))
                    })?;
                plain
            }
            other => return Err(self.broken(entry.header, &format!("compression method {other}"))),
        };
        if contents.len() as u64 != entry.bytes {
            let found = format!("{} bytes of {} in {}", contents.len(), entry.bytes, entry.name);
            return Err(self.broken(start, &found));
        }
        npy(&contents).map_err(|found| self.broken(start, &format!("{} is {found}", entry.name)))
    }

    /// Bytes that are there; nothing is reserved for those that are not.
    fn bytes(&self, offset: u64, length: u64) -> Result<Vec<u8>, DataError> {
        if offset.checked_add(length).is_none_or(|end| end > self.length) {
            let found = format!("{length} bytes that reach beyond the end");
            return Err(self.broken(offset, &found));
        }
        let mut bytes = vec![0; length as usize];
        let read = self.file.read_exact_at(&mut bytes, offset);
        read.map_err(|source: io::Error| DataError::Io { path: self.path.to_owned(), source })?;
        Ok(bytes)
    }

    fn broken(&self, offset: u64, found: &str) -> DataError {
        DataError::Npz { path: self.path.to_owned(), offset, found: found.to_owned() }
    }

    fn unlike(&self, found: String, expected: &str) -> DataError {
        let (path, expected) = (self.path.to_owned(), expected.to_owned());
        DataError::PickleLayout { path, found, expected }
    }
}

/// One `.npy` array; the error says what it is instead.
fn npy(bytes: &[u8]) -> Result<Array<'static>, String> {
    let (magic, rest) = bytes.split_at_checked(8).ok_or("too short for an array")?;
    if !magic.starts_with(b"\x93NUMPY") {
        return Err("no numpy array".to_owned());
    }
    let width = if magic[6] == 1 { 2 } else { 4 };
    let (length, rest) = rest.split_at_checked(width).ok_or("too short for an array")?;
    let length = length.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte));
    let (header, contents) = rest.split_at_checked(length).ok_or("cut short in its header")?;
    let header = String::from_utf8_lossy(header);
    let value =
        |key: &str| header.split_once(key).map(|(_, after)| after.trim_start_matches([':', ' ']));
    let descr = value("'descr'").and_then(|text| text.strip_prefix('\'')?.split_once('\''));
    let element = descr.and_then(|(spelled, _)| Element::parse(spelled));
    let element =
        element.ok_or_else(|| format!("an array of other than plain numbers: {header}"))?;
    let shape = value("'shape'").and_then(|text| text.strip_prefix('(')?.split_once(')'));
    let sizes =
        shape.map(|(sizes, _)| sizes.split(',').map(str::trim).filter(|size| !size.is_empty()));
    let sizes: Option<Vec<usize>> = sizes.and_then(|sizes| sizes.map(|s| s.parse().ok()).collect());
    let sizes = sizes.ok_or_else(|| format!("an array without a shape: {header}"))?;
    let is_fortran = !value("'fortran_order'").is_some_and(|text| text.starts_with("False"));
    if is_fortran && sizes.len() > 1 {
        return Err("an array in Fortran order".to_owned());
    }
    let found = contents.len();
    Array::new(sizes.clone(), element, Cow::Owned(contents.to_vec()))
        .ok_or_else(|| format!("{found} bytes for {sizes:?} of {element}"))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/npz").join(name)
    }

    #[test]
    fn g31_arrays_of_every_layout_give_the_same_images() {
        for (name, part) in [
            ("parts.npz", Part::Train),
            ("rows.npz", Part::Whole),
            ("planes-compressed.npz", Part::Whole),
        ] {
            let set = load(&fixture(name), "n", Part::Train).unwrap();
            assert_eq!((set.part(), set.shape()), (part, Shape::new(3, 4, 5)), "{name}");
            assert_eq!((set.labels(), set.classes()), (&[2, 0, 1][..], 3), "{name}");
            let mut bytes = vec![0; 60];
            set.read(1, &mut bytes).unwrap();
            // Of image 1 at (row, column, channel): 100 + 20 channel + 5 row + column.
            let expected: Vec<u8> = (100..160).collect();
            assert_eq!(bytes, expected, "{name}");
        }
        let test = load(&fixture("parts.npz"), "n", Part::Test).unwrap();
        assert_eq!((test.part(), test.len(), test.shape()), (Part::Test, 1, Shape::new(1, 4, 5)));
    }

    #[test]
    fn arrays_of_other_kinds_say_what_they_are() {
        for (name, word) in [
            ("objects.npz", "other than plain numbers"),
            ("floats.npz", "images [3, 4, 5, 3] of float32"),
            ("short-labels.npz", "labels [2] of int64"),
            ("other-names.npz", "arrays [\"a\", \"b\"]"),
        ] {
            let error = load(&fixture(name), "n", Part::Train).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(name), "{error}");
        }
    }

    #[test]
    fn g31_a_file_cut_short_or_changed_is_an_error_or_the_same_shape() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.npz");
        for name in ["rows.npz", "planes-compressed.npz"] {
            let whole = fs::read(fixture(name)).unwrap();
            for length in 0..whole.len() {
                fs::write(&path, &whole[..length]).unwrap();
                let error = load(&path, "n", Part::Train).unwrap_err();
                assert!(matches!(error, DataError::Npz { .. }), "{length}: {error}");
            }
            for position in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[position] ^= 0xff;
                fs::write(&path, &damaged).unwrap();
                // Pixels and checksums may change unseen, as in numpy; sizes may not.
                if let Ok(set) = load(&path, "n", Part::Train) {
                    assert_eq!(set.len() * set.shape().len(), 180, "{position}");
                }
            }
        }
    }
}
