//! Ranks that agree: mean, broadcast, barrier. Knows no tensors.
//!
//! Training goes through [`Collective`] always; [`Solo`] is world size 1 and takes the same path, so that one machine
//! and many differ in nothing but the implementation. Begin with [`Collective`].

#![forbid(unsafe_code)]

use thiserror::Error;

/// How the ranks of one training run agree. Every rank makes the same calls in the same order.
pub trait Collective: Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn world_size(&self) -> usize;

    /// Replaces `values` by their mean over all ranks, summed in rank order so that every rank has the same bytes.
    ///
    /// Errors: a rank that died or gave another number of values.
    fn mean(&self, values: &mut [f32]) -> Result<(), CollectiveError>;

    /// Replaces `values` by those of `root`.
    ///
    /// Errors: a rank that died or gave another number of values.
    fn broadcast(&self, root: usize, values: &mut [f32]) -> Result<(), CollectiveError>;

    /// Returns once every rank has come here.
    ///
    /// Errors: a rank that died.
    fn barrier(&self) -> Result<(), CollectiveError>;
}

/// What can go wrong between ranks.
#[derive(Debug, Error)]
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
}

/// World size 1: a mean over one rank is the value itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Solo;

impl Collective for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn world_size(&self) -> usize {
        1
    }

    fn mean(&self, _values: &mut [f32]) -> Result<(), CollectiveError> {
        Ok(())
    }

    fn broadcast(&self, root: usize, _values: &mut [f32]) -> Result<(), CollectiveError> {
        if root == 0 {
            Ok(())
        } else {
            Err(CollectiveError::NoSuchRank { operation: "broadcast", found: root, last: 0 })
        }
    }

    fn barrier(&self) -> Result<(), CollectiveError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g30_a_world_of_one_leaves_every_value_as_it_is() {
        let before = [1.5_f32, -0.0, f32::MIN_POSITIVE];
        let mut values = before;
        Solo.mean(&mut values).unwrap();
        Solo.broadcast(0, &mut values).unwrap();
        Solo.barrier().unwrap();
        assert_eq!(values.map(f32::to_bits), before.map(f32::to_bits));
        assert_eq!((Solo.rank(), Solo.world_size()), (0, 1));
    }

    #[test]
    fn a_root_that_is_no_rank_is_an_error_that_names_it() {
        let error = Solo.broadcast(3, &mut []).unwrap_err().to_string();
        assert_eq!(error, "broadcast: rank 3 does not exist, the world has ranks 0 to 0");
    }
}
