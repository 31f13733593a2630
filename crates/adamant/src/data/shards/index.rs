//! The samples of one tar shard: members that share a key make one, `key.jpg` its picture and `key.cls` its label.
//!
//! Source: WebDataset, "The WebDataset Format": the key is the path up to the first dot of the file name, and the members
//! of a sample follow each other.

use std::fs::File;
use std::path::{Component, Path};

use super::super::error::DataError;
use super::super::tar::{Member, MemberKind, Members, Positioned};

/// Extensions of pictures; the first bytes say what they really are.
const PICTURES: [&str; 5] = ["jpg", "jpeg", "png", "webp", "ppm"];

/// Extensions of labels.
const LABELS: [&str; 2] = ["cls", "label"];

/// Longest label that is read: enough for any number that is one.
const LONGEST_LABEL: u64 = 64;

/// Where one picture lies in its shard, and its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub start: u64,
    pub bytes: u32,
    pub label: u32,
}

/// A sample of which not all members have come yet.
struct Open {
    key: String,
    offset: u64,
    picture: Option<(u64, u32)>,
    label: Option<u32>,
}

/// Reads all headers of a shard, and the labels; pictures are passed over.
///
/// Errors: `Tar` for a shard that is cut short or lies, `Shard` for a sample that is not whole or names a path outside,
/// `Io`.
pub(super) fn scan(path: &Path, file: &File) -> Result<Vec<Sample>, DataError> {
    let reader = Positioned::new(file);
    let reader = reader.map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let mut members = Members::new(reader);
    let tar_error = |source| DataError::Tar { path: path.to_owned(), source };
    let mut samples = Vec::new();
    let mut open: Option<Open> = None;
    let mut text = Vec::new();
    while let Some(member) = members.next_member().map_err(tar_error)? {
        if member.kind == MemberKind::Folder {
            continue;
        }
        if member.kind == MemberKind::Other {
            return Err(refuse(path, &member, &member.path, "a link or device", "a plain file"));
        }
        if !lies_inside(&member.path) {
            let expected = "a path below the shard's folder";
            return Err(refuse(path, &member, &member.path, "a path that leads out", expected));
        }
        // Names without an extension and hidden ones (`._x`, `__init__`) are no samples, as in WebDataset.
        let Some((key, extension)) = split(&member.path) else { continue };
        if open.as_ref().is_none_or(|open| open.key != key) {
            close(path, open.take(), &mut samples)?;
            open = Some(Open {
                key: key.to_owned(),
                offset: member.header,
                picture: None,
                label: None,
            });
        }
        let open = open.as_mut().expect("set in the line above");
        let extension = extension.to_ascii_lowercase();
        if PICTURES.contains(&&*extension) {
            let bytes = u32::try_from(member.bytes).map_err(|_| {
                let found = format!("a picture of {} bytes", member.bytes);
                refuse(path, &member, key, &found, "less than 4 GiB")
            })?;
            if open.picture.replace((member.start, bytes)).is_some() {
                return Err(refuse(path, &member, key, "a second picture", "one picture a sample"));
            }
        } else if LABELS.contains(&&*extension) {
            if member.bytes > LONGEST_LABEL {
                let found = format!("a label of {} bytes", member.bytes);
                return Err(refuse(path, &member, key, &found, "a number in decimal digits"));
            }
            members.read(&mut text).map_err(tar_error)?;
            let written = String::from_utf8_lossy(&text).trim().to_owned();
            let label = written.parse().map_err(|_| {
                let found = format!("the label {written:?}");
                refuse(path, &member, key, &found, "a number in decimal digits")
            })?;
            if open.label.replace(label).is_some() {
                return Err(refuse(path, &member, key, "a second label", "one label a sample"));
            }
        }
    }
    close(path, open, &mut samples)?;
    Ok(samples)
}

fn close(path: &Path, open: Option<Open>, samples: &mut Vec<Sample>) -> Result<(), DataError> {
    let Some(Open { key, offset, picture, label }) = open else { return Ok(()) };
    let (found, expected) = match (picture, label) {
        (Some((start, bytes)), Some(label)) => {
            samples.push(Sample { start, bytes, label });
            return Ok(());
        }
        // A sample of other things, such as a text about the shard.
        (None, None) => return Ok(()),
        (Some(_), None) => ("a picture without a label", "a member .cls beside it"),
        (None, Some(_)) => ("a label without a picture", "a member .jpg, .jpeg or .png beside it"),
    };
    Err(DataError::Shard {
        path: path.to_owned(),
        offset,
        key,
        found: found.to_owned(),
        expected: expected.to_owned(),
    })
}

