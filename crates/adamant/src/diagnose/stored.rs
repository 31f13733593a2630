//! What batch norms hold: running statistics and affine parameters, branch by branch.

use super::distance::{Distance, Gaussian};
use network::{Network, NodeParameters, Norm, Op, ParameterId};
use serde::{Deserialize, Serialize};

/// What a batch norm holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerStored {
    /// Its name.
    pub layer: String,
    /// One a domain; a layer that shares something gives its domains the same.
    pub branches: Vec<Branch>,
    /// By channel, between the statistics of the first two domains; empty where they share them.
    pub distances: Vec<Distance>,
}

/// What a batch norm holds for one domain, by channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    /// Running mean and variance.
    pub running: Vec<Gaussian>,
    /// The factor, gamma.
    pub scale: Vec<f64>,
    /// The summand, beta.
    pub shift: Vec<f64>,
}

/// What every batch norm of a network holds, in graph order.
pub fn stored(network: &Network) -> Vec<LayerStored> {
    let layout = network.layout();
    let values = |id: ParameterId| network.parameters[id].values.iter().map(|&v| f64::from(v));
    let mut layers = Vec::new();
    for (node, parameters) in network.graph.nodes.iter().zip(&layout.nodes) {
        let (Op::Norm(Norm::Batch(batch)), NodeParameters::Norm { affine, statistics }) =
            (&node.op, parameters)
        else {
            continue;
        };
        let branch = |domain: usize| {
            let (running, affine) =
                (statistics[batch.statistics_branch(domain)], affine[batch.affine_branch(domain)]);
            let pairs = values(running.mean).zip(values(running.variance));
            Branch {
                running: pairs.map(|(mean, variance)| Gaussian { mean, variance }).collect(),
                scale: values(affine.scale).collect(),
                shift: values(affine.shift).collect(),
            }
        };
        let branches: Vec<Branch> = (0..batch.domains).map(branch).collect();
        let distances = match &branches[..] {
            [first, second, ..] if statistics.len() > 1 => {
                let pairs = first.running.iter().zip(&second.running);
                pairs.map(|(a, b)| a.distance(*b, f64::from(batch.epsilon))).collect()
            }
            _ => Vec::new(),
        };
        layers.push(LayerStored { layer: node.name.clone(), branches, distances });
    }
    layers
}
