//! What recordings hold, and that computing it again changes no bit.

mod support;

use engine::cpu::{CpuEngine, MemoryBudget, MemoryPlan};
use engine::{Engine, EngineError, Gradients, Logits, Precision, Recording, Wants};
use network::{Activation, Architecture, Moments, Network, NormChoice, Pass, Shape};
use support::*;

const WANTS: Wants = Wants::ParametersAndInput;

fn network(name: &str, norm: NormChoice, activation: Activation) -> Network {
    let mut architecture = Architecture::named(name).expect("a known name");
    (architecture.norm, architecture.activation) = (norm, activation);
    architecture.classes = 3;
    architecture.input = Shape::new(3, 16, 16);
    randomized(architecture.graph().expect("a graph"), 1)
}

/// Bottlenecks behind a max pool, option A shortcuts, pre-activation, smooth activations, every kind of norm.
fn networks() -> [Network; 6] {
    let group = NormChoice::Group { groups: 4 };
    [
        network("resnet50-w8", NormChoice::MIXTURE, Activation::Relu),
        network("resnet20-cifar", NormChoice::BATCH, Activation::Relu),
        network("wrn-16-1", NormChoice::MIXTURE, Activation::Relu),
        network("resnet20-cifar", NormChoice::BATCH, Activation::Silu),
        network("resnet18-w8", group, Activation::Relu),
        network("resnet20-cifar", NormChoice::None, Activation::Relu),
    ]
}

const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];

fn within(bytes: u64) -> CpuEngine {
    engine(2).within(MemoryBudget { bytes, recordings: 1 })
}

/// The smallest budget that will do in f32.
fn least(network: &Network, count: usize, pass: &Pass) -> u64 {
    least_in(Precision::F32, network, count, pass)
}

/// The smallest budget that will do.
fn least_in(precision: Precision, network: &Network, count: usize, pass: &Pass) -> u64 {
    match within(0).training_in(precision).memory_plan(network, count, pass, WANTS) {
        Err(EngineError::Memory { budget: 0, least }) => least,
        other => panic!("nothing fits into no memory, but found {other:?}"),
    }
}

fn plan(engine: &CpuEngine, network: &Network, count: usize, pass: &Pass) -> MemoryPlan {
    engine.memory_plan(network, count, pass, WANTS).expect("a plan")
}

/// Logits, moments, gradients and the bytes of the recording.
fn step(
    engine: &CpuEngine,
    network: &Network,
    count: usize,
    pass: &Pass,
) -> (Logits, Moments, Gradients, u64) {
    let pixels = images(network, count, 2);
    let (logits, recording) = engine.record(network, view(network, &pixels), pass).unwrap();
    let upstream = weights_of_logits(count, 3);
    let gradients = engine.backward(network, &recording, &upstream, WANTS).unwrap();
    (logits, recording.moments().clone(), gradients, recording.bytes() as u64)
}

#[test]
fn g10_recomputed_gradients_equal_stored_ones_bit_for_bit() {
    for network in networks() {
        for precision in PRECISIONS {
            for pass in passes(network.graph.domains, 19) {
                recomputed_equal_stored(&network, precision, &pass);
            }
        }
    }
}

fn recomputed_equal_stored(network: &Network, precision: Precision, pass: &Pass) {
    let free = engine(2).training_in(precision);
    let (logits, moments, gradients, _) = step(&free, network, 19, pass);
    let smallest = least_in(precision, network, 19, pass);
    let most = plan(&free, network, 19, pass).peak();
    assert!(smallest < most, "{}: {smallest} of {most}", network.graph.name);
    for budget in [smallest, smallest.midpoint(most)] {
        let lean = within(budget).training_in(precision);
        let share = plan(&lean, network, 19, pass).recomputed_share();
        assert!(share > 0.0, "{}: nothing was computed again", network.graph.name);
        let (other_logits, other_moments, other, _) = step(&lean, network, 19, pass);
        assert!(other_logits == logits && other_moments == moments);
        assert!(other == gradients, "{} {precision:?} {pass:?}", network.graph.name);
    }
}

#[test]
fn g26_a_recording_holds_the_bytes_that_were_planned() {
    for network in networks() {
        for precision in PRECISIONS {
            for pass in passes(network.graph.domains, 11) {
                let smallest = least_in(precision, &network, 11, &pass);
                for engine in [engine(2), within(smallest)] {
                    let engine = engine.training_in(precision);
                    let planned = plan(&engine, &network, 11, &pass);
                    let (.., held) = step(&engine, &network, 11, &pass);
                    let name = &network.graph.name;
                    assert_eq!(held, planned.recording, "{name} {precision:?} {pass:?}");
                    assert!(planned.peak() > held);
                }
            }
        }
    }
}

#[test]
fn a_budget_that_is_too_small_is_refused_with_the_smallest_that_will_do() {
    let [network, ..] = networks();
    let pass = &passes(2, 5)[0];
    let smallest = least(&network, 5, pass);
    assert!(plan(&within(smallest), &network, 5, pass).peak() <= smallest);
    let pixels = images(&network, 5, 2);
    let refused = within(smallest - 1).record(&network, view(&network, &pixels), pass);
    let message = refused.expect_err("it does not fit").to_string();
    assert!(message.contains("a training step needs at least"), "{message}");
    assert!(message.contains("hint: allow more with --memory"), "{message}");
}

#[test]
fn a_budget_that_suffices_computes_nothing_again() {
    let [network, ..] = networks();
    let pass = &passes(2, 5)[0];
    let whole = plan(&engine(2), &network, 5, pass);
    assert_eq!((whole.segments.len(), whole.recomputed_share()), (1, 0.0));
    let planned = plan(&within(whole.peak()), &network, 5, pass);
    assert_eq!(planned, whole);
}

#[test]
fn two_recordings_share_a_budget() {
    let [network, ..] = networks();
    let pass = &passes(2, 19)[0];
    let one = plan(&engine(2), &network, 19, pass);
    let budget = MemoryBudget { bytes: one.peak(), recordings: 2 };
    let two = plan(&engine(2).within(budget), &network, 19, pass);
    assert!(two.peak() <= one.peak() && two.recording < one.recording);
}
