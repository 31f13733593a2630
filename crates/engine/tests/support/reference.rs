//! A slow interpreter of the graph in f64: the definition that the engine is held to.
//!
//! Only a forward is written; gradients are central differences of it, so nothing here shares an idea with the engine's
//! backward. Values are `[N, C, H, W]`.

use network::{Activation, BatchNorm, Network, Norm, Op, Pass, Statistics};

/// All parameters as f64, by position.
pub type Values = Vec<Vec<f64>>;

/// The network's parameters, widened.
pub fn widen(network: &Network) -> Values {
    network
        .parameters
        .iter()
        .map(|parameter| parameter.values.iter().map(|&value| f64::from(value)).collect())
        .collect()
}

/// Logits `[N, classes]` of `count` images under `parameters`.
pub fn logits(
    network: &Network,
    parameters: &Values,
    images: &[f64],
    count: usize,
    pass: &Pass,
) -> Vec<f64> {
    let shapes = network.graph.shapes().expect("test networks are valid");
    let mut values: Vec<Vec<f64>> = Vec::new();
    for (index, node) in network.graph.nodes.iter().enumerate() {
        let find = |name: String| {
            let id = network.parameters.id(&name).unwrap_or_else(|| panic!("no {name}"));
            &parameters[id.0]
        };
        let own = |kind: &str| find(format!("{}.{kind}", node.name));
        let input = node.inputs.first().map(|id| &values[id.0]);
        let shape = node.inputs.first().map_or(network.graph.input, |id| shapes[id.0]);
        let (channels, height, width) = (shape.channels, shape.height, shape.width);
        let out = shapes[index];
        let value = |n: usize, c: usize, y: usize, x: usize| {
            input.unwrap()[((n * channels + c) * height + y) * width + x]
        };
        let mut result = vec![0.0; count * out.len()];
        let at = |n: usize, c: usize, y: usize, x: usize| {
            ((n * out.channels + c) * out.height + y) * out.width + x
        };
        let mut fill = |f: &dyn Fn(usize, usize, usize, usize) -> f64| {
            for n in 0..count {
                for c in 0..out.channels {
                    for y in 0..out.height {
                        for x in 0..out.width {
                            result[at(n, c, y, x)] = f(n, c, y, x);
                        }
                    }
                }
            }
        };
        match &node.op {
            Op::Input => fill(&|n, c, y, x| images[((n * channels + c) * height + y) * width + x]),
            Op::Scale { scale, shift } => {
                fill(&|n, c, y, x| f64::from(scale[c]) * value(n, c, y, x) + f64::from(shift[c]))
            }
            Op::Convolution(convolution) => {
                let weight = own("weight");
                let bias = match convolution.bias {
                    network::graph::Bias::Present => own("bias").clone(),
                    network::graph::Bias::Absent => vec![0.0; out.channels],
                };
                let side = convolution.kernel;
                fill(&|n, c, y, x| {
                    let mut sum = bias[c];
                    for ci in 0..channels {
                        for ky in 0..side {
                            for kx in 0..side {
                                let row = (y * convolution.stride + ky)
                                    .checked_sub(convolution.padding)
                                    .filter(|&row| row < height);
                                let column = (x * convolution.stride + kx)
                                    .checked_sub(convolution.padding)
                                    .filter(|&column| column < width);
                                if let (Some(row), Some(column)) = (row, column) {
                                    let tap = ((c * channels + ci) * side + ky) * side + kx;
                                    sum += weight[tap] * value(n, ci, row, column);
                                }
                            }
                        }
                    }
                    sum
                });
            }
            Op::Norm(Norm::Batch(norm)) => {
                let branch = |kind: &str, branch: usize| match branch {
                    0 => own(kind),
                    _ => find(format!("{}.aux_bn.{}.{kind}", node.name, branch - 1)),
                };
                let (mean, variance) =
                    batch_statistics(norm, &branch, input.unwrap(), count, height * width, pass);
                let affine: Vec<_> = (0..norm.domains)
                    .map(|domain| norm.affine_branch(domain))
                    .map(|a| (branch("weight", a), branch("bias", a)))
                    .collect();
                fill(&|n, c, y, x| {
                    let domain = pass.domains.of(n).0.min(norm.domains - 1);
                    let s = norm.statistics_branch(domain);
                    let (gamma, beta) = affine[domain];
                    let deviation = (variance[s][c] + f64::from(norm.epsilon)).sqrt();
                    (value(n, c, y, x) - mean[s][c]) / deviation * gamma[c] + beta[c]
                });
            }
            Op::Norm(Norm::Group { groups, epsilon, .. }) => {
                let per_group = channels / groups;
                let (gamma, beta) = (own("weight"), own("bias"));
                group_norm(
                    count,
                    channels,
                    height * width,
                    per_group,
                    *epsilon,
                    input.unwrap(),
                    |i, c, xhat| {
                        result[i] = xhat * gamma[c] + beta[c];
                    },
                );
            }
            Op::Norm(Norm::Instance { epsilon, .. }) => {
                let (gamma, beta) = (own("weight"), own("bias"));
                group_norm(
                    count,
                    channels,
                    height * width,
                    1,
                    *epsilon,
                    input.unwrap(),
                    |i, c, xhat| {
                        result[i] = xhat * gamma[c] + beta[c];
                    },
                );
            }
            Op::Activation(activation) => {
                fill(&|n, c, y, x| activate(*activation, value(n, c, y, x)))
            }
            Op::Add => {
                let other = &values[node.inputs[1].0];
                fill(&|n, c, y, x| value(n, c, y, x) + other[at(n, c, y, x)]);
            }
            Op::Gain => {
                let gain = own("gain")[0];
                fill(&|n, c, y, x| gain * value(n, c, y, x));
            }
            Op::Subsample { stride, pad_before, .. } => {
                fill(&|n, c, y, x| match c.checked_sub(*pad_before).filter(|&c| c < channels) {
                    Some(c) => value(n, c, y * stride, x * stride),
                    None => 0.0,
                })
            }
            Op::MaxPool { kernel, stride, padding } => fill(&|n, c, y, x| {
                let mut best = f64::NEG_INFINITY;
                for ky in 0..*kernel {
                    for kx in 0..*kernel {
                        let (row, column) = (y * stride + ky, x * stride + kx);
                        if row >= *padding && column >= *padding {
                            let (row, column) = (row - padding, column - padding);
                            if row < height && column < width {
                                best = best.max(value(n, c, row, column));
                            }
                        }
                    }
                }
                best
            }),
            Op::GlobalAveragePool => fill(&|n, c, _, _| {
                let plane =
                    &input.unwrap()[(n * channels + c) * height * width..][..height * width];
                plane.iter().sum::<f64>() / (height * width) as f64
            }),
            Op::Flatten => result.copy_from_slice(input.unwrap()),
            Op::Linear { inputs, .. } => {
                let (weight, bias) = (own("weight"), own("bias"));
                fill(&|n, c, _, _| {
                    let row = &weight[c * inputs..(c + 1) * inputs];
                    let x = &input.unwrap()[n * inputs..(n + 1) * inputs];
                    bias[c] + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()
                });
            }
        }
        values.push(result);
    }
    values.pop().expect("a graph has nodes")
}

