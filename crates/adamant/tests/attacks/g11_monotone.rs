//! More epsilon, more steps or a stronger attack never leave more images standing.

use super::table::*;

fn robust(linear: &Linear, batch: &Batch, name: &str, epsilon: &str, norm: Norm) -> usize {
    let attack = parse(name, &AttackDefaults::new(threat(norm, epsilon))).expect("a name");
    let (found, _) = attacked(linear, attack.as_ref(), batch, &stream(6));
    right(linear, &found.images, &batch.labels)
}

#[test]
fn robust_accuracy_never_rises_with_epsilon_and_ends_at_zero() {
    let linear = small();
    let batch = linear.batch(200, 5);
    for norm in NORMS {
        let sweep = ["0", "0.01", "0.03", "0.06", "0.1", "0.2", "0.4", "1"];
        let counts: Vec<usize> =
            sweep.iter().map(|e| robust(&linear, &batch, "pgd-20", e, norm)).collect();
        assert!(counts.windows(2).all(|pair| pair[1] <= pair[0]), "{norm}: {counts:?}");
        assert_eq!(counts[0], 200);
        if norm == Norm::Linf {
            assert_eq!(counts[7], 0);
        }
    }
}

#[test]
fn apgd_is_never_weaker_than_pgd_and_never_gains_images_with_epsilon_or_restarts() {
    let linear = small();
    let batch = linear.batch(100, 5);
    for (norm, sweep) in [
        (Norm::Linf, ["0", "0.003", "0.006", "0.012", "1"]),
        (Norm::L2, ["0", "0.02", "0.04", "0.08", "20"]),
        (Norm::L1, ["0", "0.05", "0.1", "0.2", "40"]),
    ] {
        let count = |name: &str, epsilon: &str| robust(&linear, &batch, name, epsilon, norm);
        let counts: Vec<usize> = sweep.iter().map(|e| count("apgd-t", e)).collect();
        assert!(counts.windows(2).all(|pair| pair[1] <= pair[0]), "{norm}: {counts:?}");
        assert_eq!((counts[0], counts[4]), (100, 0), "{norm}");
        assert!(counts[1] > counts[3] && counts[3] > 0, "{norm}: {counts:?}");
        for (epsilon, &by_targets) in sweep.iter().zip(&counts) {
            let once = count("apgd-ce", epsilon);
            assert!(by_targets <= count("pgd-20", epsilon), "{norm} {epsilon}");
            assert!(count("apgd-ce-100-3", epsilon) <= once, "{norm} {epsilon}");
        }
    }
}

#[test]
fn noise_never_beats_pgd() {
    let linear = small();
    let batch = linear.batch(200, 5);
    for (norm, epsilon) in [(Norm::Linf, "0.06"), (Norm::L2, "0.3")] {
        let by_noise = robust(&linear, &batch, "noise", epsilon, norm);
        let by_pgd = robust(&linear, &batch, "pgd-20", epsilon, norm);
        assert!(by_pgd + 50 < by_noise, "{norm}: noise leaves {by_noise}, PGD {by_pgd}");
    }
}

#[test]
fn the_loss_of_a_linear_victim_with_two_classes_rises_with_every_step() {
    let linear = Linear::random(Shape::new(3, 4, 4), 2, 9);
    let batch = linear.batch(20, 5);
    let loss = |image: &[f32], label: u32| {
        adamant::attack::loss::cross_entropy(&linear.logits_of(image), label)
    };
    for norm in NORMS {
        let step = StepSize::Fixed("0.02".parse().expect("a length"));
        let mut before = [0.0; 20];
        for steps in 0..12 {
            let threat = threat(norm, "0.1");
            let attack = Pgd::bim(threat, Goal::Untargeted, steps, step.clone());
            let (found, _) = attacked(&linear, &attack.expect("settings"), &batch, &stream(1));
            for (image, previous) in before.iter_mut().enumerate() {
                let now = loss(found.images.one(image), batch.labels[image]);
                // Rounding of single-precision pixels once the border of the ball is reached.
                assert!(now >= *previous - 1e-5, "{norm}, step {steps}: {previous} {now}");
                *previous = now;
            }
        }
    }
}
