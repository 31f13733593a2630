//! Batch norm over several ranks: what an engine needs of them, and nothing of how they meet.

use std::error::Error;
use thiserror::Error;

/// The ranks that share a batch, as batch norms see them.
pub trait MomentPool: Sync {
    /// What each rank gave, in one order on all of them. All ranks call it equally often, with as many numbers.
    ///
    /// Errors: whatever keeps the ranks from meeting.
    fn gather(&self, own: &[f64]) -> Result<Vec<Vec<f64>>, PoolError>;
}

/// What keeps ranks from meeting.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct PoolError(pub Box<dyn Error + Send + Sync>);
