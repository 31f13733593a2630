//! G10: every operation and whole small networks against central differences of an f64 interpreter.
//!
//! Tolerances: logits 1e-5 and gradients 1e-4, relative to the norm of the whole tensor; the engine computes in f32 over
//! sums of up to a few hundred terms. Central differences of step 1e-6 in f64 are good to 1e-8 away from kinks; an entry
//! whose one-sided differences disagree sits on a kink and is left out.

mod support;

use engine::{Engine, Gradients, Wants};
use kernels::Isa;
use network::graph::Bias;
use network::{Activation, Network, Op, Pass, Shape, Sharing};
use support::*;

const STEP: f64 = 1e-6;
const LOGITS: f64 = 1e-5;
const GRADIENTS: f64 = 1e-4;

/// Compares logits, parameter gradients and input gradients of one pass.
fn check(name: &str, network: &Network, count: usize, pass: &Pass, isa: Isa) {
    let pixels = images(network, count, 5);
    let engine = engine_with(2, isa);
    let (logits, recording) = engine.record(network, view(network, &pixels), pass).unwrap();
    let wide: Vec<f64> = pixels.iter().map(|&x| f64::from(x)).collect();
    let parameters = reference::widen(network);
    let expected = reference::logits(network, &parameters, &wide, count, pass);
    let found: Vec<f64> = logits.values.iter().map(|&x| f64::from(x)).collect();
    let error = distance(&found, &expected);
    assert!(error < LOGITS, "{name}, {pass:?}, {isa}: logits are off by {error:e}");

    let upstream = weights_of_logits(count, 6);
    let loss = |parameters: &reference::Values, images: &[f64]| -> f64 {
        let logits = reference::logits(network, parameters, images, count, pass);
        logits.iter().zip(&upstream.values).map(|(z, &w)| z * f64::from(w)).sum()
    };
    let Gradients { parameters: found, input } =
        engine.backward(network, &recording, &upstream, Wants::ParametersAndInput).unwrap();
    let centre = loss(&parameters, &wide);
    for (index, (parameter, role)) in parameters_of(&network.parameters).into_iter().enumerate() {
        if !role.is_learnt() {
            assert!(found[index].is_empty(), "{parameter} is not learnt");
            continue;
        }
        let mut moved = parameters.clone();
        let (by_engine, by_difference) = differences(&found[index], centre, |entry, by| {
            let value = moved[index][entry];
            moved[index][entry] = value + by;
            let result = loss(&moved, &wide);
            moved[index][entry] = value;
            result
        });
        let error = distance(&by_engine, &by_difference);
        assert!(error < GRADIENTS, "{name}, {pass:?}, {isa}: {parameter} is off by {error:e}");
    }
    let mut moved = wide.clone();
    let (by_engine, by_difference) = differences(&input, centre, |entry, by| {
        let value = moved[entry];
        moved[entry] = value + by;
        let result = loss(&parameters, &moved);
        moved[entry] = value;
        result
    });
    let error = distance(&by_engine, &by_difference);
    assert!(error < GRADIENTS, "{name}, {pass:?}, {isa}: the input gradient is off by {error:e}");
}

/// At most 6 entries spread over a tensor: the engine's gradient and the central difference.
fn differences(
    gradient: &[f32],
    centre: f64,
    mut moved: impl FnMut(usize, f64) -> f64,
) -> (Vec<f64>, Vec<f64>) {
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    let skip = gradient.len().div_ceil(6);
    for entry in (0..gradient.len()).step_by(skip) {
        let (up, down) = (moved(entry, STEP), moved(entry, -STEP));
        let kink = ((up - centre) - (centre - down)).abs() > 1e-4 * (up - down).abs() + 1e-11;
        if !kink {
            found.push(f64::from(gradient[entry]));
            expected.push((up - down) / (2.0 * STEP));
        }
    }
    assert!(4 * found.len() >= gradient.len().div_ceil(skip), "most entries sit on kinks");
    (found, expected)
}

fn check_all(name: &str, network: &Network, count: usize) {
    for pass in passes(network.graph.domains, count) {
        check(name, network, count, &pass, Isa::detected());
    }
}

mod g10_gradients {
    use super::*;

