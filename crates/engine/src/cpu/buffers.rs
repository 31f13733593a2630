//! Buffers that outlive the pass that filled them.
//!
//! A training step needs gigabytes of activations. Fresh memory costs a page fault every 4 KiB, more than some
//! convolutions take, so what a recording or a backward returns is kept for the next.

use kernels::half::Lines;
use std::collections::HashMap;
use std::sync::Mutex;

/// Free buffers; what they hold is arbitrary.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    numbers: Free<Vec<f32>>,
    masks: Free<Vec<u16>>,
    cells: Free<Lines<u16>>,
    words: Free<Vec<u32>>,
}

/// Free buffers of one type by length.
#[derive(Debug)]
struct Free<B> {
    by_length: Mutex<HashMap<usize, Vec<B>>>,
}

impl<B> Default for Free<B> {
    fn default() -> Self {
        Self { by_length: Mutex::default() }
    }
}

/// What a pool keeps.
trait Buffer {
    fn zeros(length: usize) -> Self;
    fn length(&self) -> usize;
}

impl<T: Clone + Default> Buffer for Vec<T> {
    fn zeros(length: usize) -> Self {
        vec![T::default(); length]
    }

    fn length(&self) -> usize {
        self.len()
    }
}

impl Buffer for Lines<u16> {
    fn zeros(length: usize) -> Self {
        Lines::zeros(length)
    }

    fn length(&self) -> usize {
        self.len()
    }
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

    /// Returns a mask.
    pub fn give_mask(&self, mask: Vec<u16>) {
        self.masks.give(mask);
    }

    /// A buffer of `length` numbers in half precision, not cleared.
    pub fn take_cells(&self, length: usize) -> Lines<u16> {
        self.cells.take(length)
    }

    /// Returns a buffer of cells; an empty one is dropped.
    pub fn give_cells(&self, cells: Lines<u16>) {
        self.cells.give(cells);
    }

    /// A mask of `length` cells, not cleared.
    pub fn take_words(&self, length: usize) -> Vec<u32> {
        self.words.take(length)
    }

    /// Returns a mask of cells.
    pub fn give_words(&self, words: Vec<u32>) {
        self.words.give(words);
    }

    /// Frees everything.
    pub fn clear(&self) {
        self.numbers.lock().clear();
        self.masks.lock().clear();
        self.cells.lock().clear();
        self.words.lock().clear();
    }
}

impl<B: Buffer> Free<B> {
    fn take(&self, length: usize) -> B {
        let reused = self.lock().get_mut(&length).and_then(Vec::pop);
        reused.unwrap_or_else(|| B::zeros(length))
    }

    fn give(&self, buffer: B) {
        if buffer.length() > 0 {
            self.lock().entry(buffer.length()).or_default().push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Vec<B>>> {
        // The map is consistent between calls, so a panic elsewhere while it was locked does not matter.
        self.by_length.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
