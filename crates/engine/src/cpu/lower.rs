//! From the graph to a list of fused steps over values with a memory layout.
//!
//! One [`Step`] is a producer (convolution, normalisation, ...), then perhaps the sum with a second value, then perhaps
//! an activation: what one pass over memory can do. Both drivers, recording and frozen, run the same [`Program`].

use kernels::ConvolutionShape;
use network::{
    Activation, BatchNorm, Convolution, Graph, Network, NetworkError, NodeId, Norm, Op,
    ParameterId, Shape,
};

/// Factor and summand per channel of the images.
pub(crate) type InputScale = Option<(Vec<f32>, Vec<f32>)>;

/// A value between steps: channels last, channels padded to whole vectors except perhaps in the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    /// Shape of one image's value.
    pub shape: Shape,
    /// Distance between pixels.
    pub stride: usize,
}

impl Value {
    fn padded(shape: Shape) -> Self {
        Self { shape, stride: kernels::padded(shape.channels) }
    }

    /// Pixels of one image.
    pub fn pixels(&self) -> usize {
        self.shape.height * self.shape.width
    }

    /// Numbers stored for one image.
    pub fn len(&self) -> usize {
        self.pixels() * self.stride
    }

    /// Numbers stored for one image's gradient; an image itself is stored unpadded, its gradient is not.
    pub fn gradient_len(&self) -> usize {
        self.pixels() * kernels::padded(self.shape.channels)
    }
}

/// Parameters of one batch norm, by branch.
#[derive(Clone, Debug)]
pub(crate) struct BatchParameters {
    /// The layer as the graph has it.
    pub norm: BatchNorm,
    /// Running mean and variance per statistics branch.
    pub statistics: Vec<(ParameterId, ParameterId)>,
    /// Gamma and beta per affine branch.
    pub affine: Vec<(ParameterId, ParameterId)>,
}

/// What a step's producer computes.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// A convolution.
    Convolution { shape: ConvolutionShape, weight: ParameterId, bias: Option<ParameterId> },
    /// Batch norm.
    Batch(BatchParameters),
    /// Group norm; instance norm is one channel a group.
    Group { groups: usize, epsilon: f32, weight: ParameterId, bias: ParameterId },
    /// A fixed factor and summand per channel.
    Scale { scale: Vec<f32>, shift: Vec<f32> },
    /// The input itself: a lone sum or activation.
    Identity,
    /// One learnt factor.
    Gain { gain: ParameterId },
    /// Every `stride`-th row and column, zero channels around.
    Subsample { stride: usize, pad_before: usize },
    /// Maximum over windows.
    MaxPool { kernel: usize, stride: usize, padding: usize },
    /// Mean over pixels.
    GlobalAveragePool,
    /// To one vector in channel, row, column order.
    Flatten,
    /// A matrix product.
    Linear { weight: ParameterId, bias: ParameterId },
}

/// `activation(operation(input) + add)`.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The producer's node, for moments and messages.
    pub node: NodeId,
    /// The producer.
    pub operation: Operation,
    /// Value read.
    pub input: usize,
    /// Value added to the producer's result.
    pub add: Option<usize>,
    /// Applied last.
    pub activation: Option<Activation>,
    /// Value written.
    pub output: usize,
}

impl Step {
    /// The values it reads.
    pub fn reads(&self) -> impl Iterator<Item = usize> + use<> {
        [Some(self.input), self.add].into_iter().flatten()
    }

    /// Its learnt parameters, the last of the layout first.
    pub fn parameters(&self) -> impl Iterator<Item = ParameterId> + use<'_> {
        let (pair, affine) = match &self.operation {
            Operation::Convolution { weight, bias, .. } => ([*bias, Some(*weight)], &[][..]),
            Operation::Group { weight, bias, .. } | Operation::Linear { weight, bias } => {
                ([Some(*bias), Some(*weight)], &[][..])
            }
            Operation::Gain { gain } => ([Some(*gain), None], &[][..]),
            Operation::Batch(layer) => ([None, None], &layer.affine[..]),
            _ => ([None, None], &[][..]),
        };
        let affine = affine.iter().rev().flat_map(|&(gamma, beta)| [beta, gamma]);
        pair.into_iter().flatten().chain(affine)
    }
}

/// A network's graph, lowered. Values are numbered as the graph's nodes; fused ones are never stored.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Shape of an image.
    pub input_shape: Shape,
    /// Number of logits.
    pub classes: usize,
    /// The value that holds the images.
    pub input: usize,
    /// Scaling of the images while they are read, per channel.
    pub input_scale: InputScale,
    /// All values.
    pub values: Vec<Value>,
    /// In execution order.
    pub steps: Vec<Step>,
    /// The value that holds the logits.
    pub output: usize,
}

/// Which activations a step takes with its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fuse {
    /// Those whose backward its producer can do.
    Activations,
    /// ReLUs alone: over cells others are steps of their own, after their sum.
    Relus,
}

