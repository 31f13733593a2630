//! Which figure of a cell is meant, and what it is there.

use super::record::CellRecord;
use super::statistics::HALF;
use serde::{Deserialize, Serialize};

/// A figure of a cell's record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantity {
    /// Which of the study's evaluations, [`TRAINING`] or [`STATISTICS`].
    pub evaluation: String,
    /// `clean`, `worst-case`, the name of an attack, or `pgd-1000@100` for that attack after 100 of its steps; in training
    /// `clean` or `adversarial`; of statistics a share of channels, as [`super::StatisticsRecord::share`] names it.
    pub attack: String,
    /// What is taken off, by the same names: `attack` less this.
    #[serde(default)]
    pub less: Option<String>,
}

/// The name for the training images of the last epoch, in place of an evaluation's.
pub const TRAINING: &str = "training";

/// The name for what batch norms hold and see, in place of an evaluation's.
pub const STATISTICS: &str = "statistics";

/// A share with the chance in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The share, or the difference of two.
    pub value: f64,
    /// Its variance because the judged images are only some of all: `p (1 - p) / n`.
    pub variance: f64,
    /// Images judged, or channels counted.
    pub samples: usize,
}

impl Quantity {
    /// What it is in a record; none where the cell was not judged so.
    ///
    /// A difference of two attacks on the same images is the share of images that one of them broke: where one search
    /// goes on from the other's, its variance is `d (1 - d) / n` of the difference `d`.
    pub fn of(&self, record: &CellRecord) -> Option<Measured> {
        let difference = |share: &dyn Fn(&str) -> Option<f64>| {
            let less = self.less.as_ref().map_or(Some(0.0), |less| share(less));
            Some(share(&self.attack)? - less?)
        };
        let (value, samples) = match self.evaluation.as_str() {
            TRAINING => {
                let training = record.training.as_ref()?;
                (difference(&|named| training.share(named))?, training.samples)
            }
            STATISTICS => {
                let statistics = record.statistics.as_ref()?;
                (difference(&|named| statistics.share(named))?, statistics.channels)
            }
            name => {
                let evaluation = record.evaluations.iter().find(|e| e.name == name)?;
                (difference(&|named| evaluation.share(named))?, evaluation.samples)
            }
        };
        let spread = match self.less.as_deref() {
            // The half is known.
            Some(HALF) => (0.5 + value) * (0.5 - value),
            _ => value.abs() * (1.0 - value.abs()),
        };
        Some(Measured { value, variance: spread / samples as f64, samples })
    }

    /// Each judged image's position and whether it counts; none where the record does not tell image by image.
    pub fn each_image(&self, record: &CellRecord) -> Option<Vec<(usize, bool)>> {
        let evaluation = record.evaluations.iter().find(|e| e.name == self.evaluation)?;
        if self.less.is_some() { None } else { evaluation.each(&self.attack) }
    }

    /// As a table's head has it.
    pub fn title(&self) -> String {
        let less = self.less.as_ref().map_or(String::new(), |less| format!(" less {less}"));
        format!("{}: {}{less}", self.evaluation, self.attack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::findings::tests::record;
    use crate::study::record::TrainingRecord;
    use crate::train::history::History;

    #[test]
    fn accuracies_in_training_are_those_of_the_last_epoch() {
        let line = |step: u64, epoch: u32, clean: f64, adversarial: f64| {
            format!(
                "{{\"step\":{step},\"epoch\":{epoch},\"images\":{},\"seconds\":1,\"loss\":1,\"loss_clean\":1,\
                 \"loss_adversarial\":1,\"learning_rate\":0.1,\"accuracy_clean\":{clean},\
                 \"accuracy_adversarial\":{adversarial},\"gradient_norm\":1,\"images_per_second\":1,\"wait\":0}}\n",
                8 * step
            )
        };
        let text = line(1, 0, 0.1, 0.1) + &line(2, 1, 0.5, 0.75) + &line(3, 1, 0.25, 0.75);
        let mut record = record("a", 0, 0.5);
        let quantity = |less: Option<&str>| Quantity {
            evaluation: TRAINING.into(),
            attack: "adversarial".into(),
            less: less.map(str::to_string),
        };
        assert_eq!(quantity(None).of(&record), None);
        record.training = TrainingRecord::of(&History::parse(&text));
        let found = quantity(Some("clean")).of(&record).expect("it was trained");
        assert_eq!((found.value, found.samples), (0.375, 16));
        assert_eq!(quantity(None).of(&record).expect("it was trained").value, 0.75);
    }
}
