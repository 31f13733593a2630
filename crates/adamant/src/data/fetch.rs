//! Fetching a published set: into a temporary name, checked against its SHA-256, then renamed.
//!
//! The library opens no connection: the caller says how an address becomes bytes, a folder is read directly.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process;

use sha2::{Digest, Sha256};

use super::archive;
use super::error::DataError;
use super::published::{Contents, Form, PublishedFile, PublishedSet};
use super::sample::hex;

/// Where the files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The addresses of the authors.
    Published,
    /// A folder on this machine that holds the files.
    Folder(PathBuf),
    /// An address under which the files lie.
    Address(String),
}

impl Origin {
    /// An address has a scheme, anything else is a folder.
    pub fn parse(written: &str) -> Self {
        if written.contains("://") {
            Self::Address(written.to_owned())
        } else {
            Self::Folder(written.into())
        }
    }
}

/// How far one file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Its name.
    pub file: &'a str,
    /// Bytes that are here.
    pub bytes: u64,
    /// Bytes of the published file.
    pub total: u64,
}

/// Whether a file had to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was here, and is the published one.
    Present,
    /// It is new.
    Fetched,
}

/// The files of a set, and for each whether it had to be fetched.
pub type Outcomes = Vec<(&'static str, Outcome)>;

/// Turns an address into its bytes; the error is what is told about the attempt.
pub type Open<'a> = dyn FnMut(&str) -> Result<Box<dyn Read>, String> + 'a;

/// Fetches what is missing of `set` into `folder`, and says for each file whether it was.
///
/// A file appears under its name only when its SHA-256 is a published one; a wrong one is removed.
/// Errors: `Unreachable`, `WrongChecksum`, `WrongLength`, `Archive`, `Io`.
pub fn fetch(
    set: &PublishedSet,
    origin: &Origin,
    folder: &Path,
    open: &mut Open<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Outcomes, DataError> {
    fs::create_dir_all(folder).map_err(|source| io_error(folder, source))?;
    let mut outcomes = Vec::new();
    for file in set.files {
        if is_present(file, folder)? {
            outcomes.push((file.name, Outcome::Present));
            continue;
        }
        // The process is in the name, so that two that fetch at once do not write into one file.
        let partial = format!(".{}.{}.part", file.name, process::id());
        let partial = Partial(folder.join(partial));
        download(set, file, origin, &partial.0, open, progress)?;
        match file.contents {
            Contents::File => {
                let path = folder.join(file.name);
                fs::rename(&partial.0, &path).map_err(|source| io_error(&path, source))?;
            }
            Contents::Archive { members } => archive::unpack(&partial.0, members, folder)?,
        }
        outcomes.push((file.name, Outcome::Fetched));
    }
    Ok(outcomes)
}

/// A file under its temporary name, removed however fetching ends; after a rename there is nothing left to remove.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // Nothing can be done about a file that cannot be removed, and the error that led here is the one to tell.
        drop(fs::remove_file(&self.0));
    }
}

fn is_present(file: &PublishedFile, folder: &Path) -> Result<bool, DataError> {
    let length = |path: &Path| fs::metadata(path).map(|metadata| metadata.len()).ok();
    match file.contents {
        // Members were cut from an archive whose checksum was right and renamed when whole: the length suffices.
        Contents::Archive { members } => {
            Ok(members.iter().all(|&(name, bytes)| length(&folder.join(name)) == Some(bytes)))
        }
        Contents::File => {
            let path = folder.join(file.name);
            if length(&path).is_none() {
                return Ok(false);
            }
            let mut reader = File::open(&path).map_err(|source| io_error(&path, source))?;
            let mut hash = Sha256::new();
            let mut buffer = vec![0; 1 << 16];
            loop {
                match reader.read(&mut buffer).map_err(|source| io_error(&path, source))? {
                    0 => break,
                    read => hash.update(&buffer[..read]),
                }
            }
            let found = hex(&hash.finalize());
            Ok(file.forms.iter().any(|form| form.sha256 == found))
        }
    }
}

