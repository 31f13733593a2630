//! One file of decoded pictures: their bytes, then a table of where each lies, then a trailer that the table is checked by.
//!
//! ```text
//! 16 bytes   "ADAMANT PIXELS 1"
//! pictures   planes [C, H, W] of bytes, one picture behind the other
//! table      for each picture: offset u64, label u32, channels u32, rows u32, columns u32
//! 64 bytes   "ADMTTAIL", pictures u64, offset of the table u64, SHA-256 of the table, zeros
//! ```
//! All numbers are little-endian. The table stands behind the pictures, so that a file is written in one go.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use engine::Mapping;
use network::Shape;
use sha2::{Digest, Sha256};

use super::super::error::DataError;
use super::super::picture::MOST_PIXELS;

const MAGIC: &[u8; 16] = b"ADAMANT PIXELS 1";
const TAIL: &[u8; 8] = b"ADMTTAIL";
const ENTRY: usize = 24;
const TRAILER: usize = 64;

/// Writes one file of pictures.
#[derive(Debug)]
pub struct SegmentWriter<W> {
    writer: W,
    offset: u64,
    table: Vec<u8>,
}

impl<W: Write> SegmentWriter<W> {
    /// Begins a file.
    pub fn new(mut writer: W) -> io::Result<Self> {
        writer.write_all(MAGIC)?;
        Ok(Self { writer, offset: MAGIC.len() as u64, table: Vec::new() })
    }

    /// Appends a picture. Shapes: `planes` is `[C, H, W]`.
    pub fn add(&mut self, label: u32, shape: Shape, planes: &[u8]) -> io::Result<()> {
        assert_eq!(planes.len(), shape.len(), "a picture has as many bytes as its shape");
        self.table.extend_from_slice(&self.offset.to_le_bytes());
        for number in [label, shape.channels as u32, shape.height as u32, shape.width as u32] {
            self.table.extend_from_slice(&number.to_le_bytes());
        }
        self.offset += planes.len() as u64;
        self.writer.write_all(planes)
    }

    /// Writes the table and the trailer, and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.writer.write_all(&self.table)?;
        let mut trailer = TAIL.to_vec();
        trailer.extend_from_slice(&((self.table.len() / ENTRY) as u64).to_le_bytes());
        trailer.extend_from_slice(&self.offset.to_le_bytes());
        trailer.extend_from_slice(&Sha256::digest(&self.table));
        trailer.resize(TRAILER, 0);
        self.writer.write_all(&trailer)?;
        Ok(self.writer)
    }
}

/// One file of pictures, mapped.
#[derive(Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    mapping: Mapping,
    pictures: Vec<(u64, Shape)>,
}

