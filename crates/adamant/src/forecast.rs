//! What a training step costs on many machines, from what it costs on one and what their network can carry.
//!
//! A model of the step as it is built: every node works on its share of the batch, gradients travel in the buckets that
//! training makes, each from when the backward has finished it, and all move once the last has come. It leaves out what
//! cannot be known beforehand: nodes that are slower than others, networks that are shared, and the computing that sending
//! itself takes.

use crate::train::buckets::{Overlap, OverlapKind, fill};
use collective::Wire;

/// What one node needs, measured on one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compute {
    /// Seconds of one gradient of an attack, an image.
    pub attack_pass: f64,
    /// Seconds of a training pass, an image shown.
    pub training_pass: f64,
    /// Seconds of a step that do not depend on images: freezing the network, moving the parameters.
    pub fixed: f64,
}

/// A part of the network, from which it is known when a backward has finished its gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Multiply-accumulates of its forward; a backward's are taken to be spread alike.
    pub macs: u64,
    /// Learnt numbers.
    pub parameters: usize,
}

/// What a step of all nodes has to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// Images of the batch, all nodes together.
    pub batch: usize,
    /// Gradients of the attack on each.
    pub attack_steps: usize,
    /// Images shown for each: 2 where clean ones stand beside the attacked.
    pub shown: usize,
    /// The network, first layer first.
    pub layers: Vec<Layer>,
}

impl Work {
    /// Learnt numbers.
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(|layer| layer.parameters).sum()
    }
}

/// What lies between the nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Links {
    /// Bytes a second that one node sends, and as many that it receives meanwhile.
    pub bandwidth: f64,
    /// Seconds until a message arrives.
    pub latency: f64,
    /// How gradients travel.
    pub wire: Wire,
    /// When, and how many together.
    pub overlap: Overlap,
}

/// A step on so many nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// How many.
    pub nodes: usize,
    /// Images of one node, the most any has.
    pub images: usize,
    /// Seconds of computing.
    pub compute: f64,
    /// Seconds in which gradients are under way.
    pub travelling: f64,
    /// Seconds of those that are not hidden behind the backward, and of the small exchanges: nothing else is done.
    pub waiting: f64,
    /// Bytes that one node sends, and as many that it receives.
    pub bytes: f64,
    /// Images a second on these nodes by as many times those of one node with the whole batch.
    pub efficiency: f64,
}

impl Forecast {
    /// Seconds of a step.
    pub fn step(&self) -> f64 {
        self.compute + self.waiting
    }
}

/// Exchanges of a step besides those of gradients: the command, how all fared, whether there are moments, and two sums of
/// them.
const SMALL_EXCHANGES: f64 = 3.0 + 2.0 * SUM_EXCHANGES;

/// Exchanges of one sum: its length, a slice for each rank, the slices' sums.
const SUM_EXCHANGES: f64 = 3.0;

/// The backward's share of a training pass: it multiplies twice as much as the forward.
const BACKWARD: f64 = 2.0 / 3.0;

/// A step of `work` on `nodes`, each with one worker and one forward.
///
/// Gradients move `2 (n - 1) / n` times in and out of every node, one bucket after the other.
pub fn forecast(compute: &Compute, work: &Work, links: &Links, nodes: usize) -> Forecast {
    let seconds = |images: usize| {
        let each = work.attack_steps as f64 * compute.attack_pass
            + work.shown as f64 * compute.training_pass;
        images as f64 * each + compute.fixed
    };
    let images = work.batch.div_ceil(nodes);
    let own = seconds(images);
    let (mut bytes, mut travelling, mut waiting) = (0.0, 0.0, 0.0);
    if nodes > 1 {
        let backward = BACKWARD * (images * work.shown) as f64 * compute.training_pass;
        let mut free: f64 = 0.0;
        for (done, parameters) in buckets(work, links.overlap) {
            let ready = match links.overlap.kind {
                OverlapKind::Backward => done * backward,
                OverlapKind::None => backward,
            };
            let number = match links.wire {
                Wire::F32 => 4.0,
                Wire::Bf16 => 2.0,
            };
            let moved = 2.0 * (nodes - 1) as f64 / nodes as f64 * number * parameters as f64;
            let takes = moved / links.bandwidth + SUM_EXCHANGES * links.latency;
            free = free.max(ready) + takes;
            (bytes, travelling) = (bytes + moved, travelling + takes);
        }
        waiting = (free - backward).max(0.0) + SMALL_EXCHANGES * links.latency;
    }
    let efficiency = seconds(work.batch) / (nodes as f64 * (own + waiting));
    Forecast { nodes, images, compute: own, travelling, waiting, bytes, efficiency }
}

