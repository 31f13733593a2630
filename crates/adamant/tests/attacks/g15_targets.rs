//! Targets are never the label, and success is what the goal says.

use super::table::*;

use adamant::attack::Aims;
use adamant::attack::loss::AttackLoss;

fn targets(linear: &Linear, batch: &Batch, rule: TargetRule, stream: &AttackStream) -> Vec<u32> {
    let mut session = linear.session();
    let mut victim = FrozenVictim::new(&mut session, linear.classes);
    let aims =
        Aims::resolve(Goal::Targeted(rule), AttackLoss::CrossEntropy, &mut victim, batch, stream);
    aims.expect("more than one class").into_targets().expect("a targeted goal has targets")
}

#[test]
fn a_uniform_target_is_never_the_label_and_uniform_over_the_others() {
    // n = 100,000, seed 11: chi-square of 9 other classes, 8 degrees of freedom; 26.1 has p = 1e-3.
    let n = 100_000;
    let linear = Linear::random(Shape::new(1, 1, 1), 10, 1);
    let mut batch = linear.batch(n, 1);
    batch.labels = (0..n as u32).map(|i| i % 10).collect();
    let found = targets(&linear, &batch, TargetRule::UniformOther, &stream(11));
    let mut counts = [0_u32; 10];
    for (&target, &label) in found.iter().zip(&batch.labels) {
        counts[((target + 10 - label) % 10) as usize] += 1;
    }
    assert_eq!(counts[0], 0);
    let expected = n as f64 / 9.0;
    let each = counts[1..].iter().map(|&c| (f64::from(c) - expected).powi(2) / expected);
    let chi_square: f64 = each.sum();
    assert!(chi_square < 26.1, "{chi_square}");
    // Redrawn for every attack of a run, the same in every restart.
    let later = AttackStream { time: 1, ..stream(11) };
    assert_ne!(targets(&linear, &batch, TargetRule::UniformOther, &later), found);
    let again = AttackStream { first_restart: 5, ..stream(11) };
    assert_eq!(targets(&linear, &batch, TargetRule::UniformOther, &again), found);
}

#[test]
fn next_and_least_likely_are_what_they_say() {
    let linear = small();
    let batch = linear.batch(30, 1);
    let next = targets(&linear, &batch, TargetRule::Next, &stream(1));
    assert!(next.iter().zip(&batch.labels).all(|(&t, &l)| t == (l + 1) % 5));
    let least = targets(&linear, &batch, TargetRule::LeastLikely, &stream(1));
    for (image, &target) in least.iter().enumerate() {
        let logits = linear.logits_of(batch.images.one(image));
        assert!(logits.iter().all(|&logit| logit >= logits[target as usize]));
    }
}

#[test]
fn success_is_a_wrong_class_untargeted_and_the_target_targeted() {
    let linear = small();
    let batch = linear.batch(30, 1);
    let mut defaults = AttackDefaults::new(threat(Norm::Linf, "0.3"));
    defaults.target = TargetRule::Next;
    let run = |name: &str| {
        let attack = parse(name, &defaults).expect("a name");
        attacked(&linear, attack.as_ref(), &batch, &stream(1)).0
    };
    let untargeted = run("pgd-20");
    assert_eq!(untargeted.targets, None);
    assert_eq!(right(&linear, &untargeted.images, &batch.labels), 0);
    let targeted = run("targeted-pgd-20");
    let wanted = targeted.targets.expect("targets");
    assert_eq!(right(&linear, &targeted.images, &wanted), 30);
}
