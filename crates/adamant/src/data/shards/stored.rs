//! A shard's index kept on disk, so that only the first run reads every header.
//!
//! It lies beside the shard as `.NAME.adamant-index`, or in the user's cache folder where that cannot be written. It
//! counts only for a shard of the same length, time of change and first and last bytes, and only if its own checksum is
//! right; otherwise the shard is read again.

use std::env;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process;

use sha2::{Digest, Sha256};

use super::super::error::DataError;
use super::super::sample::hex;
use super::index::{Sample, scan};

const MAGIC: &[u8; 8] = b"ADMTIDX1";

/// Bytes of the shard's beginning, and of its end, that its identity includes.
const ENDS: u64 = 4096;

/// Bytes of a sample: start, length, label.
const SAMPLE: usize = 16;

const HEADER: usize = MAGIC.len() + IDENTITY + 8;
const IDENTITY: usize = 56;
const CHECKSUM: usize = 32;

/// How a shard's index came to be here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexOrigin {
    /// Read from the file an earlier run left.
    Stored(PathBuf),
    /// Made now and kept in that file.
    Made(PathBuf),
    /// Made now; no place could be written, for these reasons.
    MadeAndLost(String),
}

/// The samples of a shard, from its stored index if that is of this very shard.
///
/// Errors: as `scan`. An index that cannot be read or kept is no error: it costs time, not data.
pub(super) fn samples(path: &Path) -> Result<(Vec<Sample>, IndexOrigin), DataError> {
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let identity = identity(&file).map_err(io)?;
    let places = places(path);
    for place in &places {
        if let Some(samples) = fs::read(place).ok().and_then(|bytes| decode(&bytes, &identity)) {
            return Ok((samples, IndexOrigin::Stored(place.clone())));
        }
    }
    let samples = scan(path, &file)?;
    let bytes = encode(&samples, &identity);
    let mut reasons = Vec::new();
    for place in places {
        match keep(&place, &bytes) {
            Ok(()) => return Ok((samples, IndexOrigin::Made(place))),
            Err(error) => reasons.push(format!("{}: {error}", place.display())),
        }
    }
    Ok((samples, IndexOrigin::MadeAndLost(reasons.join("; "))))
}

/// Where the index of a shard, or the list of a folder, may lie: beside it, or in the user's cache folder.
pub(in super::super) fn places(shard: &Path) -> Vec<PathBuf> {
    let name = shard.file_name().unwrap_or_default().to_string_lossy();
    let mut places = vec![shard.with_file_name(format!(".{name}.adamant-index"))];
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    if let Some(cache) = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home) {
        let whole = fs::canonicalize(shard).unwrap_or_else(|_| shard.to_owned());
        let digest = hex(&Sha256::digest(whole.as_os_str().as_encoded_bytes()));
        places.push(cache.join("adamant/indexes").join(format!("{digest}.index")));
    }
    places
}

/// What tells this shard from another: length, time of change, and a digest of its first and last bytes.
fn identity(file: &File) -> io::Result<[u8; IDENTITY]> {
    let metadata: Metadata = file.metadata()?;
    let length = metadata.len();
    let mut hash = Sha256::new();
    let mut buffer = Vec::new();
    for start in [0, length.saturating_sub(ENDS)] {
        buffer.resize(ENDS.min(length) as usize, 0);
        file.read_exact_at(&mut buffer, start)?;
        hash.update(&buffer);
    }
    let mut identity = [0; IDENTITY];
    identity[..8].copy_from_slice(&length.to_le_bytes());
    identity[8..16].copy_from_slice(&metadata.mtime().to_le_bytes());
    identity[16..24].copy_from_slice(&metadata.mtime_nsec().to_le_bytes());
    identity[24..].copy_from_slice(&hash.finalize());
    Ok(identity)
}

fn encode(samples: &[Sample], identity: &[u8; IDENTITY]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + samples.len() * SAMPLE + CHECKSUM);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(identity);
    bytes.extend_from_slice(&(samples.len() as u64).to_le_bytes());
    for sample in samples {
        bytes.extend_from_slice(&sample.start.to_le_bytes());
        bytes.extend_from_slice(&sample.bytes.to_le_bytes());
        bytes.extend_from_slice(&sample.label.to_le_bytes());
    }
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

/// The samples, if the bytes are whole and of the shard with this identity.
fn decode(bytes: &[u8], identity: &[u8; IDENTITY]) -> Option<Vec<Sample>> {
    let (contents, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
    if contents.len() < HEADER || Sha256::digest(contents).as_slice() != checksum {
        return None;
    }
    let (header, samples) = contents.split_at(HEADER);
    let count = (samples.len() / SAMPLE) as u64;
    let same = header[..MAGIC.len()] == *MAGIC
        && header[MAGIC.len()..][..IDENTITY] == *identity
        && header[MAGIC.len() + IDENTITY..] == count.to_le_bytes()
        && samples.len().is_multiple_of(SAMPLE);
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let sample = |bytes: &[u8]| Sample {
        start: u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")),
        bytes: word(&bytes[8..12]),
        label: word(&bytes[12..]),
    };
    same.then(|| samples.chunks_exact(SAMPLE).map(sample).collect())
}

/// Written aside and renamed: a run killed on the way leaves no half index under the name.
pub(in super::super) fn keep(place: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    let partial = place.with_extension(format!("{}.part", process::id()));
    let written = File::create(&partial).and_then(|mut file| file.write_all(bytes));
    written.and_then(|()| fs::rename(&partial, place)).inspect_err(|_| {
        // The error is what matters; a file that cannot be removed changes nothing about it.
        drop(fs::remove_file(&partial));
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::tar::tests::tar;
    use super::*;

    fn shard(folder: &Path, labels: [&[u8]; 2]) -> PathBuf {
        let path = folder.join("a.tar");
        let members =
            [("a.jpg", &b"x"[..]), ("a.cls", labels[0]), ("b.jpg", b"y"), ("b.cls", labels[1])];
        fs::write(&path, tar(&members)).unwrap();
        path
    }

    #[test]
    fn an_index_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = shard(folder.path(), [b"1", b"2"]);
        let index = folder.path().join(".a.tar.adamant-index");
        let (made, origin) = samples(&path).unwrap();
        assert_eq!(origin, IndexOrigin::Made(index.clone()));
        let (found, origin) = samples(&path).unwrap();
        assert_eq!((found, origin), (made, IndexOrigin::Stored(index)));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn an_index_of_another_shard_or_a_damaged_one_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = shard(folder.path(), [b"1", b"2"]);
        let index = folder.path().join(".a.tar.adamant-index");
        samples(&path).unwrap();
        // Another shard of the same length under the same name.
        shard(folder.path(), [b"3", b"4"]);
        let (found, origin) = samples(&path).unwrap();
        assert_eq!(found.iter().map(|sample| sample.label).collect::<Vec<_>>(), [3, 4]);
        assert!(matches!(origin, IndexOrigin::Made(_)));
        let whole = fs::read(&index).unwrap();
        for position in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x10;
            fs::write(&index, &damaged).unwrap();
            assert!(matches!(samples(&path).unwrap().1, IndexOrigin::Made(_)), "{position}");
            fs::write(&index, &whole[..position]).unwrap();
            assert!(matches!(samples(&path).unwrap().1, IndexOrigin::Made(_)), "{position}");
        }
    }
}
