//! Small networks, trained here in seconds on shrunken images of the embedded sample.

use crate::support::engine;
use adamant::attack::{AttackDefaults, parse};
use adamant::data::{Part, SearchPath, Source};
use adamant::evaluate::audit::{Audit, Depth};
use adamant::evaluate::{Conduct, Evaluation, Evaluator, Protocol, Samples, Subject};
use adamant::image::{Batch, Images, Shape};
use adamant::optimizer::Sgd;
use adamant::threat::{Norm, ThreatModel};
use adamant::train::plan::Plan;
use adamant::train::recipe::Recipe;
use adamant::train::trainer::Trainer;
use collective::Solo;
use engine::cpu::CpuFrozen;
use engine::{Engine, Precision};
use network::{Domain, Network};
use std::path::Path;
use std::sync::OnceLock;

/// Half the size of the sample's images.
pub const SHAPE: Shape = Shape::new(1, 14, 14);
/// Radius of training and judging.
pub const EPSILON: &str = "0.1";
const BATCH: usize = 50;

/// Fashion-MNIST, every 2x2 pixels averaged.
fn shrunken(part: Part, count: usize) -> Batch {
    let source = Source::parse("fashion-sample").expect("the embedded sample");
    let data = source.load(part, &SearchPath::from_environment()).expect("the embedded sample");
    let batch = data.batch(&(0..count as u64).collect::<Vec<_>>()).expect("images");
    let mut images = Images::zeros(count, SHAPE);
    for image in 0..count {
        let large = batch.images.one(image);
        for (place, pixel) in images.one_mut(image).iter_mut().enumerate() {
            let (row, column) = (place / 14 * 2, place % 14 * 2);
            let at = |down: usize, right: usize| large[(row + down) * 28 + column + right];
            *pixel = (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4.0;
        }
    }
    Batch { images, labels: batch.labels, indices: batch.indices }
}

/// Test images.
pub fn test_images() -> &'static Batch {
    static IMAGES: OnceLock<Batch> = OnceLock::new();
    IMAGES.get_or_init(|| shrunken(Part::Test, 200))
}

/// A network trained on the first images of the sample as `settings` say, over the defaults of these tests.
pub fn train(settings: &[&str], epochs: usize, images: usize) -> Network {
    train_on(&shrunken(Part::Train, images), settings, epochs)
}

/// A network trained on `data` as `settings` say, over the defaults of these tests.
pub fn train_on(data: &Batch, settings: &[&str], epochs: usize) -> Network {
    let defaults = "
        [network]
        architecture = 'resnet8-cifar'
        width = 8
        input_scaling = 'symmetric'
        [attack]
        norm = 'Linf'
        epsilon = '0.1'
        steps = 2
        step_size = '0.06'
        step_rule = 'fixed'
        start = 'uniform'
        [optimizer]
        learning_rate = 0.1
        learning_rate_scaling = 'none'
        [training]
        batch_size = 50
        ";
    let sets: Vec<String> = settings.iter().map(|set| set.to_string()).collect();
    let recipe = Recipe::parse(defaults, Path::new("small.toml"), &sets).expect("a sound recipe");
    let plan = Plan::new(&recipe).expect("a sound recipe");
    let engine = engine();
    let steps = data.images.count / BATCH;
    let network = plan.network(data.images.shape, 10).expect("a network");
    let mut trainer = Trainer {
        engine: &engine,
        collective: &Solo,
        plan: &plan,
        schedule: plan.schedule(steps as u32),
        network: network.clone(),
        optimizer: Sgd::new(plan.optimizer, &network.parameters),
    };
    engine.pool().install(|| {
        for step in 0..epochs * steps {
            // The images are in random order already.
            let first = step % steps * BATCH;
            let batch = data.select(&(first..first + BATCH).collect::<Vec<_>>());
            let epoch = (step / steps) as u32;
            trainer.step(&batch, step as u64, epoch).expect("a finite step");
        }
    });
    trainer.network
}

/// Trained on adversarial images alone.
pub fn adversarial() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(|| {
        train(&["objective.kind='adversarial-only'", "network.norm='batch'"], 5, 1500)
    })
}

/// These attacks on the first hundred test images, under the threat of these tests.
pub fn evaluator(attacks: &[&str]) -> Evaluator {
    evaluator_at(EPSILON, attacks)
}

/// The same at another radius.
pub fn evaluator_at(epsilon: &str, attacks: &[&str]) -> Evaluator {
    let threat =
        ThreatModel::new(Norm::Linf, epsilon.parse().expect("a length")).expect("a threat");
    let defaults = AttackDefaults::new(threat.clone());
    let known = |name: &&str| parse(name, &defaults).expect("a known name");
    Evaluator {
        threat,
        attacks: attacks.iter().map(known).collect(),
        protocol: Protocol::WorstCase,
        branch: Domain::ADVERSARIAL,
        attack_branch: Domain::ADVERSARIAL,
        precision: Precision::F32,
        samples: Samples::Some(100),
        seed: 0,
        batch_size: 64,
    }
}

pub fn frozen(network: &Network) -> CpuFrozen {
    engine().freeze(network, Domain::ADVERSARIAL, Precision::F32).expect("a sound network")
}

pub fn subject() -> Subject {
    Subject { model: "small".into(), data: "shrunken fashion-sample".into() }
}

/// All images, doubted so thoroughly.
pub fn conduct(depth: Depth) -> Conduct<'static> {
    Conduct { audit: Some(Audit { depth }), ..Conduct::default() }
}

/// What was doubted.
pub fn flags(evaluation: &Evaluation) -> Vec<&str> {
    evaluation.flags.iter().map(|flag| flag.name.as_str()).collect()
}
