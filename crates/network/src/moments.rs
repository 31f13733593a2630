//! The moments a forward saw. A forward returns them; only the trainer absorbs them (T2).

use crate::{Network, NetworkError, NodeId, NodeParameters, Norm, Op, RunningVariance};

/// What every batch norm of one forward saw, in graph order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// One entry per batch norm and statistics branch that met images.
    pub layers: Vec<LayerMoments>,
}

/// Count, mean and centred squares of one layer's input: what can be merged exactly over batches and ranks.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerMoments {
    /// The batch-norm node.
    pub node: NodeId,
    /// The statistics branch, from [`crate::BatchNorm::statistics_branch`].
    pub branch: usize,
    /// Values per channel: images times rows times columns.
    pub count: usize,
    /// Mean per channel.
    pub mean: Vec<f64>,
    /// Sum over values of `(x - mean)^2` per channel.
    pub centred_squares: Vec<f64>,
}

impl Moments {
    /// Adds what another forward saw: afterwards these are the moments of the union.
    ///
    /// A layer and branch that only one of the two met is taken as it is. The order of merging may change the last
    /// digits; merge in a fixed order. Errors: [`NetworkError::Moments`] if channel counts differ.
    /// Source: Chan, Golub & LeVeque 1979, parallel variance.
    pub fn merge(&mut self, other: &Self) -> Result<(), NetworkError> {
        for theirs in &other.layers {
            let key = (theirs.node, theirs.branch);
            match self.layers.binary_search_by_key(&key, |layer| (layer.node, layer.branch)) {
                Ok(position) => self.layers[position].merge(theirs)?,
                Err(position) => self.layers.insert(position, theirs.clone()),
            }
        }
        Ok(())
    }
}

impl LayerMoments {
    fn merge(&mut self, other: &Self) -> Result<(), NetworkError> {
        let wrong = |expected: usize, found: usize| NetworkError::Moments {
            layer: format!("node {}", self.node.0),
            expected: format!("{expected} channels"),
            found: format!("{found}"),
        };
        let channels = self.mean.len();
        for found in [self.centred_squares.len(), other.mean.len(), other.centred_squares.len()] {
            if found != channels {
                return Err(wrong(channels, found));
            }
        }
        let (ours, theirs) = (self.count as f64, other.count as f64);
        let count = ours + theirs;
        if count == 0.0 {
            return Ok(());
        }
        for channel in 0..channels {
            let distance = other.mean[channel] - self.mean[channel];
            self.mean[channel] += distance * (theirs / count);
            self.centred_squares[channel] +=
                other.centred_squares[channel] + distance * distance * (ours * theirs / count);
        }
        self.count += other.count;
        Ok(())
    }
}

impl Network {
    /// Moves running statistics towards `moments`: `r <- (1 - momentum) r + momentum b`, layer by layer.
    ///
    /// Only the branches that met images move. Nothing changes if there is an error.
    /// Errors: [`NetworkError::Moments`] for a node that is no batch norm, a branch it has not, another number of
    /// channels, no values at all, or one value where the stored variance is divided by `n - 1` (T12).
    pub fn absorb(&mut self, moments: &Moments) -> Result<(), NetworkError> {
        let layout = self.layout();
        let mut updates = Vec::with_capacity(moments.layers.len());
        for layer in &moments.layers {
            let position = layer.node.0;
            let name = self.graph.nodes.get(position).map(|node| node.name.as_str());
            let wrong = |expected: String, found: String| NetworkError::Moments {
                layer: name.map_or_else(|| format!("node {position}"), str::to_string),
                expected,
                found,
            };
            let (batch, statistics) =
                match (self.graph.nodes.get(position).map(|n| &n.op), layout.nodes.get(position)) {
                    (
                        Some(Op::Norm(Norm::Batch(batch))),
                        Some(NodeParameters::Norm { statistics, .. }),
                    ) => (batch, statistics),
                    (op, _) => {
                        let found = op.map_or("no node", Op::name);
                        return Err(wrong("a batch norm".into(), found.into()));
                    }
                };
            let Some(ids) = statistics.get(layer.branch) else {
                let expected = format!("a branch below {}", statistics.len());
                return Err(wrong(expected, format!("{}", layer.branch)));
            };
            for found in [layer.mean.len(), layer.centred_squares.len()] {
                if found != batch.channels {
                    return Err(wrong(format!("{} channels", batch.channels), format!("{found}")));
                }
            }
            let divisor = match batch.running_variance {
                RunningVariance::Biased => layer.count,
                RunningVariance::Unbiased => layer.count.saturating_sub(1),
            };
            if divisor == 0 {
                let expected = "at least two values per channel (one, if the variance is biased)";
                return Err(wrong(expected.into(), format!("{}", layer.count)));
            }
            updates.push((*ids, batch.momentum, divisor, layer));
        }
        for (ids, momentum, divisor, layer) in updates {
            let variance = layer.centred_squares.iter().map(|squares| squares / divisor as f64);
            blend(&mut self.parameters[ids.mean].values, layer.mean.iter().copied(), momentum);
            blend(&mut self.parameters[ids.variance].values, variance, momentum);
        }
        Ok(())
    }
}

