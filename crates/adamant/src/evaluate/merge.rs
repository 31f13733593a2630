//! Several ledgers of one evaluation, each of a part of the images, made one.

use super::header::Header;
use super::ledger::text;
use super::report::write_whole;
use super::tally::Tally;
use super::{EvaluateError, Evaluation, LEDGER, Ledger};
use std::path::{Path, PathBuf};

/// An evaluation put together, with the ledger that a single process would have been left with.
#[derive(Debug)]
pub struct Merged {
    /// The figures.
    pub evaluation: Evaluation,
    ledger: String,
}

/// Merges the ledgers of the folders `parts`.
///
/// Errors: `LedgerDiffers` if they are not of one evaluation; `LedgerContradicts` if an image was judged twice;
/// `Incomplete` if one was not judged; those of reading.
pub fn merge(parts: &[PathBuf]) -> Result<Merged, EvaluateError> {
    let mut header: Option<Header> = None;
    let mut all = Vec::new();
    for part in parts {
        let path = part.join(LEDGER);
        let (found, records) = Ledger::read(&path)?;
        let first = header.get_or_insert_with(|| found.clone());
        let differences = found.differences(first);
        if !differences.is_empty() {
            return Err(EvaluateError::LedgerDiffers { path, differences });
        }
        all.extend(records);
    }
    let nothing = || EvaluateError::LedgerContradicts { found: "there is no ledger".to_string() };
    let header = header.ok_or_else(nothing)?;
    let mut tally = Tally::new(&header);
    tally.enter_all(all)?;
    let hint = "end every part with --resume, then merge all of them";
    tally.check_complete(header.samples, hint)?;
    let ledger = text(&header, tally.canonical());
    Ok(Merged { evaluation: Evaluation::of(&header, &tally), ledger })
}

impl Merged {
    /// Writes `evaluation.json`, `verdicts.jsonl` and the merged ledger into `folder`.
    ///
    /// Errors: `LedgerExists`; `Write` naming the file.
    pub fn write(&self, folder: &Path) -> Result<(), EvaluateError> {
        let path = folder.join(LEDGER);
        if path.exists() {
            return Err(EvaluateError::LedgerExists { path });
        }
        std::fs::create_dir_all(folder)
            .map_err(|source| EvaluateError::Write { path: folder.to_path_buf(), source })?;
        write_whole(&path, &self.ledger)?;
        self.evaluation.write(folder)
    }

    /// The ledger's text: one record a stage, images rising, without times.
    pub fn ledger(&self) -> &str {
        &self.ledger
    }
}
