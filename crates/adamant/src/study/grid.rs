//! The cells of a study, and which of them fit into a time.

use super::StudyError;
use super::written::{Arm, Assignments, EvaluationSpec, Regime, StatisticsSpec, Study};
use crate::evaluate::hex;
use crate::train::builtin;
use crate::train::recipe::Recipe;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// One recipe of a study's grid: an ordinary run.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The regime's name.
    pub regime: String,
    /// The arm's name.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// What is trained.
    pub recipe: Recipe,
    /// How it is judged.
    pub evaluations: Vec<EvaluationSpec>,
    /// How its batch norms are looked at, where they are.
    pub statistics: Option<StatisticsSpec>,
    /// The cell whose trained model it begins with.
    pub from: Option<String>,
    /// What it is, by content: recipe, evaluations, and those of the cell it begins with.
    pub key: String,
    /// Rank, regime and seed: cells of one round are run, or left out, together.
    pub round: (u32, usize, usize),
}

impl Cell {
    /// Its name: regime, arm, seed.
    pub fn id(&self) -> String {
        id(&self.regime, &self.arm, self.seed)
    }
}

fn id(regime: &str, arm: &str, seed: u64) -> String {
    format!("{regime}.{arm}.seed-{seed}")
}

impl Study {
    /// Every cell, in the order in which they are run: by round, then as the arms are written.
    ///
    /// `sets` are assignments on top of all others. Errors: `Recipe`, naming the cell.
    pub fn cells(&self, sets: &[String]) -> Result<Vec<Cell>, StudyError> {
        let mut cells: Vec<Cell> = Vec::new();
        for (place, regime) in self.regimes.iter().enumerate() {
            for (turn, &seed) in self.seeds.iter().enumerate() {
                for arm in &self.arms {
                    let from = arm.from.as_ref().map(|from| id(&regime.name, from, seed));
                    let before = cells.iter().find(|cell| Some(cell.id()) == from);
                    let mut cell = self.cell(regime, arm, seed, sets, before)?;
                    cell.round = (regime.rank + arm.rank, place, turn);
                    cells.push(cell);
                }
            }
        }
        cells.sort_by_key(|cell| cell.round);
        Ok(cells)
    }

    fn cell(
        &self,
        regime: &Regime,
        arm: &Arm,
        seed: u64,
        sets: &[String],
        before: Option<&Cell>,
    ) -> Result<Cell, StudyError> {
        let mut all = Vec::new();
        for assignments in [&self.set, &regime.set, &arm.set] {
            all.extend(written(assignments));
        }
        all.push(format!("training.seed={seed}"));
        all.extend(sets.iter().cloned());
        let recipe = builtin::recipe(&self.base, &all).map_err(|source| StudyError::Recipe {
            cell: id(&regime.name, &arm.name, seed),
            source: Box::new(source),
        })?;
        let is_judged = |e: &&EvaluationSpec| e.arms.is_empty() || e.arms.contains(&arm.name);
        let evaluations: Vec<EvaluationSpec> =
            self.evaluations.iter().filter(is_judged).cloned().collect();
        // Which other arms are judged so is not this cell's matter.
        let alone = evaluations.iter().map(|e| EvaluationSpec { arms: Vec::new(), ..e.clone() });
        let judged = serde_json::to_string(&alone.collect::<Vec<_>>())
            .expect("an evaluation is names and numbers");
        let is_seen = |s: &&StatisticsSpec| s.arms.is_empty() || s.arms.contains(&arm.name);
        let statistics = self.statistics.as_ref().filter(is_seen).cloned();
        let looked = statistics
            .as_ref()
            .map_or(String::new(), |spec| format!("statistics {} {}", spec.attack, spec.samples));
        // Of what is not the default alone: a key that recipes learn later makes no cell another.
        let text = format!(
            "{:?}{judged}{looked}{}",
            settings(&recipe),
            before.map_or("", |cell| &cell.key)
        );
        Ok(Cell {
            regime: regime.name.clone(),
            arm: arm.name.clone(),
            seed,
            recipe,
            evaluations,
            statistics,
            from: before.map(Cell::id),
            key: hex(&Sha256::digest(text)[..8]),
            round: (0, 0, 0),
        })
    }
}

