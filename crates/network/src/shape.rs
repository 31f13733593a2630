//! Shape inference and the check that a list of nodes is a network.

use crate::{Convolution, Graph, NetworkError, Node, NodeId, Norm, Op, Shape};
use std::collections::HashSet;

impl Op {
    /// The operation's name as it stands in files and errors.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Scale { .. } => "scale",
            Self::Convolution(_) => "convolution",
            Self::Norm(_) => "norm",
            Self::Activation(_) => "activation",
            Self::Add => "add",
            Self::Gain => "gain",
            Self::Subsample { .. } => "subsample",
            Self::MaxPool { .. } => "max-pool",
            Self::GlobalAveragePool => "global-average-pool",
            Self::Flatten => "flatten",
            Self::Linear { .. } => "linear",
        }
    }

    /// How many values the operation reads.
    pub fn arity(&self) -> usize {
        match self {
            Self::Input => 0,
            Self::Add => 2,
            _ => 1,
        }
    }
}

impl Norm {
    /// Channels normalised.
    pub fn channels(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.channels,
            Self::Group { channels, .. } | Self::Instance { channels, .. } => *channels,
        }
    }
}

impl Convolution {
    /// Side of the output for an input side, or `None` if the kernel does not fit.
    pub fn output_side(&self, side: usize) -> Option<usize> {
        window_count(side, self.kernel, self.stride, self.padding)
    }
}

/// Positions of a window along one side: `floor((side + 2 padding - kernel) / stride) + 1`.
fn window_count(side: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
    Some(padding.checked_mul(2)?.checked_add(side)?.checked_sub(kernel)? / stride + 1)
}

/// Most elements one image's value may have. A graph may come from a file: its numbers must not overflow, nor ask for
/// memory that no machine has.
const LARGEST_VALUE: usize = 1 << 31;

/// Most domains a batch norm may have, for the same reason.
const MOST_DOMAINS: usize = 64;

impl Shape {
    /// The number of elements, unless there are none or more than any network needs.
    fn usable_len(&self) -> Option<usize> {
        let len = self.channels.checked_mul(self.height)?.checked_mul(self.width)?;
        (1..=LARGEST_VALUE).contains(&len).then_some(len)
    }
}

impl Graph {
    /// The shape of every node's value, in graph order.
    ///
    /// Errors: [`NetworkError::Shape`] at the first node that cannot take what it reads; [`NetworkError::Graph`] if the
    /// nodes are not in topological order or one reads another number of values than its operation takes.
    pub fn shapes(&self) -> Result<Vec<Shape>, NetworkError> {
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.nodes.len());
        for (position, node) in self.nodes.iter().enumerate() {
            if node.inputs.len() != node.op.arity() {
                return Err(self.wrong(
                    &node.name,
                    format!("{} inputs for {}", node.op.arity(), node.op.name()),
                    format!("{}", node.inputs.len()),
                ));
            }
            if let Some(&NodeId(late)) = node.inputs.iter().find(|id| id.0 >= position) {
                return Err(self.wrong(
                    &node.name,
                    format!("inputs before position {position}"),
                    format!("an input at position {late}"),
                ));
            }
            let shape = match node.inputs[..] {
                [] => self.input,
                [NodeId(one)] => output_shape(node, shapes[one])?,
                [NodeId(left), NodeId(right)] if shapes[left] == shapes[right] => shapes[left],
                [NodeId(left), NodeId(right)] => {
                    return Err(mismatch(
                        node,
                        format!("two equal shapes, the first is {}", shapes[left]),
                        shapes[right].to_string(),
                    ));
                }
                _ => unreachable!("no operation reads more than two values"),
            };
            if shape.usable_len().is_none() {
                let expected = format!("a value with 1 to {LARGEST_VALUE} elements");
                return Err(mismatch(node, expected, shape.to_string()));
            }
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// Checks everything that makes the list of nodes a network and returns its shapes.
    ///
    /// The first node is the only input; names are unique; every node reads earlier ones whose shapes it takes; every
    /// batch norm has the graph's number of domains or one; the last node gives one value per class.
    /// Errors: [`NetworkError::Graph`] or [`NetworkError::Shape`], naming the node.
    pub fn validate(&self) -> Result<Vec<Shape>, NetworkError> {
        let Some(first) = self.nodes.first() else {
            return Err(self.wrong("0", "an input node".into(), "no nodes at all".into()));
        };
        if first.op != Op::Input {
            let found = first.op.name().to_string();
            return Err(self.wrong(&first.name, "an input node first".into(), found));
        }
        if !(1..=MOST_DOMAINS).contains(&self.domains) {
            let expected = format!("1 to {MOST_DOMAINS} domains");
            return Err(self.wrong(&first.name, expected, self.domains.to_string()));
        }
        let mut names = HashSet::new();
        for (position, node) in self.nodes.iter().enumerate() {
            if !names.insert(node.name.as_str()) {
                return Err(self.wrong(&node.name, "a unique name".into(), "a second use".into()));
            }
            if position > 0 && node.op == Op::Input {
                return Err(self.wrong(&node.name, "one input".into(), "a second one".into()));
            }
            if let Op::Norm(Norm::Batch(batch)) = node.op
                && batch.domains != 1
                && batch.domains != self.domains
            {
                let expected = format!("1 domain or the graph's {}", self.domains);
                return Err(self.wrong(&node.name, expected, format!("{}", batch.domains)));
            }
        }
        let shapes = self.shapes()?;
        let last = self.nodes.last().expect("the first node was found above");
        let logits = Shape::new(self.classes, 1, 1);
        if shapes[shapes.len() - 1] != logits {
            let found = shapes[shapes.len() - 1].to_string();
            return Err(self.wrong(&last.name, format!("logits {logits}"), found));
        }
        Ok(shapes)
    }

    /// The position of a node's name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name).map(NodeId)
    }