fn download(
    set: &PublishedSet,
    file: &PublishedFile,
    origin: &Origin,
    partial: &Path,
    open: &mut Open<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), DataError> {
    let bases = match origin {
        Origin::Folder(folder) => {
            let path = folder.join(file.name);
            let reader = File::open(&path).map_err(|source| io_error(&path, source))?;
            let name = path.display().to_string();
            return match copy(file, &name, Box::new(reader), partial, progress)? {
                Copied::Whole => Ok(()),
                Copied::Interrupted(source) => Err(io_error(&path, source)),
            };
        }
        Origin::Address(address) => vec![address.as_str()],
        Origin::Published => set.addresses.to_vec(),
    };
    let mut attempts = Vec::new();
    for base in bases {
        let address = format!("{}/{}", base.trim_end_matches('/'), file.name);
        let reason = match open(&address) {
            Ok(reader) => match copy(file, &address, reader, partial, progress)? {
                Copied::Whole => return Ok(()),
                Copied::Interrupted(error) => error.to_string(),
            },
            Err(reason) => reason,
        };
        attempts.push(format!("{address}: {reason}"));
    }
    Err(DataError::Unreachable { name: file.name.to_owned(), attempts })
}

enum Copied {
    /// All bytes are here and have a published checksum.
    Whole,
    /// Reading failed on the way.
    Interrupted(io::Error),
}

fn copy(
    file: &PublishedFile,
    origin: &str,
    mut reader: Box<dyn Read>,
    partial: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Copied, DataError> {
    let failed = |source| io_error(partial, source);
    let mut writer = File::create(partial).map_err(failed)?;
    let total = file.forms[0].bytes;
    let longest = file.forms.iter().map(|form| form.bytes).max().unwrap_or(total);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(Copied::Interrupted(error)),
        };
        bytes += read as u64;
        // An endless answer must not fill the disk before its checksum is wrong.
        if bytes > longest {
            return Err(DataError::WrongLength {
                path: origin.into(),
                found: bytes,
                expected: longest,
                reason: "the published length; reading stopped there".to_owned(),
            });
        }
        hash.update(&buffer[..read]);
        writer.write_all(&buffer[..read]).map_err(failed)?;
        progress(Progress { file: file.name, bytes, total });
    }
    writer.sync_all().map_err(failed)?;
    let found = hex(&hash.finalize());
    if file.forms.iter().any(|form| form.sha256 == found) {
        return Ok(Copied::Whole);
    }
    let expected: Vec<&str> = file.forms.iter().map(|form: &Form| form.sha256).collect();
    Err(DataError::WrongChecksum {
        origin: format!("{origin} ({bytes} bytes)"),
        found,
        expected: expected.join(" or "),
    })
}

