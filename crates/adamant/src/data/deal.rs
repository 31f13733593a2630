//! How a batch is dealt to the workers of a training, and which of them this process stands for.

use std::ops::Range;

/// Some consecutive workers out of all; a worker has a share of every batch.
///
/// Workers belong to the recipe and ranks to the machines: what a worker computes does not depend on who computes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deal {
    workers: usize,
    own: Range<usize>,
}

impl Deal {
    /// One worker that has the whole batch.
    pub fn whole() -> Self {
        Self { workers: 1, own: 0..1 }
    }

    /// What rank `rank` of `ranks` stands for: as many workers as every other rank.
    ///
    /// None unless each rank has the same number, and that is a power of two or everything: then sums over workers have the
    /// same order however many ranks form them (see [`collective::Tree`]).
    pub fn to_ranks(workers: usize, rank: usize, ranks: usize) -> Option<Self> {
        let each = workers / ranks;
        let fits = workers.is_multiple_of(ranks) && (ranks == 1 || each.is_power_of_two());
        fits.then(|| Self { workers, own: rank * each..(rank + 1) * each })
    }

    /// This process's workers, by number.
    pub fn own(&self) -> Range<usize> {
        self.own.clone()
    }

    /// The images of a batch of `count` that belong to this process, by their place in it.
    pub fn images(&self, count: usize) -> Range<usize> {
        self.border(count, self.own.start)..self.border(count, self.own.end)
    }

    /// How many images of a batch of `count` each of this process's workers has; any two differ by at most one.
    pub fn parts(&self, count: usize) -> Vec<usize> {
        self.own()
            .map(|worker| self.border(count, worker + 1) - self.border(count, worker))
            .collect()
    }

    fn border(&self, count: usize, worker: usize) -> usize {
        count * worker / self.workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g30_every_image_of_a_batch_has_one_worker_whatever_the_remainder() {
        for (workers, ranks) in [(1, 1), (3, 1), (3, 3), (4, 2), (8, 2), (6, 3), (5, 5)] {
            for count in [5, 64, 61] {
                let deals: Vec<Deal> = (0..ranks)
                    .map(|rank| Deal::to_ranks(workers, rank, ranks).expect("ranks that fit"))
                    .collect();
                let images: Vec<usize> = deals.iter().flat_map(|deal| deal.images(count)).collect();
                assert_eq!(images, (0..count).collect::<Vec<_>>());
                let parts: Vec<usize> = deals.iter().flat_map(|deal| deal.parts(count)).collect();
                let whole = Deal::to_ranks(workers, 0, 1).expect("one rank takes all workers");
                assert_eq!(parts, whole.parts(count));
                assert_eq!((parts.len(), parts.iter().sum()), (workers, count));
                assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1);
            }
        }
    }

    #[test]
    fn ranks_that_would_change_the_order_of_sums_or_have_unequal_work_do_not_fit() {
        for (workers, ranks) in [(1, 2), (4, 3), (6, 2), (10, 4)] {
            assert_eq!(Deal::to_ranks(workers, 0, ranks), None, "{workers} to {ranks}");
        }
    }
}
