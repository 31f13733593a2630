//! The moments of all workers as those of all their images.
//!
//! Two sums over the ranks, both in double precision and in the order of a [`Tree`]: counts and totals give the common
//! mean; then every worker says how its values scatter about that. Nothing cancels, and the bits do not depend on which
//! rank stands for which worker.

use collective::{Collective, CollectiveError, Tree};
use network::{LayerMoments, Moments, Network, NodeId, NodeParameters};

/// A batch norm's branch: its place, and how many channels it has.
struct Slot {
    node: NodeId,
    branch: usize,
    channels: usize,
}

/// The moments of the union of all workers' images, forward by forward; `own` are this rank's, by worker and forward.
///
/// Every worker takes part in every layer and branch, also where it met no image. Errors: the collective's.
pub(super) fn pool(
    ranks: &dyn Collective,
    network: &Network,
    own: &[Vec<Moments>],
) -> Result<Vec<Moments>, CollectiveError> {
    let slots = slots(network);
    // A worker without images has made no forward.
    let forwards = own.iter().map(Vec::len).max().unwrap_or(0) as f64;
    let told = ranks.gather("moments", &forwards.to_le_bytes())?;
    let most = told.iter().filter_map(|bytes| Some(f64::from_le_bytes(bytes[..].try_into().ok()?)));
    let forwards = most.fold(0.0, f64::max) as usize;
    (0..forwards).map(|forward| one(ranks, &slots, own, forward)).collect()
}

fn slots(network: &Network) -> Vec<Slot> {
    let mut slots = Vec::new();
    for (node, parameters) in network.layout().nodes.iter().enumerate() {
        if let NodeParameters::Norm { statistics, .. } = parameters {
            for (branch, ids) in statistics.iter().enumerate() {
                let channels = network.parameters[ids.mean].values.len();
                slots.push(Slot { node: NodeId(node), branch, channels });
            }
        }
    }
    slots
}

fn one(
    ranks: &dyn Collective,
    slots: &[Slot],
    own: &[Vec<Moments>],
    forward: usize,
) -> Result<Moments, CollectiveError> {
    let find = |worker: &[Moments], slot: &Slot| {
        let layers = worker.get(forward).map(|moments| moments.layers.as_slice());
        let key = (slot.node, slot.branch);
        layers.unwrap_or_default().iter().find(|layer| (layer.node, layer.branch) == key).cloned()
    };
    // Per slot: the count, then the total of each channel.
    let totals = sum(ranks, own, |worker, summand| {
        for slot in slots {
            match find(worker, slot) {
                None => summand.resize(summand.len() + 1 + slot.channels, 0.0),
                Some(layer) => {
                    let count = layer.count as f64;
                    summand.push(count);
                    summand.extend(layer.mean.iter().map(|mean| mean * count));
                }
            }
        }
    })?;
    let mut means: Vec<Vec<f64>> = Vec::with_capacity(slots.len());
    let mut counts = Vec::with_capacity(slots.len());
    let mut rest = totals.as_slice();
    for slot in slots {
        let (of_slot, after) = rest.split_at(1 + slot.channels);
        counts.push(of_slot[0]);
        means.push(of_slot[1..].iter().map(|total| total / of_slot[0].max(1.0)).collect());
        rest = after;
    }
    // Per slot and channel: the squared distances from the common mean.
    let squares = sum(ranks, own, |worker, summand| {
        for (slot, means) in slots.iter().zip(&means) {
            match find(worker, slot) {
                None => summand.resize(summand.len() + slot.channels, 0.0),
                Some(layer) => {
                    let of_channel = layer.mean.iter().zip(&layer.centred_squares).zip(means);
                    summand.extend(of_channel.map(|((mean, squares), common)| {
                        squares + layer.count as f64 * (mean - common) * (mean - common)
                    }));
                }
            }
        }
    })?;
    let mut layers = Vec::new();
    let mut rest = squares.as_slice();
    for ((slot, mean), count) in slots.iter().zip(means).zip(counts) {
        let (centred_squares, after) = rest.split_at(slot.channels);
        rest = after;
        if count > 0.0 {
            layers.push(LayerMoments {
                node: slot.node,
                branch: slot.branch,
                count: count as usize,
                mean,
                centred_squares: centred_squares.to_vec(),
            });
        }
    }
    Ok(Moments { layers })
}

/// The sum over all workers of all ranks of what `tell` appends for one.
fn sum(
    ranks: &dyn Collective,
    own: &[Vec<Moments>],
    tell: impl Fn(&[Moments], &mut Vec<f64>),
) -> Result<Vec<f64>, CollectiveError> {
    let mut tree = Tree::default();
    for worker in own {
        let mut summand = Vec::new();
        tell(worker, &mut summand);
        tree.push(summand);
    }
    let mut sum = tree.finish().expect("a rank has a worker");
    ranks.sum_f64(&mut sum)?;
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use collective::Solo;
    use network::Architecture;

    /// Moments of the first batch norm, from values that are the same in every channel.
    fn of(values: &[f64], channels: usize, node: NodeId) -> Vec<Moments> {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        let (mean, centred_squares) = (vec![mean; channels], vec![squares; channels]);
        let count = values.len();
        vec![Moments {
            layers: vec![LayerMoments { node, branch: 0, count, mean, centred_squares }],
        }]
    }

    /// Tolerance: 23 values near 1000 in double precision, squared distances near 100.
    #[test]
    fn g30_pooled_moments_are_those_of_the_union_and_a_worker_may_have_no_images() {
        let graph = Architecture::named("resnet8-cifar").unwrap().graph().unwrap();
        let network = Network::new(graph).unwrap();
        let Slot { node, channels, .. } = slots(&network).swap_remove(0);
        let values: Vec<f64> = (0..23).map(|i| 1000.0 + f64::from(i * i % 7)).collect();
        let own = [
            of(&values[..5], channels, node),
            Vec::new(),
            of(&values[5..11], channels, node),
            of(&values[11..], channels, node),
        ];
        let pooled = pool(&Solo, &network, &own).unwrap();
        let (found, union) = (&pooled[0].layers, &of(&values, channels, node)[0].layers[0]);
        assert_eq!((found.len(), found[0].count), (1, 23), "layers that met no image are absent");
        assert!((found[0].mean[0] - union.mean[0]).abs() < 1e-10);
        assert!((found[0].centred_squares[0] - union.centred_squares[0]).abs() < 1e-8);
    }
}
