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
}
