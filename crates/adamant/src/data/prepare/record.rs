//! What a preparation has finished: a journal of one line a file while it runs, checksums when it is done.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::error::DataError;
use super::super::loader::OnCorrupt;
use super::super::part_files::CLASS_FILE;
use super::super::sample::hex;
use super::{Form, io, write_aside};

/// The journal's name. It stays when all is done: it says what the folder holds.
const JOURNAL: &str = "prepared.jsonl";

/// Checksums as `sha256sum --check` reads them.
const CHECKSUMS: &str = "SHA256SUMS";

/// The first line: what is being prepared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub prepared_by: String,
    pub form: Form,
    pub shorter_side: Option<u32>,
    pub images_per_file: usize,
    pub on_corrupt: OnCorrupt,
    pub parts: Vec<HeadPart>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeadPart {
    pub part: String,
    pub images: usize,
    /// SHA-256 of all labels and class names.
    pub labels_and_classes: String,
}

/// Every other line: a finished file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub file: String,
    pub images: usize,
    pub bytes: u64,
    pub sha256: String,
    pub skipped: Vec<String>,
}

/// The journal of a folder, locked against a second writer.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    file: File,
    /// Finished by an earlier run, in order, and not asked for yet.
    earlier: std::collections::VecDeque<Line>,
    lines: Vec<Line>,
}

impl Journal {
    /// Opens the journal of `folder`, or begins one.
    ///
    /// Lines count as long as each is whole and its file has the length it says; what is behind the first that does
    /// not count is done again. Errors: `Prepared` for a folder that holds another preparation or is being written; `Io`.
    pub fn open(folder: &Path, head: &Head) -> Result<Self, DataError> {
        let path = folder.join(JOURNAL);
        let refused = |found: String, expected: &str| DataError::Prepared {
            path: path.clone(),
            found,
            expected: expected.to_owned(),
        };
        let lock = folder.join(".prepare.lock");
        let file = File::options().create(true).append(true).open(&lock);
        let file = file.map_err(|source| io(&lock, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(refused("a lock of another process".to_owned(), "none"));
            }
            Err(TryLockError::Error(source)) => return Err(io(&lock, source)),
        }
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(io(&path, source)),
        };
        let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let mut earlier = std::collections::VecDeque::new();
        if let Some(first) = lines.next() {
            if serde_json::from_str::<Head>(first).ok().as_ref() != Some(head) {
                let expected = serde_json::to_string(head).expect("a head is JSON");
                return Err(refused(first.trim_end().to_owned(), &expected));
            }
            for line in lines {
                let Ok(line) = serde_json::from_str::<Line>(line) else { break };
                let length = fs::metadata(folder.join(&line.file)).map(|metadata| metadata.len());
                if length.ok() != Some(line.bytes) {
                    break;
                }
                earlier.push_back(line);
            }
        }
        let journal = Self { folder: folder.to_owned(), file, earlier, lines: Vec::new() };
        let kept: Vec<Line> = journal.earlier.iter().cloned().collect();
        journal.write(head, &kept)?;
        Ok(journal)
    }

    /// The line of a file that an earlier run finished, if it is the next in order.
    pub fn finished(&mut self, name: &str) -> Result<Option<Line>, DataError> {
        if self.earlier.front().is_none_or(|line| line.file != name) {
            return Ok(None);
        }
        let line = self.earlier.pop_front();
        self.lines.extend(line.clone());
        Ok(line)
    }

    /// Appends a finished file.
    pub fn add(&mut self, line: Line) -> Result<Line, DataError> {
        let path = self.folder.join(JOURNAL);
        let text = serde_json::to_string(&line).expect("a line is JSON") + "\n";
        File::options()
            .append(true)
            .open(&path)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_data()
            })
            .map_err(|source| io(&path, source))?;
        self.lines.push(line.clone());
        Ok(line)
    }

    /// Writes the checksums, and gives up the lock.
    pub fn finish(self) -> Result<(), DataError> {
        let classes = self.folder.join(CLASS_FILE);
        let mut text = format!("{}  {CLASS_FILE}\n", digest(&classes)?);
        for line in &self.lines {
            text += &format!("{}  {}\n", line.sha256, line.file);
        }
        write_aside(&self.folder.join(CHECKSUMS), text.as_bytes())?;
        let lock = self.folder.join(".prepare.lock");
        fs::remove_file(&lock).map_err(|source| io(&lock, source))?;
        drop(self.file);
        Ok(())
    }

    fn write(&self, head: &Head, lines: &[Line]) -> Result<(), DataError> {
        let mut text = serde_json::to_string(head).expect("a head is JSON") + "\n";
        for line in lines {
            text += &serde_json::to_string(line).expect("a line is JSON");
            text.push('\n');
        }
        write_aside(&self.folder.join(JOURNAL), text.as_bytes())
    }
}

/// Compares every file of a finished preparation with its checksum; gives how many there are.
///
/// Errors: `Absent` if there are no checksums; `WrongChecksum` for the first file that differs; `Io`.
pub fn verify(folder: &Path) -> Result<usize, DataError> {
    let path = folder.join(CHECKSUMS);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(DataError::Absent {
                name: folder.display().to_string(),
                looked: vec![path],
                hint: "it is written when a preparation is finished: run it again".to_owned(),
            });
        }
        Err(source) => return Err(io(&path, source)),
    };
    let mut files = 0;
    for line in text.lines() {
        let (expected, name) = line.split_once("  ").unwrap_or((line, ""));
        // Only names in this folder: a checksum file is no list of what else to read.
        let plain = !name.is_empty() && !name.contains('/');
        if !plain {
            return Err(DataError::Prepared {
                path,
                found: format!("the line {line:?}"),
                expected: "a checksum, two spaces and a file's name".to_owned(),
            });
        }
        let file = folder.join(name);
        let found = digest(&file)?;
        if found != expected {
            let (origin, expected) = (file.display().to_string(), expected.to_owned());
            return Err(DataError::WrongChecksum { origin, found, expected });
        }
        files += 1;
    }
    Ok(files)
}

fn digest(path: &Path) -> Result<String, DataError> {
    let mut file = File::open(path).map_err(|source| io(path, source))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(|source| io(path, source))? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}
