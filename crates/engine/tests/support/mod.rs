//! Networks, images and comparisons that the engine's tests share.

#![allow(dead_code)] // every test binary uses its own part

pub mod reference;

use engine::cpu::{CpuEngine, CpuSettings};
use engine::{ImagesView, Logits};
use kernels::Isa;
use network::graph::Bias;
use network::{
    Activation, BatchNorm, Convolution, Domain, Domains, Graph, Network, Node, NodeId, Norm, Op,
    Parameters, Pass, Role, RunningVariance, Shape, Sharing, Statistics,
};

/// Numbers in `[-1, 1)` that depend on the seed and the position only.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> f32 {
        // xorshift64*, high bits.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
        bits as f32 / (1_u64 << 23) as f32 - 1.0
    }

    pub fn take(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// A graph in the making; every method adds a node and returns its position.
pub struct Builder {
    graph: Graph,
}

impl Builder {
    pub fn new(input: Shape, domains: usize) -> Self {
        let node = Node { name: "input".into(), op: Op::Input, inputs: vec![] };
        Self { graph: Graph { name: "test".into(), input, classes: 3, domains, nodes: vec![node] } }
    }

    pub fn node(&mut self, op: Op, inputs: &[usize]) -> usize {
        let name = format!("n{}", self.graph.nodes.len());
        let inputs = inputs.iter().copied().map(NodeId).collect();
        self.graph.nodes.push(Node { name, op, inputs });
        self.graph.nodes.len() - 1
    }

    pub fn shape(&self, value: usize) -> Shape {
        self.graph.shapes().expect("test graphs are valid")[value]
    }

    pub fn convolution(
        &mut self,
        from: usize,
        out: usize,
        kernel: usize,
        stride: usize,
        bias: Bias,
    ) -> usize {
        let in_channels = self.shape(from).channels;
        let op = Op::Convolution(Convolution {
            in_channels,
            out_channels: out,
            kernel,
            stride,
            padding: kernel / 2,
            bias,
        });
        self.node(op, &[from])
    }

    pub fn norm(&mut self, from: usize, kind: Kind) -> usize {
        let channels = self.shape(from).channels;
        let norm = match kind {
            Kind::Batch { statistics, affine } => Norm::Batch(BatchNorm {
                channels,
                domains: self.graph.domains,
                statistics,
                affine,
                epsilon: 1e-5,
                momentum: 0.1,
                running_variance: RunningVariance::Unbiased,
            }),
            Kind::Group { groups } => Norm::Group { channels, groups, epsilon: 1e-5 },
            Kind::Instance => Norm::Instance { channels, epsilon: 1e-5 },
            Kind::None => return from,
        };
        self.node(Op::Norm(norm), &[from])
    }

    pub fn act(&mut self, from: usize, activation: Activation) -> usize {
        self.node(Op::Activation(activation), &[from])
    }

    pub fn add(&mut self, left: usize, right: usize) -> usize {
        self.node(Op::Add, &[left, right])
    }

    /// Pooling, classifier, random values.
    pub fn finish(mut self, from: usize, seed: u64) -> Network {
        let pooled = self.node(Op::GlobalAveragePool, &[from]);
        self.classify(pooled, seed)
    }

    pub fn classify(mut self, from: usize, seed: u64) -> Network {
        let inputs = self.shape(from).channels;
        self.node(Op::Linear { inputs, outputs: 3 }, &[from]);
        randomized(self.graph, seed)
    }
}

/// Which normalisation a test network has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Batch { statistics: Sharing, affine: Sharing },
    Group { groups: usize },
    Instance,
    None,
}

pub const PLAIN: Kind = Kind::Batch { statistics: Sharing::Shared, affine: Sharing::Shared };
pub const MIXTURE: Kind = Kind::Batch { statistics: Sharing::Separate, affine: Sharing::Separate };

/// All values random, variances and factors positive, each branch its own.
pub fn randomized(graph: Graph, seed: u64) -> Network {
    let mut numbers = Numbers::new(seed);
    Network::with_values(graph, |spec| {
        let fan_in = (spec.len() / spec.shape[0]).max(1) as f32;
        let mut values = numbers.take(spec.len());
        for value in &mut values {
            *value = match spec.role {
                Role::Weight => *value * (3.0 / fan_in).sqrt(),
                Role::Scale | Role::RunningVariance | Role::Gain => 1.0 + 0.5 * *value,
                Role::Bias | Role::Shift | Role::RunningMean => 0.3 * *value,
            };
        }
        Ok(values)
    })
    .expect("test graphs are valid")
}

/// `count` images in `[0, 1]`.
pub fn images(network: &Network, count: usize, seed: u64) -> Vec<f32> {
    let mut pixels = Numbers::new(seed).take(count * network.graph.input.len());
    pixels.iter_mut().for_each(|pixel| *pixel = 0.5 + 0.5 * *pixel);
    pixels
}

pub fn view<'a>(network: &Network, pixels: &'a [f32]) -> ImagesView<'a> {
    let shape = network.graph.input;
    ImagesView { count: pixels.len() / shape.len(), shape, pixels }
}

/// A logit gradient with values of order one.
pub fn weights_of_logits(count: usize, seed: u64) -> Logits {
    Logits { count, classes: 3, values: Numbers::new(seed).take(count * 3) }
}

pub fn engine(threads: usize) -> CpuEngine {
    engine_with(threads, Isa::detected())
}

pub fn engine_with(threads: usize, isa: Isa) -> CpuEngine {
    CpuEngine::new(CpuSettings { threads, isa }).expect("threads start")
}

/// All passes worth testing for `count` images of a network with `domains` domains.
pub fn passes(domains: usize, count: usize) -> Vec<Pass> {
    let mut passes = Vec::new();
    for statistics in [Statistics::Batch, Statistics::Running] {
        for domain in 0..domains {
            passes.push(Pass { statistics, domains: Domains::All(Domain(domain)) });
        }
        if domains > 1 {
            let mixed = (0..count).map(|image| Domain(usize::from(image % 3 != 0))).collect();
            passes.push(Pass { statistics, domains: Domains::PerImage(mixed) });
        }
    }
    passes
}

/// Relative distance in the norm of the whole vector.
pub fn distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = square(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    difference / square(&mut expected.iter().copied()).max(1e-3)
}

pub fn parameters_of(parameters: &Parameters) -> Vec<(&str, Role)> {
    parameters.iter().map(|parameter| (parameter.name.as_str(), parameter.role)).collect()
}
