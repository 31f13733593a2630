//! Some members of a gzipped tar archive, by name.
//!
//! Source: POSIX.1-1988 `ustar`: 512-byte headers with the length in octal digits, contents padded to 512 bytes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process;

use flate2::read::GzDecoder;

use super::error::DataError;

const BLOCK: usize = 512;

/// Unpacks `members` (file name without folders, and length) into `folder`; everything else is passed over.
///
/// Folders in the archive are ignored, so that no name in it decides where something is written.
/// Errors: `Archive` if it is damaged, or lacks a member or has one of another length; `Io`.
pub(super) fn unpack(path: &Path, members: &[(&str, u64)], folder: &Path) -> Result<(), DataError> {
    let broken = |reason: String| DataError::Archive { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    let mut reader = GzDecoder::new(io::BufReader::new(file));
    let mut missing = members.to_vec();
    while !missing.is_empty() {
        let Some((name, bytes)) = header(&mut reader).map_err(broken)? else { break };
        let padded = bytes.div_ceil(BLOCK as u64) * BLOCK as u64;
        let mut contents = reader.by_ref().take(padded);
        if let Some(position) = missing.iter().position(|&(member, _)| member == name) {
            let (member, expected) = missing.remove(position);
            if bytes != expected {
                return Err(broken(format!("{member} has {bytes} bytes, expected {expected}")));
            }
            let target = folder.join(member);
            let partial = folder.join(format!(".{member}.{}.part", process::id()));
            let written = File::create(&partial).and_then(|mut writer| {
                let copied = io::copy(&mut contents.by_ref().take(bytes), &mut writer)?;
                writer.sync_all()?;
                Ok(copied)
            });
            let kept = match written {
                Ok(copied) if copied == bytes => fs::rename(&partial, &target),
                Ok(copied) => {
                    Err(io::Error::other(format!("ends after {copied} of {bytes} bytes")))
                }
                Err(error) => Err(error),
            };
            if let Err(source) = kept {
                // The error is what matters; a file that cannot be removed changes nothing about it.
                drop(fs::remove_file(&partial));
                return Err(io_error(&target, source));
            }
        }
        io::copy(&mut contents, &mut io::sink()).map_err(|error| broken(error.to_string()))?;
    }
    match missing.first() {
        Some((name, _)) => Err(broken(format!("no member {name}"))),
        None => Ok(()),
    }
}

/// Name without folders and length of the next member; `None` at the end, an empty name for what is no plain file.
fn header(reader: &mut impl Read) -> Result<Option<(String, u64)>, String> {
    let mut block = [0; BLOCK];
    reader
        .read_exact(&mut block)
        .map_err(|error| format!("no header where one is due: {error}"))?;
    if block == [0; BLOCK] {
        return Ok(None);
    }
    // The checksum counts its own eight bytes as spaces.
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(position, &byte)| {
            u64::from(if (148..156).contains(&position) { b' ' } else { byte })
        })
        .sum();
    if octal(&block[148..156]) != Some(sum) {
        return Err("a header with a wrong checksum".to_owned());
    }
    let bytes = octal(&block[124..136]).ok_or("a header without a length")?;
    let is_plain = matches!(block[156], b'0' | 0);
    let end = block[..100].iter().position(|&byte| byte == 0).unwrap_or(100);
    let path = String::from_utf8_lossy(&block[..end]).into_owned();
    let name = path.rsplit('/').next().filter(|_| is_plain).unwrap_or_default();
    Ok(Some((name.to_owned(), bytes)))
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(|c: char| c == ' ' || c == '\0'), 8).ok()
}

fn io_error(path: &Path, source: io::Error) -> DataError {
    DataError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    /// A gzipped tar archive of plain files.
    pub fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, contents) in members {
            let mut header = [0_u8; BLOCK];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..136].copy_from_slice(format!("{:011o}\0", contents.len()).as_bytes());
            header[156] = b'0';
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            tar.extend_from_slice(&header);
            tar.extend_from_slice(contents);
            tar.resize(tar.len().div_ceil(BLOCK) * BLOCK, 0);
        }
        tar.resize(tar.len() + 2 * BLOCK, 0);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&tar).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(
        bytes: &[u8],
        members: &[(&str, u64)],
    ) -> (tempfile::TempDir, Result<(), DataError>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar.gz");
        fs::write(&path, bytes).unwrap();
        let into = folder.path().join("into");
        fs::create_dir(&into).unwrap();
        let result = unpack(&path, members, &into);
        (folder, result)
    }

    #[test]
    fn only_the_members_asked_for_are_written_and_only_into_the_folder() {
        let long = vec![7; 1300];
        let bytes =
            archive(&[("x/readme", b"no"), ("../../evil/b.bin", b"12345"), ("x/a.bin", &long)]);
        let (folder, result) = unpacked(&bytes, &[("a.bin", 1300), ("b.bin", 5)]);
        result.unwrap();
        let into = folder.path().join("into");
        assert_eq!(fs::read(into.join("a.bin")).unwrap(), long);
        assert_eq!(fs::read(into.join("b.bin")).unwrap(), b"12345");
        assert_eq!(fs::read_dir(into).unwrap().count(), 2);
    }

    #[test]
    fn a_damaged_archive_leaves_no_partial_member() {
        let contents: Vec<u8> = (0..5000_u32).map(|n| (n * n % 251) as u8).collect();
        let whole = archive(&[("a.bin", &contents)]);
        for length in (0..whole.len() - 30).step_by(11) {
            let (folder, result) = unpacked(&whole[..length], &[("a.bin", 5000)]);
            assert!(result.is_err(), "{length}");
            assert_eq!(fs::read_dir(folder.path().join("into")).unwrap().count(), 0);
        }
        let (_folder, result) = unpacked(&whole, &[("b.bin", 1)]);
        assert!(result.unwrap_err().to_string().contains("no member b.bin"));
        let (_folder, result) = unpacked(&whole, &[("a.bin", 1)]);
        assert!(result.unwrap_err().to_string().contains("a.bin has 5000 bytes, expected 1"));
    }
}
