//! Memory as the engine's pool has it: a buffer that is returned waits for the next of its length.

use std::collections::HashMap;

/// Bytes held, counted like [`crate::cpu::buffers::BufferPool`] holds them.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    held: u64,
    peak: u64,
    /// Returned buffers by kind and bytes.
    free: HashMap<(Kind, u64), u64>,
}

/// Buffers of different kinds do not replace each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Values and gradients.
    Numbers,
    /// One bit per number.
    Masks,
}

impl Ledger {
    /// A buffer: a returned one, else a new one.
    pub fn take(&mut self, kind: Kind, bytes: u64) {
        match self.free.get_mut(&(kind, bytes)) {
            Some(count) if *count > 0 => *count -= 1,
            _ => self.hold(bytes),
        }
    }

    /// Returns a buffer.
    pub fn give(&mut self, kind: Kind, bytes: u64) {
        *self.free.entry((kind, bytes)).or_default() += 1;
    }

    /// Frees what was returned.
    pub fn clear(&mut self) {
        let free = self.free.drain().map(|((_, bytes), count)| bytes * count);
        self.held -= free.sum::<u64>();
    }

    /// Memory that is not a buffer.
    pub fn hold(&mut self, bytes: u64) {
        self.held += bytes;
        self.peak = self.peak.max(self.held);
    }

    /// Frees such memory.
    pub fn release(&mut self, bytes: u64) {
        self.held -= bytes;
    }

    /// The most held since the last call.
    pub fn take_peak(&mut self) -> u64 {
        std::mem::replace(&mut self.peak, self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_buffer_serves_the_next_of_its_length_and_kind_only() {
        let mut ledger = Ledger::default();
        ledger.take(Kind::Numbers, 8);
        ledger.give(Kind::Numbers, 8);
        ledger.take(Kind::Numbers, 8);
        assert_eq!(ledger.take_peak(), 8);
        ledger.take(Kind::Numbers, 8);
        ledger.take(Kind::Masks, 8);
        assert_eq!(ledger.take_peak(), 24);
        ledger.give(Kind::Masks, 8);
        ledger.clear();
        ledger.hold(1);
        assert_eq!((ledger.take_peak(), ledger.take_peak()), (24, 17));
    }
}
