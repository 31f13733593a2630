//! What studies there are, and what the cells of one cost.

use super::rate;
use super::scale::Scales;
use crate::output::{print, table, thousands};
use adamant::study::{Cell, CellRecord, STUDIES, study};

/// Every study with its title and the number of its cells.
pub fn studies() -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (name, _) in STUDIES {
        let study = study(name)?;
        let cells = study.regimes.len() * study.arms.len() * study.seeds.len();
        rows.push(vec![name.to_string(), format!("{cells} cells"), study.title]);
    }
    let width = rows.iter().map(|row| row[2].len()).max().unwrap_or(0);
    rows.iter_mut().for_each(|row| row[2] = format!("{:<width$}", row[2]));
    print(&table(&rows))
}

/// The cells in the order in which they are run; minutes where a result shows how fast the machine is.
pub fn cells(cells: &[Cell], scales: &Scales, records: &[CellRecord]) -> anyhow::Result<()> {
    let rate = rate(records);
    let head = ["cell", "parameters", "forward, M MAC", "work, T MAC", "minutes", "stands"];
    let mut rows = vec![head.map(String::from).to_vec()];
    let mut left = 0.0;
    for cell in cells {
        let Some(scale) = scales.of_cell(cell) else { continue };
        let done = records.iter().find(|record| record.id() == cell.id());
        let (minutes, stands) = match (done, rate) {
            (Some(done), _) => {
                let seconds = done.train_seconds + done.judge_seconds;
                let stands = match (&done.error, &done.lent_by) {
                    (Some(_), _) => "failed".to_string(),
                    (None, Some(lender)) => format!("done in {}", study_of(lender)),
                    (None, None) => "done".to_string(),
                };
                (format!("{:.1}", seconds / 60.0), stands)
            }
            (None, Some(rate)) => {
                left += rate * scale.work;
                (format!("about {:.1}", rate * scale.work / 60.0), "open".to_string())
            }
            (None, None) => ("-".to_string(), "open".to_string()),
        };
        rows.push(vec![
            cell.id(),
            thousands(scale.parameters),
            format!("{:.1}", scale.macs as f64 / 1e6),
            format!("{:.1}", scale.work / 1e12),
            minutes,
            stands,
        ]);
    }
    let mut text = table(&rows);
    if left > 0.0 {
        text += &format!("about {:.1} hours are left\n", left / 3600.0);
    }
    print(&text)
}

/// The study of `STUDY/CELL`.
fn study_of(lender: &str) -> &str {
    lender.split('/').next().unwrap_or(lender)
}
