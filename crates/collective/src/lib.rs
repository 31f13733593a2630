//! Ranks that agree: sums, broadcasts, comparisons. Knows no tensors.
//!
//! Training goes through [`Collective`] always; [`Solo`] is world size 1 and takes the same path, so that one machine
//! and many differ in nothing but the implementation. An implementation has two primitives, [`Collective::exchange`] and,
//! for work whose length nobody knows beforehand, [`Collective::draw`]; everything else is written on top of them once, so
//! that ranks that are threads and ranks that are processes give the same bytes. Begin with [`Collective`].

#![forbid(unsafe_code)]

mod agree;
mod behind;
mod error;
#[cfg(feature = "mpi")]
mod mpi;
mod queue;
mod solo;
mod sum;
mod threads;
mod tree;

pub use agree::agree;
pub use behind::{Post, sum_behind};
pub use error::CollectiveError;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use queue::Queue;
pub use solo::Solo;
pub use sum::Wire;
pub use threads::Threads;
pub use tree::Tree;

/// How the ranks of one run agree. Every rank makes the same calls in the same order.
pub trait Collective: std::fmt::Debug + Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn world_size(&self) -> usize;

    /// Gives message `i` to rank `i` and returns the messages that were meant for this rank, by sender.
    ///
    /// `operation` names the call in errors and is compared between ranks. Errors: `Missing` where ranks do not come
    /// within the time limit, `Left` where one has ended, `OutOfStep` where one does something else.
    fn exchange(
        &self,
        operation: &'static str,
        messages: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, CollectiveError>;

    /// A number below `of` that no rank was given before, in rising order; nothing once there is none. See [`Queue`].
    ///
    /// `last` is what this rank was given before. Ranks draw when they like, but each until it is given nothing: then the
    /// queue is over. Errors: `Missing` where the rank that keeps the queue does not answer within the time limit.
    fn draw(&self, queue: u64, of: u64, last: Option<u64>) -> Result<Option<u64>, CollectiveError>;

    /// What every rank gave, by rank.
    ///
    /// Errors: as [`Collective::exchange`].
    fn gather(
        &self,
        operation: &'static str,
        bytes: &[u8],
    ) -> Result<Vec<Vec<u8>>, CollectiveError> {
        self.exchange(operation, vec![bytes.to_vec(); self.world_size()])
    }

    /// Replaces `values` by their sum over all ranks, with the same bytes on every rank.
    ///
    /// The order is that of a [`Tree`] over the ranks, a function of their number alone. With [`Wire::Bf16`] every
    /// summand and the sum are rounded once. Errors: as [`Collective::exchange`]; `Length`.
    fn sum(&self, values: &mut [f32], wire: Wire) -> Result<(), CollectiveError> {
        sum::single(self, values, wire)
    }

    /// As [`Collective::sum`], in double precision.
    ///
    /// Errors: as [`Collective::sum`].
    fn sum_f64(&self, values: &mut [f64]) -> Result<(), CollectiveError> {
        sum::double(self, values)
    }

    /// What `root` gave.
    ///
    /// Errors: `NoSuchRank`; as [`Collective::exchange`].
    fn broadcast(&self, root: usize, bytes: Vec<u8>) -> Result<Vec<u8>, CollectiveError> {
        sum::broadcast(self, root, bytes)
    }

    /// Returns once every rank has come here.
    ///
    /// Errors: as [`Collective::exchange`].
    fn barrier(&self) -> Result<(), CollectiveError> {
        self.gather("barrier", &[]).map(|_| ())
    }
}
