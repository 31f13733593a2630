//! Buffers that outlive the pass that filled them.
//!
//! A training step needs gigabytes of activations. Fresh memory costs a page fault every 4 KiB, more than some
//! convolutions take, so what a recording or a backward returns is kept for the next.

use std::collections::HashMap;
use std::sync::Mutex;

/// Free buffers by length; what they hold is arbitrary.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    free: Mutex<HashMap<usize, Vec<Vec<f32>>>>,
}

impl BufferPool {
    /// A buffer of `length` numbers, not cleared.
    pub fn take(&self, length: usize) -> Vec<f32> {
        let reused = self.lock().get_mut(&length).and_then(Vec::pop);
        reused.unwrap_or_else(|| vec![0.0; length])
    }

    /// Returns a buffer; an empty one is dropped.
    pub fn give(&self, buffer: Vec<f32>) {
        if !buffer.is_empty() {
            self.lock().entry(buffer.len()).or_default().push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Vec<Vec<f32>>>> {
        // The map is consistent between calls, so a panic elsewhere while it was locked does not matter.
        self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