/// Every key of a recipe that is not the default, with its value.
pub fn settings(recipe: &Recipe) -> BTreeMap<String, String> {
    let differences = Recipe::default().differences(recipe);
    differences.into_iter().map(|difference| (difference.key, difference.found)).collect()
}

fn written(assignments: &Assignments) -> impl Iterator<Item = String> {
    assignments.iter().map(|(key, value)| format!("{key}={value}"))
}

/// Which cells are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Positions of those that are.
    pub chosen: Vec<usize>,
    /// Positions of those that are not.
    pub left_out: Vec<usize>,
}

/// The rule of `choose`, for people.
pub const CHOICE_RULE: &str = "a round is all arms of one rank in one regime with one seed; rounds are taken in the order \
of rank, regime, seed while their estimated time fits, and the first that does not fit is left out with all after it";

/// Takes whole rounds in order while their seconds fit into `budget`; cells that are done cost 0.
pub fn choose(cells: &[Cell], seconds: &[f64], budget: f64) -> Choice {
    let (mut left, mut end) = (budget, cells.len());
    let mut first = 0;
    while first < cells.len() {
        let round = cells[first].round;
        let next = cells[first..].iter().position(|cell| cell.round != round);
        let next = next.map_or(cells.len(), |length| first + length);
        left -= seconds[first..next].iter().sum::<f64>();
        if left < 0.0 {
            end = first;
            break;
        }
        first = next;
    }
    // A round after the first that does not fit may be done already: nothing is lost by keeping it.
    let (chosen, left_out) =
        (0..cells.len()).partition(|&place| place < end || seconds[place] == 0.0);
    Choice { chosen, left_out }
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::SOME;
    use super::*;

    fn study() -> Study {
        Study::parse(SOME, "some.toml").unwrap()
    }

    #[test]
    fn cells_come_round_by_round_and_their_keys_tell_them_apart() {
        let mut study = study();
        study.arms[2].rank = 1;
        let cells = study.cells(&[]).unwrap();
        let names: Vec<String> = cells.iter().map(Cell::id).collect();
        assert_eq!(
            names[..4],
            ["here.a.seed-0", "here.b.seed-0", "here.a.seed-1", "here.b.seed-1"]
        );
        assert_eq!(names[6..], ["here.c.seed-0", "here.c.seed-1", "here.c.seed-2"]);
        assert_ne!(cells[0].key, cells[2].key, "another seed");
        assert_eq!(cells[0].recipe.training.seed, 0);
        let again = study.cells(&["attack.steps=3".to_string()]).unwrap();
        assert_ne!(again[0].key, cells[0].key);
        assert_eq!(again[0].recipe.attack.steps, 3);
    }

    #[test]
    fn a_key_that_no_recipe_has_names_the_cell() {
        let error = study().cells(&["attack.step=3".to_string()]).unwrap_err().to_string();
        assert!(error.starts_with("cell here.a.seed-0: --set: attack.step is no key"), "{error}");
    }

    #[test]
    fn a_smaller_grid_is_whole_rounds_and_what_is_done_stays() {
        let cells = study().cells(&[]).unwrap();
        let seconds = [10.0; 9];
        let choice = choose(&cells, &seconds, 65.0);
        assert_eq!(choice.chosen, [0, 1, 2, 3, 4, 5]);
        assert_eq!(choice.left_out, [6, 7, 8]);
        assert_eq!(choose(&cells, &seconds, 29.0).chosen, [0_usize; 0]);
        let mut done = seconds;
        done[0] = 0.0;
        done[8] = 0.0;
        assert_eq!(choose(&cells, &done, 25.0).chosen, [0, 1, 2, 8]);
    }
}
