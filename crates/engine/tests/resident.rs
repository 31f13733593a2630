//! The memory plan against what the kernel says this process has resident (G26). The only test of its binary: another
//! one's memory would be counted with it.

#![cfg(target_os = "linux")]

use engine::cpu::{CpuEngine, CpuSettings, Isa, MemoryBudget};
use engine::{Engine, EngineError, ImagesView, Recording, Wants};
use network::{Architecture, Domain, Network, NormChoice, Pass, Shape};
use std::fs;

const COUNT: usize = 16;
/// A recording does not know yet what will be asked for, and plans for the most.
const WANTS: Wants = Wants::ParametersAndInput;

fn status(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the key");
    let kibibytes = line.trim_start_matches(':').trim().split(' ').next().expect("a number");
    kibibytes.parse::<u64>().expect("a number") << 10
}

/// Narrow layers on large images: much memory, little work.
fn network() -> Network {
    let mut architecture = Architecture::named("resnet101-w16").expect("a known name");
    architecture.norm = NormChoice::MIXTURE;
    architecture.input = Shape::new(3, 160, 160);
    let mut state = 1_u32;
    let mut uniform = |_: u32, values: &mut [f32]| {
        values.fill_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        });
    };
    Network::initialized(architecture.graph().expect("a graph"), &mut uniform).expect("a network")
}

fn size_of_parameters(network: &Network) -> u64 {
    network.parameters.iter().map(|parameter| size_of_val(&parameter.values[..]) as u64).sum()
}

#[test]
fn g26_resident_memory_is_within_a_tenth_of_the_plan() {
    let network = network();
    let pixels: Vec<f32> =
        (0..COUNT * network.graph.input.len()).map(|i| (i * 37 % 256) as f32 / 255.0).collect();
    let images = ImagesView { count: COUNT, shape: network.graph.input, pixels: &pixels };
    let pass = Pass::batch(Domain::CLEAN);
    let engine =
        || CpuEngine::new(CpuSettings { threads: 2, isa: Isa::detected() }).expect("threads");
    let within = |bytes| engine().within(MemoryBudget { bytes, recordings: 1 });
    let plan = |engine: &CpuEngine| engine.memory_plan(&network, COUNT, &pass, WANTS);
    let Err(EngineError::Memory { least, .. }) = plan(&within(0)) else {
        panic!("nothing fits into no memory")
    };
    // The high-water mark only rises: the smaller one first.
    // Of what the plan counts, this process holds the parameters already, and no momentum.
    let before = status("VmRSS") - size_of_parameters(&network);
    for (what, engine) in [("computed again", within(least)), ("stored", engine())] {
        let planned = plan(&engine).expect("a plan");
        let (logits, recording) = engine.record(&network, images, &pass).expect("a recording");
        assert_eq!(recording.bytes() as u64, planned.recording);
        engine.backward(&network, &recording, &logits, WANTS).expect("gradients");
        let (measured, expected) = (status("VmHWM") - before, planned.peak() - planned.momentum);
        let ratio = measured as f64 / expected as f64;
        assert!((0.9..1.1).contains(&ratio), "{what}: {measured} bytes, planned {expected}");
    }
}