fn refuse(path: &Path, member: &Member, key: &str, found: &str, expected: &str) -> DataError {
    DataError::Shard {
        path: path.to_owned(),
        offset: member.header,
        key: key.to_owned(),
        found: found.to_owned(),
        expected: expected.to_owned(),
    }
}

/// Key and extension: the file name is cut at its first dot.
fn split(path: &str) -> Option<(&str, &str)> {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    let dot = path[name..].find('.')? + name;
    let is_hidden = dot == name || path[name..].starts_with("__");
    (!is_hidden).then(|| (&path[..dot], &path[dot + 1..]))
}

/// Nothing is ever written under a member's name; one that leads out shows that the shard is not what it seems.
fn lies_inside(path: &str) -> bool {
    let is_plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    !path.contains('\0') && Path::new(path).components().all(is_plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::super::tar::tests::{header, tar};
    use super::*;

    fn scan_bytes(bytes: &[u8]) -> Result<Vec<Sample>, DataError> {
        let mut file = tempfile::NamedTempFile::with_suffix("x.tar").unwrap();
        file.write_all(bytes).unwrap();
        scan(file.path(), file.as_file())
    }

    #[test]
    fn members_of_one_key_make_a_sample_in_either_order() {
        let samples = scan_bytes(&tar(&[
            ("README", b"no sample"),
            ("./a/0.jpg", b"abc"),
            ("./a/0.cls", b"7\n"),
            ("b.1.cls", b"3"),
            ("b.txt", b"extra"),
            ("b.JPEG", b""),
            ("._b.jpg", b"hidden"),
            ("notes.txt", b"nothing"),
        ]));
        // `b.1.cls` has the extension `1.cls`, which is no label.
        let error = samples.unwrap_err().to_string();
        assert!(error.contains("\"b\"") && error.contains("a picture without a label"), "{error}");
        let samples = scan_bytes(&tar(&[
            ("./a/0.jpg", b"abc"),
            ("./a/0.cls", b"7\n"),
            ("b.cls", b" 3 "),
            ("b.txt", b"extra"),
            ("b.JPEG", b""),
        ]))
        .unwrap();
        let expected = [
            Sample { start: 512, bytes: 3, label: 7 },
            Sample { start: 2048 + 3 * 1024 - 512, bytes: 0, label: 3 },
        ];
        assert_eq!(samples, expected);
    }

    #[test]
    fn g31_samples_that_are_not_whole_name_shard_offset_and_key() {
        for (members, words) in [
            (vec![("a.jpg", &b"x"[..])], ["\"a\" at offset 0", "a picture without a label"]),
            (vec![("a.cls", b"1")], ["\"a\" at offset 0", "a label without a picture"]),
            (vec![("a.jpg", b"x"), ("a.cls", b"cat")], ["\"a\" at offset 1024", "label \"cat\""]),
            (vec![("a.jpg", b"x"), ("a.cls", b"-1")], ["\"a\" at offset 1024", "label \"-1\""]),
            (vec![("a.jpg", b"x"), ("a.cls", b"")], ["\"a\" at offset 1024", "label \"\""]),
            (vec![("a.jpg", b"x"), ("a.cls", &[b'1'; 65])], ["offset 1024", "of 65 bytes"]),
            (vec![("a.jpg", b"x"), ("a.png", b"y")], ["offset 1024", "a second picture"]),
            (vec![("a.cls", b"1"), ("a.label", b"1")], ["offset 1024", "a second label"]),
            (vec![("../a.jpg", b"x")], ["\"../a.jpg\"", "leads out"]),
            (vec![("/etc/a.jpg", b"x")], ["\"/etc/a.jpg\"", "leads out"]),
            (vec![("x/../../a.jpg", b"x")], ["a.jpg\" at offset 0", "leads out"]),
        ] {
            let error = scan_bytes(&tar(&members)).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
            assert!(error.contains("x.tar: "), "{error}");
        }
        let link = [&header("a.jpg", b'2', 0)[..], &[0; 1024]].concat();
        let error = scan_bytes(&link).unwrap_err().to_string();
        assert!(error.contains("a link or device"), "{error}");
    }

    #[test]
    fn g31_a_shard_cut_short_anywhere_is_an_error() {
        let whole = tar(&[("a.jpg", &[1; 600]), ("a.cls", b"1"), ("b.jpg", b"2"), ("b.cls", b"1")]);
        for length in (0..whole.len() - 512).step_by(37) {
            let error = scan_bytes(&whole[..length]).unwrap_err();
            assert!(matches!(error, DataError::Tar { .. }), "{length}: {error}");
        }
        assert_eq!(scan_bytes(&whole).unwrap().len(), 2);
    }
}
