//! A graph together with its weights.

use crate::{
    Graph, Layout, NetworkError, NodeParameters, Parameter, ParameterSpec, Parameters, Role,
};

/// Architecture and weights: one value from which everything else is derived.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// What is computed.
    pub graph: Graph,
    /// With which numbers: every tensor the graph's nodes name, in graph order.
    pub parameters: Parameters,
}

impl Network {
    /// A network with neutral values: weights, offsets, gains and running means 0, factors and running variances 1.
    ///
    /// Errors: those of [`Graph::validate`].
    pub fn new(graph: Graph) -> Result<Self, NetworkError> {
        Self::with_values(graph, |spec| {
            let value = match spec.role {
                Role::Scale | Role::RunningVariance => 1.0,
                _ => 0.0,
            };
            Ok(vec![value; spec.len()])
        })
    }

    /// A network whose values `values` gives, parameter by parameter in graph order.
    ///
    /// Errors: those of [`Graph::validate`] and of `values`; [`NetworkError::Parameter`] if a length is wrong or a
    /// value is not finite.
    pub fn with_values(
        graph: Graph,
        mut values: impl FnMut(&ParameterSpec) -> Result<Vec<f32>, NetworkError>,
    ) -> Result<Self, NetworkError> {
        graph.validate()?;
        let mut parameters = Parameters::default();
        for spec in graph.layout().parameters {
            let values = values(&spec)?;
            spec.check(&spec.shape, &values)?;
            // Node names are unique, but `a.aux_bn.0` may be a node beside the norm `a`.
            if parameters.id(&spec.name).is_some() {
                return Err(NetworkError::Parameter {
                    name: spec.name,
                    expected: "one parameter of this name".into(),
                    found: "two".into(),
                });
            }
            let ParameterSpec { name, role, shape } = spec;
            parameters.push(Parameter { name, role, shape, values });
        }
        Ok(Self { graph, parameters })
    }

    /// Where each node finds its parameters.
    pub fn layout(&self) -> Layout {
        self.graph.layout()
    }

    /// Fills the further branches of every batch norm with the values of domain 0, so that all domains start equal.
    ///
    /// Source: AdvProp-lineage repositories do so when a single-BN checkpoint is loaded (T10).
    pub fn copy_branches(&mut self) {
        let mut copy = |from: crate::ParameterId, to: crate::ParameterId| {
            let values = self.parameters[from].values.clone();
            self.parameters[to].values = values;
        };
        for node in self.graph.layout().nodes {
            if let NodeParameters::Norm { affine, statistics } = node {
                for branch in affine.iter().skip(1) {
                    copy(affine[0].scale, branch.scale);
                    copy(affine[0].shift, branch.shift);
                }
                for branch in statistics.iter().skip(1) {
                    copy(statistics[0].mean, branch.mean);
                    copy(statistics[0].variance, branch.variance);
                }
            }
        }
    }
}
