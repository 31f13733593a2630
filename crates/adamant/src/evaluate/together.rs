//! Ranks that judge together: every stage is cut into pieces that go to whoever is free, and before the next stage all
//! hear what was found.
//!
//! So survivors that are uneven make no rank wait for more than a piece, and verdicts do not depend on who gave them: draws
//! are by image, and images do not depend on each other. Rank 0's ledger has what all have found, up to the last meeting of
//! the ranks; those of the others, what they found themselves. What is found in none of them is done again.

use super::{EvaluateError, Header, Ledger, Observer, Record};
use collective::{Collective, CollectiveError, Queue};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::ops::Range;

/// The ranks, and what this one has found since they met last.
pub(super) struct Team<'a> {
    ranks: &'a dyn Collective,
    untold: Vec<Record>,
}

impl<'a> Team<'a> {
    pub fn new(ranks: &'a dyn Collective) -> Self {
        Self { ranks, untold: Vec::new() }
    }

    fn is_alone(&self) -> bool {
        self.ranks.world_size() == 1
    }

    /// Whether this rank's ledger has what all have found.
    pub fn keeps_all(&self) -> bool {
        self.ranks.rank() == 0
    }

    /// What all know at the beginning, from what each has `known`; rank 0 writes down what is new to it.
    ///
    /// Errors: `Collective` where ranks do not judge the same thing, and as the others; those of the ledger.
    pub fn begin(
        &self,
        header: &Header,
        known: Vec<Record>,
        ledger: &mut Ledger,
    ) -> Result<Vec<Record>, EvaluateError> {
        if self.is_alone() {
            return Ok(known);
        }
        let told = serde_json::to_vec(&(header, &known)).expect("records have no keys but texts");
        let gathered = self.ranks.gather("evaluation", &told)?;
        let mut told = Vec::with_capacity(gathered.len());
        for (rank, bytes) in gathered.iter().enumerate() {
            told.push(read::<(Header, Vec<Record>)>(rank, bytes)?);
        }
        for (other, (theirs, _)) in told.iter().enumerate() {
            if let Some(differs) = told[0].0.differences(theirs).into_iter().next() {
                let (what, found, expected) = (differs.what, differs.now, differs.ledger);
                return Err(CollectiveError::Differs { what, other, found, expected }.into());
            }
        }
        let (mut seen, mut all) = (Seen::default(), Vec::new());
        for (rank, (_, records)) in told.into_iter().enumerate() {
            for record in records.into_iter().filter(|record| seen.admits(record)) {
                if self.keeps_all() && rank > 0 {
                    ledger.append(record.clone())?;
                }
                all.push(record);
            }
        }
        Ok(all)
    }

    /// Remembers a record for the next meeting.
    pub fn remember(&mut self, record: &Record) {
        if !self.is_alone() {
            self.untold.push(record.clone());
        }
    }

    /// What the other ranks have found since the last meeting, once all have come.
    ///
    /// Errors: `Collective`.
    pub fn meet(&mut self) -> Result<Vec<Record>, EvaluateError> {
        if self.is_alone() {
            return Ok(Vec::new());
        }
        let told = serde_json::to_vec(&std::mem::take(&mut self.untold));
        let told = told.expect("records have no keys but texts");
        let mut found = Vec::new();
        for (rank, bytes) in self.ranks.gather("verdicts", &told)?.iter().enumerate() {
            if rank != self.ranks.rank() {
                found.extend(read::<Vec<Record>>(rank, bytes)?);
            }
        }
        Ok(found)
    }

    /// The pieces of a stage with so many images, from which this rank takes one after the other.
    pub fn pieces(&self, stage: usize, images: usize, batch_size: usize) -> Pieces<'a> {
        let pieces = pieces(images, self.ranks.world_size(), batch_size);
        Pieces { queue: Queue::new(self.ranks, stage as u64, pieces.len()), pieces, next: 0 }
    }
}

/// Pieces of a stage, as ranks take them.
pub(super) struct Pieces<'a> {
    queue: Queue<'a>,
    pieces: Vec<Range<usize>>,
    /// The first piece nobody was seen to take.
    next: usize,
}

