//! The ledger of an evaluation: a header, then records in the order in which work was done.
//!
//! A record is one line, handed to the system by one write, and carries a checksum of its text. So what is killed at
//! any instant leaves a file whose whole lines are true and whose last may be torn; a torn tail is dropped when the file
//! is opened again. The file is synced to the disk after the header, at the end of every stage and after
//! [`SYNC_EVERY`] records: a power cut can cost that much work, a kill only the record in the making. A ledger is locked
//! while a process writes it.

use super::header::{Header, hex};
use super::report::write_whole;
use super::together::Seen;
use super::{EvaluateError, Record};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The file name of a ledger in an evaluation's folder.
pub const LEDGER: &str = "ledger.jsonl";
/// Records between two syncs.
const SYNC_EVERY: usize = 32;

/// Where verdicts are written down as they fall.
#[derive(Debug, Default)]
pub struct Ledger {
    file: Option<OpenLedger>,
    header: Option<Header>,
    records: Vec<Record>,
    adopted: Vec<(PathBuf, Header, Vec<Record>)>,
}

#[derive(Debug)]
struct OpenLedger {
    path: PathBuf,
    file: File,
    unsynced: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Header(Box<Header>),
    Record(Record),
}

impl Ledger {
    /// A ledger that nobody reads again.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// A new ledger at `path`.
    ///
    /// Errors: `LedgerExists`; `Write`.
    pub fn create(path: &Path) -> Result<Self, EvaluateError> {
        let opened = OpenOptions::new().write(true).create_new(true).open(path);
        let file = opened.map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => EvaluateError::LedgerExists { path: path.to_path_buf() },
            _ => EvaluateError::Write { path: path.to_path_buf(), source },
        })?;
        lock(&file, path)?;
        let file = Some(OpenLedger { path: path.to_path_buf(), file, unsynced: 0 });
        Ok(Self { file, ..Self::default() })
    }

    /// The ledger at `path` as it was left, without its torn tail.
    ///
    /// Errors: `Write` where it cannot be opened; `LedgerInUse`; `LedgerDamaged`.
    pub fn resume(path: &Path) -> Result<Self, EvaluateError> {
        let failed = |source| EvaluateError::Write { path: path.to_path_buf(), source };
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        lock(&file, path)?;
        let (header, records, whole) = parse(&mut file, path)?;
        // Appended after a torn tail, a record would be torn as well.
        file.set_len(whole).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let file = Some(OpenLedger { path: path.to_path_buf(), file, unsynced: 0 });
        Ok(Self { file, header, records, adopted: Vec::new() })
    }

    /// Takes over what another ledger of the same evaluation holds, such as that of a rank which is gone.
    ///
    /// Errors: as [`Ledger::read`], but that a torn header holds nothing.
    pub fn adopt(&mut self, path: &Path) -> Result<(), EvaluateError> {
        let failed = |source| EvaluateError::Write { path: path.to_path_buf(), source };
        let mut file = File::open(path).map_err(failed)?;
        if let (Some(header), records, _) = parse(&mut file, path)? {
            self.adopted.push((path.to_path_buf(), header, records));
        }
        Ok(())
    }

    /// What a ledger holds; it may still be growing.
    ///
    /// Errors: `Write` where it cannot be read; `LedgerDamaged`, also where not even a header is whole.
    pub fn read(path: &Path) -> Result<(Header, Vec<Record>), EvaluateError> {
        let failed = |source| EvaluateError::Write { path: path.to_path_buf(), source };
        let mut file = File::open(path).map_err(failed)?;
        let (header, records, _) = parse(&mut file, path)?;
        match header {
            Some(header) => Ok((header, records)),
            None => Err(damaged(path, 1, "no header")),
        }
    }

    /// Whether the evaluation of the ledger at `path` has come to its end.
    ///
    /// Errors: as [`Ledger::read`], but that a torn header is a beginning.
    pub fn has_ended(path: &Path) -> Result<bool, EvaluateError> {
        let failed = |source| EvaluateError::Write { path: path.to_path_buf(), source };
        let mut file = File::open(path).map_err(failed)?;
        let (_, records, _) = parse(&mut file, path)?;
        Ok(records.contains(&Record::Ended))
    }

    /// Writes the header of a new ledger, or holds that of a resumed one against it; gives the records there are, with
    /// those adopted, which are written down here as well.
    ///
    /// Errors: `LedgerDiffers`, naming every setting that differs; `Write`.
    pub(super) fn begin(&mut self, header: &Header) -> Result<Vec<Record>, EvaluateError> {
        match &self.header {
            None => {
                self.header = Some(header.clone());
                self.write(&line(&Line::Header(Box::new(header.clone()))))?;
                self.sync()?;
            }
            Some(written) => {
                let differences = written.differences(header);
                if !differences.is_empty() {
                    let path = self.file.as_ref().map(|open| open.path.clone()).unwrap_or_default();
                    return Err(EvaluateError::LedgerDiffers { path, differences });
                }
            }
        }
        let mut seen = Seen::default();
        let mut all = std::mem::take(&mut self.records);
        for record in &all {
            seen.admits(record);
        }
        for (path, theirs, records) in std::mem::take(&mut self.adopted) {
            let differences = theirs.differences(header);
            if !differences.is_empty() {
                return Err(EvaluateError::LedgerDiffers { path, differences });
            }
            for record in records.into_iter().filter(|record| seen.admits(record)) {
                self.append(record.clone())?;
                all.push(record);
            }
        }
        Ok(all)
    }

    /// Puts the ledger of an evaluation that has ended in order: what is written is `text`, and nothing follows.
    pub(super) fn replace(&mut self, text: &str) -> Result<(), EvaluateError> {
        match &self.file {
            Some(open) => write_whole(&open.path, text),
            None => Ok(()),
        }
    }

    /// Writes a record down.
    pub(super) fn append(&mut self, record: Record) -> Result<(), EvaluateError> {
        if self.file.is_none() {
            return Ok(());
        }
        self.write(&line(&Line::Record(record)))?;
        match &self.file {
            Some(open) if open.unsynced >= SYNC_EVERY => self.sync(),
            _ => Ok(()),
        }
    }

    /// Waits until the disk has everything.
    pub(super) fn sync(&mut self) -> Result<(), EvaluateError> {
        let Some(open) = &mut self.file else { return Ok(()) };
        open.unsynced = 0;
        let path = &open.path;
        open.file.sync_data().map_err(|source| EvaluateError::Write { path: path.clone(), source })
    }

    fn write(&mut self, text: &str) -> Result<(), EvaluateError> {
        let Some(open) = &mut self.file else { return Ok(()) };
        open.unsynced += 1;
        let path = &open.path;
        open.file
            .write_all(text.as_bytes())
            .map_err(|source| EvaluateError::Write { path: path.clone(), source })
    }
}

