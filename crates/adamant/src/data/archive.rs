//! Some members of a tar archive, gzipped or not, by name.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::process;

use flate2::read::MultiGzDecoder;

use super::error::DataError;
use super::tar::{Member, MemberKind, Members, Streamed};

/// Whether the name ends as an archive's does: `.tar`, `.tar.gz` or `.tgz`.
pub(super) fn is_tar(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase());
    name.is_some_and(|name| [".tar", ".tar.gz", ".tgz"].iter().any(|end| name.ends_with(end)))
}

/// Unpacks `members` (file name without folders, and length) into `folder`; everything else is passed over.
///
/// Folders in the archive are ignored, so that no name in it decides where something is written.
/// Errors: `Tar`, or `Archive` if it lacks a member or has one of another length; `Io`.
pub(super) fn unpack(path: &Path, members: &[(&str, u64)], folder: &Path) -> Result<(), DataError> {
    let broken = |reason: String| DataError::Archive { path: path.to_owned(), reason };
    let mut archive = open(path)?;
    let mut missing = members.to_vec();
    let mut contents = Vec::new();
    while !missing.is_empty() {
        let Some(found) = archive.next_member().map_err(|source| tar_error(path, source))? else {
            break;
        };
        let name = base_name(&found);
        let Some(position) = missing.iter().position(|&(member, _)| member == name) else {
            continue;
        };
        let (member, expected) = missing.remove(position);
        if found.bytes != expected {
            let bytes = found.bytes;
            return Err(broken(format!("{member} has {bytes} bytes, expected {expected}")));
        }
        archive.read(&mut contents).map_err(|source| tar_error(path, source))?;
        write_aside(&contents, member, folder)?;
    }
    match missing.first() {
        Some((name, _)) => Err(broken(format!("no member {name}"))),
        None => Ok(()),
    }
}

/// The members of those names, folders left out, that the archive has, with their contents, in its order.
///
/// Errors: `Tar`; `Archive` if one is longer than `longest`; `Io`.
pub(super) fn members(
    path: &Path,
    wanted: &[&str],
    longest: u64,
) -> Result<Vec<(String, Vec<u8>)>, DataError> {
    let mut archive = open(path)?;
    let mut found = Vec::new();
    while let Some(member) = archive.next_member().map_err(|source| tar_error(path, source))? {
        let name = base_name(&member);
        if !wanted.contains(&name) {
            continue;
        }
        if member.bytes > longest {
            let reason = format!("{name} has {} bytes, expected at most {longest}", member.bytes);
            return Err(DataError::Archive { path: path.to_owned(), reason });
        }
        let mut contents = Vec::new();
        archive.read(&mut contents).map_err(|source| tar_error(path, source))?;
        found.push((name.to_owned(), contents));
    }
    Ok(found)
}

/// Gzipped or not: the first bytes decide, not the name.
fn open(path: &Path) -> Result<Members<Streamed<Box<dyn Read>>>, DataError> {
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let mut magic = [0; 2];
    let is_gzip = match File::open(path).map_err(io)?.read_exact(&mut magic) {
        Ok(()) => magic == [0x1f, 0x8b],
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
        Err(error) => return Err(io(error)),
    };
    let file = BufReader::new(File::open(path).map_err(io)?);
    let reader: Box<dyn Read> =
        if is_gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    Ok(Members::new(Streamed(reader)))
}

/// The name without folders; empty for what is no plain file.
fn base_name(member: &Member) -> &str {
    match member.kind {
        MemberKind::File => member.path.rsplit('/').next().unwrap_or_default(),
        MemberKind::Folder | MemberKind::Other => "",
    }
}

fn write_aside(contents: &[u8], member: &str, folder: &Path) -> Result<(), DataError> {
    let target = folder.join(member);
    let partial = folder.join(format!(".{member}.{}.part", process::id()));
    let written = File::create(&partial).and_then(|mut writer| {
        writer.write_all(contents)?;
        writer.sync_all()?;
        fs::rename(&partial, &target)
    });
    written.map_err(|source| {
        // The error is what matters; a file that cannot be removed changes nothing about it.
        drop(fs::remove_file(&partial));
        DataError::Io { path: target, source }
    })
}

fn tar_error(path: &Path, source: super::tar::TarError) -> DataError {
    DataError::Tar { path: path.to_owned(), source }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    /// A gzipped tar archive of plain files.
    pub fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let tar = super::super::tar::tests::tar(members);
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
