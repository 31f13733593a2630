//! The recipe as written: every key of an experiment, its default, and where its value came from.
//!
//! Values merge as defaults < recipe file < `--set key=value`. Unknown keys and values of the wrong kind are errors that
//! name the place, the key, what was found and what is allowed (T55). What the values *mean* is decided once, in
//! the plan.

use super::recipe_error::{Origin, RecipeError};
use super::sections::{
    AttackSection, DataSection, EvaluationSection, NetworkSection, ObjectiveSection,
    OptimizerSection, ScheduleSection, TrainingSection,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use toml::{Table, Value};

/// An experiment as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Images.
    pub data: DataSection,
    /// Architecture.
    pub network: NetworkSection,
    /// Training method.
    pub objective: ObjectiveSection,
    /// Adversary in training; its norm, epsilon and goal are also the default of the evaluation.
    pub attack: AttackSection,
    /// Stochastic gradient descent.
    pub optimizer: OptimizerSection,
    /// Learning rate over time.
    pub schedule: ScheduleSection,
    /// Length, order, checkpoints.
    pub training: TrainingSection,
    /// How the run is judged.
    pub evaluation: EvaluationSection,
    /// Where each value that is no default came from, by dotted key.
    #[serde(skip)]
    pub origins: Origins,
}

/// Where values came from, by dotted key.
pub type Origins = BTreeMap<String, Origin>;

/// A key in which two recipes differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The dotted key.
    pub key: String,
    /// The value a run was started with.
    pub started: String,
    /// The other value.
    pub found: String,
}

impl Recipe {
    /// Reads a recipe file's text and puts `--set` assignments on top.
    ///
    /// Errors: bad TOML, unknown keys, values of the wrong kind, each naming its origin.
    pub fn parse(text: &str, file: &Path, sets: &[String]) -> Result<Self, RecipeError> {
        let origin = Origin::File(file.to_path_buf());
        let table: Table = text.parse().map_err(|error: toml::de::Error| RecipeError::Syntax {
            origin: origin.clone(),
            message: error.to_string(),
        })?;
        let mut leaves = Vec::new();
        flatten(&table, "", &origin, &mut leaves)?;
        for set in sets {
            leaves.push(parse_set(set)?);
        }
        Self::default().with(leaves)
    }

    /// The resolved recipe as TOML: every key, in a fixed order.
    pub fn print(&self) -> String {
        toml::to_string(self)
            .expect("a recipe holds only tables, numbers, strings and lists of them")
    }

    /// Every key, dotted, in the order of a recipe.
    pub fn keys(&self) -> Vec<String> {
        self.leaves().into_iter().map(|(key, _)| key).collect()
    }

    /// Every key whose value differs in `other`, in the order of a recipe.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let pairs = self.leaves().into_iter().zip(other.leaves());
        pairs
            .filter(|(a, b)| a != b)
            .map(|((key, a), (_, b))| Difference {
                key,
                started: a.to_string(),
                found: b.to_string(),
            })
            .collect()
    }

    /// Where `key` was written.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// An error about the value of `key`, which exists.
    pub fn value_error(&self, key: &str, expected: &str, hint: Option<&str>) -> RecipeError {
        let leaf = self.leaves().into_iter().find(|(name, _)| name == key);
        let (_, found) = leaf.unwrap_or_else(|| panic!("{key} is a key of every recipe"));
        RecipeError::Value {
            origin: self.origin(key),
            key: key.to_string(),
            found: found.to_string(),
            expected: expected.to_string(),
            hint: hint.map(str::to_string),
        }
    }

    /// An error of what `key` is for.
    pub fn refusal(&self, key: &str, error: &dyn std::fmt::Display) -> RecipeError {
        let (origin, key) = (self.origin(key), key.to_string());
        RecipeError::Refused { origin, key, message: error.to_string() }
    }

    fn table(&self) -> Table {
        Table::try_from(self).expect("a recipe is a table")
    }

    fn leaves(&self) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        for (section, keys) in self.table() {
            for (key, value) in keys.as_table().expect("a recipe is sections of keys") {
                all.push((format!("{section}.{key}"), value.clone()));
            }
        }
        all
    }

    /// Puts values on top, one by one, so that a value that does not fit is known by its key.
    fn with(self, leaves: Vec<(String, Value, Origin)>) -> Result<Self, RecipeError> {
        let (mut table, mut origins) = (self.table(), self.origins);
        for (key, value, origin) in leaves {
            let (section, name) = key.split_once('.').unwrap_or((&key, ""));
            let Some(keys) = table.get_mut(section).and_then(Value::as_table_mut) else {
                let valid = table.keys().cloned().collect();
                return Err(RecipeError::UnknownKey { origin, key, valid });
            };
            if !keys.contains_key(name) {
                let valid = keys.keys().map(|k| format!("{section}.{k}")).collect();
                return Err(RecipeError::UnknownKey { origin, key, valid });
            }
            let found = value.to_string();
            keys.insert(name.to_string(), value);
            if let Err(error) = Self::deserialize(table.clone()) {
                let expected = allowed(error.message());
                return Err(RecipeError::Value { origin, key, found, expected, hint: None });
            }
            origins.insert(key, origin);
        }
        let recipe = Self::deserialize(table).expect("each value was checked as it was put in");
        Ok(Self { origins, ..recipe })
    }
}

