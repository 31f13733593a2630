//! The gradients of a rank's workers on their way into one sum over all ranks, which begins while the backward goes on.
//!
//! Parameters travel in buckets, last layers first, as a backward finishes them. A bucket is posted once the last of this
//! rank's workers has given all of it. Which parameters share a bucket, and the order of buckets, follow from the network
//! alone: every rank posts the same sums in the same order, also a rank that fails midway.

use collective::{Post, Tree};
use network::{ParameterId, Parameters};
use serde::{Deserialize, Serialize};
use std::mem::take;
use std::ops::Range;

/// What travels while the backward goes on. Results do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Whether anything does.
    pub kind: OverlapKind,
    /// About as many bytes of gradients travel together, or fewer.
    pub bucket_bytes: usize,
}

/// When gradients travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverlapKind {
    /// As soon as the backward has finished them.
    Backward,
    /// After the backward: for measurements of what overlapping gains.
    None,
}

/// A small network's gradients travel in so many buckets too, so that all but the last are hidden; but none is below
/// [`LEAST_BYTES`], for each costs the latency of some exchanges.
const PARTS: usize = 8;
const LEAST_BYTES: usize = 1 << 18;

/// The parameters of each bucket, in the order in which a backward finishes them.
fn buckets(parameters: &Parameters, overlap: Overlap) -> Vec<Vec<usize>> {
    let sizes = parameters.iter().map(|p| size_of::<f32>() * p.values.len()).enumerate();
    let learnt = sizes.zip(parameters.iter()).filter(|(_, p)| p.role.is_learnt());
    let mut learnt: Vec<(usize, usize)> = learnt.map(|(sized, _)| sized).collect();
    learnt.reverse();
    let bytes: Vec<usize> = learnt.iter().map(|&(_, bytes)| bytes).collect();
    let runs = fill(&bytes, overlap).into_iter();
    runs.map(|run| learnt[run].iter().map(|&(position, _)| position).collect()).collect()
}

/// Cuts a list of sizes into buckets: each is full, but perhaps the last.
pub(crate) fn fill(bytes: &[usize], overlap: Overlap) -> Vec<Range<usize>> {
    let share = bytes.iter().sum::<usize>().div_ceil(PARTS);
    let full = share.max(LEAST_BYTES).min(overlap.bucket_bytes);
    let (mut runs, mut first, mut filled) = (Vec::new(), 0, 0);
    for (place, size) in bytes.iter().enumerate() {
        filled += size;
        if filled >= full || place + 1 == bytes.len() {
            runs.push(first..place + 1);
            (first, filled) = (place + 1, 0);
        }
    }
    runs
}

/// Gradients as they come.
pub(super) struct Gathering<'a> {
    post: &'a Post,
    /// None in a world of one, where gradients stay where they are.
    buckets: Vec<Vec<usize>>,
    kind: OverlapKind,
    /// Workers over all ranks.
    workers: usize,
    /// By parameter: this rank's workers still to come, and the sum of gradients times images of the others.
    open: Vec<(usize, Tree<f32>)>,
    /// By parameter: the sum over this rank's workers once it is complete; its memory serves the sum over all.
    finished: Vec<Vec<f32>>,
    /// The bucket to post next.
    next: usize,
}

impl<'a> Gathering<'a> {
    /// Nothing has come; `own` of the `workers` are this rank's, of `ranks`.
    pub fn new(
        post: &'a Post,
        parameters: &Parameters,
        overlap: Overlap,
        ranks: usize,
        (own, workers): (usize, usize),
    ) -> Self {
        Self {
            post,
            buckets: if ranks > 1 { buckets(parameters, overlap) } else { Vec::new() },
            kind: overlap.kind,
            workers,
            open: parameters.iter().map(|_| (own, Tree::default())).collect(),
            finished: vec![Vec::new(); parameters.len()],
            next: 0,
        }
    }

    /// The gradient of a parameter from the next worker, who has so many images.
    pub fn add(&mut self, images: usize, position: usize, mut gradient: Vec<f32>) {
        if self.workers > 1 {
            gradient.iter_mut().for_each(|value| *value *= images as f32);
        }
        let (left, tree) = &mut self.open[position];
        tree.push(gradient);
        *left -= 1;
        if *left == 0 {
            self.finished[position] = take(tree).finish().expect("a summand was pushed");
            if self.kind == OverlapKind::Backward {
                self.post_finished();
            }
        }
    }

    /// Posts the buckets that are complete, in order.
    fn post_finished(&mut self) {
        while let Some(bucket) = self.buckets.get(self.next)
            && bucket.iter().all(|&position| !self.finished[position].is_empty())
        {
            let gradients = bucket.iter().map(|&position| self.finished[position].as_slice());
            self.post.sum(gradients.collect::<Vec<_>>().concat());
            self.next += 1;
        }
    }