/// The text of a ledger with this header and these records.
pub(super) fn text(header: &Header, records: Vec<Record>) -> String {
    let head = line(&Line::Header(Box::new(header.clone())));
    let lines = records.into_iter().map(|record| line(&Line::Record(record)));
    std::iter::once(head).chain(lines).collect()
}

fn lock(file: &File, path: &Path) -> Result<(), EvaluateError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(EvaluateError::LedgerInUse { path: path.to_path_buf() })
        }
        Err(std::fs::TryLockError::Error(source)) => {
            Err(EvaluateError::Write { path: path.to_path_buf(), source })
        }
    }
}

/// `{"check":"0123456789abcdef","line":...}`: what stands in front of the payload has a fixed length.
const BEFORE: &str = r#"{"check":"0123456789abcdef","line":"#;

fn line(line: &Line) -> String {
    let payload = serde_json::to_string(line).expect("a record has no keys but texts");
    format!("{{\"check\":\"{}\",\"line\":{payload}}}\n", check(&payload))
}

fn check(payload: &str) -> String {
    hex(&Sha256::digest(payload)[..8])
}

/// The payload of a line that is whole.
fn unwrap(line: &str) -> Option<&str> {
    let check_begins = r#"{"check":""#.len();
    let payload = line.get(BEFORE.len()..)?.strip_suffix('}')?;
    (line.get(check_begins..check_begins + 16)? == check(payload)).then_some(payload)
}

/// Header and records, and how many bytes they take.
fn parse(
    file: &mut File,
    path: &Path,
) -> Result<(Option<Header>, Vec<Record>, u64), EvaluateError> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(|source| EvaluateError::Write { path: path.to_path_buf(), source })?;
    let (mut header, mut records) = (None, Vec::new());
    let (mut whole, mut begins, mut torn) = (0, 0, None);
    for (number, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        begins += line.len();
        let ended = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        let Some(payload) = ended.and_then(unwrap) else {
            torn.get_or_insert(number + 1);
            continue;
        };
        // A whole line behind one that is not: no kill leaves that.
        if let Some(torn) = torn {
            return Err(damaged(path, torn, "a line whose checksum is not that of its text"));
        }
        whole = begins as u64;
        match serde_json::from_str(payload) {
            Ok(Line::Header(found)) if number == 0 && found.format == Header::FORMAT => {
                header = Some(*found);
            }
            Ok(Line::Record(record)) if number > 0 => records.push(record),
            _ => return Err(damaged(path, number + 1, "a line of another version")),
        }
    }
    Ok((header, records, whole))
}

fn damaged(path: &Path, line: usize, found: &'static str) -> EvaluateError {
    EvaluateError::LedgerDamaged { path: path.to_path_buf(), line, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_and_one_changed_letter_is_noticed() {
        let text = line(&Line::Record(Record::Audit { flags: Vec::new() }));
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["line"]["record"]["stage"], "audit");
        assert!(text.starts_with(&BEFORE[..10]) && text.contains(r#","line":"#));
        let text = text.trim_end();
        assert!(unwrap(text).is_some());
        for place in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[place] ^= 1;
            let changed = String::from_utf8(changed).expect("ASCII stays ASCII");
            // The letters around check and payload carry nothing.
            let carries =
                (10..26).contains(&place) || (BEFORE.len()..text.len() - 1).contains(&place);
            assert!(!carries || unwrap(&changed).is_none(), "{changed}");
        }
    }
}