/// By bucket: the share of the backward that is over when it is complete, and its numbers.
fn buckets(work: &Work, overlap: Overlap) -> Vec<(f64, usize)> {
    let back: Vec<Layer> = work.layers.iter().rev().copied().collect();
    let bytes: Vec<usize> = back.iter().map(|layer| size_of::<f32>() * layer.parameters).collect();
    let all = back.iter().map(|layer| layer.macs).sum::<u64>().max(1);
    let done = |end: usize| back[..end].iter().map(|layer| layer.macs).sum::<u64>();
    let numbers = |run: &[Layer]| run.iter().map(|layer| layer.parameters).sum();
    let runs = fill(&bytes, overlap).into_iter();
    runs.map(|run| (done(run.end) as f64 / all as f64, numbers(&back[run]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPUTE: Compute = Compute { attack_pass: 0.01, training_pass: 0.03, fixed: 0.1 };
    const OVERLAP: Overlap = Overlap { kind: OverlapKind::None, bucket_bytes: 25 << 20 };
    const LINKS: Links = Links { bandwidth: 1e8, latency: 1e-4, wire: Wire::F32, overlap: OVERLAP };

    /// A million numbers: few in the first half of the multiplications, as in a ResNet.
    fn work() -> Work {
        let layers = [(300, 80_000), (300, 120_000), (300, 300_000), (100, 500_000)];
        let layers = layers.map(|(macs, parameters)| Layer { macs, parameters }).to_vec();
        Work { batch: 64, attack_steps: 10, shown: 2, layers }
    }

    #[test]
    fn one_node_waits_for_nobody() {
        let alone = forecast(&COMPUTE, &work(), &LINKS, 1);
        assert!((alone.compute - (64.0 * 0.16 + 0.1)).abs() < 1e-12);
        assert_eq!((alone.waiting, alone.bytes, alone.efficiency), (0.0, 0.0, 1.0));
    }

    #[test]
    fn two_nodes_send_the_gradient_once_and_half_of_it_in_half_precision() {
        let two = forecast(&COMPUTE, &work(), &LINKS, 2);
        assert_eq!(two.bytes, 4e6);
        // 4 MB over 100 MB/s; three buckets and two sums of moments in three exchanges each, three others.
        assert!((two.waiting - (0.04 + 18e-4)).abs() < 1e-12, "{}", two.waiting);
        assert!((two.travelling - (0.04 + 9e-4)).abs() < 1e-12);
        let half = forecast(&COMPUTE, &work(), &Links { wire: Wire::Bf16, ..LINKS }, 2);
        assert_eq!(half.bytes, 2e6);
    }

    #[test]
    fn behind_the_backward_only_what_is_finished_last_is_waited_for() {
        let overlap = Overlap { kind: OverlapKind::Backward, ..OVERLAP };
        let links = Links { overlap, ..LINKS };
        // 1.28 s of backward hide all but the last bucket, 200,000 numbers of the first two layers.
        let two = forecast(&COMPUTE, &work(), &links, 2);
        assert!((two.waiting - (8e-3 + 12e-4)).abs() < 1e-12, "{}", two.waiting);
        // A link too slow to hide anything: the time of the link, less what the first bucket had to wait for.
        let slow = Links { bandwidth: 1e5, latency: 0.0, ..links };
        let two = forecast(&COMPUTE, &work(), &slow, 2);
        assert!((two.waiting - (40.0 - 0.9 * 1.28)).abs() < 1e-9, "{}", two.waiting);
    }

    #[test]
    fn on_a_perfect_network_only_what_does_not_depend_on_images_is_lost() {
        let perfect = Links { bandwidth: f64::INFINITY, latency: 0.0, ..LINKS };
        let without = Compute { fixed: 0.0, ..COMPUTE };
        assert!((forecast(&without, &work(), &perfect, 8).efficiency - 1.0).abs() < 1e-12);
        let with = forecast(&COMPUTE, &work(), &perfect, 8);
        assert!((with.efficiency - (10.24 + 0.1) / (10.24 + 0.8)).abs() < 1e-12);
        // A share that does not come out even is as slow as its greatest part.
        assert_eq!(forecast(&COMPUTE, &work(), &perfect, 3).images, 22);
    }
}
