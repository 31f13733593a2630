//! Work that goes to whoever is free: numbers that all ranks draw from, each number once.

use crate::{Collective, CollectiveError};
use std::collections::BTreeMap;

/// The numbers below a length, dealt to all ranks as they ask: a rank that is done early takes more.
///
/// Every rank opens the same queues, and draws from each until nothing is left. Who is given what depends on time, so
/// nothing else may depend on it.
#[derive(Debug)]
pub struct Queue<'a> {
    ranks: &'a dyn Collective,
    name: u64,
    length: u64,
    last: Option<u64>,
}

impl<'a> Queue<'a> {
    /// The queue `name` of so many numbers. Two queues that ranks may draw from at a time have different names.
    pub fn new(ranks: &'a dyn Collective, name: u64, length: usize) -> Self {
        Self { ranks, name, length: length as u64, last: None }
    }

    /// A number that nobody has; nothing once all are drawn.
    ///
    /// Errors: as [`Collective::draw`].
    pub fn draw(&mut self) -> Result<Option<usize>, CollectiveError> {
        let drawn = self.ranks.draw(self.name, self.length, self.last)?;
        self.last = drawn;
        Ok(drawn.map(|number| number as usize))
    }
}

/// The state of all queues that are open, kept in one place for all ranks.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// By name: the next number, and how many ranks know that there is none.
    open: BTreeMap<u64, (u64, usize)>,
}

impl Desk {
    /// Whether ranks may come to draw: a queue is over once each has been told so.
    #[cfg(feature = "mpi")]
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// The next number of queue `name`, for one rank of so many.
    pub fn draw(&mut self, name: u64, length: u64, ranks: usize) -> Option<u64> {
        let (next, told) = self.open.entry(name).or_default();
        if *next < length {
            *next += 1;
            return Some(*next - 1);
        }
        *told += 1;
        if *told == ranks {
            self.open.remove(&name);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_over_when_every_rank_knows_and_its_name_is_free() {
        let mut desk = Desk::default();
        for _ in 0..2 {
            let given: Vec<_> = (0..5).map(|_| desk.draw(7, 3, 2)).collect();
            assert_eq!(given, [Some(0), Some(1), Some(2), None, None]);
            assert!(desk.open.is_empty());
        }
        assert_eq!((desk.draw(7, 0, 2), desk.open.len()), (None, 1));
    }
}
