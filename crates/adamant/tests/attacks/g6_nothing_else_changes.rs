//! An attack changes neither network nor batch, and no weight gradient is computed for it (T2, T36).

use super::table::*;
use adamant::attack::loss::cross_entropy;
use adamant::victim::BatchVictim;
use engine::cpu::{CpuEngine, CpuFrozen, CpuRecording, CpuSettings, Isa};
use engine::{EngineError, Gradients, ImagesView, MomentPool, Precision, Wants};
use network::{Architecture, Domain, Network, NormChoice, ParameterId, Pass, Statistics};
use std::sync::Mutex;

/// The CPU engine, and what was asked of it.
struct Spy {
    engine: CpuEngine,
    asked: Mutex<Vec<(Pass, Option<Wants>)>>,
}

impl Spy {
    fn new() -> Self {
        let settings = CpuSettings { threads: 2, isa: Isa::detected() };
        Self { engine: CpuEngine::new(settings).expect("threads"), asked: Mutex::default() }
    }
}

impl engine::Engine for Spy {
    type Recording = CpuRecording;
    type Frozen = CpuFrozen;

    fn record(
        &self,
        network: &Network,
        images: ImagesView<'_>,
        pass: &Pass,
    ) -> Result<(Logits, CpuRecording), EngineError> {
        self.asked.lock().expect("no panic").push((pass.clone(), None));
        self.engine.record(network, images, pass)
    }

    fn backward(
        &self,
        network: &Network,
        recording: &CpuRecording,
        gradient: &Logits,
        wants: Wants,
    ) -> Result<Gradients, EngineError> {
        self.asked.lock().expect("no panic").last_mut().expect("a recording").1 = Some(wants);
        self.engine.backward(network, recording, gradient, wants)
    }

    fn record_pooled(
        &self,
        network: &Network,
        images: ImagesView<'_>,
        pass: &Pass,
        pool: &dyn MomentPool,
    ) -> Result<(Logits, CpuRecording), EngineError> {
        self.engine.record_pooled(network, images, pass, pool)
    }

    fn backward_pooled(
        &self,
        network: &Network,
        recording: &CpuRecording,
        gradient: &Logits,
        pool: &dyn MomentPool,
        finished: &mut (dyn FnMut(ParameterId, Vec<f32>) + Send),
    ) -> Result<(), EngineError> {
        self.engine.backward_pooled(network, recording, gradient, pool, finished)
    }

    fn freeze(
        &self,
        network: &Network,
        domain: Domain,
        precision: Precision,
    ) -> Result<CpuFrozen, EngineError> {
        self.engine.freeze(network, domain, precision)
    }
}

/// A small residual network with two domains whose every value is drawn, so that the branches differ.
fn mixture() -> Network {
    let mut architecture = Architecture::named("resnet8-cifar-w4").expect("a name");
    architecture.norm = NormChoice::MIXTURE;
    architecture.input = Shape::new(3, 8, 8);
    let mut draws = super::linear::draws(5);
    let graph = architecture.graph().expect("a graph");
    Network::with_values(graph, |spec| {
        let count = spec.shape.iter().product();
        let (scale, shift) = match spec.name.as_str() {
            name if name.ends_with("running_var") => (0.2, 1.0),
            name if name.ends_with("conv1.weight") || name.ends_with("conv2.weight") => (0.3, 0.0),
            _ => (0.2, 0.5),
        };
        Ok((0..count).map(|_| shift + scale * (2.0 * draws.uniform() - 1.0)).collect())
    })
    .expect("values for every parameter")
}

fn batch(shape: Shape) -> Batch {
    let mut draws = super::linear::draws(6);
    let mut images = Images::zeros(6, shape);
    images.pixels.iter_mut().for_each(|pixel| *pixel = draws.uniform());
    Batch { images, labels: vec![0, 1, 2, 3, 4, 5], indices: (0..6).collect() }
}