    #[test]
    fn convolutions_of_odd_sizes() {
        for (side, channels, out, kernel, stride) in
            [(5, 3, 4, 3, 1), (6, 1, 17, 3, 2), (7, 3, 5, 5, 2), (4, 2, 20, 1, 1), (5, 2, 3, 1, 2)]
        {
            for bias in [Bias::Absent, Bias::Present] {
                let mut b = Builder::new(Shape::new(channels, side, side + 1), 1);
                let x = b.convolution(0, out, kernel, stride, bias);
                let x = b.convolution(x, 6, 3, 1, bias);
                check_all("convolution", &b.finish(x, 1), 3);
            }
        }
    }

    #[test]
    fn activations_alone_after_norms_and_after_sums() {
        for activation in [
            Activation::Relu,
            Activation::Silu,
            Activation::SmoothRelu { beta: 10.0 },
            Activation::Gelu,
            Activation::Elu,
        ] {
            let mut b = Builder::new(Shape::new(2, 5, 4), 1);
            let x = b.convolution(0, 5, 3, 1, Bias::Present);
            let lone = b.act(x, activation);
            let normed = b.norm(lone, PLAIN);
            let fused = b.act(normed, activation);
            let sum = b.add(fused, lone);
            let fused_sum = b.act(sum, activation);
            let branch = b.convolution(fused_sum, 5, 1, 1, Bias::Absent);
            let branch = b.norm(branch, PLAIN);
            let joined = b.add(branch, fused_sum);
            let joined = b.act(joined, activation);
            check_all(&format!("{activation:?}"), &b.finish(joined, 2), 3);
        }
    }

    #[test]
    fn every_norm_with_every_sharing() {
        use Sharing::{Separate, Shared};
        let batch = [Shared, Separate].into_iter().flat_map(|statistics| {
            [Shared, Separate].map(|affine| Kind::Batch { statistics, affine })
        });
        for kind in batch.chain([Kind::Group { groups: 3 }, Kind::Instance]) {
            let mut b = Builder::new(Shape::new(2, 4, 3), 2);
            let first = b.norm(0, kind_of_images(kind));
            let x = b.convolution(first, 18, 3, 1, Bias::Absent);
            let x = b.norm(x, kind);
            let x = b.act(x, Activation::Silu);
            let x = b.convolution(x, 6, 3, 2, Bias::Absent);
            let x = b.norm(x, kind);
            check_all(&format!("{kind:?}"), &b.finish(x, 3), 7);
        }
    }

    /// Two channels cannot have three groups.
    fn kind_of_images(kind: Kind) -> Kind {
        match kind {
            Kind::Group { .. } => Kind::Group { groups: 1 },
            other => other,
        }
    }

    #[test]
    fn gain_scale_subsample_pooling_and_flatten() {
        let mut b = Builder::new(Shape::new(3, 9, 8), 1);
        let scaled =
            b.node(Op::Scale { scale: vec![2.0, 3.0, 0.5], shift: vec![-1.0, 0.2, 0.0] }, &[0]);
        let x = b.convolution(scaled, 5, 3, 1, Bias::Absent);
        let gained = b.node(Op::Gain, &[x]);
        let pooled = b.node(Op::MaxPool { kernel: 3, stride: 2, padding: 1 }, &[gained]);
        let scale: Vec<f32> = (0..5).map(|c| 0.5 + c as f32 / 4.0).collect();
        let again = b.node(Op::Scale { scale: scale.clone(), shift: scale }, &[pooled]);
        let small = b.node(Op::Subsample { stride: 2, pad_before: 1, pad_after: 2 }, &[again]);
        let x = b.convolution(small, 8, 3, 1, Bias::Present);
        let sum = b.add(x, small);
        let twice = b.add(sum, sum);
        let flat = b.node(Op::Flatten, &[twice]);
        let hidden = b.node(Op::Linear { inputs: 8 * 3 * 2, outputs: 5 }, &[flat]);
        let hidden = b.act(hidden, Activation::Elu);
        check_all("layout operations", &b.classify(hidden, 4), 3);
    }

