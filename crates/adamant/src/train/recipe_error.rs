//! What can be wrong with a recipe: every message names the place, the key, what was found and what is allowed.

use super::recipe::Difference;
use std::fmt;
use std::path::PathBuf;
use thiserror::Error;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a recipe file.
    File(PathBuf),
    /// In an assignment on the command line.
    Set,
    /// Nowhere: it is the default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Set => write!(f, "--set"),
            Self::Default => write!(f, "default"),
        }
    }
}

/// What can be wrong with a recipe.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// Not TOML.
    #[error("{origin}: not a TOML file\n{message}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What the parser says.
        message: String,
    },
    /// A key that no recipe has.
    #[error("{origin}: {key} is no key of a recipe{}", hint_of_keys(key, valid))]
    UnknownKey {
        /// Where.
        origin: Origin,
        /// The key as written.
        key: String,
        /// The keys of the section, or the sections.
        valid: Vec<String>,
    },
    /// A value that the key cannot take.
    #[error("{origin}: {key} is {found}, expected {expected}{}", hint_line(hint))]
    Value {
        /// Where.
        origin: Origin,
        /// The dotted key.
        key: String,
        /// The value as written.
        found: String,
        /// What is allowed.
        expected: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// A value of the right kind that something it is for refuses.
    #[error("{origin}: {}", subject(key, message))]
    Refused {
        /// Where.
        origin: Origin,
        /// The dotted key.
        key: String,
        /// The refusal, hint included.
        message: String,
    },
    /// No recipe of that name.
    #[error("recipe is {found:?}, expected a path to a TOML file or one of {}", valid.join(", "))]
    UnknownRecipe {
        /// As written.
        found: String,
        /// The names there are.
        valid: Vec<String>,
    },
    /// An assignment without a value.
    #[error("--set: found {found:?}, expected KEY=VALUE such as attack.steps=10")]
    Assignment {
        /// As written.
        found: String,
    },
    /// A resumed run whose recipe is another.
    #[error(
        "{}\n  hint: a resumed run keeps its recipe; {} changes it on purpose, --out starts another run",
        listed(changes),
        allowed(changes)
    )]
    ChangedOnResume {
        /// The keys that differ.
        changes: Vec<Difference>,
    },
    /// A key that a run cannot change, whoever asks for it.
    #[error(
        "{} is {}, but the run was started with {}; it cannot be changed on resume: {why}\n  \
         hint: start another run with --out",
        change.key,
        change.found,
        change.started
    )]
    Unchangeable {
        /// The key.
        change: Difference,
        /// What would break.
        why: &'static str,
    },
    /// A key was named as changed that no recipe has.
    #[error("--allow-change {key}: no key of a recipe")]
    NoSuchChange {
        /// As written.
        key: String,
    },
}

fn listed(changes: &[Difference]) -> String {
    let line = |d: &Difference| {
        format!("{} is {}, but the run was started with {}", d.key, d.found, d.started)
    };
    changes.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn allowed(changes: &[Difference]) -> String {
    let flag = |d: &Difference| format!("--allow-change {}", d.key);
    changes.iter().map(flag).collect::<Vec<_>>().join(" ")
}

fn hint_line(hint: &Option<String>) -> String {
    hint.as_ref().map_or(String::new(), |hint| format!("\n  hint: {hint}"))
}

/// A refusal that begins with the bare name of what it refuses ("epsilon is 8, above 1") is told of the dotted key.
fn subject(key: &str, message: &str) -> String {
    let bare = key.rsplit('.').next().unwrap_or(key);
    match message.split_once(" is ") {
        Some((name, rest)) if [bare, "epsilon"].contains(&name) => format!("{key} is {rest}"),
        _ => format!("{key}: {message}"),
    }
}

fn hint_of_keys(key: &str, valid: &[String]) -> String {
    let nearest = valid.iter().min_by_key(|candidate| distance(key, candidate));
    // Beyond a third of the key's length the nearest name is no misspelling of it.
    let meant = nearest.filter(|candidate| distance(key, candidate) * 3 <= key.len());
    let question = meant.map_or(String::new(), |meant| format!("did you mean {meant}? "));
    format!("\n  hint: {question}valid keys: {}", valid.join(", "))
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