fn flatten(
    table: &Table,
    prefix: &str,
    origin: &Origin,
    leaves: &mut Vec<(String, Value, Origin)>,
) -> Result<(), RecipeError> {
    for (key, value) in table {
        match value {
            Value::Table(inner) => flatten(inner, &format!("{prefix}{key}."), origin, leaves)?,
            _ => leaves.push((format!("{prefix}{key}"), value.clone(), origin.clone())),
        }
    }
    Ok(())
}

/// `key=value`; the value is TOML where it parses as such, else a string, so that quotes need no escaping in a shell.
fn parse_set(set: &str) -> Result<(String, Value, Origin), RecipeError> {
    let (key, text) =
        set.split_once('=').ok_or_else(|| RecipeError::Assignment { found: set.to_string() })?;
    let (key, text) = (key.trim().to_string(), text.trim());
    let value = format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| Value::String(text.to_string()));
    Ok((key, value, Origin::Set))
}

/// What serde says it expected, in our punctuation.
fn allowed(message: &str) -> String {
    let expected = message.split_once("expected ").map_or(message, |(_, rest)| rest);
    expected.trim().replace('`', "\"")
}

#[cfg(test)]
mod tests {
    use super::super::sections::ObjectiveKind;
    use super::*;

    fn parse(text: &str, sets: &[&str]) -> Result<Recipe, RecipeError> {
        let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
        Recipe::parse(text, Path::new("recipes/some.toml"), &sets)
    }

    #[test]
    fn a_misspelt_key_is_an_error_that_lists_the_valid_keys_of_its_section() {
        let error = parse("[schedule]\nmilestone = [3]", &[]).unwrap_err().to_string();
        assert_eq!(
            error,
            "recipes/some.toml: schedule.milestone is no key of a recipe\n  hint: did you mean schedule.milestones? \
             valid keys: schedule.factor, schedule.kind, schedule.milestones, schedule.warmup_epochs, schedule.warmup_from"
        );
    }

    #[test]
    fn a_misspelt_section_is_an_error_that_lists_the_sections() {
        let error = parse("", &["trainng.epochs=3"]).unwrap_err().to_string();
        assert!(error.starts_with("--set: trainng.epochs is no key of a recipe"), "{error}");
        assert!(error.contains("attack, data, evaluation, network"), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_names_key_found_and_allowed() {
        let error = parse("[objective]\nkind = \"mixtur\"", &[]).unwrap_err().to_string();
        assert_eq!(
            error,
            "recipes/some.toml: objective.kind is \"mixtur\", expected one of \"standard\", \"adversarial-only\", \
             \"mixture\""
        );
        let error = parse("", &["training.epochs=-1"]).unwrap_err().to_string();
        assert_eq!(error, "--set: training.epochs is -1, expected usize");
        let error = parse("[training]\nfreeze_statistics_from_epoch = \"soon\"", &[]).unwrap_err();
        assert!(
            error.to_string().ends_with("is \"soon\", expected an epoch from 0 or \"never\""),
            "{error}"
        );
    }

    #[test]
    fn broken_toml_names_the_file_and_the_line() {
        let error = parse("[attack\nsteps = 3", &[]).unwrap_err().to_string();
        assert!(error.starts_with("recipes/some.toml: ") && error.contains("line 1"), "{error}");
    }

    #[test]
    fn assignments_win_over_the_file_and_the_file_over_defaults() {
        let recipe = parse(
            "[attack]\nepsilon = 0.1\nsteps = 3",
            &[
                "attack.steps=7",
                "objective.kind=standard",
                "attack.step_size=1/255",
                "schedule.milestones=[3, 4]",
            ],
        )
        .unwrap();
        assert_eq!((recipe.attack.steps, recipe.attack.epsilon.as_str()), (7, "0.1"));
        assert_eq!(recipe.objective.kind, ObjectiveKind::Standard);
        assert_eq!(recipe.attack.step_size, "1/255");
        assert_eq!(recipe.schedule.milestones, [3.0, 4.0]);
        assert_eq!(recipe.training, TrainingSection::default());
        assert_eq!(recipe.origins["attack.steps"], Origin::Set);
    }

    #[test]
    fn an_assignment_without_a_value_is_an_error() {
        let error = parse("", &["attack.steps"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "--set: found \"attack.steps\", expected KEY=VALUE such as attack.steps=10"
        );
    }

    #[test]
    fn a_printed_recipe_parses_to_itself() {
        let recipe =
            parse("", &["training.freeze_statistics_from_epoch=3", "attack.norm=L2"]).unwrap();
        let again = parse(&recipe.print(), &[]).unwrap();
        assert_eq!(recipe.differences(&again), []);
        assert_eq!(again.print(), recipe.print());
    }

    #[test]
    fn the_differences_of_two_recipes_name_every_key_with_both_values() {
        let changed = parse("", &["optimizer.momentum=0.8", "attack.steps=7"]).unwrap();
        let difference = |key: &str, started: &str, found: &str| Difference {
            key: key.into(),
            started: started.into(),
            found: found.into(),
        };
        assert_eq!(
            Recipe::default().differences(&changed),
            [difference("attack.steps", "5", "7"), difference("optimizer.momentum", "0.9", "0.8")]
        );
    }
}
