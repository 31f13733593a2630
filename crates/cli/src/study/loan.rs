//! A cell that another study has run already: its record is taken, not earned again.

use super::cell::{Bench, precision_name};
use adamant::study::{Cell, CellRecord};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

impl Bench<'_> {
    /// The record of a cell of another study that was trained and judged just so, where one lies beside this study's results:
    /// as this cell's.
    pub fn lent(&self, cell: &Cell) -> anyhow::Result<Option<CellRecord>> {
        let written = cell.recipe.training.precision;
        let precision = precision_name(self.settings.training_precision(written, &self.engine));
        for twin in self.twins.of_cell(cell) {
            let Some(folder) = beside(self.results, self.study, &twin.study) else { continue };
            let path = folder.join(format!("{}.json", twin.cell.id()));
            let Ok(text) = std::fs::read(&path) else { continue };
            let lent = twin.lend(&CellRecord::parse(&text, &path)?, self.study, cell);
            if let Some(lent) = lent.filter(|lent| lent.precision == precision) {
                return Ok(Some(lent));
            }
        }
        Ok(None)
    }

    /// Takes such a record, if there is one, as this study's own.
    pub fn borrow(&self, cell: &Cell) -> anyhow::Result<bool> {
        let Some(lent) = self.lent(cell)? else { return Ok(false) };
        let lender = lent.lent_by.as_deref().unwrap_or_default();
        self.settings.remark(format_args!("cell {}: as in {lender}", cell.id()));
        self.write(cell, &lent)?;
        Ok(true)
    }
}

/// The results of the study `other`, beside those of `own`: the same path with the other name; none where `own` is no part of it.
fn beside(results: &Path, own: &str, other: &str) -> Option<PathBuf> {
    let parts: Vec<&OsStr> = results.iter().collect();
    let place = parts.iter().rposition(|part| *part == own)?;
    let renamed = |(turn, part)| if turn == place { OsStr::new(other) } else { part };
    Some(parts.into_iter().enumerate().map(renamed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_study_keeps_its_results_at_the_same_path_under_its_own_name() {
        let found = |path: &str| beside(Path::new(path), "depth", "mixture-bn");
        assert_eq!(found("studies/results/depth"), Some("studies/results/mixture-bn".into()));
        assert_eq!(found("runs/depth/results"), Some("runs/mixture-bn/results".into()));
        assert_eq!(
            found("depth/depth/r"),
            Some("depth/mixture-bn/r".into()),
            "the last of the name"
        );
        assert_eq!(found("elsewhere"), None);
    }
}
