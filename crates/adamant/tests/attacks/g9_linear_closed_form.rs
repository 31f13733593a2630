//! On a linear classifier an image falls exactly if its margin is within epsilon times the dual norm.

use super::golden::Golden;
use super::linear::{Linear, attacked, stream, threat};
use adamant::attack::{
    AttackDefaults, CarliniWagner, CarliniWagnerSettings, DeepFool, DeepFoolSettings, Fab,
    FabBoundary, FabSettings, MinimalDistance, parse,
};
use adamant::image::{Batch, Images, Shape};
use adamant::threat::{Norm, StepSize, TargetRule, ThreatModel, distance};
use adamant::victim::FrozenVictim;
use engine::Frozen;

/// The stored classifier, its images and labels.
fn stored() -> (Golden, Linear, Batch) {
    let golden = Golden::read("linear_closed_form");
    let shape = Shape::new(3, 8, 8);
    let linear = Linear {
        shape,
        classes: 10,
        weight: golden.floats("weight"),
        bias: golden.floats("bias"),
        tile: 7,
    };
    let images = Images { count: 100, shape, pixels: golden.floats("images") };
    let labels = golden.classes("labels");
    let batch = Batch { images, labels, indices: (0..100).collect() };
    (golden, linear, batch)
}

fn survivors(linear: &Linear, batch: &Batch, name: &str, threat: ThreatModel) -> Vec<usize> {
    let mut defaults = AttackDefaults::new(threat);
    // Steps of the radius: with the usual 2.5 radii in all, an L2 search keeps a trace of its random start.
    defaults.step_size = Some(StepSize::TimesEpsilonOverSteps(20.0));
    let attack = parse(name, &defaults).expect("a name");
    let (found, _) = attacked(linear, attack.as_ref(), batch, &stream(1));
    let predictions = linear.predictions(&found.images);
    (0..batch.images.count).filter(|&i| predictions[i] == batch.labels[i]).collect()
}

#[test]
fn the_stored_logits_are_reproduced() {
    let (golden, linear, batch) = stored();
    let stored = golden.floats("logits");
    for (image, row) in stored.chunks(10).enumerate() {
        for (found, expected) in linear.logits_of(batch.images.one(image)).iter().zip(row) {
            assert!((found - expected).abs() < 1e-4, "image {image}: {found} {expected}");
        }
    }
}

/// Who is still right after attacks towards each of the classes in turn, on the margin.
///
/// With more than two classes cross-entropy is a local search even on a linear classifier: its gradient mixes all
/// classes, and untargeted PGD on it (5 restarts, 20 steps of the radius) leaves 12 of
/// these 2,000 cases standing that can be broken. The margin to a fixed
/// class is linear where it matters.
fn survivors_of_all_targets(linear: &Linear, batch: &Batch, threat: &ThreatModel) -> Vec<usize> {
    let mut standing: Vec<usize> = (0..batch.images.count).collect();
    for target in 0..10_u32 {
        standing.retain({
            let predictions = linear.predictions(&towards(linear, batch, threat, &|_| target));
            move |&image| predictions[image] == batch.labels[image]
        });
    }
    standing
}

/// Images attacked towards one class each.
fn towards(
    linear: &Linear,
    batch: &Batch,
    threat: &ThreatModel,
    class: &dyn Fn(usize) -> u32,
) -> Images {
    let mut defaults = AttackDefaults::new(threat.clone());
    defaults.target = TargetRule::Next;
    // Four steps to the radius: an L2 search from a random start then comes within 1e-4 of the best direction.
    defaults.step_size = Some(StepSize::TimesEpsilonOverSteps(6.0));
    let attack = parse("targeted-margin-pgd-24", &defaults).expect("a name");
    let mut aimed = batch.clone();
    aimed.labels = (0..batch.images.count).map(|image| (class(image) + 9) % 10).collect();
    attacked(linear, attack.as_ref(), &aimed, &stream(1)).0.images
}

#[test]
fn robust_accuracy_under_pgd_is_exact_at_every_epsilon_in_both_norms() {
    let (golden, linear, batch) = stored();
    for (norm, key) in [(Norm::Linf, "linf"), (Norm::L2, "l2")] {
        let exact = golden.floats(&format!("robust_accuracy_{key}"));
        let distances = golden.floats(&format!("min_{key}"));
        for (&epsilon, &exact) in golden.floats(&format!("eps_{key}")).iter().zip(&exact) {
            let threat = threat(norm, &epsilon.to_string());
            let found = survivors_of_all_targets(&linear, &batch, &threat);
            let robust: Vec<usize> = (0..100).filter(|&i| distances[i] > epsilon).collect();
            assert_eq!(found, robust, "{norm} at {epsilon}");
            assert_eq!(found.len(), (exact * 100.0).round() as usize, "{norm} at {epsilon}");
        }
    }
}

