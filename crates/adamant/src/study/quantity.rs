//! Which figure of a cell is meant, and what it is there.

use super::record::CellRecord;
use serde::{Deserialize, Serialize};

/// A figure of a cell's record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantity {
    /// Which of the study's evaluations.
    pub evaluation: String,
    /// `clean`, `worst-case`, the name of an attack, or `pgd-1000@100` for that attack after 100 of its steps.
    pub attack: String,
    /// What is taken off, by the same names: `attack` less this.
    #[serde(default)]
    pub less: Option<String>,
}

/// A share with the chance in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The share, or the difference of two.
    pub value: f64,
    /// Its variance because the judged images are only some of all: `p (1 - p) / n`.
    pub variance: f64,
    /// Images judged.
    pub samples: usize,
}

impl Quantity {
    /// What it is in a record; none where the cell was not judged so.
    ///
    /// A difference of two attacks on the same images is the share of images that one of them broke: where one search
    /// goes on from the other's, its variance is `d (1 - d) / n` of the difference `d`.
    pub fn of(&self, record: &CellRecord) -> Option<Measured> {
        let evaluation = record.evaluations.iter().find(|e| e.name == self.evaluation)?;
        let mut value = evaluation.share(&self.attack)?;
        if let Some(less) = &self.less {
            value -= evaluation.share(less)?;
        }
        let spread = value.abs() * (1.0 - value.abs());
        let samples = evaluation.samples;
        Some(Measured { value, variance: spread / samples as f64, samples })
    }

    /// As a table's head has it.
    pub fn title(&self) -> String {
        let less = self.less.as_ref().map_or(String::new(), |less| format!(" less {less}"));
        format!("{}: {}{less}", self.evaluation, self.attack)
    }
}
