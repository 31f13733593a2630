//! One table of all attacks, and what the tests run it on.

pub use super::linear::{Linear, attacked, stream, threat};
pub use adamant::attack::{
    Attack, AttackDefaults, AttackError, AttackStream, Ensemble, NoAttack, Noise, Passes,
    Perturbed, Pgd, PgdSettings, Victim, VictimError, parse,
};
pub use adamant::image::{Batch, Images, Logits, Shape};
pub use adamant::stream::Stream;
pub use adamant::threat::{
    CoinScope, Goal, Norm, Range, Start, StepSize, TargetRule, ThreatModel, distance,
};
pub use adamant::victim::{FrozenVictim, perturb_in_tiles};
pub use engine::Frozen;

pub const NORMS: [Norm; 3] = [Norm::Linf, Norm::L2, Norm::L1];
pub const NAMES: [&str; 24] = [
    "deepfool-4",
    "spsa-3-8",
    "nes-3-8",
    "fab-6",
    "fab-t-6-2",
    "square-30",
    "targeted-square-20-2",
    "eot-2-pgd-3",
    "apgd-ce-9",
    "apgd-dlr-9-2",
    "apgd-t-9",
    "targeted-apgd-ce-9",
    "margin-pgd-5",
    "clean",
    "fgsm",
    "bim-5",
    "pgd-7",
    "pgd-5-3",
    "mifgsm-5",
    "noise",
    "targeted-fgsm",
    "targeted-pgd-5-3",
    "targeted-mifgsm-5",
    "targeted-noise-4",
];

/// Every attack by name, and PGD as the paper trains with it, its coin tossed per image.
pub fn table(threat: &ThreatModel) -> Vec<Box<dyn Attack>> {
    let defaults = AttackDefaults::new(threat.clone());
    let mut attacks: Vec<Box<dyn Attack>> =
        NAMES.iter().map(|name| parse(name, &defaults).expect(name)).collect();
    let scope = CoinScope::PerImage;
    let start = Start::CleanWithProbability { probability: 0.2, scope };
    attacks.push(Box::new(pgd(threat, 4, start, 1)));
    attacks
}

pub fn settings(threat: &ThreatModel, steps: usize, start: Start, restarts: u32) -> PgdSettings {
    PgdSettings {
        threat: threat.clone(),
        goal: Goal::Untargeted,
        steps,
        step_size: StepSize::TimesEpsilonOverSteps(2.5),
        start,
        start_range: Range::Pixels,
        restarts,
    }
}

pub fn pgd(threat: &ThreatModel, steps: usize, start: Start, restarts: u32) -> Pgd {
    Pgd::new(settings(threat, steps, start, restarts)).expect("sound settings")
}

pub fn small() -> Linear {
    Linear::random(Shape::new(3, 4, 4), 5, 7)
}

pub fn bits(images: &Images) -> Vec<u32> {
    images.pixels.iter().map(|pixel| pixel.to_bits()).collect()
}

pub fn right(linear: &Linear, images: &Images, labels: &[u32]) -> usize {
    linear.predictions(images).iter().zip(labels).filter(|(p, l)| p == l).count()
}
