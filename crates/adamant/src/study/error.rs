//! What can be wrong with a study.

use crate::train::recipe_error::RecipeError;
use std::path::PathBuf;
use thiserror::Error;

/// What can be wrong with a study or its records.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StudyError {
    /// Not such TOML.
    #[error("{file}: {message}")]
    Syntax {
        /// The study's file.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// No study of this name.
    #[error("{found} is no study, expected one of {}\n  hint: or the path of a TOML file", valid.join(", "))]
    Unknown {
        /// What was asked for.
        found: String,
        /// The names there are.
        valid: Vec<String>,
    },
    /// A part of the study names something that it does not have.
    #[error("{study}: {place} names {found}, expected one of {}", valid.join(", "))]
    Dangling {
        /// The study.
        study: String,
        /// Where.
        place: String,
        /// What was found.
        found: String,
        /// What there is.
        valid: Vec<String>,
    },
    /// An evaluation has a name that means something else.
    #[error(
        "{study}: no evaluation may be called {name}, which names what is no evaluation\n  hint: choose another name"
    )]
    Reserved {
        /// The study.
        study: String,
        /// The name.
        name: &'static str,
    },
    /// A cell's recipe is none.
    #[error("cell {cell}: {source}")]
    Recipe {
        /// The cell.
        cell: String,
        /// What is wrong.
        source: Box<RecipeError>,
    },
    /// A record that cannot be read.
    #[error("{}: {message}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}
