//! Where an evaluation lies, and the ledger there.

use crate::failure::OrWrongUsage;
use adamant::evaluate::{EvaluateError, LEDGER, Ledger};
use anyhow::Context;
use std::path::{Path, PathBuf};

/// The ledger of `folder`: a new one in place of an ended evaluation's, or the one to continue.
pub fn ledger(folder: &Path, resume: bool) -> anyhow::Result<Ledger> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("making the folder {} failed", folder.display()))?;
    let (ledger, figures) = (folder.join(LEDGER), folder.join(FIGURES));
    if resume && ledger.exists() {
        return ledgers(Ledger::resume(&ledger));
    }
    if ledger.exists() && Ledger::has_ended(&ledger)? {
        // Figures without their ledger are never left behind: they go first.
        for old in [figures, ledger.clone()] {
            match std::fs::remove_file(&old) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", old.display()));
                }
                _ => {}
            }
        }
    }
    ledgers(Ledger::create(&ledger))
}

/// A ledger that belongs to another evaluation is the user's to mend in the command.
fn ledgers<T>(result: Result<T, EvaluateError>) -> anyhow::Result<T> {
    match result {
        Err(error @ EvaluateError::LedgerExists { .. }) => Err(error).or_wrong_usage(),
        other => Ok(other?),
    }
}

/// The file that an ended evaluation leaves.
const FIGURES: &str = "evaluation.json";

/// Where an evaluation of a run goes that nobody named a folder for: earlier figures are never overwritten.
pub fn unused(run: &Path) -> PathBuf {
    let others = (2..).map(|number| run.join(format!("evaluation-{number}")));
    let mut folders = std::iter::once(run.to_path_buf()).chain(others);
    let is_unused = |folder: &PathBuf| !folder.join(FIGURES).exists();
    folders.find(is_unused).expect("numbers do not end")
}
