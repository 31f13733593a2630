//! Errors of the engine border.

use thiserror::Error;

/// What can be wrong with a request to an engine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The network itself is inconsistent.
    #[error(transparent)]
    Network(#[from] network::NetworkError),
    /// Images, logits or domains of the wrong shape or number.
    #[error("{operation}: expected {expected}, found {found}")]
    Shape {
        /// The engine's operation.
        operation: &'static str,
        /// What it takes.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// Batch statistics over a single value have no variance.
    #[error(
        "batch norm {node}: {count} value per channel in domain {domain}, batch statistics need at least 2\n  \
         hint: use more images per batch or running statistics"
    )]
    TooFewValues {
        /// The layer.
        node: String,
        /// The statistics branch.
        domain: usize,
        /// Values per channel found.
        count: usize,
    },
    /// Ranks that share a batch norm could not meet.
    #[error(transparent)]
    Pool(#[from] crate::PoolError),
    /// No plan for a training step fits the memory allowed.
    #[error(
        "a training step needs at least {}, the memory allowed is {}\n  \
         hint: allow more with --memory, or use fewer images per batch",
        mebibytes(*least),
        mebibytes(*budget)
    )]
    Memory {
        /// Bytes allowed.
        budget: u64,
        /// Bytes of the plan that takes the fewest.
        least: u64,
    },
    /// The operating system did not start the threads asked for.
    #[error(
        "{threads} threads could not be started: {reason}\n  hint: ask for fewer with --threads"
    )]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
    /// The processor cannot run the kernels asked for.
    #[error("{asked} kernels need instructions that this processor lacks; its best are {best}")]
    InstructionSet {
        /// What was asked for.
        asked: kernels::Isa,
        /// What would work.
        best: kernels::Isa,
    },
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
