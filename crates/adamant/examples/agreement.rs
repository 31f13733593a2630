//! How far bf16 and f32 agree on the direction of an attack on a trained model, as one JSON line.
//!
//! `cargo run --release -p adamant --example agreement -- MODEL.safetensors DATA EPSILON IMAGES`, such as
//! `runs/quickstart/best.safetensors fashion-sample 0.1 1000`. Gradients are taken of the cross-entropy at the images and
//! where PGD-1 and PGD-10 in f32 leave them. What it means for robust accuracy says `adamant evaluate --precision bf16`.

use adamant::attack::loss::add_cross_entropy_gradient;
use adamant::attack::{self, AttackDefaults, AttackStream, Victim};
use adamant::data::{Part, SearchPath, Source};
use adamant::evaluate::Agreement;
use adamant::image::{Batch, Images, Logits};
use adamant::stream::Stream;
use adamant::threat::{Norm, ThreatModel};
use adamant::victim::FrozenVictim;
use engine::cpu::{CpuEngine, CpuSettings, Isa};
use engine::{Engine, Frozen, Precision};
use network::{Domain, Network};
use serde_json::json;
use std::path::Path;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, data, epsilon, images] = &arguments[..] else {
        return Err("usage: agreement MODEL.safetensors DATA EPSILON IMAGES".into());
    };
    let network = Network::read(Path::new(model))?;
    let dataset = Source::parse(data)?.load(Part::Test, &SearchPath::from_environment())?;
    let indices: Vec<u64> = (0..images.parse()?).collect();
    let batch = dataset.batch(&indices)?;
    let engine = CpuEngine::new(CpuSettings { threads: 2, isa: Isa::best()? })?;

    let threat = ThreatModel::new(Norm::Linf, epsilon.parse()?)?;
    let defaults = AttackDefaults::new(threat);
    let stream = AttackStream { stream: Stream::new(0), time: 0, rank: 0, first_restart: 0 };
    let exact = engine.freeze(&network, Domain::ADVERSARIAL, Precision::F32)?;
    let half = engine.freeze(&network, Domain::ADVERSARIAL, Precision::Bf16)?;
    let mut points = vec![("image", batch.clone())];
    for name in ["pgd-1", "pgd-10"] {
        let mut session = exact.session();
        let mut victim = FrozenVictim::new(&mut session, exact.classes());
        let images = attack::parse(name, &defaults)?.perturb(&mut victim, &batch, &stream)?.images;
        points.push((name, Batch { images, ..batch.clone() }));
    }
    let mut found = Vec::new();
    for (name, batch) in &points {
        let (left, right) = (gradient(&exact, batch)?, gradient(&half, batch)?);
        for floor in [0.0, 1e-3, 1e-2, 3e-2, 1e-1] {
            let agreement = Agreement::of(&left, &right, floor);
            let compared = agreement.compared as f64 / agreement.values as f64;
            found.push(json!({ "at": name, "floor": floor, "share_compared": compared,
                "share_equal": agreement.share() }));
        }
        let square = |values: &mut dyn Iterator<Item = f32>| {
            values.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt()
        };
        let apart = square(&mut left.pixels.iter().zip(&right.pixels).map(|(a, b)| a - b));
        let relative = apart / square(&mut left.pixels.iter().copied());
        found.push(json!({ "at": name, "relative_distance": relative }));
    }
    let isa = engine.settings().isa.name();
    println!(
        "{}",
        json!({ "model": model, "data": data, "images": indices.len(),
        "epsilon": epsilon, "kernel": isa, "agreement": found })
    );
    Ok(())
}

fn gradient(frozen: &impl Frozen, batch: &Batch) -> Result<Images, Failure> {
    let mut session = frozen.session();
    let mut victim = FrozenVictim::new(&mut session, frozen.classes());
    let mut loss = |logits: &Logits, first: usize, gradient: &mut Logits| {
        for image in 0..logits.count {
            let mut row = vec![0.0; logits.classes];
            let label = batch.labels[first + image];
            add_cross_entropy_gradient(logits.row(image), label, 1.0, &mut row);
            gradient.row_mut(image).iter_mut().zip(row).for_each(|(g, r)| *g = r as f32);
        }
    };
    Ok(victim.input_gradient(&batch.images, &mut loss)?.1)
}