/// `r <- (1 - momentum) r + momentum b`, in f64 and rounded once.
fn blend(running: &mut [f32], batch: impl Iterator<Item = f64>, momentum: f32) {
    let momentum = f64::from(momentum);
    for (running, batch) in running.iter_mut().zip(batch) {
        *running = ((1.0 - momentum) * f64::from(*running) + momentum * batch) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Architecture, NormChoice};
    use crate::graph::Graph;
    use crate::{BatchNorm, Node, Shape, Sharing};

    /// One batch norm of one channel on a 1x1 map.
    fn one_norm(running_variance: RunningVariance) -> Network {
        let batch = BatchNorm {
            channels: 1,
            domains: 2,
            statistics: Sharing::Separate,
            affine: Sharing::Shared,
            epsilon: 1e-5,
            momentum: 0.1,
            running_variance,
        };
        let node = |name: &str, op, inputs| Node { name: name.into(), op, inputs };
        Network::new(Graph {
            name: "one norm".into(),
            input: Shape::new(1, 1, 1),
            classes: 1,
            domains: 2,
            nodes: vec![
                node("input", Op::Input, vec![]),
                node("bn", Op::Norm(Norm::Batch(batch)), vec![NodeId(0)]),
            ],
        })
        .unwrap()
    }

    fn of(values: &[f64], branch: usize) -> Moments {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        Moments {
            layers: vec![LayerMoments {
                node: NodeId(1),
                branch,
                count: values.len(),
                mean: vec![mean],
                centred_squares: vec![squares],
            }],
        }
    }

    #[test]
    fn g30_merged_moments_are_those_of_the_union() {
        let values: Vec<f64> = (0..23).map(|i| 1000.0 + f64::from(i * i % 7)).collect();
        let mut merged = of(&values[..5], 0);
        merged.merge(&of(&values[5..11], 0)).unwrap();
        merged.merge(&of(&values[11..], 0)).unwrap();
        let (merged, union) = (&merged.layers[0], &of(&values, 0).layers[0]);
        assert_eq!(merged.count, 23);
        assert!((merged.mean[0] - union.mean[0]).abs() < 1e-10);
        assert!((merged.centred_squares[0] - union.centred_squares[0]).abs() < 1e-8);
    }

    #[test]
    fn branches_merge_apart_and_stay_in_graph_order() {
        let mut merged = of(&[3.0], 1);
        merged.merge(&of(&[1.0], 0)).unwrap();
        merged.merge(&of(&[5.0], 1)).unwrap();
        let found: Vec<_> = merged.layers.iter().map(|l| (l.branch, l.count, l.mean[0])).collect();
        assert_eq!(found, [(0, 1, 1.0), (1, 2, 4.0)]);
    }

    #[test]
    fn g21_running_statistics_take_a_tenth_of_the_batch_unbiased_or_biased() {
        for (variance, expected) in [
            (RunningVariance::Unbiased, 0.9 + 0.1 * 2.0),
            (RunningVariance::Biased, 0.9 + 0.1 * 1.0),
        ] {
            let mut network = one_norm(variance);
            network.absorb(&of(&[3.0, 5.0], 0)).unwrap();
            let value = |name: &str| network.parameters.get(name).unwrap().values[0];
            assert!((value("bn.running_mean") - 0.4).abs() < 1e-7);
            assert!((f64::from(value("bn.running_var")) - expected).abs() < 1e-7);
            assert_eq!(value("bn.aux_bn.0.running_mean"), 0.0, "the other branch met no image");
            assert_eq!(value("bn.aux_bn.0.running_var"), 1.0);
        }
    }

    #[test]
    fn g21_one_value_with_unbiased_variance_is_an_error_and_changes_nothing() {
        let mut network = one_norm(RunningVariance::Unbiased);
        let before = network.clone();
        let message = network.absorb(&of(&[3.0], 0)).unwrap_err().to_string();
        assert!(message.starts_with("moments of bn: expected at least two values"), "{message}");
        assert_eq!(network, before);
        one_norm(RunningVariance::Biased).absorb(&of(&[3.0], 0)).unwrap();
    }

    #[test]
    fn moments_of_another_network_are_refused() {
        let mut network = one_norm(RunningVariance::Biased);
        assert!(network.absorb(&of(&[1.0], 2)).unwrap_err().to_string().contains("below 2"));
        let mut elsewhere = of(&[1.0], 0);
        elsewhere.layers[0].node = NodeId(0);
        assert!(network.absorb(&elsewhere).unwrap_err().to_string().contains("found input"));
    }

    #[test]
    fn g16_a_copy_fills_every_branch_from_the_first() {
        let mut architecture = Architecture::named("resnet8-cifar").unwrap();
        architecture.norm = NormChoice::MIXTURE;
        let mut network = Network::new(architecture.graph().unwrap()).unwrap();
        for (position, parameter) in network.parameters.iter_mut().enumerate() {
            parameter.values.fill(position as f32 + 1.0);
        }
        network.copy_branches();
        for parameter in network.parameters.iter() {
            if parameter.name.contains(".aux_bn.0") {
                let first = parameter.name.replace(".aux_bn.0", "");
                let first = network.parameters.get(&first).unwrap();
                assert_eq!(parameter.values, first.values);
            }
        }
    }
}
