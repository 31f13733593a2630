//! Errors of the network crate.

use crate::import::ImportReport;
use thiserror::Error;

/// What can be wrong with a network, its parameters or its files.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// An operation was given a value whose shape it cannot take.
    #[error("{node} ({operation}): expected {expected}, found {found}")]
    Shape {
        /// The node's name.
        node: String,
        /// The operation's name.
        operation: &'static str,
        /// What the operation takes.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// The list of nodes is not a network.
    #[error("graph {graph}, node {node}: expected {expected}, found {found}")]
    Graph {
        /// The graph's name.
        graph: String,
        /// The node's name or position.
        node: String,
        /// What a graph has there.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A parameter that the graph names is absent or has another shape.
    #[error("parameter {name}: expected {expected}, found {found}")]
    Parameter {
        /// The parameter's key.
        name: String,
        /// The expected shape or presence.
        expected: String,
        /// What was found.
        found: String,
    },
    /// Moments do not belong to the network that should absorb them.
    #[error("moments of {layer}: expected {expected}, found {found}")]
    Moments {
        /// The batch-norm node, by name or position.
        layer: String,
        /// What can be absorbed or merged.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A name that no builder knows.
    #[error("architecture {name} is unknown\n  hint: {hint}")]
    UnknownArchitecture {
        /// The name as given.
        name: String,
        /// The names there are.
        hint: String,
    },
    /// A setting of an architecture that cannot be built.
    #[error("{architecture}: {setting} is {found}, expected {expected}\n  hint: {hint}")]
    Setting {
        /// The architecture's name.
        architecture: String,
        /// The field.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The values allowed.
        expected: String,
        /// What to do.
        hint: String,
    },
    /// A file that is not what was expected.
    #[error("{path}: expected {expected}, found {found}")]
    File {
        /// The file, or "model bytes" when it was never a file.
        path: String,
        /// What a model file holds.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: String,
        /// The reason.
        source: std::io::Error,
    },
    /// An import that left parameters of the network without a value.
    #[error("{0}")]
    Import(Box<ImportReport>),
}
