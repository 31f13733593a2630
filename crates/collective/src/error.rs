//! What can go wrong between ranks.

use thiserror::Error;

/// What can go wrong between ranks.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum CollectiveError {
    /// A root that is no rank.
    #[error("{operation}: rank {found} does not exist, the world has ranks 0 to {last}")]
    NoSuchRank {
        /// The collective's operation.
        operation: &'static str,
        /// The rank asked for.
        found: usize,
        /// The highest rank.
        last: usize,
    },
    /// Ranks that did not come in time: killed, stopped, cut off, or far slower than the others.
    #[error(
        "{operation}: {} did not answer rank {rank} within {seconds} s\n  \
         hint: the last checkpoint is whole; continue with --resume, see docs/many-machines.md",
        named(missing)
    )]
    Missing {
        /// The collective's operation.
        operation: &'static str,
        /// The rank that waited.
        rank: usize,
        /// Those that it waited for.
        missing: Vec<usize>,
        /// The time limit.
        seconds: f64,
    },
    /// A rank that ended while others still work.
    #[error("{operation}: rank {left} has ended")]
    Left {
        /// The collective's operation.
        operation: &'static str,
        /// The rank that is gone.
        left: usize,
    },
    /// A rank that does something else than the others.
    #[error("{operation}: rank {other} is at \"{found}\", the ranks are out of step")]
    OutOfStep {
        /// This rank's operation.
        operation: &'static str,
        /// The other rank.
        other: usize,
        /// Its operation.
        found: String,
    },
    /// A rank that gave another number of values.
    #[error("{operation}: rank {other} gave {found} bytes, expected {expected}")]
    Length {
        /// The collective's operation.
        operation: &'static str,
        /// The other rank.
        other: usize,
        /// What came.
        found: usize,
        /// What was expected.
        expected: usize,
    },
    /// Ranks that do not work at the same thing.
    #[error("rank {other} has another {what} than rank 0: {found}, expected {expected}")]
    Differs {
        /// What is compared: recipe, images, program, parameters.
        what: String,
        /// The first rank that differs.
        other: usize,
        /// What it has.
        found: String,
        /// What rank 0 has.
        expected: String,
    },
    /// The library that carries the messages cannot be used.
    #[error("MPI: {found}")]
    Library {
        /// What is wrong.
        found: String,
    },
}

fn named(ranks: &[usize]) -> String {
    let list: Vec<String> = ranks.iter().map(usize::to_string).collect();
    let noun = if ranks.len() == 1 { "rank" } else { "ranks" };
    format!("{noun} {}", list.join(", "))
}
