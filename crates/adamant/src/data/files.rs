//! Picture files by position: the names of 1.28 million of them in a few tens of megabytes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::DataError;
use super::pictures::{Pictures, Stored};

/// Files below a list of folders, each with a name relative to its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    folders: Vec<PathBuf>,
    /// Position of the first file of each folder.
    starts: Vec<usize>,
    /// All names, one after the other.
    names: String,
    /// Where each name ends.
    ends: Vec<usize>,
}

impl Files {
    /// Adds a folder, to which the files added next belong.
    pub fn add_folder(&mut self, folder: PathBuf) {
        self.starts.push(self.ends.len());
        self.folders.push(folder);
    }

    /// Adds a file of the last folder.
    pub fn add(&mut self, name: &str) {
        assert!(!self.folders.is_empty(), "a file belongs to a folder");
        self.names.push_str(name);
        self.ends.push(self.names.len());
    }

    /// The path of a file.
    pub fn path(&self, index: usize) -> PathBuf {
        let folder = self.starts.partition_point(|&start| start <= index) - 1;
        self.folders[folder].join(self.relative(index))
    }

    /// The name of a file relative to its folder.
    pub fn relative(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.names[start..self.ends[index]]
    }
}

impl Pictures for Files {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn read(&self, index: usize, into: &mut Vec<u8>) -> Result<Stored, DataError> {
        let path = self.path(index);
        read_file(&path, into).map_err(|source| DataError::Io { path, source })?;
        Ok(Stored::File)
    }

    fn name(&self, index: usize) -> PathBuf {
        self.path(index)
    }
}

fn read_file(path: &Path, into: &mut Vec<u8>) -> std::io::Result<()> {
    into.clear();
    let mut file = File::open(path)?;
    // Longer than any photograph a camera writes; a device or pipe among the pictures must not fill memory.
    const MOST: u64 = 1 << 30;
    let read = file.by_ref().take(MOST).read_to_end(into)?;
    if read as u64 == MOST {
        return Err(std::io::Error::other("1 GiB or more, expected a picture"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_that_were_added() {
        let mut files = Files::default();
        files.add_folder("a".into());
        files.add("one.png");
        files.add("deep/two.png");
        files.add_folder("empty".into());
        files.add_folder("b".into());
        files.add("three.jpg");
        assert_eq!(files.len(), 3);
        let paths: Vec<PathBuf> = (0..3).map(|index| files.path(index)).collect();
        assert_eq!(paths, ["a/one.png", "a/deep/two.png", "b/three.jpg"].map(PathBuf::from));
        let error = files.read(2, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("b/three.jpg"), "{error}");
    }
}