    /// For every node the nodes that read it, in graph order; a node that reads another twice is listed twice.
    pub fn consumers(&self) -> Vec<Vec<NodeId>> {
        let mut consumers = vec![Vec::new(); self.nodes.len()];
        for (position, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                consumers[input.0].push(NodeId(position));
            }
        }
        consumers
    }

    fn wrong(&self, node: &str, expected: String, found: String) -> NetworkError {
        NetworkError::Graph { graph: self.name.clone(), node: node.into(), expected, found }
    }
}

fn mismatch(node: &Node, expected: String, found: String) -> NetworkError {
    NetworkError::Shape { node: node.name.clone(), operation: node.op.name(), expected, found }
}

/// The shape a node with one input gives.
fn output_shape(node: &Node, input: Shape) -> Result<Shape, NetworkError> {
    let require = |holds: bool, expected: &dyn Fn() -> String| {
        if holds { Ok(()) } else { Err(mismatch(node, expected(), input.to_string())) }
    };
    let channels = |wanted: usize| {
        require(input.channels == wanted, &|| format!("{wanted} channels")).map(|()| input)
    };
    // A window that cannot be placed, or a size of zero, is a fault of the operation, seen at its input.
    let window = |out_channels: usize, kernel: usize, stride: usize, padding: usize| {
        require(kernel > 0 && stride > 0, &|| "a positive kernel and stride".into())?;
        let rows = window_count(input.height, kernel, stride, padding);
        let columns = window_count(input.width, kernel, stride, padding);
        rows.zip(columns).map(|(rows, columns)| Shape::new(out_channels, rows, columns)).ok_or_else(
            || {
                let least = kernel.saturating_sub(2 * padding);
                mismatch(node, format!("at least {least}x{least} pixels"), input.to_string())
            },
        )
    };
    match &node.op {
        Op::Input | Op::Add => unreachable!("arity was checked: {} has one input", node.name),
        Op::Scale { scale, shift } => {
            require(scale.len() == shift.len(), &|| {
                format!("as many scales ({}) as shifts ({})", scale.len(), shift.len())
            })?;
            let finite = scale.iter().chain(shift).all(|value| value.is_finite());
            require(finite, &|| "finite scales and shifts".into())?;
            channels(scale.len())
        }
        Op::Convolution(c) => {
            channels(c.in_channels)?;
            window(c.out_channels, c.kernel, c.stride, c.padding)
        }
        Op::Norm(norm) => {
            let epsilon = match norm {
                Norm::Batch(batch) => {
                    require(batch.domains > 0, &|| "a batch norm with at least one domain".into())?;
                    require((0.0..=1.0).contains(&batch.momentum), &|| {
                        format!("a momentum in [0, 1], not {}", batch.momentum)
                    })?;
                    batch.epsilon
                }
                Norm::Group { channels, groups, epsilon } => {
                    require(*groups > 0 && channels.is_multiple_of(*groups), &|| {
                        format!("groups that divide {channels} channels, not {groups}")
                    })?;
                    *epsilon
                }
                Norm::Instance { epsilon, .. } => *epsilon,
            };
            // Without it a channel of zero variance gives infinities (T11).
            require(epsilon.is_finite() && epsilon > 0.0, &|| {
                format!("a positive epsilon, not {epsilon}")
            })?;
            channels(norm.channels())
        }
        Op::Activation(_) | Op::Gain => Ok(input),
        Op::Subsample { stride, pad_before, pad_after } => {
            require(*stride > 0, &|| "a positive stride".into())?;
            let padded = pad_before.checked_add(*pad_after);
            let channels = padded.and_then(|padded| padded.checked_add(input.channels));
            let channels = channels.unwrap_or(usize::MAX); // refused as too large by the caller
            Ok(Shape::new(channels, input.height.div_ceil(*stride), input.width.div_ceil(*stride)))
        }
        Op::MaxPool { kernel, stride, padding } => {
            // A window inside the padding would have no maximum.
            require(*padding <= kernel / 2, &|| {
                format!("padding at most half the kernel {kernel}, not {padding}")
            })?;
            window(input.channels, *kernel, *stride, *padding)
        }
        Op::GlobalAveragePool => Ok(Shape::new(input.channels, 1, 1)),
        Op::Flatten => Ok(Shape::new(input.len(), 1, 1)),
        Op::Linear { inputs, outputs } => {
            require(input == Shape::new(*inputs, 1, 1), &|| format!("[{inputs}, 1, 1]"))?;
            Ok(Shape::new(*outputs, 1, 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchNorm, Bias, RunningVariance, Sharing};

    fn node(name: &str, op: Op, inputs: &[usize]) -> Node {
        Node { name: name.into(), op, inputs: inputs.iter().copied().map(NodeId).collect() }
    }

    fn convolution(in_channels: usize) -> Op {
        Op::Convolution(Convolution {
            in_channels,
            out_channels: 4,
            kernel: 3,
            stride: 2,
            padding: 1,
            bias: Bias::Absent,
        })
    }

    fn small() -> Graph {
        Graph {
            name: "small".into(),
            input: Shape::new(3, 7, 5),
            classes: 2,
            domains: 1,
            nodes: vec![
                node("input", Op::Input, &[]),
                node("conv1", convolution(3), &[0]),
                node("skip", Op::Subsample { stride: 1, pad_before: 0, pad_after: 0 }, &[1]),
                node("add", Op::Add, &[1, 2]),
                node("pool", Op::MaxPool { kernel: 3, stride: 2, padding: 1 }, &[3]),
                node("flat", Op::Flatten, &[4]),
                node("fc", Op::Linear { inputs: 16, outputs: 2 }, &[5]),
            ],
        }
    }

    #[test]
    fn shapes_follow_the_window_formula() {
        let shapes = small().validate().unwrap();
        assert_eq!(shapes[1], Shape::new(4, 4, 3));
        assert_eq!(shapes[4], Shape::new(4, 2, 2));
        assert_eq!(shapes[6], Shape::new(2, 1, 1));
    }

    #[test]
    fn an_impossible_shape_names_node_operation_expected_and_found() {
        let mut graph = small();
        graph.nodes[1].op = convolution(5);
        let message = graph.validate().unwrap_err().to_string();
        assert_eq!(message, "conv1 (convolution): expected 5 channels, found [3, 7, 5]");
    }

    #[test]
    fn a_graph_that_is_no_network_is_refused_with_its_reason() {
        type Damage = fn(&mut Graph);
        let damages: [(Damage, &str); 7] = [
            (|g| g.nodes.clear(), "an input node"),
            (|g| g.nodes[2].name = "conv1".into(), "a unique name"),
            (|g| g.nodes[3].inputs = vec![NodeId(1)], "2 inputs for add"),
            (|g| g.nodes[1].inputs = vec![NodeId(1)], "inputs before position 1"),
            (|g| g.classes = 3, "logits [3, 1, 1]"),
            (|g| g.domains = 0, "1 to 64 domains"),
            (|g| g.input = Shape::new(3, 0, 5), "a value with 1 to"),
        ];
        for (damage, reason) in damages {
            let mut graph = small();
            damage(&mut graph);
            let message = graph.validate().unwrap_err().to_string();
            assert!(message.contains(reason), "{message} lacks {reason}");
        }
    }

    #[test]
    fn numbers_that_overflow_are_refused_not_computed() {
        let huge = usize::MAX;
        let ops = [
            Op::Subsample { stride: 1, pad_before: huge, pad_after: 1 },
            Op::MaxPool { kernel: huge, stride: 1, padding: huge / 2 },
            Op::Convolution(Convolution {
                in_channels: 4,
                out_channels: 4,
                kernel: 1,
                stride: 1,
                padding: huge,
                bias: Bias::Absent,
            }),
        ];
        for op in ops {
            let mut graph = small();
            graph.nodes[2].op = op;
            assert!(graph.validate().is_err());
        }
        let mut graph = small();
        graph.input = Shape::new(huge, huge, huge);
        assert!(graph.validate().is_err());
    }

    #[test]
    fn a_norm_needs_a_positive_epsilon_and_a_momentum_that_is_a_share() {
        let norm = |epsilon, momentum| {
            let mut graph = small();
            graph.nodes[2].op = Op::Norm(Norm::Batch(BatchNorm {
                channels: 4,
                domains: 1,
                statistics: Sharing::Shared,
                affine: Sharing::Shared,
                epsilon,
                momentum,
                running_variance: RunningVariance::Unbiased,
            }));
            graph.validate().map(|_| ()).map_err(|error| error.to_string())
        };
        norm(1e-5, 0.1).unwrap();
        for epsilon in [0.0, -1e-5, f32::NAN, f32::INFINITY] {
            assert!(norm(epsilon, 0.1).unwrap_err().contains("a positive epsilon"));
        }
        for momentum in [-0.1, 1.5, f32::NAN] {
            assert!(norm(1e-5, momentum).unwrap_err().contains("a momentum in [0, 1]"));
        }
    }
}