    #[test]
    fn a_linear_network() {
        let mut b = Builder::new(Shape::new(3, 3, 2), 1);
        let flat = b.node(Op::Flatten, &[0]);
        check_all("linear", &b.classify(flat, 5), 4);
    }

    #[test]
    fn a_value_that_leads_nowhere_is_ignored() {
        let mut b = Builder::new(Shape::new(1, 4, 4), 1);
        let x = b.convolution(0, 4, 3, 1, Bias::Absent);
        let dead = b.convolution(x, 4, 3, 1, Bias::Absent);
        b.act(dead, Activation::Relu);
        let network = b.finish(x, 6);
        check("dead end", &network, 2, &passes(1, 2)[0], Isa::detected());
    }

    #[test]
    fn residual_networks_of_every_kind() {
        for kind in [PLAIN, MIXTURE, Kind::Group { groups: 2 }, Kind::None] {
            let domains = if kind == MIXTURE { 2 } else { 1 };
            for activation in [Activation::Relu, Activation::Silu] {
                check_all("basic", &basic(kind, activation, domains), 5);
                check_all("bottleneck", &bottleneck(kind, activation, domains), 5);
                check_all("pre-activation", &pre_activation(kind, activation, domains), 5);
            }
        }
    }

    #[test]
    fn every_instruction_set() {
        let network = basic(MIXTURE, Activation::Relu, 2);
        for isa in Isa::available() {
            for pass in passes(2, 5) {
                check("basic", &network, 5, &pass, isa);
            }
        }
    }
}

fn bias(kind: Kind) -> Bias {
    if kind == Kind::None { Bias::Present } else { Bias::Absent }
}

fn basic(kind: Kind, activation: Activation, domains: usize) -> Network {
    let mut b = Builder::new(Shape::new(2, 6, 6), domains);
    let x = b.convolution(0, 4, 3, 1, bias(kind));
    let x = b.norm(x, kind);
    let mut x = b.act(x, activation);
    for (out, stride) in [(4, 1), (6, 2)] {
        let y = b.convolution(x, out, 3, stride, bias(kind));
        let y = b.norm(y, kind);
        let y = b.act(y, activation);
        let y = b.convolution(y, out, 3, 1, bias(kind));
        let y = b.norm(y, kind);
        let shortcut = if stride == 1 {
            x
        } else {
            let s = b.convolution(x, out, 1, stride, bias(kind));
            b.norm(s, kind)
        };
        let y = if kind == Kind::None { b.node(Op::Gain, &[y]) } else { y };
        let sum = b.add(y, shortcut);
        x = b.act(sum, activation);
    }
    b.finish(x, 7)
}

fn bottleneck(kind: Kind, activation: Activation, domains: usize) -> Network {
    let mut b = Builder::new(Shape::new(2, 7, 5), domains);
    let x = b.convolution(0, 8, 3, 2, bias(kind));
    let x = b.norm(x, kind);
    let x = b.act(x, activation);
    let y = b.convolution(x, 4, 1, 1, bias(kind));
    let y = b.norm(y, kind);
    let y = b.act(y, activation);
    let y = b.convolution(y, 4, 3, 2, bias(kind));
    let y = b.norm(y, kind);
    let y = b.act(y, activation);
    let y = b.convolution(y, 8, 1, 1, bias(kind));
    let y = b.norm(y, kind);
    let s = b.node(Op::Subsample { stride: 2, pad_before: 0, pad_after: 0 }, &[x]);
    let sum = b.add(y, s);
    let x = b.act(sum, activation);
    b.finish(x, 8)
}

fn pre_activation(kind: Kind, activation: Activation, domains: usize) -> Network {
    let mut b = Builder::new(Shape::new(1, 5, 5), domains);
    let mut x = b.convolution(0, 6, 3, 1, bias(kind));
    for _ in 0..2 {
        let y = b.norm(x, kind);
        let y = b.act(y, activation);
        let y = b.convolution(y, 6, 3, 1, bias(kind));
        let y = b.norm(y, kind);
        let y = b.act(y, activation);
        let y = b.convolution(y, 6, 3, 1, bias(kind));
        x = b.add(y, x);
    }
    let x = b.norm(x, kind);
    let x = b.act(x, activation);
    b.finish(x, 9)
}
