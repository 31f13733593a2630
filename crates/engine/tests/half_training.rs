//! The training pass in half precision against the one in f32.

mod support;

use engine::cpu::CpuEngine;
use engine::{Engine, Gradients, Logits, Precision, Recording, Wants};
use network::graph::Bias;
use network::{
    Activation, Architecture, Moments, Network, NormChoice, Pass, Role, Shape, Sharing, Statistics,
};
use support::*;

fn half(threads: usize) -> CpuEngine {
    engine(threads).training_in(Precision::Bf16)
}

/// Logits, moments and gradients of one step.
fn step(
    engine: &CpuEngine,
    network: &Network,
    count: usize,
    pass: &Pass,
    wants: Wants,
) -> (Logits, Moments, Gradients) {
    let pixels = images(network, count, 2);
    let (logits, recording) = engine.record(network, view(network, &pixels), pass).unwrap();
    let upstream = weights_of_logits(count, 3);
    let gradients = engine.backward(network, &recording, &upstream, wants).unwrap();
    (logits, recording.moments().clone(), gradients)
}

fn length(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

/// How far `found` is from `expected`, as a share of the latter's length.
fn share(found: &[f32], expected: &[f32]) -> f64 {
    let error: Vec<f32> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
    length(&error) / length(expected).max(1e-9)
}

/// Convolutions of every stride and size, norms, sums: all that runs on cells, without the jumps of a ReLU.
fn without_activations(side: usize) -> Network {
    let kind = Kind::Batch { statistics: Sharing::Separate, affine: Sharing::Separate };
    let mut builder = Builder::new(Shape::new(3, side, side), 2);
    let stem = builder.convolution(0, 24, 3, 1, Bias::Absent);
    let mut value = builder.norm(stem, kind);
    for (channels, stride, kernel) in [(24, 1, 3), (40, 2, 3), (40, 1, 5), (72, 2, 1)] {
        let first = builder.convolution(value, channels, kernel, stride, Bias::Absent);
        let first = builder.norm(first, kind);
        let second = builder.convolution(first, channels, 3, 1, Bias::Absent);
        let second = builder.norm(second, kind);
        let shortcut = match stride {
            1 => value,
            _ => {
                let shortcut = builder.convolution(value, channels, 1, stride, Bias::Absent);
                builder.norm(shortcut, kind)
            }
        };
        value = builder.add(second, shortcut);
    }
    builder.finish(value, 5)
}

/// Every gradient against that of f32: `tolerance` is a share of its own length, for shifts of the length of the scales' of
/// the same layer, because a shift before another batch norm has a gradient of zero that rounding leaves anywhere.
fn compare(network: &Network, count: usize, pass: &Pass, tolerance: f64) {
    let wants = Wants::ParametersAndInput;
    let (logits, moments, gradients) = step(&engine(2), network, count, pass, wants);
    let (found_logits, found_moments, found) = step(&half(2), network, count, pass, wants);
    let what = |name: &str, far: f64| {
        assert!(far <= tolerance, "{name} of {}, {pass:?}: {far}", network.graph.name);
    };
    what("logits", share(&found_logits.values, &logits.values));
    what("input", share(&found.input, &gradients.input));
    assert_eq!(moments.layers.len(), found_moments.layers.len());
    for (found, expected) in found_moments.layers.iter().zip(&moments.layers) {
        assert_eq!(
            (found.node, found.branch, found.count),
            (expected.node, expected.branch, expected.count)
        );
        let single = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let squares = share(&single(&found.centred_squares), &single(&expected.centred_squares));
        what("squares", squares);
    }
    let mut scale = 0.0;
    let both = found.parameters.iter().zip(&gradients.parameters);
    for (parameter, (found, expected)) in network.parameters.iter().zip(both) {
        if parameter.role == Role::Scale {
            scale = length(expected);
        }
        let error: Vec<f32> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
        let whole = match parameter.role {
            Role::Shift => length(expected).max(scale),
            _ => length(expected),
        };
        what(&parameter.name, length(&error) / whole.max(1e-9));
    }
}

#[test]
fn g20_without_a_relu_every_gradient_is_within_two_percent_of_f32() {
    for (side, count) in [(16, 19), (13, 5), (32, 5)] {
        let network = without_activations(side);
        for pass in passes(network.graph.domains, count) {
            compare(&network, count, &pass, 0.02);
        }
    }
}

/// Bottlenecks, option A shortcuts, pre-activation, group norm, a grey image, behind a max pool or not: with a smooth
/// activation, so that rounding moves no mask.
///
/// It still moves the winners of a max pool, and fifty layers of statistics over few values multiply every rounding: those
/// networks are compared where the statistics are constants, or less closely.
#[test]
fn g20_every_architecture_agrees_with_f32() {
    for (name, channels, norm, tolerance) in [
        ("resnet50-w8", 3, NormChoice::MIXTURE, 0.2),
        ("resnet50-cifar-w8", 3, NormChoice::MIXTURE, 0.1),
        ("resnet20-cifar", 1, NormChoice::BATCH, 0.06),
        ("wrn-16-1", 3, NormChoice::MIXTURE, 0.06),
        ("resnet18-w16", 3, NormChoice::Group { groups: 4 }, 0.2),
        ("resnet20-cifar", 3, NormChoice::Instance, 0.06),
        ("resnet20-cifar", 3, NormChoice::None, 0.06),
    ] {
        let mut architecture = Architecture::named(name).expect("a known name");
        (architecture.norm, architecture.activation) = (norm, Activation::Silu);
        architecture.classes = 3;
        architecture.input = Shape::new(channels, 16, 16);
        let network = randomized(architecture.graph().expect("a graph"), 1);
        let passes = passes(network.graph.domains, 9).into_iter();
        let deep = name.starts_with("resnet50");
        for pass in passes.filter(|pass| !deep || pass.statistics == Statistics::Running) {
            compare(&network, 9, &pass, tolerance);
        }
    }
}

fn with_relus(name: &str, norm: NormChoice) -> Network {
    let mut architecture = Architecture::named(name).expect("a known name");
    architecture.norm = norm;
    architecture.classes = 3;
    architecture.input = Shape::new(3, 16, 16);
    randomized(architecture.graph().expect("a graph"), 1)
}

#[test]
fn g8_one_thread_and_three_give_the_same_bits_in_half_precision() {
    for network in [
        with_relus("resnet18-cifar-w16", NormChoice::MIXTURE),
        with_relus("resnet50-w8", NormChoice::Group { groups: 4 }),
    ] {
        for pass in passes(network.graph.domains, 37) {
            let wants = Wants::ParametersAndInput;
            let one = step(&half(1), &network, 37, &pass, wants);
            assert!(one == step(&half(3), &network, 37, &pass, wants), "{}", network.graph.name);
        }
    }
}

#[test]
fn a_second_pass_over_used_buffers_gives_the_same_bits() {
    for network in [without_activations(13), with_relus("resnet50-w8", NormChoice::MIXTURE)] {
        let engine = half(2);
        let pass = &passes(network.graph.domains, 11)[0];
        let first = step(&engine, &network, 11, pass, Wants::Parameters);
        for count in [3, 11] {
            let again = step(&engine, &network, count, pass, Wants::Parameters);
            assert!(count == 3 || again == first, "{}", network.graph.name);
        }
    }
}

/// With ReLUs rounding moves masks: gradients point the same way, no more can be asked of an untrained network.
#[test]
fn with_relus_gradients_point_the_same_way_on_every_instruction_set() {
    let network = with_relus("resnet18-cifar-w16", NormChoice::MIXTURE);
    let pass = &passes(2, 9)[2];
    let (_, _, expected) = step(&engine(2), &network, 9, pass, Wants::Parameters);
    for isa in kernels::Isa::available() {
        let engine = engine_with(2, isa).training_in(Precision::Bf16);
        let (_, _, found) = step(&engine, &network, 9, pass, Wants::Parameters);
        let products = |left: &[f32], right: &[f32]| {
            left.iter().zip(right).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
        };
        for (parameter, (found, expected)) in
            network.parameters.iter().zip(found.parameters.iter().zip(&expected.parameters))
        {
            if parameter.role == Role::Weight {
                let cosine = products(found, expected) / (length(found) * length(expected));
                assert!(cosine > 0.9, "{isa}, {}: {cosine}", parameter.name);
            }
        }
    }
}
