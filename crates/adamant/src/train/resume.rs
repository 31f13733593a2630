//! What a resumed run may do otherwise than it was started: nothing, but for the keys that are named.

use super::recipe::{Difference, Recipe};
use super::recipe_error::RecipeError;

/// Keys, or sections with a dot, that a run cannot change, and why.
const FIXED: [(&str, &str); 4] = [
    ("network.", "the checkpoint holds the network as it was"),
    ("training.seed", "other images would be held out, among them some it was trained on"),
    ("data.validation", "other images would be held out, among them some it was trained on"),
    ("training.batch_size", "its steps would stand for other images"),
];

/// The keys in which `asked` differs from the recipe a run was `started` with, all of them in `allowed`.
///
/// Errors: `ChangedOnResume`, listing every other key that differs with both values; `Unchangeable`; `NoSuchChange`.
pub fn changes(
    started: &Recipe,
    asked: &Recipe,
    allowed: &[String],
) -> Result<Vec<Difference>, RecipeError> {
    let keys = started.keys();
    if let Some(unknown) = allowed.iter().find(|key| !keys.contains(key)) {
        return Err(RecipeError::NoSuchChange { key: unknown.clone() });
    }
    let differences = started.differences(asked);
    let is_fixed = |key: &str| {
        let mut fixed = FIXED.iter();
        let found =
            fixed.find(|(name, _)| key == *name || name.ends_with('.') && key.starts_with(name));
        found.map(|&(_, why)| why)
    };
    for change in &differences {
        if let Some(why) = is_fixed(&change.key) {
            return Err(RecipeError::Unchangeable { change: change.clone(), why });
        }
    }
    let (named, unnamed): (Vec<_>, Vec<_>) =
        differences.into_iter().partition(|change| allowed.contains(&change.key));
    if unnamed.is_empty() {
        Ok(named)
    } else {
        Err(RecipeError::ChangedOnResume { changes: unnamed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn recipe(sets: &[&str]) -> Recipe {
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        Recipe::parse("", Path::new("r.toml"), &sets).unwrap()
    }

    fn refused(sets: &[&str], allowed: &[&str]) -> String {
        let allowed: Vec<String> = allowed.iter().map(|key| key.to_string()).collect();
        changes(&recipe(&[]), &recipe(sets), &allowed).unwrap_err().to_string()
    }

    #[test]
    fn every_changed_key_is_listed_with_both_values_unless_it_is_named() {
        let sets = ["training.epochs=9", "attack.steps=7"];
        assert_eq!(
            refused(&sets, &[]),
            "attack.steps is 7, but the run was started with 5\n\
             training.epochs is 9, but the run was started with 8\n  \
             hint: a resumed run keeps its recipe; --allow-change attack.steps --allow-change training.epochs changes \
             it on purpose, --out starts another run"
        );
        assert!(refused(&sets, &["attack.steps"]).starts_with("training.epochs is 9"));
        let both = ["attack.steps", "training.epochs"].map(String::from);
        let changed = changes(&recipe(&[]), &recipe(&sets), &both).unwrap();
        assert_eq!(changed.iter().map(|c| c.key.as_str()).collect::<Vec<_>>(), both);
        assert_eq!(changes(&recipe(&[]), &recipe(&[]), &both).unwrap(), []);
    }

    #[test]
    fn what_would_break_the_run_cannot_be_changed_by_naming_it() {
        for set in
            ["network.width=8", "training.seed=1", "data.validation=7", "training.batch_size=3"]
        {
            let key = set.split_once('=').unwrap().0;
            let message = refused(&[set], &[key]);
            assert!(message.starts_with(key) && message.contains("cannot be changed"), "{message}");
        }
        assert!(refused(&[], &["trainin.epochs"]).contains("trainin.epochs: no key"));
    }
}