#[test]
fn robust_accuracy_under_apgd_and_fab_is_exact_at_every_epsilon_in_both_norms() {
    let (golden, linear, batch) = stored();
    for (norm, key) in [(Norm::Linf, "linf"), (Norm::L2, "l2")] {
        let distances = golden.floats(&format!("min_{key}"));
        for &epsilon in &golden.floats(&format!("eps_{key}")) {
            let robust: Vec<usize> = (0..100).filter(|&i| distances[i] > epsilon).collect();
            for name in ["apgd-t-50", "fab-t-10"] {
                let threat = threat(norm, &epsilon.to_string());
                let found = survivors(&linear, &batch, name, threat);
                assert_eq!(found, robust, "{name}, {norm} at {epsilon}");
            }
        }
    }
}

/// The distances that `attack` finds on the stored images, each on the wrong side of the boundary.
fn distances(attack: &dyn MinimalDistance) -> Vec<f64> {
    let (_, linear, batch) = stored();
    let mut session = linear.session();
    let mut victim = FrozenVictim::new(&mut session, 10);
    let found = attack.closest(&mut victim, &batch, &stream(1)).expect("a sound attack");
    let predictions = linear.predictions(&found.images);
    (0..100)
        .map(|image| {
            assert_ne!(predictions[image], batch.labels[image], "{}, {image}", attack.name());
            found.distances[image].expect("every image has a boundary")
        })
        .collect()
}

#[test]
fn minimal_distances_of_fab_and_deepfool_are_within_a_hundredth_of_the_closed_form() {
    let (golden, _, _) = stored();
    for (norm, key) in [(Norm::Linf, "linf"), (Norm::L2, "l2")] {
        let exact = golden.floats(&format!("min_{key}"));
        let threat = || threat(norm, "0.1");
        let (boundary, steps, restarts) = (FabBoundary::Nearest, 20, 1);
        let fab = FabSettings { threat: threat(), boundary, steps, restarts };
        let fab = Fab::new(fab).expect("sound settings");
        let deepfool = DeepFool::new(DeepFoolSettings { threat: threat(), steps: DeepFool::STEPS });
        for (attack, tolerance) in [(&fab as &dyn MinimalDistance, 1e-3), (&deepfool, 0.01)] {
            for (image, (found, &exact)) in distances(attack).into_iter().zip(&exact).enumerate() {
                let (exact, name) = (f64::from(exact), attack.name());
                // What is beyond the boundary is never nearer than it; 1e-5 is rounding.
                assert!(found > exact * (1.0 - 1e-5), "{name}, {norm}, {image}: {found} {exact}");
                assert!(
                    found < exact * (1.0 + tolerance),
                    "{name}, {norm}, {image}: {found} {exact}"
                );
            }
        }
    }
}

/// The exact L1 distance of an image within the pixel range: towards each class the pixels with the steepest difference of
/// weights move first, each as far as it can.
fn exact_l1(linear: &Linear, image: &[f32], label: u32) -> f64 {
    let logits = linear.logits_of(image);
    let towards = |class: usize| {
        let own = linear.row(label as usize);
        let mut pixels: Vec<(f64, f64)> = (linear.row(class).iter().zip(own).zip(image))
            .map(|((&there, &here), &pixel)| {
                let slope = f64::from(there) - f64::from(here);
                (slope.abs(), f64::from(if slope > 0.0 { 1.0 - pixel } else { pixel }))
            })
            .collect();
        pixels.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut needed = f64::from(logits[label as usize]) - f64::from(logits[class]);
        let mut length = 0.0;
        for (slope, room) in pixels {
            let moved = room.min(needed / slope);
            (length, needed) = (length + moved, needed - moved * slope);
            if needed <= 0.0 {
                return length;
            }
        }
        f64::INFINITY
    };
    let classes = (0..linear.classes).filter(|&class| class != label as usize);
    classes.map(towards).fold(f64::INFINITY, f64::min)
}

#[test]
fn in_l1_fab_finds_the_exact_distance_within_the_pixel_range_and_apgd_the_images_within_it() {
    let (_, linear, batch) = stored();
    let exact: Vec<f64> =
        (0..100).map(|i| exact_l1(&linear, batch.images.one(i), batch.labels[i])).collect();
    let (boundary, steps, restarts) = (FabBoundary::Targets(9), 10, 1);
    let fab = FabSettings { threat: threat(Norm::L1, "1"), boundary, steps, restarts };
    let found = distances(&Fab::new(fab).expect("sound settings"));
    for (image, (found, exact)) in found.iter().zip(&exact).enumerate() {
        assert!(found > &(exact * (1.0 - 1e-5)), "{image}: {found} {exact}");
        assert!(found < &(exact * 1.01), "{image}: {found} {exact}");
    }
    let mut sorted = exact.clone();
    sorted.sort_by(f64::total_cmp);
    for epsilon in [sorted[25], sorted[50], sorted[75]] {
        let left = survivors(&linear, &batch, "apgd-t-50", threat(Norm::L1, &epsilon.to_string()));
        // A sparse climb need not end in the very corner: images within a twentieth of the border may go either way.
        for (image, &exact) in exact.iter().enumerate() {
            let stands = left.contains(&image);
            assert!(stands || exact < epsilon * (1.0 + 1e-5), "{image}: {exact}");
            assert!(!stands || exact > epsilon / 1.05, "{image}: {exact}");
        }
    }
}

