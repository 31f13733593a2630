//! Folding: with running statistics a batch norm is one factor and one summand per channel.
//!
//! A frozen network and an exported one are both what [`fold`] gives for one domain.

use crate::graph::Bias;
use crate::{
    Domain, Graph, Network, NetworkError, Node, NodeId, NodeParameters, Norm, Op, ParameterId,
    ParameterSpec,
};
use rayon::prelude::*;
use std::collections::HashMap;

/// Factor and summand per channel, in f64 until they are rounded once.
struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
}

/// The network that `network` is for images of `domain` under running statistics, with one domain and without batch norm.
///
/// A convolution whose only reader is a batch norm takes that norm's factor into its weights and the rest into its bias,
/// keeping its own name. A batch norm that cannot fold (pre-activation, or a convolution read twice) becomes a
/// [`Op::Scale`] under its own name. Group and instance norms depend on the image and stay.
/// Errors: a running variance below zero, by name; those of [`Graph::validate`].
pub fn fold(network: &Network, domain: Domain) -> Result<Network, NetworkError> {
    fold_in(network, domain, |length| vec![0.0; length])
}

/// The same, its numbers written over those of vectors of the lengths that `memory` is asked for.
///
/// Errors: as [`fold`].
pub fn fold_in(
    network: &Network,
    domain: Domain,
    memory: impl Fn(usize) -> Vec<f32>,
) -> Result<Network, NetworkError> {
    let graph = &network.graph;
    let layout = graph.layout();
    let consumers = graph.consumers();
    let mut folded = Graph { domains: 1, nodes: Vec::new(), ..graph.clone() };
    let mut new_ids: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    // What each tensor of the folded graph is made of: the node it came from, and the norm it absorbed.
    let mut origins: HashMap<String, (NodeId, Option<Affine>)> = HashMap::new();

    for (position, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<NodeId> = node.inputs.iter().map(|input| new_ids[input.0]).collect();
        let op = match &node.op {
            Op::Convolution(convolution) => {
                let mut convolution = *convolution;
                let norm = sole_batch_norm(graph, &consumers[position]);
                let affine =
                    norm.map(|norm| frozen(network, &layout.nodes, norm, domain)).transpose()?;
                if affine.is_some() {
                    convolution.bias = Bias::Present;
                }
                origins.insert(node.name.clone(), (NodeId(position), affine));
                Op::Convolution(convolution)
            }
            Op::Norm(Norm::Batch(_)) => {
                let NodeId(input) = node.inputs[0];
                let reads_convolution = matches!(graph.nodes[input].op, Op::Convolution(_));
                if reads_convolution && consumers[input].len() == 1 {
                    // Folded: whoever read the norm now reads the convolution.
                    new_ids.push(inputs[0]);
                    continue;
                }
                let affine = frozen(network, &layout.nodes, NodeId(position), domain)?;
                Op::Scale { scale: rounded(&affine.scale), shift: rounded(&affine.shift) }
            }
            op => {
                origins.insert(node.name.clone(), (NodeId(position), None));
                op.clone()
            }
        };
        new_ids.push(NodeId(folded.nodes.len()));
        folded.nodes.push(Node { name: node.name.clone(), op, inputs });
    }

    Network::with_values(folded, |spec| {
        let (node, _) = spec.name.rsplit_once('.').expect("parameter names have a dot");
        let (origin, affine) = &origins[node];
        let source = network.parameters.get(&spec.name).map(|p| p.values.as_slice());
        let mut values = memory(spec.len());
        match affine {
            None => values.copy_from_slice(source.expect("an unfolded node keeps its parameters")),
            Some(affine) => fold_into(spec, source, affine, graph, *origin, &mut values),
        }
        Ok(values)
    })
}

/// The batch norm that is the only reader of a node.
fn sole_batch_norm(graph: &Graph, consumers: &[NodeId]) -> Option<NodeId> {
    let [only] = consumers else { return None };
    matches!(graph.nodes[only.0].op, Op::Norm(Norm::Batch(_))).then_some(*only)
}

/// The factor and summand of a batch norm under running statistics.
fn frozen(
    network: &Network,
    layout: &[NodeParameters],
    norm: NodeId,
    domain: Domain,
) -> Result<Affine, NetworkError> {
    let Op::Norm(Norm::Batch(batch)) = &network.graph.nodes[norm.0].op else {
        unreachable!("only batch norms are folded");
    };
    let NodeParameters::Norm { affine, statistics } = &layout[norm.0] else {
        unreachable!("a norm has the parameters of a norm");
    };
    let affine = affine[batch.affine_branch(domain.0)];
    let statistics = statistics[batch.statistics_branch(domain.0)];
    let values = |id: ParameterId| &network.parameters[id].values;
    let variance = &network.parameters[statistics.variance];
    if let Some(found) = variance.values.iter().find(|&&value| value < 0.0) {
        return Err(NetworkError::Parameter {
            name: variance.name.clone(),
            expected: "a variance of at least 0".into(),
            found: found.to_string(),
        });
    }
    let deviations =
        variance.values.iter().map(|v| (f64::from(*v) + f64::from(batch.epsilon)).sqrt());
    let scale: Vec<f64> =
        values(affine.scale).iter().zip(deviations).map(|(g, d)| f64::from(*g) / d).collect();
    let offsets = values(affine.shift).iter().zip(values(statistics.mean));
    let shift = offsets.zip(&scale).map(|((b, m), s)| f64::from(*b) - f64::from(*m) * s).collect();
    Ok(Affine { scale, shift })
}

