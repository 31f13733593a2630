//! The graph: operations in topological order, each naming the nodes it reads.
//!
//! A node's name is the prefix of its parameters' names, so a graph built with torchvision's names
//! (`layer1.0.conv1`) has torchvision's parameters (`layer1.0.conv1.weight`).

use crate::{Activation, Norm};
use serde::{Deserialize, Serialize};

/// Channels, height and width of one image's value; a vector has height and width 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Channels, or the length of a vector.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// A map of `channels` planes.
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// Values in one image.
    pub const fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether the shape holds no values at all.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {}, {}]", self.channels, self.height, self.width)
    }
}

/// Position of a node in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub usize);

/// The architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// The architecture's name, such as `resnet18-cifar`.
    pub name: String,
    /// Shape of one input image; pixels lie in `[0, 1]`.
    pub input: Shape,
    /// Number of classes, the length of the logits.
    pub classes: usize,
    /// Number of normalisation domains; 2 for mixture batch norm, else 1.
    pub domains: usize,
    /// Operations in topological order: the first is [`Op::Input`], the last gives the logits.
    pub nodes: Vec<Node>,
}

/// One operation with its name and what it reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Unique; the prefix of the node's parameters.
    pub name: String,
    /// What is computed.
    pub op: Op,
    /// The nodes it reads, all earlier in the list.
    pub inputs: Vec<NodeId>,
}

/// The operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Op {
    /// The images, pixels in `[0, 1]`.
    Input,
    /// `scale[c] * x + shift[c]`: input scaling as part of the network, so that epsilon always means pixels (T18).
    Scale {
        /// Factor per channel.
        scale: Vec<f32>,
        /// Summand per channel.
        shift: Vec<f32>,
    },
    /// A convolution; parameters `weight` `[out, in, kernel, kernel]` and, where asked for, `bias` `[out]`.
    Convolution(Convolution),
    /// A normalisation; its parameters' names are listed at [`Norm`].
    Norm(Norm),
    /// A pointwise nonlinearity.
    Activation(Activation),
    /// The sum of two values of equal shape.
    Add,
    /// Multiplication by one learnt number, parameter `gain` `[1]`.
    Gain,
    /// Shortcut "option A": keeps every `stride`-th row and column and adds zero channels on both sides.
    Subsample {
        /// Distance between rows and columns that are kept.
        stride: usize,
        /// Zero channels before the input's.
        pad_before: usize,
        /// Zero channels after the input's.
        pad_after: usize,
    },
    /// Maximum over square windows; padding never wins.
    MaxPool {
        /// Side of the window.
        kernel: usize,
        /// Step between windows.
        stride: usize,
        /// Border on each side.
        padding: usize,
    },
    /// Mean over rows and columns.
    GlobalAveragePool,
    /// The map as one vector in channel, row, column order.
    Flatten,
    /// `weight x + bias`; parameters `weight` `[outputs, inputs]` and `bias` `[outputs]`.
    Linear {
        /// Length of the vector read.
        inputs: usize,
        /// Length of the vector given.
        outputs: usize,
    },
}

/// A square convolution with symmetric zero padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Convolution {
    /// Channels read.
    pub in_channels: usize,
    /// Channels given.
    pub out_channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Step between output pixels.
    pub stride: usize,
    /// Zero border on each side.
    pub padding: usize,
    /// Whether a bias is added; networks without normalisation and folded ones have it.
    pub bias: Bias,
}

/// Whether an operation adds a learnt offset per output channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bias {
    /// No offset.
    Absent,
    /// One offset per output channel.
    Present,
}
