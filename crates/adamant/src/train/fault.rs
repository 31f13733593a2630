//! Numbers that went wrong in a step: which, in which layer, over which images (G32, T51). Begin with [`Fault`].

use super::error::TrainError;
use super::forward::forward;
use super::trainer::Trainer;
use crate::attack::AttackError;
use crate::image::{Batch, Images};
use engine::{Engine, EngineError};
use network::{Graph, Network, NetworkError, Node, NodeId, Op, Statistics};
use std::fmt;

/// A step whose loss, gradient or parameters are not finite, or whose loss has exploded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Steps done before.
    pub step: u64,
    /// Which number, and what it is.
    pub what: String,
    /// The first layer where it is so, if one could be found.
    pub layer: Option<String>,
    /// The images of the step: positions in the data set.
    pub images: Vec<u64>,
}

/// How many images are named in a message; `metrics.jsonl` has all.
const NAMED: usize = 8;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: {}", self.step, self.what)?;
        if let Some(layer) = &self.layer {
            write!(f, "; layer {layer} is the first that is not finite")?;
        }
        let named: Vec<String> = self.images.iter().take(NAMED).map(u64::to_string).collect();
        if !named.is_empty() {
            write!(f, "\n  images of the step: {}", named.join(", "))?;
            let more = self.images.len() - named.len();
            if more > 0 {
                write!(f, " and {more} more")?;
            }
        }
        write!(
            f,
            "\n  hint: the last checkpoint is intact; a smaller optimizer.learning_rate may help, and \
             training.on_nonfinite = \"roll-back\" passes such steps by"
        )
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// A fault of which layer and images are not known yet.
    pub(super) fn error(step: u64, what: String) -> TrainError {
        TrainError::NonFinite(Box::new(Self { step, what, layer: None, images: Vec::new() }))
    }
}

impl TrainError {
    /// The same fault with the layer that `layer` finds; another error as it is.
    pub(super) fn in_layer(self, layer: impl Fn() -> Option<String>) -> Self {
        match self {
            Self::NonFinite(fault) => Self::NonFinite(Box::new(Fault { layer: layer(), ..*fault })),
            other => other,
        }
    }
}

/// An error of a step, as a fault of its numbers if it is one, with the images and the layer.
pub(super) fn explain<E: Engine>(
    error: TrainError,
    trainer: &Trainer<'_, E>,
    batch: &Batch,
) -> TrainError {
    let mut fault = match error {
        TrainError::NonFinite(fault) => fault,
        TrainError::Attack { step, ref source } if is_of_attack(source) => {
            let (what, layer) = (source.to_string(), in_crafting(trainer, &batch.images));
            Box::new(Fault { step, what, layer, images: Vec::new() })
        }
        TrainError::Engine { step, ref source } if is_of_weights(source) => {
            Box::new(Fault { step, what: source.to_string(), layer: None, images: Vec::new() })
        }
        other => return other,
    };
    // Another rank has named its own.
    if fault.images.is_empty() {
        fault.images.clone_from(&batch.indices);
    }
    TrainError::NonFinite(fault)
}

fn is_of_attack(error: &AttackError) -> bool {
    match error {
        AttackError::NonFinite { .. } => true,
        AttackError::Victim(victim) => victim.0.downcast_ref().is_some_and(is_of_weights),
        _ => false,
    }
}

/// Folding multiplies weights by factors; finite ones can give products that are not.
fn is_of_weights(error: &EngineError) -> bool {
    matches!(error, EngineError::Network(NetworkError::Parameter { .. }))
}

fn in_crafting<E: Engine>(trainer: &Trainer<'_, E>, images: &Images) -> Option<String> {
    let none = Images::zeros(0, images.shape);
    first_layer(trainer, &none, images, trainer.plan.crafting.statistics)
}

/// The first layer whose output is not finite though all it reads is; none where every output is finite.
///
/// Looked for by bisection with forwards of shortened networks, so that the step itself need not watch its layers.
pub(super) fn first_layer<E: Engine>(
    trainer: &Trainer<'_, E>,
    clean: &Images,
    adversarial: &Images,
    statistics: Statistics,
) -> Option<String> {
    let network = &trainer.network;
    let kind = trainer.plan.forward;
    let is_broken = |node: usize| -> Option<bool> {
        let short = up_to(network, node)?;
        let answers = forward(trainer.engine, &short, clean, adversarial, kind, statistics).ok()?;
        let mut values = answers.clean.values.iter().chain(&answers.adversarial.values);
        Some(values.any(|value| !value.is_finite()))
    };
    let nodes = &network.graph.nodes;
    let (mut whole, mut broken) = (0, nodes.len() - 1);
    if !is_broken(broken)? {
        return None;
    }
    while broken - whole > 1 {
        let middle = whole + (broken - whole) / 2;
        if is_broken(middle)? { broken = middle } else { whole = middle }
    }
    // Its predecessor in the list is finite, but it may read another that is not.
    loop {
        let mut inputs = nodes[broken].inputs.iter().map(|id| id.0);
        match inputs.find(|&input| is_broken(input) == Some(true)) {
            Some(input) => broken = input,
            None => return Some(nodes[broken].name.clone()),
        }
    }
}

/// The network whose logits are the means over rows and columns of `node`'s value.
fn up_to(network: &Network, node: usize) -> Option<Network> {
    let Graph { name, input, domains, nodes, .. } = &network.graph;
    let mut needed = vec![false; nodes.len()];
    needed[node] = true;
    for position in (0..=node).rev() {
        if needed[position] {
            nodes[position].inputs.iter().for_each(|id| needed[id.0] = true);
        }
    }
    let (mut kept, mut place) = (Vec::new(), vec![NodeId(0); nodes.len()]);
    for (position, one) in nodes.iter().enumerate().filter(|&(position, _)| needed[position]) {
        place[position] = NodeId(kept.len());
        let inputs = one.inputs.iter().map(|id| place[id.0]).collect();
        kept.push(Node { inputs, ..one.clone() });
    }
    let shape = network.graph.shapes().ok()?[node];
    if shape.height * shape.width > 1 {
        let inputs = vec![NodeId(kept.len() - 1)];
        let name = format!("{}, its mean", nodes[node].name);
        kept.push(Node { name, op: Op::GlobalAveragePool, inputs });
    }
    let graph = Graph {
        name: name.clone(),
        input: *input,
        classes: shape.channels,
        domains: *domains,
        nodes: kept,
    };
    let value = |name: &str| network.parameters.get(name).map(|p| p.values.clone());
    Network::with_values(graph, |spec| {
        Ok(value(&spec.name).expect("a part of a network has no other parameters"))
    })
    .ok()
}
