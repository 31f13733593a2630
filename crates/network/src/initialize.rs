//! Initial values.

use crate::{Graph, Network, NetworkError, NodeParameters, Norm, Op, Role};

/// Standard deviation of the classifier's weights, as in the paper's code.
const CLASSIFIER_STD: f32 = 0.01;

/// Gives standard normal numbers to a tensor.
///
/// The first argument is the tensor's rank among the *weights* of the network, not among all parameters: networks that
/// differ only in their norms so start from the same convolutions at the same seed, and their comparison is paired.
pub trait NormalSource {
    /// Fills `values` with independent standard normal numbers that depend on `tensor` alone.
    fn fill(&mut self, tensor: u32, values: &mut [f32]);
}

impl<F: FnMut(u32, &mut [f32])> NormalSource for F {
    fn fill(&mut self, tensor: u32, values: &mut [f32]) {
        self(tensor, values);
    }
}

impl Network {
    /// A network with initial values: convolutions He fan-out, classifier `N(0, 0.01^2)`, offsets 0, factors 1 but 0
    /// in the last norm of each residual branch, gains 0.
    ///
    /// So every block begins as its shortcut (Goyal et al. 2017, §5.1). A pre-activation branch ends in a convolution
    /// and has no such norm. All domains of a norm begin equal.
    /// Errors: those of [`Graph::validate`]. Source: paper recipe, "last BN gamma of each block starts at 0;
    /// convolutions He fan-out; FC N(0, .01^2) with bias".
    pub fn initialized(graph: Graph, normals: &mut dyn NormalSource) -> Result<Self, NetworkError> {
        let mut network = Self::new(graph)?;
        let layout = network.layout();
        let mut tensor = 0;
        for (node, parameters) in network.graph.nodes.iter().zip(&layout.nodes) {
            let NodeParameters::Weighted { weight, .. } = parameters else { continue };
            let deviation = match &node.op {
                // Fan-out is what one input value reaches: kernel pixels times output channels (He et al. 2015).
                Op::Convolution(c) => {
                    (2.0 / (c.out_channels * c.kernel * c.kernel) as f64).sqrt() as f32
                }
                _ => CLASSIFIER_STD,
            };
            let weight = &mut network.parameters[*weight];
            debug_assert_eq!(weight.role, Role::Weight);
            normals.fill(tensor, &mut weight.values);
            weight.values.iter_mut().for_each(|value| *value *= deviation);
            tensor += 1;
        }
        for node in branch_ends(&network.graph) {
            if let NodeParameters::Norm { affine, .. } = &layout.nodes[node] {
                for branch in affine {
                    network.parameters[branch.scale].values.fill(0.0);
                }
            }
        }
        Ok(network)
    }
}

/// Positions of the norms that end a residual branch: builders put the branch first in every sum.
fn branch_ends(graph: &Graph) -> impl Iterator<Item = usize> {
    graph.nodes.iter().filter(|node| node.op == Op::Add).map(|node| node.inputs[0].0).filter(
        |&branch| {
            matches!(
                graph.nodes[branch].op,
                Op::Norm(Norm::Batch(_) | Norm::Group { .. } | Norm::Instance { .. })
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Architecture, NormChoice};

    /// Distinct numbers that tell tensor and position.
    fn counting(tensor: u32, values: &mut [f32]) {
        for (position, value) in values.iter_mut().enumerate() {
            *value = (tensor + 1) as f32 + position as f32 * 1e-4;
        }
    }

    fn initialized(name: &str, norm: NormChoice) -> Network {
        let mut architecture = Architecture::named(name).unwrap();
        architecture.norm = norm;
        Network::initialized(architecture.graph().unwrap(), &mut counting).unwrap()
    }

    #[test]
    fn g26_the_last_gamma_of_each_block_is_zero_in_every_domain_and_no_other() {
        let network = initialized("resnet50", NormChoice::MIXTURE);
        let scales = network.parameters.iter().filter(|p| p.role == Role::Scale);
        let mut zero = 0;
        for scale in scales {
            let ends = scale.name.contains(".bn3.");
            let value = if ends { 0.0 } else { 1.0 };
            assert!(scale.values.iter().all(|&v| v == value), "{}", scale.name);
            zero += usize::from(ends);
        }
        assert_eq!(zero, 2 * 16);
    }

    #[test]
    fn convolutions_have_he_fan_out_and_the_classifier_a_hundredth() {
        let network = initialized("resnet8-cifar", NormChoice::BATCH);
        let first = network.parameters.get("conv1.weight").unwrap();
        let deviation = (2.0_f64 / (16 * 9) as f64).sqrt() as f32;
        assert_eq!(first.values[0], deviation);
        let classifier = network.parameters.get("linear.weight").unwrap();
        assert_eq!(classifier.values[0], 8.0 * 0.01);
        assert!(network.parameters.get("linear.bias").unwrap().values.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn networks_that_differ_in_norms_start_from_the_same_convolutions() {
        let single = initialized("resnet8-cifar", NormChoice::BATCH);
        for norm in [NormChoice::MIXTURE, NormChoice::Group { groups: 8 }, NormChoice::None] {
            let other = initialized("resnet8-cifar", norm);
            for weight in single.parameters.iter().filter(|p| p.role == Role::Weight) {
                assert_eq!(Some(weight), other.parameters.get(&weight.name));
            }
        }
    }

    #[test]
    fn without_norms_every_branch_has_a_gain_of_zero_and_every_convolution_a_bias() {
        let network = initialized("resnet8-cifar", NormChoice::None);
        let gains: Vec<_> = network.parameters.iter().filter(|p| p.role == Role::Gain).collect();
        assert_eq!(gains.len(), 3);
        assert!(gains.iter().all(|gain| gain.values == [0.0]));
        assert!(network.parameters.get("layer1.0.conv1.bias").is_some());
    }
}
