//! One file of images: decoded in parallel, written in order, hashed on the way.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::super::cache::SegmentWriter;
use super::super::dataset::Dataset;
use super::super::error::DataError;
use super::super::loader::OnCorrupt;
use super::super::sample::hex;
use super::super::tar::{BLOCK, plain_header};
use super::picture::{Ready, Scratch, ready};
use super::record::Line;
use super::{Form, PrepareSettings, partial};

/// Images that are decoded before any of them is written, for each thread: bounds the memory, decides nothing else.
const AHEAD: usize = 4;

/// Writes the images of `range` into a new file, and gives its line for the journal.
pub(super) fn write(
    set: &Dataset,
    range: Range<usize>,
    settings: &PrepareSettings,
    path: &Path,
    tell: &mut dyn FnMut(usize),
) -> Result<Line, DataError> {
    let aside = partial(path);
    let failed = |source| DataError::Io { path: path.to_owned(), source };
    let file = File::create(&aside).map_err(failed)?;
    let writer = Hashing { inner: BufWriter::new(file), hash: Sha256::new(), bytes: 0 };
    let mut writer = Writer::new(settings.form, writer).map_err(failed)?;
    let mut skipped = Vec::new();
    let indices: Vec<usize> = range.clone().collect();
    let batch = AHEAD * rayon::current_num_threads();
    for indices in indices.chunks(batch) {
        let images: Vec<Result<Ready, DataError>> = indices
            .par_iter()
            .map_init(Scratch::default, |scratch, &index| ready(set, index, settings, scratch))
            .collect();
        for (&index, image) in indices.iter().zip(images) {
            match (image, settings.on_corrupt) {
                (Ok(image), _) => {
                    writer.add(index, set.labels()[index], image).map_err(failed)?;
                }
                (Err(error @ DataError::Picture { .. }), OnCorrupt::Skip) => {
                    skipped.push(error.to_string());
                }
                (Err(error), _) => return Err(error),
            }
        }
        tell(indices[indices.len() - 1] + 1 - range.start);
    }
    let Hashing { inner, hash, bytes } = writer.finish().map_err(failed)?;
    let renamed = inner.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| {
        file.sync_all()?;
        fs::rename(&aside, path)?;
        // The name, too, must be on disk before the journal says so.
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    });
    renamed.map_err(failed)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Line::new(name, range.len() - skipped.len(), bytes, hex(&hash.finalize()), skipped))
}

/// Counts and hashes what passes by.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

enum Writer<W: Write> {
    Shard(W),
    Segment(SegmentWriter<W>),
}

impl<W: Write> Writer<W> {
    fn new(form: Form, writer: W) -> io::Result<Self> {
        Ok(match form {
            Form::Shards => Self::Shard(writer),
            Form::Cache => Self::Segment(SegmentWriter::new(writer)?),
        })
    }

    fn add(&mut self, index: usize, label: u32, image: Ready) -> io::Result<()> {
        match (self, image) {
            (Self::Shard(writer), Ready::File(extension, bytes)) => {
                member(writer, &format!("{index:08}.{extension}"), &bytes)?;
                member(writer, &format!("{index:08}.cls"), label.to_string().as_bytes())
            }
            (Self::Segment(writer), Ready::Planes(shape, planes)) => {
                writer.add(label, shape, &planes)
            }
            _ => unreachable!("shards are made of files, caches of planes"),
        }
    }

    fn finish(self) -> io::Result<W> {
        match self {
            Self::Shard(mut writer) => {
                writer.write_all(&[0; 2 * BLOCK])?;
                Ok(writer)
            }
            Self::Segment(writer) => writer.finish(),
        }
    }
}

fn member(writer: &mut impl Write, name: &str, contents: &[u8]) -> io::Result<()> {
    writer.write_all(&plain_header(name, contents.len() as u64))?;
    writer.write_all(contents)?;
    let padding = contents.len().next_multiple_of(BLOCK) - contents.len();
    writer.write_all(&[0; BLOCK][..padding])
}
