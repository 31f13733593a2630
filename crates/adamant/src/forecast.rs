//! What a training step costs on many machines, from what it costs on one and what their network can carry.
//!
//! A model of the step as it is built: every node works on its share of the batch, then gradients are summed, then all
//! move. It leaves out what cannot be known beforehand: nodes that are slower than others, and networks that are shared.

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

/// What a step of all nodes has to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Images of the batch, all nodes together.
    pub batch: usize,
    /// Gradients of the attack on each.
    pub attack_steps: usize,
    /// Images shown for each: 2 where clean ones stand beside the attacked.
    pub shown: usize,
    /// Learnt numbers.
    pub parameters: usize,
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
    /// Seconds of waiting for the others' gradients.
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

/// Exchanges of a step besides those of gradients: the command, how all fared, and three sums of moments in two each but the
/// first.
const SMALL_EXCHANGES: f64 = 7.0;

/// Bytes of gradients that travel together.
const BUCKET: f64 = (25 << 20) as f64;

/// A step of `work` on `nodes`.
///
/// Gradients move `2 (n - 1) / n` times in and out of every node, bucket by bucket, after the backward: nothing is hidden.
pub fn forecast(compute: &Compute, work: &Work, links: &Links, nodes: usize) -> Forecast {
    let seconds = |images: usize| {
        let each = work.attack_steps as f64 * compute.attack_pass
            + work.shown as f64 * compute.training_pass;
        images as f64 * each + compute.fixed
    };
    let images = work.batch.div_ceil(nodes);
    let own = seconds(images);
    let number = match links.wire {
        Wire::F32 => 4.0,
        Wire::Bf16 => 2.0,
    };
    let gradient = work.parameters as f64 * number;
    let (bytes, exchanges) = match nodes {
        1 => (0.0, 0.0),
        n => {
            let buckets = (gradient / BUCKET).ceil();
            (2.0 * (n - 1) as f64 / n as f64 * gradient, 2.0 * buckets + SMALL_EXCHANGES)
        }
    };
    let waiting = bytes / links.bandwidth + exchanges * links.latency;
    let efficiency = seconds(work.batch) / (nodes as f64 * (own + waiting));
    Forecast { nodes, images, compute: own, waiting, bytes, efficiency }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPUTE: Compute = Compute { attack_pass: 0.01, training_pass: 0.03, fixed: 0.1 };
    const WORK: Work = Work { batch: 64, attack_steps: 10, shown: 2, parameters: 1_000_000 };
    const LINKS: Links = Links { bandwidth: 1e8, latency: 1e-4, wire: Wire::F32 };

    #[test]
    fn one_node_waits_for_nobody() {
        let alone = forecast(&COMPUTE, &WORK, &LINKS, 1);
        assert!((alone.compute - (64.0 * 0.16 + 0.1)).abs() < 1e-12);
        assert_eq!((alone.waiting, alone.bytes, alone.efficiency), (0.0, 0.0, 1.0));
    }

    #[test]
    fn two_nodes_send_the_gradient_once_and_half_of_it_in_half_precision() {
        let two = forecast(&COMPUTE, &WORK, &LINKS, 2);
        assert_eq!(two.bytes, 4e6);
        // 4 MB over 100 MB/s; two exchanges of one bucket and seven small ones.
        assert!((two.waiting - (0.04 + 9e-4)).abs() < 1e-12);
        let half = forecast(&COMPUTE, &WORK, &Links { wire: Wire::Bf16, ..LINKS }, 2);
        assert_eq!(half.bytes, 2e6);
    }

    #[test]
    fn on_a_perfect_network_only_what_does_not_depend_on_images_is_lost() {
        let perfect = Links { bandwidth: f64::INFINITY, latency: 0.0, ..LINKS };
        let without = Compute { fixed: 0.0, ..COMPUTE };
        assert!((forecast(&without, &WORK, &perfect, 8).efficiency - 1.0).abs() < 1e-12);
        let with = forecast(&COMPUTE, &WORK, &perfect, 8);
        assert!((with.efficiency - (10.24 + 0.1) / (10.24 + 0.8)).abs() < 1e-12);
        // A share that does not come out even is as slow as its greatest part.
        assert_eq!(forecast(&COMPUTE, &WORK, &perfect, 3).images, 22);
    }
}