impl Program {
    /// Lowers a network's graph. Errors: shapes; missing parameters.
    pub fn new(network: &Network) -> Result<Self, NetworkError> {
        Self::fused(network, Fuse::Activations)
    }

    /// As [`Program::new`] with a choice of what is fused.
    pub fn fused(network: &Network, fuse: Fuse) -> Result<Self, NetworkError> {
        let graph = &network.graph;
        let shapes = graph.shapes()?;
        let users = users(graph);
        let output = graph.nodes.len() - 1;
        let mut values: Vec<Value> = shapes.iter().map(|&shape| Value::padded(shape)).collect();
        let (input, input_scale) = input_value(graph, &users);
        if feeds_only_convolutions(graph, &users, input) {
            values[input].stride = values[input].shape.channels;
        }
        let mut steps: Vec<Option<Step>> = (0..graph.nodes.len()).map(|_| None).collect();
        for index in input + 1..graph.nodes.len() {
            if users[index].is_empty() && index != output {
                continue;
            }
            let step = single(network, index, &values)?;
            let step = match graph.nodes[index].op {
                Op::Add => fuse_add(&mut steps, &users, step),
                Op::Activation(activation) => {
                    fuse_activation(&mut steps, &users, step, activation, fuse)
                }
                _ => step,
            };
            steps[index] = Some(step);
        }
        Ok(Self {
            input_shape: graph.input,
            classes: graph.classes,
            input,
            input_scale,
            steps: shortcuts_first(steps.into_iter().flatten().collect(), &values),
            values,
            output,
        })
    }

    /// The first and last step that read each value, if any does.
    pub fn readers(&self) -> Vec<Option<(usize, usize)>> {
        let mut readers: Vec<Option<(usize, usize)>> = vec![None; self.values.len()];
        for (index, step) in self.steps.iter().enumerate() {
            for read in step.reads() {
                let (first, _) = readers[read].unwrap_or((index, index));
                readers[read] = Some((first, index));
            }
        }
        readers
    }
}

/// A projection shortcut reads every `stride`-th pixel. Where it comes before the convolution of the same stride that reads
/// the same value, its backward comes after that one's and adds to those pixels, instead of writing zeros to all others.
fn shortcuts_first(mut steps: Vec<Step>, values: &[Value]) -> Vec<Step> {
    let window = |step: &Step| match &step.operation {
        Operation::Convolution { shape, .. } => Some((shape.kernel, shape.stride)),
        _ => None,
    };
    for index in 1..steps.len() {
        let step = &steps[index];
        let Some((1, stride)) = window(step).filter(|&(_, stride)| stride > 1) else { continue };
        if step.add.is_some() {
            continue;
        }
        let branch = steps[..index].iter().rposition(|other| {
            let alike = values[other.output].pixels() == values[step.output].pixels();
            let strided = window(other).is_some_and(|(kernel, own)| kernel > 1 && own == stride);
            other.input == step.input && alike && strided
        });
        if let Some(branch) = branch {
            steps[branch..=index].rotate_right(1);
        }
    }
    steps
}

/// The live readers of every node; nodes that do not lead to the output read nothing.
fn users(graph: &Graph) -> Vec<Vec<usize>> {
    let mut users = vec![Vec::new(); graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if index + 1 == graph.nodes.len() || !users[index].is_empty() {
            for input in &node.inputs {
                users[input.0].push(index);
            }
        }
    }
    users
}

/// A scaling that alone reads the images is applied while they are read.
fn input_value(graph: &Graph, users: &[Vec<usize>]) -> (usize, InputScale) {
    if let [only] = users[0][..]
        && let Op::Scale { scale, shift } = &graph.nodes[only].op
        && only == 1
    {
        return (1, Some((scale.clone(), shift.clone())));
    }
    (0, None)
}

fn feeds_only_convolutions(graph: &Graph, users: &[Vec<usize>], value: usize) -> bool {
    !users[value].is_empty()
        && users[value].iter().all(|&user| matches!(graph.nodes[user].op, Op::Convolution(_)))
}

