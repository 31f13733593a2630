//! Deep networks at their start, through the engine (G26).

use engine::cpu::{CpuEngine, CpuSettings, Isa};
use engine::{Engine, ImagesView, Logits, Recording, Wants};
use network::{Architecture, Domain, Network, NormChoice, Pass};

fn engine() -> CpuEngine {
    CpuEngine::new(CpuSettings { threads: 2, isa: Isa::detected() }).expect("threads")
}

/// Numbers of mean 0 and variance 1.
fn uniform(tensor: u32, values: &mut [f32]) {
    let mut state = tensor;
    values.fill_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 3.0_f32.sqrt()
    });
}

fn initialized(name: &str, norm: NormChoice) -> Network {
    let mut architecture = Architecture::named(name).expect("a known name");
    architecture.norm = norm;
    Network::initialized(architecture.graph().expect("a graph"), &mut uniform).expect("a network")
}

fn pixels(count: usize) -> Vec<f32> {
    (0..count * 3 * 32 * 32).map(|i| (i * 37 % 256) as f32 / 255.0).collect()
}

fn logits(network: &Network, pixels: &[f32]) -> Logits {
    let images = ImagesView { count: 2, shape: network.graph.input, pixels };
    engine().record(network, images, &Pass::batch(Domain::CLEAN)).expect("a recording").0
}

#[test]
fn g26_each_block_begins_as_its_shortcut() {
    let pixels = pixels(2);
    for norm in [NormChoice::MIXTURE, NormChoice::Group { groups: 8 }, NormChoice::None] {
        for name in ["resnet8-cifar", "resnet18-cifar-w8"] {
            let mut network = initialized(name, norm);
            let before = logits(&network, &pixels);
            assert!(before.values.iter().any(|&z| z != 0.0));
            // Whatever the branches compute, nothing of it arrives.
            let of_branches = |key: &str| key.starts_with("layer") && key.contains(".conv");
            for parameter in network.parameters.iter_mut().filter(|p| of_branches(&p.name)) {
                parameter.values.iter_mut().for_each(|value| *value = 0.5 - *value);
            }
            assert_eq!(logits(&network, &pixels), before, "{name} {norm:?}");
        }
    }
}

#[test]
fn g26_depth_638_trains_on_a_thread_with_a_small_stack() {
    let step = || {
        // A quarter of the width: 12 million weights instead of 190, the same 2,000 nodes.
        let network = initialized("resnet638-cifar-w16", NormChoice::BATCH);
        let pixels = pixels(1);
        let images = ImagesView { count: 1, shape: network.graph.input, pixels: &pixels };
        let engine = engine();
        let pass = Pass::batch(Domain::CLEAN);
        let (logits, recording) = engine.record(&network, images, &pass).expect("a recording");
        assert!(logits.values.iter().all(|z| z.is_finite()));
        assert_eq!(recording.moments().layers.len(), 1 + 3 * 212 + 4);
        let upstream = Logits { values: vec![1.0; 10], ..Logits::zeros(1, 10) };
        let gradients =
            engine.backward(&network, &recording, &upstream, Wants::Parameters).expect("gradients");
        assert!(gradients.parameters.iter().flatten().all(|g| g.is_finite()));
        let classifier = network.parameters.id("fc.weight").expect("a classifier");
        assert!(gradients.parameters[classifier.0].iter().any(|&g| g != 0.0));
    };
    // The passes themselves run on the engine's threads, which have the usual 2 MiB.
    let thread = std::thread::Builder::new().stack_size(128 << 10).spawn(step).expect("a thread");
    thread.join().expect("the step ends without a panic");
}
