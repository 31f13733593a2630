//! The network as data: a graph of about a dozen operations and its named parameters.
//!
//! Training, attacking, folding, counting and files are functions of the one value [`Network`]; nothing here computes
//! a forward pass. Begin with [`graph`], then [`norm`] (batch norm with one or more domains) and [`pass`] (what a
//! normalisation does in one forward). [`architecture`] turns a name such as `resnet18-cifar` into a network.

#![forbid(unsafe_code)]

mod activation;
mod error;
pub mod graph;
pub mod moments;
pub mod norm;
pub mod parameters;
pub mod pass;

pub use activation::Activation;
pub use error::NetworkError;
pub use graph::{Convolution, Graph, Node, NodeId, Op, Shape};
pub use moments::{LayerMoments, Moments};
pub use norm::{BatchNorm, Norm, RunningVariance, Sharing};
pub use parameters::{Parameter, ParameterId, Parameters, Role};
pub use pass::{Domain, Domains, Pass, Statistics};

/// Architecture and weights: one value from which everything else is derived.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// What is computed.
    pub graph: Graph,
    /// With which numbers: every tensor the graph's nodes name, in graph order.
    pub parameters: Parameters,
}
