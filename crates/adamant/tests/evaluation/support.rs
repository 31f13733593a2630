//! A small convolutional network with random weights, and images it is right on.

use adamant::image::{Batch, Images, Shape};
use adamant::stream::{Draws, Key, Purpose, Stream};
use adamant::threat::{Norm, ThreatModel};
use adamant::victim::logits_in_tiles;
use engine::cpu::{CpuEngine, CpuFrozen, CpuSettings, Isa};
use engine::{Engine, Precision};
use network::{Architecture, Domain, Network};

pub const SHAPE: Shape = Shape::new(1, 8, 8);

pub fn engine() -> CpuEngine {
    let isa = Isa::best().expect("a known instruction set");
    CpuEngine::new(CpuSettings { threads: 2, isa }).expect("threads")
}

pub fn draws(seed: u64, index: u32) -> Draws {
    let key = Key { purpose: Purpose::Initialize, time: 0, index, restart: 0 };
    Stream::new(seed).draws(key)
}

/// Random weights, with every block switched on and logits of a trained network's size.
pub fn network() -> Network {
    let mut architecture = Architecture::named("resnet8-cifar-w4").expect("a known name");
    architecture.input = SHAPE;
    let mut normals = |tensor: u32, values: &mut [f32]| {
        let mut draws = draws(5, tensor);
        values.fill_with(|| draws.normal());
    };
    let graph = architecture.graph().expect("a sound architecture");
    let mut network = Network::initialized(graph, &mut normals).expect("weights");
    for parameter in network.parameters.iter_mut() {
        if parameter.name.contains("bn2") && parameter.name.ends_with("weight") {
            parameter.values.fill(1.0);
        }
        if parameter.name == "linear.weight" {
            parameter.values.iter_mut().for_each(|value| *value *= 100.0);
        }
    }
    network
}

pub fn frozen() -> CpuFrozen {
    engine().freeze(&network(), Domain::CLEAN, Precision::F32).expect("a sound network")
}

/// Noise, labelled with what the network says, but every tenth image wrongly.
pub fn batch(count: usize) -> Batch {
    let mut images = Images::zeros(count, SHAPE);
    let mut draws = draws(9, 1);
    images.pixels.fill_with(|| draws.uniform());
    let logits = logits_in_tiles(&frozen(), &images).expect("logits");
    let says = |image: usize| adamant::attack::prediction(logits.row(image));
    let label = |image: usize| if image % 10 == 9 { (says(image) + 1) % 10 } else { says(image) };
    Batch { labels: (0..count).map(label).collect(), indices: (0..count as u64).collect(), images }
}

pub fn threat(epsilon: &str) -> ThreatModel {
    ThreatModel::new(Norm::Linf, epsilon.parse().expect("a length")).expect("a threat")
}
