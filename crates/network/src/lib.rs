//! The network as data: a graph of about a dozen operations and its named parameters.
//!
//! Training, attacking, folding, counting and files are functions of the one value [`Network`]; nothing here computes
//! a forward pass. Begin with [`graph`], then [`norm`] (batch norm with one or more domains) and [`pass`] (what a
//! normalisation does in one forward). [`architecture`] turns a name such as `resnet18-cifar` into a network.

#![forbid(unsafe_code)]

mod activation;
pub mod architecture;
mod builder;
pub mod cifar_resnet;
pub mod count;
mod error;
pub mod file;
pub mod fold;
pub mod graph;
pub mod import;
pub mod initialize;
pub mod layout;
pub mod moments;
mod network;
pub mod norm;
pub mod parameters;
pub mod pass;
pub mod resnet;
mod shape;
pub mod wide_resnet;

pub use activation::Activation;
pub use architecture::{Architecture, InputScaling, NormChoice};
pub use count::{Count, NodeCount};
pub use error::NetworkError;
pub use fold::fold;
pub use graph::{Bias, Convolution, Graph, Node, NodeId, Op, Shape};
pub use import::{ImportReport, ScalingSource};
pub use initialize::NormalSource;
pub use layout::{AffineIds, Layout, NodeParameters, ParameterSpec, StatisticsIds};
pub use moments::{LayerMoments, Moments};
pub use network::Network;
pub use norm::{BatchNorm, Norm, RunningVariance, Sharing};
pub use parameters::{Parameter, ParameterId, Parameters, Role};
pub use pass::{Domain, Domains, Pass, Statistics};