#[test]
fn carlini_and_wagner_come_near_the_closed_form() {
    let (golden, _, _) = stored();
    let exact = golden.floats("min_l2");
    // A sixteenth of the usual steps: with pixels as tanh and Adam's fixed step, the nearest images are found least well.
    let settings = CarliniWagnerSettings { threat: threat(Norm::L2, "0.1"), steps: 60 };
    let attack = CarliniWagner::new(settings).expect("sound settings");
    let mut ratios: Vec<f64> =
        distances(&attack).iter().zip(&exact).map(|(found, &e)| found / f64::from(e)).collect();
    ratios.sort_by(f64::total_cmp);
    assert!(ratios[0] > 1.0 - 1e-5 && ratios[99] < 1.5, "{ratios:?}");
    assert!(ratios[50] < 1.01 && ratios[80] < 1.05, "{ratios:?}");
}

#[test]
fn no_attack_breaks_an_image_that_cannot_be_broken() {
    let (golden, linear, batch) = stored();
    for (norm, key) in [(Norm::Linf, "linf"), (Norm::L2, "l2")] {
        let distances = golden.floats(&format!("min_{key}"));
        for &epsilon in &golden.floats(&format!("eps_{key}")) {
            for name in [
                "fgsm",
                "bim-10",
                "mifgsm-10",
                "noise",
                "targeted-pgd-10-2",
                "apgd-ce-10-2",
                "apgd-dlr-10",
                "fab-4-2",
                "square-50",
                "spsa-5-16",
                "nes-5-16",
            ] {
                let left = survivors(&linear, &batch, name, threat(norm, &epsilon.to_string()));
                let robust = (0..100).filter(|&i| distances[i] > epsilon);
                for image in robust {
                    assert!(left.contains(&image), "{name}, {norm} at {epsilon}: image {image}");
                }
            }
        }
    }
}

#[test]
fn with_two_classes_every_gradient_attack_is_exact() {
    let linear = Linear::random(Shape::new(3, 4, 4), 2, 31);
    let batch = linear.batch(300, 32);
    let difference: Vec<f32> =
        linear.row(0).iter().zip(linear.row(1)).map(|(a, b)| a - b).collect();
    let zero = vec![0.0; difference.len()];
    let one: f64 = difference.iter().map(|&d| f64::from(d).abs()).sum();
    let two = distance(Norm::L2, &difference, &zero);
    for (norm, dual, epsilon) in [
        (Norm::Linf, one, 0.01),
        (Norm::Linf, one, 0.03),
        (Norm::L2, two, 0.05),
        (Norm::L2, two, 0.2),
    ] {
        let margins: Vec<f64> = (0..300)
            .map(|i| {
                let logits = linear.logits_of(batch.images.one(i));
                f64::from((logits[0] - logits[1]).abs()) / dual
            })
            .collect();
        let names = [
            "fgsm",
            "bim-20",
            "pgd-20",
            "pgd-20-2",
            "mifgsm-20",
            "targeted-pgd-20",
            "apgd-ce",
            "targeted-apgd-ce",
            "fab",
        ];
        for name in names {
            let found = survivors(&linear, &batch, name, threat(norm, &epsilon.to_string()));
            for (image, &margin) in margins.iter().enumerate() {
                // Within 1e-5 of the border rounding decides.
                if (margin - epsilon).abs() > 1e-5 {
                    let holds = found.contains(&image);
                    assert_eq!(holds, margin > epsilon, "{name}, {norm} {epsilon}: {margin}");
                }
            }
            assert!(!found.is_empty() && found.len() < 300, "{name}, {norm}: {}", found.len());
        }
    }
}

#[test]
fn just_beyond_the_exact_distance_an_image_falls_and_just_before_it_does_not() {
    let (golden, linear, batch) = stored();
    for (norm, key) in [(Norm::Linf, "linf"), (Norm::L2, "l2")] {
        let nearest = golden.classes(&format!("target_{key}"));
        let distances = golden.floats(&format!("min_{key}"));
        for image in 0..100 {
            let one = batch.select(&[image]);
            let predicted = |factor: f64| {
                let epsilon = f64::from(distances[image]) * factor;
                let threat = threat(norm, &epsilon.to_string());
                linear.predictions(&towards(&linear, &one, &threat, &|_| nearest[image]))[0]
            };
            assert_eq!(predicted(0.999), batch.labels[image], "{norm}, image {image}");
            assert_ne!(predicted(1.001), batch.labels[image], "{norm}, image {image}");
        }
    }
}
