//! Writing a data set as tar shards or as a cache of decoded pictures: in files of a fixed number of images, each
//! written aside, hashed, synced and renamed, so that a killed preparation goes on with the file it was at.
//!
//! The same images and settings give the same bytes: names count images, times are zero, the order is the source's, and
//! nothing depends on threads. Begin with [`prepare`]; [`verify`] compares what lies there with its checksums.

mod files;
mod picture;
mod record;

pub use record::verify;

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dataset::{Dataset, Part};
use super::error::DataError;
use super::loader::OnCorrupt;
use super::part_files::CLASS_FILE;
use super::sample::hex;
use record::{Head, HeadPart, Journal, Line};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Tar shards in WebDataset's layout; picture files are copied as they are, or made PNG where they are resized.
    Shards,
    /// Decoded pictures to be mapped into memory.
    Cache,
}

/// How a data set is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrepareSettings {
    /// As what.
    pub form: Form,
    /// Pixels that the shorter side is brought to; pictures that are smaller stay as they are.
    pub shorter_side: Option<u32>,
    /// Images in a file; at least 1.
    pub images_per_file: usize,
    /// What happens with a picture that does not decode.
    pub on_corrupt: OnCorrupt,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrepareProgress {
    /// Images done, those of an earlier run included.
    pub images: usize,
    /// Images of all parts.
    pub total: usize,
}

/// What lies there now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prepared {
    /// Files in all.
    pub files: usize,
    /// Files that an earlier run had finished.
    pub kept: usize,
    /// Images in all.
    pub images: usize,
    /// Bytes in all, without checksums and names.
    pub bytes: u64,
    /// Pictures that did not decode and are left out, with what is wrong.
    pub skipped: Vec<String>,
}

/// Writes the parts of a data set into the folder `out`, going on where an earlier run of the same was stopped.
///
/// Errors: `Prepared` if the folder holds something else or is being written; what is wrong with a picture, unless they
/// are skipped; `Io`. After an error what is finished stays, and the next run goes on there.
pub fn prepare(
    parts: &[Dataset],
    out: &Path,
    settings: &PrepareSettings,
    progress: &mut dyn FnMut(PrepareProgress),
) -> Result<Prepared, DataError> {
    fs::create_dir_all(out).map_err(|source| io(out, source))?;
    let mut journal = Journal::open(out, &head(parts, settings))?;
    let total = parts.iter().map(Dataset::len).sum();
    let mut prepared = Prepared { files: 0, kept: 0, images: 0, bytes: 0, skipped: Vec::new() };
    let mut done = 0;
    for set in parts {
        for (number, range) in ranges(set.len(), settings.images_per_file).enumerate() {
            let name = file_name(set.part(), number, settings.form);
            let images = range.len();
            let line = match journal.finished(&name)? {
                Some(line) => {
                    prepared.kept += 1;
                    line
                }
                None => {
                    let mut tell =
                        |images| progress(PrepareProgress { images: done + images, total });
                    let line = files::write(set, range, settings, &out.join(&name), &mut tell)?;
                    journal.add(line)?
                }
            };
            done += images;
            progress(PrepareProgress { images: done, total });
            prepared.files += 1;
            prepared.images += line.images;
            prepared.bytes += line.bytes;
            prepared.skipped.extend(line.skipped);
        }
    }
    let classes = parts.first().map(Dataset::class_names).unwrap_or_default();
    let names: String = classes.iter().map(|name| format!("{}\n", one_line(name))).collect();
    write_aside(&out.join(CLASS_FILE), names.as_bytes())?;
    journal.finish()?;
    Ok(prepared)
}

/// What this preparation is; an earlier one with another head is not gone on with.
fn head(parts: &[Dataset], settings: &PrepareSettings) -> Head {
    let part = |set: &Dataset| {
        let mut hash = Sha256::new();
        set.labels().iter().for_each(|label| hash.update(label.to_le_bytes()));
        set.class_names().iter().for_each(|name| hash.update(format!("{name}\n")));
        let labels_and_classes = hex(&hash.finalize());
        HeadPart { part: part_name(set.part()).to_owned(), images: set.len(), labels_and_classes }
    };
    Head {
        prepared_by: format!("adamant {}", env!("CARGO_PKG_VERSION")),
        form: settings.form,
        shorter_side: settings.shorter_side,
        images_per_file: settings.images_per_file,
        on_corrupt: settings.on_corrupt,
        parts: parts.iter().map(part).collect(),
    }
}

fn ranges(images: usize, per_file: usize) -> impl Iterator<Item = Range<usize>> {
    let per_file = per_file.max(1);
    (0..images).step_by(per_file).map(move |start| start..images.min(start + per_file))
}

/// The name says the part as the readers of shards and caches expect it.
fn file_name(part: Part, number: usize, form: Form) -> String {
    let extension = match form {
        Form::Shards => "tar",
        Form::Cache => super::cache::EXTENSION,
    };
    format!("{}-{number:05}.{extension}", part_name(part))
}

fn part_name(part: Part) -> &'static str {
    match part {
        Part::Train => "train",
        Part::Test => "test",
        // No part's name: readers take such files for one whole again.
        Part::Whole => "images",
    }
}

/// A class name on one line, as `classes.txt` holds it.
fn one_line(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}

fn io(path: &Path, source: std::io::Error) -> DataError {
    DataError::Io { path: path.to_owned(), source }
}

/// Written under another name, synced and renamed: a file under its own name is whole.
fn write_aside(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let partial = partial(path);
    let written = File::create(&partial).and_then(|mut file| {
        std::io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    });
    written.map_err(|source| io(path, source))
}

fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.part"))
}

type Skipped = Vec<String>;

impl Line {
    fn new(name: String, images: usize, bytes: u64, sha256: String, skipped: Skipped) -> Self {
        Self { file: name, images, bytes, sha256, skipped }
    }
}
