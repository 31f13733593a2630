//! Caches of decoded pictures, mapped into memory: what `data prepare --cache` leaves.
//!
//! A read is a copy out of the page cache, which all processes on a machine share; nothing is decoded again.

mod segment;

pub use segment::SegmentWriter;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::dataset::{Dataset, Part};
use super::error::DataError;
use super::framing::Framing;
use super::part_files::{self, CLASS_FILE};
use super::pictures::{Pictures, Stored};
use segment::Segment;

/// What the files of a cache end in.
pub const EXTENSION: &str = "pixels";

/// The decoded pictures of one part.
#[derive(Debug)]
pub struct Cache {
    segments: Vec<Segment>,
    /// For each file, how many pictures it and all before it hold.
    ends: Vec<usize>,
}

/// Reads one part of a cache.
///
/// Errors: `Layout`, `Cache`, `WrongLabel`, `Io`; as [`Dataset::of_pictures`].
pub fn load(path: &Path, name: &str, part: Part, framing: Framing) -> Result<Dataset, DataError> {
    let found = part_files::find(path, EXTENSION)?;
    let (chosen, part) = found.of(part);
    if chosen.is_empty() {
        return Err(part_files::no_part(path, &found, "pixels"));
    }
    let opened = open_all(chosen)?;
    let (mut segments, mut ends, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for (segment, its_labels) in opened {
        labels.extend(its_labels);
        ends.push(labels.len());
        segments.push(segment);
    }
    let mut largest = labels.iter().max().copied();
    for (_, others) in open_all(&found.others(chosen))? {
        largest = others.into_iter().max().max(largest);
    }
    let class_names = part_files::class_names(&found.folder, largest)?;
    if let Some(index) = labels.iter().position(|&label| label as usize >= class_names.len()) {
        return Err(DataError::WrongLabel {
            origin: format!("{}: label of picture {index}", path.display()),
            found: labels[index].to_string(),
            expected: format!("one of the {} lines of {CLASS_FILE}", class_names.len()),
        });
    }
    let cache = Arc::new(Cache { segments, ends });
    Dataset::of_pictures(name, part, class_names, labels, cache, framing)
}

fn open_all(files: &[PathBuf]) -> Result<Vec<(Segment, Vec<u32>)>, DataError> {
    let results: Vec<Result<_, DataError>> =
        files.par_iter().map(|file| Segment::open(file)).collect();
    // The first error in the order of the files, whichever thread met one first.
    results.into_iter().collect()
}

impl Cache {
    fn place(&self, index: usize) -> (usize, usize) {
        let file = self.ends.partition_point(|&end| end <= index);
        (file, index - file.checked_sub(1).map_or(0, |before| self.ends[before]))
    }
}

impl Pictures for Cache {
    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn read(&self, index: usize, into: &mut Vec<u8>) -> Result<Stored, DataError> {
        let (file, position) = self.place(index);
        Ok(Stored::Planes(self.segments[file].read(position, into)))
    }

    fn name(&self, index: usize) -> PathBuf {
        let (file, position) = self.place(index);
        self.segments[file].path.join(format!("picture {position}"))
    }

    fn block(&self, index: usize) -> u32 {
        self.place(index).0 as u32
    }
}
