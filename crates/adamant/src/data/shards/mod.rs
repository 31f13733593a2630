//! Tar shards in the layout of WebDataset: samples of `key.jpg` (or `.png`) and `key.cls`, read at random.
//!
//! All headers are read once and the places of the pictures kept in an index beside the shard; from then on a picture is
//! one read at an offset. Begin with [`Shards::open`]; `index` says what makes a sample, `stored` when an index counts.

mod index;
pub(super) mod stored;

pub use stored::IndexOrigin;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::dataset::{Dataset, Part};
use super::error::DataError;
use super::framing::Framing;
use super::part_files::{self, CLASS_FILE};
use super::pictures::{Pictures, Stored};
use super::tar::{BLOCK, Members, Streamed};
use index::Sample;

/// The pictures of some shards.
#[derive(Debug)]
pub struct Shards {
    files: Vec<PathBuf>,
    /// For each file, how many pictures it and all before it hold.
    ends: Vec<usize>,
    starts: Vec<u64>,
    bytes: Vec<u32>,
}

/// One part of a source of shards.
#[derive(Debug)]
pub struct OpenShards {
    /// Its pictures.
    pub shards: Shards,
    /// Their labels.
    pub labels: Vec<u32>,
    /// What the classes are called.
    pub class_names: Vec<String>,
    /// Which part it is.
    pub part: Part,
    /// Where the index of each shard came from.
    pub origins: Vec<IndexOrigin>,
}

/// Reads one part of a source of shards.
///
/// Errors: as [`Shards::open`] and [`Dataset::of_pictures`].
pub fn load(path: &Path, name: &str, part: Part, framing: Framing) -> Result<Dataset, DataError> {
    let OpenShards { shards, labels, class_names, part, .. } = Shards::open(path, part)?;
    Dataset::of_pictures(name, part, class_names, labels, Arc::new(shards), framing)
}

impl Shards {
    /// Opens one part of a folder of shards; a single shard or a pattern is one whole.
    ///
    /// Labels of all parts together decide how many classes there are, unless `classes.txt` names them: a class that is
    /// absent from one part must not change their number.
    /// Errors: `Layout`, `Tar`, `Shard`, `WrongLabel`, `Io`; of the first shard in order that has one.
    pub fn open(path: &Path, part: Part) -> Result<OpenShards, DataError> {
        let found = part_files::find(path, "tar")?;
        let (chosen, part) = found.of(part);
        if chosen.is_empty() {
            return Err(part_files::no_part(path, &found, "tar"));
        }
        let indexed = samples_of(chosen)?;
        let mut largest = None;
        let others: Vec<PathBuf> = found.others(chosen);
        for (samples, _) in indexed.iter().chain(&samples_of(&others)?) {
            largest = samples.iter().map(|sample| sample.label).max().max(largest);
        }
        let class_names = part_files::class_names(&found.folder, largest)?;
        let classes = class_names.len();
        let mut shards = Self {
            files: chosen.to_vec(),
            ends: Vec::new(),
            starts: Vec::new(),
            bytes: Vec::new(),
        };
        let (mut labels, mut origins) = (Vec::new(), Vec::new());
        for ((samples, origin), file) in indexed.into_iter().zip(chosen) {
            for (index, sample) in samples.iter().enumerate() {
                if sample.label as usize >= classes {
                    return Err(DataError::WrongLabel {
                        origin: format!("{}: label of sample {index}", file.display()),
                        found: sample.label.to_string(),
                        expected: format!("one of the {classes} lines of {CLASS_FILE}"),
                    });
                }
                shards.starts.push(sample.start);
                shards.bytes.push(sample.bytes);
                labels.push(sample.label);
            }
            shards.ends.push(labels.len());
            origins.push(origin);
        }
        Ok(OpenShards { shards, labels, class_names, part, origins })
    }

    /// The file that a picture is in, by its position.
    fn file(&self, index: usize) -> usize {
        self.ends.partition_point(|&end| end <= index)
    }

    fn key(&self, index: usize) -> Option<String> {
        // A member's header stands right before its contents, also where a longer name stands before that.
        let start = self.starts[index].checked_sub(BLOCK as u64)?;
        let mut header = [0; BLOCK];
        File::open(&self.files[self.file(index)]).ok()?.read_exact_at(&mut header, start).ok()?;
        Some(Members::new(Streamed(&header[..])).next_member().ok()??.path)
    }
}

impl Pictures for Shards {
    fn len(&self) -> usize {
        self.starts.len()
    }

    fn read(&self, index: usize, into: &mut Vec<u8>) -> Result<Stored, DataError> {
        let path = &self.files[self.file(index)];
        into.resize(self.bytes[index] as usize, 0);
        let read = File::open(path).and_then(|file| file.read_exact_at(into, self.starts[index]));
        match read {
            Ok(()) => Ok(Stored::File),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(DataError::Shard {
                path: path.clone(),
                offset: self.starts[index],
                key: self.key(index).unwrap_or_default(),
                found: "the end of the shard".to_owned(),
                expected: format!("{} bytes, as when it was indexed", self.bytes[index]),
            }),
            Err(source) => Err(DataError::Io { path: path.clone(), source }),
        }
    }

    fn name(&self, index: usize) -> PathBuf {
        let key = self.key(index).unwrap_or_else(|| format!("picture {index}"));
        self.files[self.file(index)].join(key)
    }

    fn block(&self, index: usize) -> u32 {
        self.file(index) as u32
    }
}

type Indexed = (Vec<Sample>, IndexOrigin);

fn samples_of(files: &[PathBuf]) -> Result<Vec<Indexed>, DataError> {
    let results: Vec<Result<Indexed, DataError>> =
        files.par_iter().map(|file| stored::samples(file)).collect();
    // The first error in the order of the shards, whichever thread met one first.
    results.into_iter().collect()
}