fn io_error(path: &Path, source: io::Error) -> DataError {
    DataError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// SHA-256 of `hello` (FIPS 180-4 implementations agree on it; computed with coreutils 9).
    const HELLO: Form = Form {
        bytes: 5,
        sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    };
    const SET: PublishedSet = PublishedSet {
        name: "hello",
        about: "one word",
        licence: "none",
        addresses: &["http://first/", "http://second/"],
        files: &[PublishedFile { name: "hello.txt", forms: &[HELLO], contents: Contents::File }],
    };

    /// Fetches from a table of addresses; gives what was done and which addresses were asked.
    fn fetch_from(
        table: &[(&str, &'static [u8])],
        set: &PublishedSet,
        origin: &Origin,
        folder: &Path,
    ) -> (Result<Outcomes, DataError>, Vec<String>) {
        let table: HashMap<&str, &'static [u8]> = table.iter().copied().collect();
        let mut asked = Vec::new();
        let mut open = |address: &str| -> Result<Box<dyn Read>, String> {
            asked.push(address.to_owned());
            match table.get(address) {
                Some(&bytes) => Ok(Box::new(bytes)),
                None => Err("404 not found".to_owned()),
            }
        };
        let result = fetch(set, origin, folder, &mut open, &mut |_| {});
        (result, asked)
    }

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_fetched_from_the_second_address_when_the_first_fails_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("data/hello");
        let table: [(&str, &[u8]); 1] = [("http://second/hello.txt", b"hello")];
        let (result, asked) = fetch_from(&table, &SET, &Origin::Published, &into);
        assert_eq!(result.unwrap(), [("hello.txt", Outcome::Fetched)]);
        assert_eq!(asked, ["http://first/hello.txt", "http://second/hello.txt"]);
        assert_eq!(fs::read(into.join("hello.txt")).unwrap(), b"hello");
        let (result, asked) = fetch_from(&table, &SET, &Origin::Published, &into);
        assert_eq!(result.unwrap(), [("hello.txt", Outcome::Present)]);
        assert!(asked.is_empty());
    }

    #[test]
    fn a_wrong_checksum_names_both_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::parse("http://mirror/of/it");
        let table: [(&str, &[u8]); 1] = [("http://mirror/of/it/hello.txt", b"jello")];
        let (result, _) = fetch_from(&table, &SET, &origin, folder.path());
        let error = result.unwrap_err();
        assert!(matches!(error, DataError::WrongChecksum { .. }));
        let message = error.to_string();
        assert!(message.contains(HELLO.sha256), "{message}");
        assert!(message.contains(&hex(&Sha256::digest(b"jello"))), "{message}");
        assert!(names_in(folder.path()).is_empty());
    }

    #[test]
    fn an_answer_longer_than_the_published_file_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::Address("http://mirror".to_owned());
        let table: [(&str, &[u8]); 1] = [("http://mirror/hello.txt", &[0; 1 << 20])];
        let (result, _) = fetch_from(&table, &SET, &origin, folder.path());
        assert!(matches!(result, Err(DataError::WrongLength { expected: 5, .. })));
        assert!(names_in(folder.path()).is_empty());
    }

    #[test]
    fn an_unreachable_file_tells_every_address_and_answer() {
        let folder = tempfile::tempdir().unwrap();
        let (result, _) = fetch_from(&[], &SET, &Origin::Published, folder.path());
        let message = result.unwrap_err().to_string();
        for word in ["http://first/hello.txt: 404", "http://second/hello.txt: 404", "--from DIR"] {
            assert!(message.contains(word), "{message}");
        }
    }

    #[test]
    fn a_damaged_file_that_is_here_is_replaced_from_a_folder() {
        let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(from.path().join("hello.txt"), "hello").unwrap();
        fs::write(into.path().join("hello.txt"), "hellO").unwrap();
        let origin = Origin::parse(from.path().to_str().unwrap());
        let (result, asked) = fetch_from(&[], &SET, &origin, into.path());
        assert_eq!(result.unwrap(), [("hello.txt", Outcome::Fetched)]);
        assert!(asked.is_empty());
        assert_eq!(fs::read(into.path().join("hello.txt")).unwrap(), b"hello");
        fs::remove_file(from.path().join("hello.txt")).unwrap();
        fs::remove_file(into.path().join("hello.txt")).unwrap();
        let (result, _) = fetch_from(&[], &SET, &origin, into.path());
        assert!(result.unwrap_err().to_string().contains("hello.txt"));
    }

    #[test]
    fn an_archive_becomes_its_members_and_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: &'static [u8] =
            archive::tests::archive(&[("set/a.bin", b"12345"), ("set/readme", b"x")]).leak();
        let sha256: &'static str = hex(&Sha256::digest(bytes)).leak();
        let form = Form { bytes: bytes.len() as u64, sha256 };
        let file = PublishedFile {
            name: "set.tar.gz",
            forms: Box::leak(Box::new([form])),
            contents: Contents::Archive { members: &[("a.bin", 5)] },
        };
        let set = PublishedSet { files: Box::leak(Box::new([file])), ..SET };
        let table = [("http://first/set.tar.gz", bytes)];
        let (result, _) = fetch_from(&table, &set, &Origin::Published, folder.path());
        assert_eq!(result.unwrap(), [("set.tar.gz", Outcome::Fetched)]);
        assert_eq!(names_in(folder.path()), ["a.bin"]);
        let (result, asked) = fetch_from(&table, &set, &Origin::Published, folder.path());
        assert_eq!(result.unwrap(), [("set.tar.gz", Outcome::Present)]);
        assert!(asked.is_empty());
    }

    #[test]
    fn progress_ends_at_the_published_length() {
        let folder = tempfile::tempdir().unwrap();
        let mut last = None;
        let mut open = |_: &str| -> Result<Box<dyn Read>, String> { Ok(Box::new(&b"hello"[..])) };
        let mut progress = |progress: Progress<'_>| last = Some((progress.bytes, progress.total));
        fetch(&SET, &Origin::Published, folder.path(), &mut open, &mut progress).unwrap();
        assert_eq!(last, Some((5, 5)));
    }
}
