//! Which parameters a graph has: their names, roles and shapes, and where each node finds its own.

use crate::graph::Bias;
use crate::{Graph, NetworkError, Norm, Op, ParameterId, Role, Sharing};
use rayon::prelude::*;

/// A parameter without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Key in files.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Dimensions.
    pub shape: Vec<usize>,
}

/// Where the parameters of one node lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeParameters {
    /// The operation has none.
    None,
    /// A convolution or a linear map.
    Weighted {
        /// `[out, in, kernel, kernel]` or `[out, in]`.
        weight: ParameterId,
        /// `[out]`.
        bias: Option<ParameterId>,
    },
    /// A normalisation. Group and instance norm have one affine branch and no statistics.
    Norm {
        /// By [`crate::BatchNorm::affine_branch`].
        affine: Vec<AffineIds>,
        /// By [`crate::BatchNorm::statistics_branch`].
        statistics: Vec<StatisticsIds>,
    },
    /// The learnt number of a residual branch.
    Gain(ParameterId),
}

/// Gamma and beta of one branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffineIds {
    /// Gamma, `[channels]`.
    pub scale: ParameterId,
    /// Beta, `[channels]`.
    pub shift: ParameterId,
}

/// Running statistics of one branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatisticsIds {
    /// `[channels]`.
    pub mean: ParameterId,
    /// `[channels]`.
    pub variance: ParameterId,
}

/// All parameters of a graph, in graph order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// By [`ParameterId`].
    pub parameters: Vec<ParameterSpec>,
    /// By [`crate::NodeId`].
    pub nodes: Vec<NodeParameters>,
}

impl Layout {
    fn push(&mut self, prefix: &str, kind: &str, role: Role, shape: Vec<usize>) -> ParameterId {
        self.parameters.push(ParameterSpec { name: format!("{prefix}.{kind}"), role, shape });
        ParameterId(self.parameters.len() - 1)
    }

    fn push_affine(&mut self, prefix: &str, channels: usize) -> AffineIds {
        AffineIds {
            scale: self.push(prefix, "weight", Role::Scale, vec![channels]),
            shift: self.push(prefix, "bias", Role::Shift, vec![channels]),
        }
    }

    fn push_statistics(&mut self, prefix: &str, channels: usize) -> StatisticsIds {
        StatisticsIds {
            mean: self.push(prefix, "running_mean", Role::RunningMean, vec![channels]),
            variance: self.push(prefix, "running_var", Role::RunningVariance, vec![channels]),
        }
    }

    fn push_norm(&mut self, name: &str, norm: &Norm) -> NodeParameters {
        let channels = norm.channels();
        let mut affine = vec![self.push_affine(name, channels)];
        let mut statistics = Vec::new();
        if let Norm::Batch(batch) = norm {
            statistics.push(self.push_statistics(name, channels));
            for domain in 1..batch.domains {
                let prefix = format!("{name}.aux_bn.{}", domain - 1);
                if batch.affine == Sharing::Separate {
                    affine.push(self.push_affine(&prefix, channels));
                }
                if batch.statistics == Sharing::Separate {
                    statistics.push(self.push_statistics(&prefix, channels));
                }
            }
        }
        NodeParameters::Norm { affine, statistics }
    }
}

impl Graph {
    /// The parameters the graph's nodes name.
    pub fn layout(&self) -> Layout {
        let mut layout = Layout::default();
        for node in &self.nodes {
            let name = node.name.as_str();
            let parameters = match &node.op {
                Op::Convolution(c) => {
                    let shape = vec![c.out_channels, c.in_channels, c.kernel, c.kernel];
                    let weight = layout.push(name, "weight", Role::Weight, shape);
                    let bias = (c.bias == Bias::Present)
                        .then(|| layout.push(name, "bias", Role::Bias, vec![c.out_channels]));
                    NodeParameters::Weighted { weight, bias }
                }
                Op::Linear { inputs, outputs } => {
                    let weight = layout.push(name, "weight", Role::Weight, vec![*outputs, *inputs]);
                    let bias = layout.push(name, "bias", Role::Bias, vec![*outputs]);
                    NodeParameters::Weighted { weight, bias: Some(bias) }
                }
                Op::Norm(norm) => layout.push_norm(name, norm),
                Op::Gain => NodeParameters::Gain(layout.push(name, "gain", Role::Gain, vec![1])),
                _ => NodeParameters::None,
            };
            layout.nodes.push(parameters);
        }
        layout
    }
}

impl ParameterSpec {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds no values at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks values against the specification.
    ///
    /// Errors: [`NetworkError::Parameter`] for another shape or a value that is not finite.
    pub fn check(&self, shape: &[usize], values: &[f32]) -> Result<(), NetworkError> {
        let wrong = |expected: String, found: String| {
            Err(NetworkError::Parameter { name: self.name.clone(), expected, found })
        };
        if shape != self.shape || values.len() != self.len() {
            return wrong(
                format!("shape {:?}", self.shape),
                format!("shape {shape:?} with {} values", values.len()),
            );
        }
        // Without an early end first: that vectorises, and nearly always nothing is found.
        let broken = values
            .par_chunks(1 << 16)
            .any(|run| run.iter().fold(false, |broken, value| broken | !value.is_finite()));
        if broken && let Some(position) = values.iter().position(|value| !value.is_finite()) {
            return wrong("finite values".into(), format!("{} at {position}", values[position]));
        }
        Ok(())
    }
}