impl Pieces<'_> {
    /// A piece that nobody has taken, and nothing once there is none; the watcher hears of those that others took.
    ///
    /// Errors: `Collective`.
    pub fn take(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<Option<Range<usize>>, EvaluateError> {
        let drawn = self.queue.draw()?;
        let end = drawn.unwrap_or(self.pieces.len());
        let elsewhere: usize = self.pieces[self.next..end].iter().map(Range::len).sum();
        if elsewhere > 0 {
            observer.elsewhere(elsewhere);
        }
        self.next = end + 1;
        Ok(drawn.map(|piece| self.pieces[piece].clone()))
    }
}

/// Fewer images than that keep the cores of a rank busy badly.
const LEAST: usize = 32;

/// A stage in pieces: whole batches for one rank; for several, large ones first and small ones last, so that all ranks end
/// at nearly the same time although nobody knows how long an image takes.
///
/// Source: Polychronopoulos and Kuck 1987, guided self-scheduling; half of its sizes, since the first images may be the slowest.
fn pieces(images: usize, ranks: usize, batch_size: usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    while begin < images {
        let remaining = images - begin;
        let size = match ranks {
            1 => batch_size,
            _ => remaining.div_ceil(2 * ranks).max(LEAST).min(batch_size),
        };
        let end = images.min(begin + size);
        pieces.push(begin..end);
        begin = end;
    }
    pieces
}

/// What is known of which image: two ranks may have kept the same, from an earlier life of the evaluation.
#[derive(Default)]
pub(super) struct Seen {
    /// Stage and image.
    outcomes: BTreeSet<(usize, usize)>,
    is_audited: bool,
}

impl Seen {
    /// Whether everything a record holds is new. One that is new in part is not taken: the passes it counts are of all its
    /// images.
    pub fn admits(&mut self, record: &Record) -> bool {
        match record {
            Record::Audit { .. } => !std::mem::replace(&mut self.is_audited, true),
            // Each rank says so for itself.
            Record::Ended => false,
            _ => {
                let outcomes: Vec<_> =
                    record.images().into_iter().map(|image| (record.stage(), image)).collect();
                let is_new = !outcomes.iter().any(|outcome| self.outcomes.contains(outcome));
                if is_new {
                    self.outcomes.extend(outcomes);
                }
                is_new
            }
        }
    }
}

fn read<T: DeserializeOwned>(rank: usize, bytes: &[u8]) -> Result<T, EvaluateError> {
    serde_json::from_slice(bytes).map_err(|error| EvaluateError::LedgerContradicts {
        found: format!("rank {rank} tells what cannot be read, {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Probed;
    use super::*;

    #[test]
    fn g7_the_pieces_of_a_stage_are_the_stage_and_the_last_are_small() {
        for images in [0, 1, 31, 32, 33, 1003, 50_000] {
            for (ranks, batch) in [(1, 256), (2, 256), (3, 8), (128, 256)] {
                let pieces = pieces(images, ranks, batch);
                let together: Vec<usize> = pieces.iter().cloned().flatten().collect();
                assert_eq!(together, (0..images).collect::<Vec<_>>());
                assert!(pieces.iter().all(|piece| piece.len() <= batch));
                if ranks > 1 {
                    assert!(pieces.last().is_none_or(|last| last.len() <= LEAST));
                }
            }
        }
    }

    #[test]
    fn a_record_that_is_known_in_part_is_done_again_as_a_whole() {
        let probed = |images: &[usize]| Record::Gradients {
            outcomes: images.iter().map(|&image| Probed { image, leads: true }).collect(),
        };
        let mut seen = Seen::default();
        assert!(seen.admits(&probed(&[1, 2])));
        assert!(!seen.admits(&probed(&[2, 3])) && !seen.admits(&probed(&[1, 2])));
        assert!(seen.admits(&probed(&[3])));
        let clean = Record::Clean { outcomes: Vec::new() };
        assert!(seen.admits(&clean) && !seen.admits(&Record::Ended));
        let audit = Record::Audit { flags: Vec::new() };
        assert!(seen.admits(&audit) && !seen.admits(&audit));
    }
}