    /// Posts what is left and gives this rank's sums. Where a worker failed, zeros travel: the others hear of it afterwards.
    pub fn end(mut self, parameters: &Parameters) -> Gathered {
        for &position in self.buckets.iter().skip(self.next).flatten() {
            let gradient = &mut self.finished[position];
            gradient.resize(parameters[ParameterId(position)].values.len(), 0.0);
        }
        self.post_finished();
        Gathered { own: self.finished, buckets: self.buckets }
    }
}

/// What a rank's workers have given.
pub(super) struct Gathered {
    own: Vec<Vec<f32>>,
    buckets: Vec<Vec<usize>>,
}

impl Gathered {
    /// By parameter: the sums over all ranks, out of those of the buckets.
    pub fn with(mut self, sums: &[Vec<f32>]) -> Vec<Vec<f32>> {
        for (bucket, sum) in self.buckets.iter().zip(sums) {
            let mut rest = sum.as_slice();
            for &position in bucket {
                let (first, after) = rest.split_at(self.own[position].len());
                self.own[position].copy_from_slice(first);
                rest = after;
            }
        }
        self.own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collective::{Solo, Threads, Wire, sum_behind};
    use network::{Architecture, Network};
    use std::thread;
    use std::time::Duration;

    fn network(name: &str) -> Network {
        Network::new(Architecture::named(name).unwrap().graph().unwrap()).unwrap()
    }

    const OVERLAP: Overlap = Overlap { kind: OverlapKind::Backward, bucket_bytes: 25 << 20 };

    #[test]
    fn every_learnt_parameter_travels_once_in_buckets_of_about_the_size_asked_for() {
        for (name, count) in [("resnet8-cifar", 2), ("resnet18-cifar", 6), ("resnet50", 7)] {
            let parameters = &network(name).parameters;
            let buckets = buckets(parameters, OVERLAP);
            let all: Vec<usize> = buckets.concat();
            assert!(all.is_sorted_by(|a, b| a > b), "{name}: late layers are finished first");
            let learnt = parameters.iter().filter(|p| p.role.is_learnt());
            assert_eq!((all.len(), buckets.len()), (learnt.count(), count), "{name}");
        }
        let bytes = |bucket: &Vec<usize>, network: &Network| {
            let of = |&position: &usize| network.parameters[ParameterId(position)].values.len();
            4 * bucket.iter().map(of).sum::<usize>()
        };
        let network = network("resnet50");
        let small = buckets(&network.parameters, Overlap { bucket_bytes: 1 << 20, ..OVERLAP });
        let (last, whole) = small.split_last().unwrap();
        assert!(whole.iter().all(|bucket| bytes(bucket, &network) >= 1 << 20));
        assert!(bytes(last, &network) > 0);
    }

    /// A gradient of a worker: numbers that differ by parameter and worker.
    fn gradient(position: usize, worker: usize, length: usize) -> Vec<f32> {
        (0..length).map(|i| ((i * 7 + position * 3 + worker * 5) % 11) as f32 * 0.1).collect()
    }

    /// Each rank's sums of three workers' gradients; the worker `lost` gives only the last layers.
    fn sums(ranks: usize, lost: Option<usize>) -> Vec<Vec<Vec<f32>>> {
        let network = network("resnet8-cifar");
        let parameters = &network.parameters;
        let own = 4 / ranks;
        let rank = |ranks: &dyn collective::Collective| {
            let (gathered, sums) = sum_behind(ranks, Wire::F32, |post| {
                let world = ranks.world_size();
                let mut gathering = Gathering::new(post, parameters, OVERLAP, world, (own, 4));
                for worker in ranks.rank() * own..(ranks.rank() + 1) * own {
                    let all = (0..parameters.len()).rev();
                    let given = if lost == Some(worker) { 4 } else { parameters.len() };
                    for position in all.take(given) {
                        let parameter = &parameters[ParameterId(position)];
                        if parameter.role.is_learnt() {
                            let length = parameter.values.len();
                            gathering.add(2, position, gradient(position, worker, length));
                        }
                    }
                }
                gathering.end(parameters)
            });
            gathered.with(&sums.unwrap())
        };
        if ranks == 1 {
            return vec![rank(&Solo)];
        }
        thread::scope(|scope| {
            let world = Threads::world(ranks, Duration::from_secs(20));
            let spawn = |ranks| scope.spawn(move || rank(&ranks));
            let threads: Vec<_> = world.into_iter().map(spawn).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn g30_gradients_summed_behind_the_backward_have_the_bits_of_one_sum() {
        let whole = sums(1, None).swap_remove(0);
        assert!(whole.iter().flatten().any(|&value| value != 0.0));
        for ranks in [2, 4] {
            assert!(sums(ranks, None).iter().all(|sums| *sums == whole), "{ranks} ranks");
        }
    }

    #[test]
    fn g30_a_rank_that_fails_midway_leaves_no_other_waiting() {
        let sums = sums(4, Some(2));
        assert!(sums.iter().all(|one| *one == sums[0]));
    }
}