fn single(network: &Network, index: usize, values: &[Value]) -> Result<Step, NetworkError> {
    let node = &network.graph.nodes[index];
    let input = node.inputs[0].0;
    let id = |kind: &str| parameter(network, &node.name, kind);
    let operation = match &node.op {
        Op::Convolution(convolution) => Operation::Convolution {
            shape: convolution_shape(convolution, &values[input]),
            weight: id("weight")?,
            bias: match convolution.bias {
                network::graph::Bias::Present => Some(id("bias")?),
                network::graph::Bias::Absent => None,
            },
        },
        Op::Norm(Norm::Batch(norm)) => Operation::Batch(batch_parameters(network, index, norm)?),
        Op::Norm(Norm::Group { groups, epsilon, .. }) => Operation::Group {
            groups: *groups,
            epsilon: *epsilon,
            weight: id("weight")?,
            bias: id("bias")?,
        },
        Op::Norm(Norm::Instance { channels, epsilon }) => Operation::Group {
            groups: *channels,
            epsilon: *epsilon,
            weight: id("weight")?,
            bias: id("bias")?,
        },
        Op::Scale { scale, shift } => {
            Operation::Scale { scale: scale.clone(), shift: shift.clone() }
        }
        Op::Activation(_) | Op::Add => Operation::Identity,
        Op::Gain => Operation::Gain { gain: id("gain")? },
        Op::Subsample { stride, pad_before, .. } => {
            Operation::Subsample { stride: *stride, pad_before: *pad_before }
        }
        Op::MaxPool { kernel, stride, padding } => {
            Operation::MaxPool { kernel: *kernel, stride: *stride, padding: *padding }
        }
        Op::GlobalAveragePool => Operation::GlobalAveragePool,
        Op::Flatten => Operation::Flatten,
        Op::Linear { .. } => Operation::Linear { weight: id("weight")?, bias: id("bias")? },
        Op::Input => panic!("the graph's validation lets only its first node be the input"),
    };
    Ok(Step {
        node: NodeId(index),
        operation,
        input,
        add: match node.op {
            Op::Add => Some(node.inputs[1].0),
            _ => None,
        },
        activation: match node.op {
            Op::Activation(activation) => Some(activation),
            _ => None,
        },
        output: index,
    })
}

/// Lets the producer of one summand add the other, if nothing else reads that summand.
fn fuse_add(steps: &mut [Option<Step>], users: &[Vec<usize>], sum: Step) -> Step {
    let Some(right) = sum.add else { return sum };
    // The second summand is by custom the shortcut, so the first is tried first.
    for (summand, other) in [(sum.input, right), (right, sum.input)] {
        let fusible = summand != other
            && users[summand].len() == 1
            && steps[summand].as_ref().is_some_and(|step| {
                step.add.is_none() && step.activation.is_none() && takes_epilogue(&step.operation)
            });
        if fusible && let Some(producer) = steps[summand].take() {
            return Step { add: Some(other), output: sum.output, ..producer };
        }
    }
    sum
}

/// Lets the producer apply the activation, if nothing else reads what it is applied to.
fn fuse_activation(
    steps: &mut [Option<Step>],
    users: &[Vec<usize>],
    lone: Step,
    activation: Activation,
    fuse: Fuse,
) -> Step {
    let fusible = users[lone.input].len() == 1
        && steps[lone.input].as_ref().is_some_and(|step| {
            let lone_sum = matches!(step.operation, Operation::Identity) && step.add.is_some();
            // The backward of other activations than ReLU needs what they were applied to; a normalisation can
            // compute that again from its input, a convolution cannot.
            let needs_input = activation != Activation::Relu
                && (fuse == Fuse::Relus || matches!(step.operation, Operation::Convolution { .. }));
            step.activation.is_none()
                && (lone_sum || (!needs_input && takes_epilogue(&step.operation)))
        });
    match steps[lone.input].take_if(|_| fusible) {
        Some(producer) => Step { activation: Some(activation), output: lone.output, ..producer },
        None => lone,
    }
}

fn takes_epilogue(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Convolution { .. }
            | Operation::Batch(_)
            | Operation::Group { .. }
            | Operation::Scale { .. }
    )
}

fn convolution_shape(convolution: &Convolution, input: &Value) -> ConvolutionShape {
    ConvolutionShape {
        in_channels: convolution.in_channels,
        in_stride: input.stride,
        height: input.shape.height,
        width: input.shape.width,
        out_channels: convolution.out_channels,
        kernel: convolution.kernel,
        stride: convolution.stride,
        padding: convolution.padding,
    }
}

fn batch_parameters(
    network: &Network,
    index: usize,
    norm: &BatchNorm,
) -> Result<BatchParameters, NetworkError> {
    let name = &network.graph.nodes[index].name;
    let prefix = |branch: usize| match branch {
        0 => name.clone(),
        _ => format!("{name}.aux_bn.{}", branch - 1),
    };
    let pair = |branch: usize, first: &str, second: &str| {
        let prefix = prefix(branch);
        Ok((parameter(network, &prefix, first)?, parameter(network, &prefix, second)?))
    };
    let statistics = (0..branches(norm.statistics, norm.domains))
        .map(|branch| pair(branch, "running_mean", "running_var"))
        .collect::<Result<_, NetworkError>>()?;
    let affine = (0..branches(norm.affine, norm.domains))
        .map(|branch| pair(branch, "weight", "bias"))
        .collect::<Result<_, NetworkError>>()?;
    Ok(BatchParameters { norm: *norm, statistics, affine })
}

fn branches(sharing: network::Sharing, domains: usize) -> usize {
    match sharing {
        network::Sharing::Shared => 1,
        network::Sharing::Separate => domains,
    }
}

fn parameter(network: &Network, prefix: &str, kind: &str) -> Result<ParameterId, NetworkError> {
    let name = format!("{prefix}.{kind}");
    network.parameters.id(&name).ok_or_else(|| NetworkError::Parameter {
        name,
        expected: "a tensor, because the graph names it".into(),
        found: "nothing".into(),
    })
}