/// Values of a folded convolution's weight or bias: `scale (w x + b) + shift`.
fn fold_into(
    spec: &ParameterSpec,
    source: Option<&[f32]>,
    affine: &Affine,
    graph: &Graph,
    origin: NodeId,
    folded: &mut [f32],
) {
    let channels = affine.scale.len();
    if spec.shape.len() == 1 {
        let own = |channel: usize| source.map_or(0.0, |bias| f64::from(bias[channel]));
        for (c, folded) in folded.iter_mut().enumerate() {
            *folded = (affine.scale[c] * own(c) + affine.shift[c]) as f32;
        }
        return;
    }
    let name = &graph.nodes[origin.0].name;
    let weight = source.unwrap_or_else(|| panic!("convolution {name} has no weight"));
    let per_channel = weight.len() / channels;
    let rows = folded.par_chunks_exact_mut(per_channel).zip(weight.par_chunks_exact(per_channel));
    rows.zip(&affine.scale).for_each(|((to, from), scale)| {
        to.iter_mut().zip(from).for_each(|(to, w)| *to = (scale * f64::from(*w)) as f32);
    });
}

fn rounded(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Architecture, NormChoice};

    /// Distinct positive values, so that a wrong branch or channel shows.
    fn varied(name: &str, norm: NormChoice) -> Network {
        let mut architecture = Architecture::named(name).unwrap();
        architecture.norm = norm;
        let mut state = 1_u32;
        Network::with_values(architecture.graph().unwrap(), |spec| {
            Ok((0..spec.len())
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    0.1 + (state >> 8) as f32 / (1 << 24) as f32
                })
                .collect())
        })
        .unwrap()
    }

    fn value(network: &Network, name: &str, index: usize) -> f64 {
        f64::from(network.parameters.get(name).unwrap().values[index])
    }

    #[test]
    fn g22_a_convolution_takes_its_norm_into_weight_and_bias_branch_by_branch() {
        let network = varied("resnet8-cifar", NormChoice::MIXTURE);
        for (domain, prefix) in [(0, "layer2.0.bn1"), (1, "layer2.0.bn1.aux_bn.0")] {
            let folded = fold(&network, Domain(domain)).unwrap();
            let part = |kind: &str| value(&network, &format!("{prefix}.{kind}"), 3);
            let scale = part("weight") / (part("running_var") + 1e-5).sqrt();
            let shift = part("bias") - part("running_mean") * scale;
            let size = 16 * 9;
            let weight = value(&network, "layer2.0.conv1.weight", 3 * size + 7) * scale;
            assert!((value(&folded, "layer2.0.conv1.weight", 3 * size + 7) - weight).abs() < 1e-6);
            assert!((value(&folded, "layer2.0.conv1.bias", 3) - shift).abs() < 1e-6);
        }
    }

    #[test]
    fn g22_no_batch_norm_is_left_in_any_family() {
        for name in ["resnet8-cifar", "resnet18-cifar", "resnet50", "wrn-10-2"] {
            let network = varied(name, NormChoice::MIXTURE);
            let folded = fold(&network, Domain::ADVERSARIAL).unwrap();
            assert!(folded.graph.nodes.iter().all(|node| !matches!(node.op, Op::Norm(_))));
            assert_eq!(folded.graph.domains, 1);
            let scales = folded.graph.nodes.iter().filter(|n| matches!(n.op, Op::Scale { .. }));
            // The input scaling, and in a pre-activation network the three norms that read a sum.
            let lone = if name == "wrn-10-2" { 3 } else { 0 };
            assert_eq!(scales.count(), 1 + lone, "{name}");
        }
    }

    #[test]
    fn norms_of_the_image_stay_and_nothing_else_changes() {
        for norm in [NormChoice::Group { groups: 8 }, NormChoice::Instance, NormChoice::None] {
            let network = varied("resnet8-cifar", norm);
            assert_eq!(fold(&network, Domain::CLEAN).unwrap(), network);
        }
    }

    #[test]
    fn a_negative_running_variance_is_named() {
        let mut network = varied("resnet8-cifar", NormChoice::BATCH);
        let id = network.parameters.id("layer1.0.bn2.running_var").unwrap();
        network.parameters[id].values[0] = -1.0;
        let message = fold(&network, Domain::CLEAN).unwrap_err().to_string();
        assert!(message.contains("layer1.0.bn2.running_var"), "{message}");
    }
}
