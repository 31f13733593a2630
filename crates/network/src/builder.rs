//! Writes a graph node by node, keeping track of channels and applying the choices all families share.

use crate::architecture::{Architecture, NormChoice};
use crate::graph::Bias;
use crate::{Activation, BatchNorm, Convolution, Graph, NetworkError, Node, NodeId, Norm, Op};

/// Added to the variance and share of the new batch: the values of He et al., PyTorch and the paper's code.
const EPSILON: f32 = 1e-5;
const MOMENTUM: f32 = 0.1;

/// A value of the graph under construction, with its number of channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub id: NodeId,
    pub channels: usize,
}

/// Where a convolution goes: kernel, step and channels given; padding keeps the side at stride 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub out_channels: usize,
    pub kernel: usize,
    pub stride: usize,
}

/// A graph under construction.
#[derive(Debug)]
pub(crate) struct Builder {
    graph: Graph,
    norm: NormChoice,
    activation: Activation,
}

impl Builder {
    /// A graph with its input and input scaling; the second value is what the first layer reads.
    pub fn new(architecture: &Architecture) -> Result<(Self, Value), NetworkError> {
        let name = architecture.name();
        let graph = Graph {
            name: name.clone(),
            input: architecture.input,
            classes: architecture.classes,
            domains: architecture.norm.domains(),
            nodes: Vec::new(),
        };
        let mut builder =
            Self { graph, norm: architecture.norm, activation: architecture.activation };
        let channels = architecture.input.channels;
        let mut value = builder.push("input", Op::Input, &[], channels);
        if let Some((scale, shift)) = architecture.scaling.affine(channels, &name)? {
            value = builder.push("scaling", Op::Scale { scale, shift }, &[value], channels);
        }
        Ok((builder, value))
    }

    fn push(&mut self, name: &str, op: Op, inputs: &[Value], channels: usize) -> Value {
        let id = NodeId(self.graph.nodes.len());
        let inputs = inputs.iter().map(|value| value.id).collect();
        self.graph.nodes.push(Node { name: name.into(), op, inputs });
        Value { id, channels }
    }

    /// A convolution; it has a bias only where no norm follows to add one.
    pub fn convolution(&mut self, name: &str, from: Value, window: Window) -> Value {
        let Window { out_channels, kernel, stride } = window;
        let bias = match self.norm {
            NormChoice::None => Bias::Present,
            _ => Bias::Absent,
        };
        let op = Op::Convolution(Convolution {
            in_channels: from.channels,
            out_channels,
            kernel,
            stride,
            padding: kernel / 2,
            bias,
        });
        self.push(name, op, &[from], out_channels)
    }

    /// The norm chosen for the architecture, or nothing for [`NormChoice::None`].
    ///
    /// Errors: a number of groups that does not divide the channels.
    pub fn norm(&mut self, name: &str, from: Value) -> Result<Value, NetworkError> {
        let channels = from.channels;
        let norm = match self.norm {
            NormChoice::None => return Ok(from),
            NormChoice::Instance => Norm::Instance { channels, epsilon: EPSILON },
            NormChoice::Group { groups } => {
                if groups == 0 || !channels.is_multiple_of(groups) {
                    let fits =
                        (1..=groups).rev().find(|g| channels.is_multiple_of(*g)).unwrap_or(1);
                    return Err(NetworkError::Setting {
                        architecture: self.graph.name.clone(),
                        setting: "groups",
                        found: groups.to_string(),
                        expected: format!("a divisor of the {channels} channels of {name}"),
                        hint: format!("{fits} groups fit this layer"),
                    });
                }
                Norm::Group { channels, groups, epsilon: EPSILON }
            }
            NormChoice::Batch { domains, statistics, affine, running_variance } => {
                Norm::Batch(BatchNorm {
                    channels,
                    domains,
                    statistics,
                    affine,
                    epsilon: EPSILON,
                    momentum: MOMENTUM,
                    running_variance,
                })
            }
        };
        Ok(self.push(name, Op::Norm(norm), &[from], channels))
    }

    /// The activation chosen for the architecture.
    pub fn activation(&mut self, name: &str, from: Value) -> Value {
        self.push(name, Op::Activation(self.activation), &[from], from.channels)
    }

    /// Branch plus shortcut, in that order: initialisation knows the branch by it. Without norms the branch is first
    /// multiplied by a learnt gain, so that a block can begin as its shortcut.
    pub fn join(&mut self, block: &str, branch: Value, shortcut: Value) -> Value {
        let branch = match self.norm {
            NormChoice::None => {
                self.push(&format!("{block}.branch"), Op::Gain, &[branch], branch.channels)
            }
            _ => branch,
        };
        self.push(&format!("{block}.add"), Op::Add, &[branch, shortcut], branch.channels)
    }

    /// Shortcut "option A": subsampled, zero channels split evenly around.
    ///
    /// Source: He et al. 2016, §4.2; akamaster/pytorch_resnet_cifar10 pads a quarter of the channels on each side.
    pub fn subsample(
        &mut self,
        name: &str,
        from: Value,
        out_channels: usize,
        stride: usize,
    ) -> Value {
        let added = out_channels - from.channels;
        let op = Op::Subsample { stride, pad_before: added / 2, pad_after: added - added / 2 };
        self.push(name, op, &[from], out_channels)
    }

    /// The 3x3 stride 2 pooling of the ImageNet stem.
    pub fn max_pool(&mut self, name: &str, from: Value) -> Value {
        let op = Op::MaxPool { kernel: 3, stride: 2, padding: 1 };
        self.push(name, op, &[from], from.channels)
    }

    /// Global average and the classifier; checks and gives the graph.
    ///
    /// Errors: those of [`Graph::validate`].
    pub fn finish(mut self, classifier: &str, from: Value) -> Result<Graph, NetworkError> {
        let pooled = self.push("avgpool", Op::GlobalAveragePool, &[from], from.channels);
        let outputs = self.graph.classes;
        let op = Op::Linear { inputs: from.channels, outputs };
        self.push(classifier, op, &[pooled], outputs);
        self.graph.validate()?;
        Ok(self.graph)
    }
}
