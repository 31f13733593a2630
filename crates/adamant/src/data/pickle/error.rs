//! Why a pickle is not read.

use thiserror::Error;

/// Why a pickle is not read; offsets are bytes from its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PickleError {
    /// It would run code, or holds a kind of data that no data set needs.
    #[error(
        "pickle opcode {opcode} at offset {offset} {what}: refused\n  hint: only dictionaries, lists, strings, \
         numbers and numpy arrays are read, and nothing in a pickle is ever run"
    )]
    Refused {
        /// The opcode's name, or its byte.
        opcode: String,
        /// Where it stands.
        offset: usize,
        /// What it asks for.
        what: String,
    },
    /// Bytes that no pickler writes.
    #[error("pickle opcode {opcode} at offset {offset}: found {found}, expected {expected}")]
    Broken {
        /// The opcode's name.
        opcode: &'static str,
        /// Where it stands.
        offset: usize,
        /// What is there.
        found: String,
        /// What should be.
        expected: &'static str,
    },
    /// The file ends within an opcode, or before the opcode that ends a pickle.
    #[error("pickle ends after {length} bytes, within or before the opcode at offset {offset}")]
    Truncated {
        /// Bytes there are.
        length: usize,
        /// The opcode that is incomplete or missing.
        offset: usize,
    },
}
