//! Cells that several studies have in common: trained once, judged once.

use super::grid::{Cell, settings};
use super::record::CellRecord;
use super::written::{EvaluationSpec, StatisticsSpec, Study};
use super::{STUDIES, StudyError, study};

/// A cell of another study that is trained as some cell is, and judged in every way that cell is.
#[derive(Clone, Debug)]
pub struct Twin {
    /// The other study's name.
    pub study: String,
    /// Its cell.
    pub cell: Cell,
}

/// The cells of all built-in studies but one, among which twins are sought.
#[derive(Clone, Debug)]
pub struct Twins(Vec<Twin>);

impl Twins {
    /// Every cell of every built-in study but the one named `own`.
    ///
    /// Errors: those of a study as written.
    pub fn of_others(own: &str) -> Result<Self, StudyError> {
        let others = STUDIES.iter().filter(|(name, _)| *name != own);
        let studies: Result<Vec<Study>, _> = others.map(|(name, _)| study(name)).collect();
        Self::of(&studies?)
    }

    fn of(studies: &[Study]) -> Result<Self, StudyError> {
        let mut all = Vec::new();
        for study in studies {
            let cells = study.cells(&[])?.into_iter();
            all.extend(cells.map(|cell| Twin { study: study.name.clone(), cell }));
        }
        Ok(Self(all))
    }

    /// Those that answer all that `cell` asks; none for a cell that begins with another's model, of which recipes say nothing.
    pub fn of_cell<'a>(&'a self, cell: &Cell) -> impl Iterator<Item = &'a Twin> {
        let recipe = settings(&cell.recipe);
        let Cell { evaluations: wanted, statistics, from, .. } = cell.clone();
        self.0.iter().filter(move |twin| {
            let answers = |spec| find(spec, &twin.cell.evaluations).is_some();
            from.is_none()
                && twin.cell.from.is_none()
                && settings(&twin.cell.recipe) == recipe
                && statistics.as_ref().is_none_or(|spec| looks_so(spec, &twin.cell))
                && wanted.iter().all(answers)
        })
    }
}

fn looks_so(spec: &StatisticsSpec, cell: &Cell) -> bool {
    let is_same = |own: &StatisticsSpec| (&own.attack, own.samples) == (&spec.attack, spec.samples);
    cell.statistics.as_ref().is_some_and(is_same)
}

/// The evaluation among `others` that asks what `spec` asks, whatever the two are called.
fn find<'a>(spec: &EvaluationSpec, others: &'a [EvaluationSpec]) -> Option<&'a EvaluationSpec> {
    others.iter().find(|other| {
        let renamed =
            EvaluationSpec { name: spec.name.clone(), arms: spec.arms.clone(), ..(*other).clone() };
        renamed == *spec
    })
}

impl Twin {
    /// The record of `cell`, of the study `study`, made of this twin's `record`; none if that is of another recipe or a failure.
    pub fn lend(&self, record: &CellRecord, study: &str, cell: &Cell) -> Option<CellRecord> {
        if record.key != self.cell.key || record.error.is_some() {
            return None;
        }
        let judged = cell.evaluations.iter().map(|spec| {
            let name = &find(spec, &self.cell.evaluations)?.name;
            let mut lent = record.evaluations.iter().find(|own| own.name == *name)?.clone();
            lent.name.clone_from(&spec.name);
            Some(lent)
        });
        Some(CellRecord {
            study: study.to_string(),
            regime: cell.regime.clone(),
            arm: cell.arm.clone(),
            seed: cell.seed,
            key: cell.key.clone(),
            // The cell that was run, if that record was lent itself.
            lent_by: record.lent_by.clone().or(Some(format!("{}/{}", self.study, self.cell.id()))),
            statistics: cell.statistics.as_ref().and_then(|_| record.statistics.clone()),
            evaluations: judged.collect::<Option<_>>()?,
            ..record.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::{SOME, record};
    use super::*;

    fn study(name: &str, evaluation: &str) -> Study {
        let text = SOME.replace("'robust'", &format!("'{evaluation}'"));
        let mut study = Study::parse(&text, "some.toml").unwrap();
        study.name = name.to_string();
        for (steps, arm) in (1..).zip(&mut study.arms) {
            arm.set.insert("attack.steps".to_string(), toml::Value::Integer(steps));
        }
        study
    }

    #[test]
    fn a_cell_of_the_same_training_and_judgement_lends_its_record_under_another_name() {
        let lender = study("lender", "strong");
        let twins = Twins::of(std::slice::from_ref(&lender)).unwrap();
        let cell = study("some", "robust").cells(&[]).unwrap().swap_remove(1);
        let found: Vec<&Twin> = twins.of_cell(&cell).collect();
        assert_eq!(found.len(), 1);
        let theirs = &found[0].cell;
        assert_eq!((theirs.arm.as_str(), theirs.seed), (cell.arm.as_str(), cell.seed));

        let mut earned = record(&theirs.arm, theirs.seed, 0.5);
        earned.key.clone_from(&theirs.key);
        earned.evaluations[0].name = "strong".to_string();
        let lent = found[0].lend(&earned, "some", &cell).unwrap();
        assert_eq!(lent.lent_by, Some(format!("lender/{}", theirs.id())));
        let passed_on = CellRecord { lent_by: Some("first/cell".into()), ..earned.clone() };
        let lent_on = found[0].lend(&passed_on, "some", &cell).unwrap();
        assert_eq!(lent_on.lent_by.as_deref(), Some("first/cell"), "the cell that was run");
        assert_eq!((lent.key, lent.study), (cell.key.clone(), "some".to_string()));
        assert_eq!(lent.evaluations[0].name, "robust");
        assert_eq!(lent.evaluations[0].attacks, earned.evaluations[0].attacks);

        let other = CellRecord { key: "0".into(), ..earned.clone() };
        assert_eq!(found[0].lend(&other, "some", &cell), None, "of a recipe that was");
        let failed = CellRecord { error: Some("NaN".into()), ..earned };
        assert_eq!(found[0].lend(&failed, "some", &cell), None, "a failure shows itself again");
    }

    #[test]
    fn another_training_another_judgement_or_another_beginning_is_no_twin() {
        let twins = Twins::of(&[study("lender", "robust")]).unwrap();
        let own = study("some", "robust");
        let cell = own.cells(&["attack.steps=9".to_string()]).unwrap().swap_remove(0);
        assert_eq!(twins.of_cell(&cell).count(), 0, "another training");
        let mut cell = own.cells(&[]).unwrap().swap_remove(0);
        cell.evaluations[0].samples += 1;
        assert_eq!(twins.of_cell(&cell).count(), 0, "another judgement");
        let mut cell = own.cells(&[]).unwrap().swap_remove(0);
        cell.from = Some("here.b.seed-0".to_string());
        assert_eq!(twins.of_cell(&cell).count(), 0, "another beginning");
    }
}
