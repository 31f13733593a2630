//! One training pass (record and backward) of an architecture within a memory budget: planned bytes, measured bytes and
//! time, as one line of JSON.
//!
//! `cargo run --release -p engine --example memory -- [ARCHITECTURE] [IMAGES] [SIDE] [BUDGET_MIB] [PASSES]`, by default
//! `resnet50 16 224`, no budget and one pass; `THREADS` and `ADAMANT_ISA` in the environment. Half the images are clean
//! and half adversarial, in one recording, as in a mixture step; parameters and momentum are held meanwhile. Resident
//! memory is what Linux says; on other systems it is 0.

use engine::cpu::{CpuEngine, CpuSettings, MemoryBudget};
use engine::{Engine, ImagesView, Recording, Wants};
use kernels::Isa;
use network::architecture::{Architecture, NormChoice};
use network::{Domain, Domains, Network, Pass, Shape, Statistics};
use std::time::Instant;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or("resnet50".into());
    let mut number = || arguments.next().map(|text| text.parse::<usize>().expect("a number"));
    let (count, side) = (number().unwrap_or(16), number().unwrap_or(224));
    let (budget, passes) = (number().filter(|&mebibytes| mebibytes > 0), number().unwrap_or(1));
    let threads = std::env::var("THREADS").map_or(2, |text| text.parse().expect("a number"));
    let isa = Isa::best().expect("a known instruction set");

    let network = network(&name, side);
    let momentum: Vec<Vec<f32>> = network.parameters.iter().map(|p| p.values.clone()).collect();
    let mut engine = CpuEngine::new(CpuSettings { threads, isa }).expect("threads start");
    if let Some(mebibytes) = budget {
        let budget = MemoryBudget { bytes: (mebibytes as u64) << 20, recordings: 1 };
        engine = engine.within(budget);
    }
    let domains = (0..count).map(|image| Domain(2 * image / count)).collect();
    let pass = Pass { statistics: Statistics::Batch, domains: Domains::PerImage(domains) };
    let start = Instant::now();
    let plan = match engine.memory_plan(&network, count, &pass, Wants::Parameters) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2);
        }
    };
    let planning = start.elapsed();

    let mut numbers = noise(2);
    let pixels: Vec<f32> =
        (0..count * network.graph.input.len()).map(|_| 0.5 + 0.5 * numbers()).collect();
    let images = ImagesView { count, shape: network.graph.input, pixels: &pixels };
    let mut seconds = Vec::new();
    let mut held = 0;
    for _ in 0..passes {
        let start = Instant::now();
        let (mut logits, recording) = engine.record(&network, images, &pass).expect("records");
        held = recording.bytes();
        logits.values.iter_mut().for_each(|z| *z = 1.0 - 0.1 * *z);
        let gradients =
            engine.backward(&network, &recording, &logits, Wants::Parameters).expect("goes back");
        seconds.push(start.elapsed().as_secs_f64());
        assert!(gradients.parameters.iter().flatten().all(|x| x.is_finite()));
    }
    drop(momentum);
    let count_of = network.graph.count().expect("a valid graph");
    let best = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    println!(
        "{{\"arch\": \"{name}\", \"layers\": {}, \"images\": {count}, \"side\": {side}, \"threads\": {threads}, \
         \"kernel\": \"{isa}\", \"budget_mib\": {}, \"parameters\": {}, \"macs\": {}, \
         \"planned\": {{\"recording\": {}, \"record_peak\": {}, \"backward_peak\": {}, \"peak\": {}, \
         \"segments\": {}, \"recomputed_share\": {:.4}}}, \
         \"recording_bytes\": {held}, \"peak_rss_bytes\": {}, \"planning_seconds\": {:.4}, \
         \"seconds\": {seconds:?}, \"milliseconds_per_layer\": {:.3}, \"gflops\": {:.1}}}",
        count_of.layers,
        budget.map_or("null".into(), |mebibytes| mebibytes.to_string()),
        count_of.parameters,
        count_of.macs,
        plan.recording,
        plan.record_peak,
        plan.backward_peak,
        plan.peak(),
        plan.segments.len(),
        plan.recomputed_share(),
        peak_resident(),
        planning.as_secs_f64(),
        1e3 * best / count_of.layers as f64,
        6.0 * count_of.macs as f64 * count as f64 / best / 1e9,
    );
}

fn network(name: &str, side: usize) -> Network {
    let mut architecture = Architecture::named(name).expect("a known architecture");
    architecture.input = Shape::new(3, side, side);
    architecture.norm = NormChoice::MIXTURE;
    let graph = architecture.graph().expect("a valid graph");
    let mut numbers = noise(1);
    let mut normals = |_: u32, values: &mut [f32]| {
        // The sum of three uniform numbers in [-1, 1] has variance one.
        values.iter_mut().for_each(|value| *value = (0..3).map(|_| numbers()).sum());
    };
    Network::initialized(graph, &mut normals).expect("a valid network")
}

/// Numbers in `[-1, 1)`.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

/// The most memory this process has had resident, in bytes.
fn peak_resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}