impl Segment {
    /// Maps a file whose length, table and trailer agree; gives the labels beside it.
    ///
    /// Errors: `Cache`, `Io`.
    pub fn open(path: &Path) -> Result<(Self, Vec<u32>), DataError> {
        let io = |source| DataError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let broken = |found: String, expected: &str| DataError::Cache {
            path: path.to_owned(),
            found,
            expected: expected.to_owned(),
        };
        if length < (MAGIC.len() + TRAILER) as u64 {
            return Err(broken(format!("{length} bytes"), "a head and a trailer: 80 or more"));
        }
        let (mut magic, mut trailer) = ([0; MAGIC.len()], [0; TRAILER]);
        file.read_exact_at(&mut magic, 0).map_err(io)?;
        let end = length - TRAILER as u64;
        file.read_exact_at(&mut trailer, end).map_err(io)?;
        if magic != *MAGIC || trailer[..8] != *TAIL {
            let expected = "ADAMANT PIXELS 1 at its beginning and ADMTTAIL near its end";
            return Err(broken("other bytes, or a file that was cut short".to_owned(), expected));
        }
        let number = |at: usize| u64::from_le_bytes(trailer[at..at + 8].try_into().expect("eight"));
        let (count, start) = (number(8), number(16));
        let ends = count.checked_mul(ENTRY as u64).and_then(|bytes| bytes.checked_add(start));
        if ends != Some(end) || start < MAGIC.len() as u64 {
            let found = format!("a table of {count} pictures at offset {start}");
            return Err(broken(
                found,
                &format!("one that ends at offset {end}, where the trailer is"),
            ));
        }
        // As long as part of the file, whose length was just read.
        let mut table = vec![0; (end - start) as usize];
        file.read_exact_at(&mut table, start).map_err(io)?;
        if Sha256::digest(&table)[..] != trailer[24..56] {
            return Err(broken("a table with another checksum".to_owned(), "that of the trailer"));
        }
        let (mut pictures, mut labels) = (Vec::new(), Vec::new());
        for (index, entry) in table.chunks_exact(ENTRY).enumerate() {
            let word = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().expect("four"));
            let offset = u64::from_le_bytes(entry[..8].try_into().expect("eight"));
            let shape = Shape::new(word(12) as usize, word(16) as usize, word(20) as usize);
            let pixels = (shape.height as u64) * (shape.width as u64);
            let fits = (1..=MOST_PIXELS as u64).contains(&pixels)
                && matches!(shape.channels, 1 | 3)
                && offset.checked_add(pixels * shape.channels as u64).is_some_and(|e| e <= start);
            if !fits {
                let found = format!(
                    "picture {index} of {} x {} x {} at offset {offset}",
                    shape.channels, shape.height, shape.width
                );
                return Err(broken(found, "one or three channels, before the table"));
            }
            pictures.push((offset, shape));
            labels.push(word(8));
        }
        let mapping = Mapping::new(&file).map_err(io)?;
        // The file may have been cut short since: what is mapped must be what was checked.
        if mapping.len() as u64 != length {
            let found = format!("{} bytes", mapping.len());
            return Err(broken(found, &format!("{length}, as a moment ago")));
        }
        Ok((Self { path: path.to_owned(), mapping, pictures }, labels))
    }

    pub fn read(&self, index: usize, into: &mut Vec<u8>) -> Shape {
        let (offset, shape) = self.pictures[index];
        into.resize(shape.len(), 0);
        self.mapping.read(offset, into).expect("opening checked that every picture is inside");
        shape
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file() -> Vec<u8> {
        let mut writer = SegmentWriter::new(Vec::new()).unwrap();
        writer.add(7, Shape::new(1, 2, 3), &[1, 2, 3, 4, 5, 6]).unwrap();
        writer.add(0, Shape::new(3, 1, 1), &[9, 8, 7]).unwrap();
        writer.finish().unwrap()
    }

    fn open(bytes: &[u8]) -> Result<(Segment, Vec<u32>), DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pixels");
        fs::write(&path, bytes).unwrap();
        Segment::open(&path)
    }

    #[test]
    fn what_is_written_is_read() {
        let (segment, labels) = open(&file()).unwrap();
        assert_eq!((segment.pictures.len(), labels), (2, vec![7, 0]));
        let mut bytes = vec![0; 100];
        assert_eq!(segment.read(1, &mut bytes), Shape::new(3, 1, 1));
        assert_eq!(bytes, [9, 8, 7]);
        assert_eq!(segment.read(0, &mut bytes), Shape::new(1, 2, 3));
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn g31_a_cache_cut_short_or_changed_in_its_table_is_never_mapped() {
        let whole = file();
        for length in 0..whole.len() {
            let error = open(&whole[..length]).unwrap_err().to_string();
            assert!(error.contains("a.pixels: "), "{error}");
        }
        let pictures = 16..16 + 9;
        let reserved = whole.len() - 8..whole.len();
        for position in (0..whole.len()).filter(|p| !pictures.contains(p) && !reserved.contains(p))
        {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x80;
            assert!(matches!(open(&damaged), Err(DataError::Cache { .. })), "{position}");
        }
    }

    #[test]
    fn a_table_with_the_right_checksum_that_points_outside_is_refused() {
        let good = file();
        let start = 16 + 9;
        for (at, value) in [(0, 1_u8), (7, 0x80), (12, 2), (16, 0), (19, 0xff), (20, 200)] {
            let mut bytes = good.clone();
            bytes[start + at] = if at == 0 { 20 + 6 } else { value };
            let end = bytes.len() - TRAILER;
            let digest = Sha256::digest(&bytes[start..end]);
            bytes[end + 24..end + 56].copy_from_slice(&digest);
            let error = open(&bytes).unwrap_err().to_string();
            assert!(error.contains("picture 0 of"), "{at}: {error}");
        }
    }
}