#[test]
fn network_and_batch_have_the_same_bytes_after_any_attack_on_any_branch() {
    let network = mixture();
    let batch = batch(network.graph.input);
    let (network_before, batch_before) = (network.clone(), batch.clone());
    let engine = Spy::new();
    for domain in [Domain::CLEAN, Domain::ADVERSARIAL] {
        let frozen = engine::Engine::freeze(&engine, &network, domain, Precision::F32);
        let frozen = frozen.expect("it folds");
        for attack in table(&threat(Norm::Linf, "8/255")) {
            let name = attack.name();
            perturb_in_tiles(&frozen, attack.as_ref(), &batch, &stream(1)).expect(&name);
            let mut victim = BatchVictim::new(&engine, &network, domain);
            attack.perturb(&mut victim, &batch, &stream(1)).expect(&name);
            assert_eq!((&network, &batch), (&network_before, &batch_before), "{name}");
        }
    }
    for (pass, wants) in engine.asked.into_inner().expect("no panic") {
        assert_eq!(pass.statistics, Statistics::Batch);
        assert!(matches!(wants, None | Some(Wants::Input)), "{wants:?}");
    }
}

#[test]
fn batch_statistics_and_the_branch_asked_for_craft_the_attack() {
    let network = mixture();
    let batch = batch(network.graph.input);
    let engine = Spy::new();
    let attack = pgd(&threat(Norm::Linf, "8/255"), 5, Start::Clean, 1);
    let craft = |domain| {
        let mut victim = BatchVictim::new(&engine, &network, domain);
        let found = attack.perturb(&mut victim, &batch, &stream(1)).expect("an attack");
        assert_eq!(victim.passes(), Passes { forward: 30, backward: 30 });
        let loss = |victim: &mut dyn Victim, images: &Images| -> f64 {
            let logits = victim.logits(images).expect("logits");
            (0..6).map(|i| cross_entropy(logits.row(i), batch.labels[i])).sum()
        };
        let (before, after) = (loss(&mut victim, &batch.images), loss(&mut victim, &found.images));
        assert!(after > before + 0.01, "{before} -> {after}");
        found.images
    };
    let by_batch = [craft(Domain::CLEAN), craft(Domain::ADVERSARIAL)];
    assert_ne!(by_batch[0], by_batch[1], "T6: the branch asked for is the one used");
    let frozen = engine::Engine::freeze(&engine, &network, Domain::CLEAN, Precision::F32);
    let by_running = perturb_in_tiles(&frozen.expect("it folds"), &attack, &batch, &stream(1));
    assert_ne!(by_running.expect("an attack").0.images, by_batch[0]);
}

#[test]
fn restarts_with_batch_statistics_keep_the_batch_whole() {
    let network = mixture();
    let batch = batch(network.graph.input);
    let engine = Spy::new();
    let attack = pgd(&threat(Norm::Linf, "8/255"), 2, Start::Uniform, 3);
    let mut victim = BatchVictim::new(&engine, &network, Domain::CLEAN);
    let found = attack.perturb(&mut victim, &batch, &stream(1)).expect("an attack");
    // Most labels are wrong already, so with independent images the later restarts would have less to do.
    assert_eq!(victim.passes(), Passes { forward: 6 * 3 * 3, backward: 6 * 3 * 2 });
    // The first success is kept.
    let once = pgd(&threat(Norm::Linf, "8/255"), 2, Start::Uniform, 1);
    let first = once.perturb(&mut victim, &batch, &stream(1)).expect("an attack").images;
    let logits = victim.logits(&first).expect("logits");
    let broken: Vec<usize> =
        (0..6).filter(|&i| adamant::attack::prediction(logits.row(i)) != batch.labels[i]).collect();
    assert!(!broken.is_empty());
    for image in broken {
        assert_eq!((found.restarts[image], found.images.one(image)), (0, first.one(image)));
    }
}
