//! Buffers that outlive the pass that filled them.
//!
//! A training step needs gigabytes of activations. Fresh memory costs a page fault every 4 KiB, more than some
//! convolutions take, so what a recording or a backward returns is kept for the next.

use std::collections::HashMap;
use std::sync::Mutex;

/// Free buffers; what they hold is arbitrary.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    numbers: Free<f32>,
    masks: Free<u16>,
}

/// Free buffers of one type by length.
#[derive(Debug, Default)]
struct Free<T> {
    by_length: Mutex<HashMap<usize, Vec<Vec<T>>>>,
}

impl BufferPool {
    /// A buffer of `length` numbers, not cleared.
    pub fn take(&self, length: usize) -> Vec<f32> {
        self.numbers.take(length)
    }

    /// Returns a buffer; an empty one is dropped.
    pub fn give(&self, buffer: Vec<f32>) {
        self.numbers.give(buffer);
    }

    /// A buffer of `length` mask words, not cleared.
    pub fn take_mask(&self, length: usize) -> Vec<u16> {
        self.masks.take(length)
    }

    /// Frees everything.
    pub fn clear(&self) {
        self.numbers.lock().clear();
        self.masks.lock().clear();
    }

    /// Returns a mask.
    pub fn give_mask(&self, mask: Vec<u16>) {
        self.masks.give(mask);
    }
}

impl<T: Clone + Default> Free<T> {
    fn take(&self, length: usize) -> Vec<T> {
        let reused = self.lock().get_mut(&length).and_then(Vec::pop);
        reused.unwrap_or_else(|| vec![T::default(); length])
    }

    fn give(&self, buffer: Vec<T>) {
        if !buffer.is_empty() {
            self.lock().entry(buffer.len()).or_default().push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Vec<Vec<T>>>> {
        // The map is consistent between calls, so a panic elsewhere while it was locked does not matter.
        self.by_length.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
