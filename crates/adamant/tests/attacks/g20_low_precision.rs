//! Attacks in bf16 against attacks in f32, on a pretrained network: directions, and what they do to accuracy.

use super::g18_golden::{attacks, images, pretrained};
use super::golden::Golden;
use super::table::*;
use adamant::evaluate::Agreement;
use adamant::victim::logits_in_tiles;
use engine::cpu::{CpuEngine, CpuSettings, Isa};
use engine::{Engine, Precision};
use network::Domain;

fn engine() -> CpuEngine {
    CpuEngine::new(CpuSettings { threads: 2, isa: Isa::detected() }).expect("threads")
}

#[test]
fn directions_agree_where_the_gradient_is_above_noise() {
    let batch = images(&Golden::read("attacks_wellconditioned"));
    let engine = engine();
    let gradient = |precision| {
        let frozen = engine.freeze(&pretrained(), Domain::CLEAN, precision).expect("it folds");
        let mut session = engine::Frozen::session(&frozen);
        let mut victim = adamant::victim::FrozenVictim::new(&mut session, 10);
        let mut loss = |logits: &Logits, first: usize, gradient: &mut Logits| {
            for image in 0..logits.count {
                let mut row = vec![0.0; 10];
                let label = batch.labels[first + image];
                adamant::attack::loss::add_cross_entropy_gradient(
                    logits.row(image),
                    label,
                    1.0,
                    &mut row,
                );
                gradient.row_mut(image).iter_mut().zip(row).for_each(|(g, r)| *g = r as f32);
            }
        };
        victim.input_gradient(&batch.images, &mut loss).expect("a gradient").1
    };
    let (exact, half) = (gradient(Precision::F32), gradient(Precision::Bf16));
    // Found .9467, .9882 and .9977 of the signs equal (AMX, 2026-11-22). The .99 that G20 asks for is reached above a tenth of
    // an image's largest gradient, not above a thousandth: there bf16 turns signs on this net whoever computes it, PyTorch
    // 2.15 gives .9430 (autocast) and .9426 (folded, bf16 weights) on the same images.
    for (floor, least) in [(1e-3, 0.94), (3e-2, 0.98), (0.1, 0.99)] {
        let found = Agreement::of(&exact, &half, floor);
        assert!(found.compared > found.values / 4, "{found:?}");
        assert!(found.share() >= least, "above {floor} of the largest: {}", found.share());
    }
}

#[test]
fn attacks_in_half_precision_break_as_many_images() {
    let batch = images(&Golden::read("attacks_wellconditioned"));
    let engine = engine();
    let network = pretrained();
    let judge = engine.freeze(&network, Domain::CLEAN, Precision::F32).expect("it folds");
    for (name, attack) in attacks() {
        // By image, how far its class is ahead of the next: negative where it is broken.
        let [exact, half] = [Precision::F32, Precision::Bf16].map(|precision| {
            let attacked = engine.freeze(&network, Domain::CLEAN, precision).expect("it folds");
            let (found, _) = perturb_in_tiles(&attacked, attack.as_ref(), &batch, &stream(1))
                .expect("an attack");
            let logits = logits_in_tiles(&judge, &found.images).expect("logits");
            let margins = (0..64).map(|image| margin(logits.row(image), batch.labels[image]));
            margins.collect::<Vec<f32>>()
        });
        // The targeted attack leaves images a few thousandths from the border that it was not asked to cross: which side
        // they end on is rounding's choice, also in f32.
        let is_apart = |(exact, half): &(f32, f32)| {
            (*exact < 0.0) != (*half < 0.0) && exact.abs().min(half.abs()) > BORDER
        };
        let apart = exact.into_iter().zip(half).filter(is_apart);
        let apart: Vec<(f32, f32)> = apart.collect();
        // One image of 64: the fixture has no thousand images, of which a point would be ten.
        assert!(apart.len() <= 1, "{name}: one precision breaks what the other leaves: {apart:?}");
    }
}

/// Logits within which a class and the next are called equal.
const BORDER: f32 = 0.02;

/// The logit of the class less the largest other.
fn margin(logits: &[f32], class: u32) -> f32 {
    let others = logits.iter().enumerate().filter(|&(other, _)| other != class as usize);
    logits[class as usize] - others.map(|(_, &logit)| logit).fold(f32::MIN, f32::max)
}
