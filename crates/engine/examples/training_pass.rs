//! Times a training pass (record, then backward by all parameters) of an architecture in a precision.
//!
//! `cargo run --release -p engine --example training_pass -- [PRECISION] [ARCHITECTURE] [IMAGES] [SIDE]`, by default
//! `bf16 resnet18-cifar 128 32`; `THREADS` and `ADAMANT_ISA` in the environment. Half of the images are clean, half adversarial, as in a
//! mixture step.

use engine::cpu::{CpuEngine, CpuSettings};
use engine::{Engine, ImagesView, Logits, Precision, Recording, Wants};
use kernels::Isa;
use network::architecture::{Architecture, NormChoice};
use network::{Domain, Domains, Network, Pass, Statistics};
use std::time::Instant;

const RUNS: usize = 9;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let precision = match arguments.next().as_deref() {
        Some("f32") => Precision::F32,
        None | Some("bf16") => Precision::Bf16,
        Some(other) => panic!("a precision is f32 or bf16, not {other}"),
    };
    let name = arguments.next().unwrap_or("resnet18-cifar".into());
    let mut number =
        |default: usize| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (count, side) = (number(128), number(32));
    let threads = std::env::var("THREADS").map_or(2, |text| text.parse().expect("a number"));
    let isa = Isa::best().expect("a known instruction set");
    let mut architecture = Architecture::named(&name).expect("a known architecture");
    architecture.input = network::Shape::new(architecture.input.channels, side, side);
    architecture.norm = NormChoice::MIXTURE;
    let graph = architecture.graph().expect("a valid graph");
    let mut numbers = noise(1);
    let mut normals = |_: u32, values: &mut [f32]| {
        // The sum of three uniform numbers in [-1, 1] has variance one.
        values.iter_mut().for_each(|value| *value = (0..3).map(|_| numbers()).sum());
    };
    let mut network = Network::initialized(graph, &mut normals).expect("a valid network");
    for parameter in network.parameters.iter_mut() {
        if parameter.role == network::Role::Scale {
            parameter.values.fill(0.5);
        }
    }
    let mut numbers = noise(2);
    let image = network.graph.input.len();
    let pixels: Vec<f32> = (0..count * image).map(|_| 0.5 + 0.5 * numbers()).collect();
    let images = ImagesView { count, shape: network.graph.input, pixels: &pixels };
    let domains = (0..count).map(|i| Domain(usize::from(i >= count / 2))).collect();
    let pass = Pass { statistics: Statistics::Batch, domains: Domains::PerImage(domains) };
    let settings = CpuSettings { threads, isa };
    let engine = CpuEngine::new(settings).expect("threads start").training_in(precision);
    let mut by_logits = Logits::zeros(count, network.graph.classes);
    by_logits.values.iter_mut().for_each(|x| *x = numbers());
    let (mut records, mut backwards, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..RUNS + 1 {
        let start = Instant::now();
        let (_, recording) = engine.record(&network, images, &pass).expect("records");
        records.push(1e3 * start.elapsed().as_secs_f64());
        let start = Instant::now();
        let by_weights = engine.backward(&network, &recording, &by_logits, Wants::Parameters);
        backwards.push(1e3 * start.elapsed().as_secs_f64());
        std::hint::black_box(by_weights.expect("goes back"));
        bytes = recording.bytes();
    }
    println!(
        "{name}, {count} images of {side}x{side}, {precision:?}, {threads} threads, {isa}, {:.2} GB kept",
        bytes as f64 / 1e9
    );
    for (what, times) in [("record", records), ("backward", backwards)] {
        // The first run fills the pools.
        let mut sorted = times[1..].to_vec();
        sorted.sort_by(f64::total_cmp);
        println!(
            "{what:<10} median {:8.1} ms, least {:8.1} ms, first {:8.1} ms",
            sorted[RUNS / 2],
            sorted[0],
            times[0]
        );
    }
}

fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}
