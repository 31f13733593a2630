//! Where an evaluation lies, and the ledger there.

use crate::failure::OrWrongUsage;
use adamant::evaluate::{EvaluateError, LEDGER, Ledger};
use anyhow::Context;
use collective::Collective;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The ledger of a rank in `folder`: a new one in place of an ended evaluation's, or the one to continue.
///
/// Rank 0's lies in the folder itself, as that of one process does, so that an evaluation may go on with any number of
/// ranks; it takes over what others have left there.
pub fn ledger(folder: &Path, resume: bool, rank: usize) -> anyhow::Result<Ledger> {
    let others = match resume && rank == 0 {
        true => of_ranks(folder)?,
        false => Vec::new(),
    };
    let folder = match rank {
        0 => folder.to_path_buf(),
        _ => folder.join(format!("{RANK}{rank}")),
    };
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("making the folder {} failed", folder.display()))?;
    let (ledger, figures) = (folder.join(LEDGER), folder.join(FIGURES));
    if resume && (ledger.exists() || !others.is_empty()) {
        let mut resumed = match ledger.exists() {
            true => ledgers(Ledger::resume(&ledger))?,
            false => Ledger::create(&ledger)?,
        };
        for other in others {
            resumed.adopt(&other)?;
        }
        return Ok(resumed);
    }
    if ledger.exists() && Ledger::has_ended(&ledger)? {
        // Figures without their ledger are never left behind: they go first.
        for old in [figures, ledger.clone()] {
            match std::fs::remove_file(&old) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", old.display()));
                }
                _ => {}
            }
        }
    }
    ledgers(Ledger::create(&ledger))
}

/// The ledgers that ranks other than 0 keep in `folder`, as far as they are seen from here.
fn of_ranks(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("reading {}", folder.display()))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", folder.display()))?;
        let ledger = entry.path().join(LEDGER);
        if entry.file_name().to_string_lossy().starts_with(RANK) && ledger.is_file() {
            found.push(ledger);
        }
    }
    found.sort();
    Ok(found)
}

/// Takes away the ledgers of ranks, once that of the folder has everything.
pub fn clear(folder: &Path) -> anyhow::Result<()> {
    for ledger in of_ranks(folder)? {
        let own = ledger.parent().expect("a ledger lies in a folder");
        match std::fs::remove_file(&ledger).and_then(|()| std::fs::remove_dir(own)) {
            // On a common file system another rank does the same; what else lies there is not ours.
            Err(error)
                if ![ErrorKind::NotFound, ErrorKind::DirectoryNotEmpty].contains(&error.kind()) =>
            {
                return Err(error).with_context(|| format!("removing {}", own.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What rank 0 makes of the folder, for all: others may not see what lies on its disk.
pub fn agreed(
    ranks: &dyn Collective,
    folder: impl FnOnce() -> Option<PathBuf>,
) -> anyhow::Result<Option<PathBuf>> {
    if ranks.world_size() == 1 {
        return Ok(folder());
    }
    let told = match ranks.rank() {
        0 => folder().map(|folder| folder.display().to_string()),
        _ => None,
    };
    let told = ranks.gather("folder", told.unwrap_or_default().as_bytes())?.swap_remove(0);
    Ok(Some(told).filter(|told| !told.is_empty()).map(|told| {
        let folder = String::from_utf8_lossy(&told).into_owned();
        PathBuf::from(folder)
    }))
}

/// A ledger that belongs to another evaluation is the user's to mend in the command.
fn ledgers<T>(result: Result<T, EvaluateError>) -> anyhow::Result<T> {
    match result {
        Err(error @ EvaluateError::LedgerExists { .. }) => Err(error).or_wrong_usage(),
        other => Ok(other?),
    }
}

/// The folder of a rank's ledger, but for its number.
const RANK: &str = "rank-";
/// The file that an ended evaluation leaves.
const FIGURES: &str = "evaluation.json";

/// Where an evaluation of a run goes that nobody named a folder for: earlier figures are never overwritten.
pub fn unused(run: &Path) -> PathBuf {
    let others = (2..).map(|number| run.join(format!("evaluation-{number}")));
    let mut folders = std::iter::once(run.to_path_buf()).chain(others);
    let is_unused = |folder: &PathBuf| !folder.join(FIGURES).exists();
    folders.find(is_unused).expect("numbers do not end")
}