/// Mean and biased variance of every statistics branch: of the images or the running ones.
fn batch_statistics<'a>(
    norm: &BatchNorm,
    parameter: &dyn Fn(&str, usize) -> &'a Vec<f64>,
    input: &[f64],
    count: usize,
    pixels: usize,
    pass: &Pass,
) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let branches = match norm.statistics {
        network::Sharing::Shared => 1,
        network::Sharing::Separate => norm.domains,
    };
    let mut means = Vec::new();
    let mut variances = Vec::new();
    for branch in 0..branches {
        if pass.statistics == Statistics::Running {
            means.push(parameter("running_mean", branch).clone());
            variances.push(parameter("running_var", branch).clone());
            continue;
        }
        let members: Vec<usize> = (0..count)
            .filter(|&n| norm.statistics_branch(pass.domains.of(n).0) == branch)
            .collect();
        let total = (members.len() * pixels) as f64;
        let moment = |c: usize, f: &dyn Fn(f64) -> f64| {
            let mut sum = 0.0;
            for &n in &members {
                for p in 0..pixels {
                    sum += f(input[(n * norm.channels + c) * pixels + p]);
                }
            }
            sum / total
        };
        let mean: Vec<f64> = (0..norm.channels).map(|c| moment(c, &|x| x)).collect();
        variances.push((0..norm.channels).map(|c| moment(c, &|x| (x - mean[c]).powi(2))).collect());
        means.push(mean);
    }
    (means, variances)
}

fn group_norm(
    count: usize,
    channels: usize,
    pixels: usize,
    per_group: usize,
    epsilon: f32,
    input: &[f64],
    mut write: impl FnMut(usize, usize, f64),
) {
    let length = per_group * pixels;
    for group in 0..count * channels / per_group {
        let values = &input[group * length..(group + 1) * length];
        let mean = values.iter().sum::<f64>() / length as f64;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / length as f64;
        let deviation = (variance + f64::from(epsilon)).sqrt();
        for (offset, x) in values.iter().enumerate() {
            let index = group * length + offset;
            write(index, index / pixels % channels, (x - mean) / deviation);
        }
    }
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::SmoothRelu { beta } => {
            let scaled = f64::from(beta) * x;
            (scaled.max(0.0) + (-scaled.abs()).exp().ln_1p()) / f64::from(beta)
        }
        Activation::Gelu => x * normal_distribution(x),
        Activation::Elu => {
            if x > 0.0 {
                x
            } else {
                x.exp_m1()
            }
        }
    }
}

/// The standard normal distribution function by a series that 60 terms sum fully for the small
/// values of the tests: `1/2 + phi(x) (x + x^3/3 + x^5/15 + ...)`.
fn normal_distribution(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for k in 1..60 {
        term *= x * x / f64::from(2 * k + 1);
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}
