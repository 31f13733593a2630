//! Groups G24 (reductions) and G28 (gradients, parts, kept counterparts), and PyTorch's numbers.

#[path = "attacks/golden.rs"]
mod golden;

use adamant::image::Logits;
use adamant::objective::{
    AdversarialOnly, Demand, LabelSmoothing, LogitPairing, Loss, Mixture, Objective, Shown,
    Standard, StepDraw, StepLogits, Weighting,
};
use adamant::stream::{Key, Purpose, Stream};

const COUNT: usize = 8;
const CLASSES: usize = 5;
const LABELS: [u32; COUNT] = [0, 1, 2, 3, 4, 0, 1, 2];

fn draw(seed: u64, step: u32) -> StepDraw {
    StepDraw { stream: Stream::new(seed), step, rank: 0 }
}

fn logits(count: usize, seed: u64) -> Logits {
    let key = Key { purpose: Purpose::Initialize, time: 0, index: 0, restart: 0 };
    let mut draws = Stream::new(seed).draws(key);
    let values = (0..count * CLASSES).map(|_| 2.0 * draws.normal()).collect();
    Logits { count, classes: CLASSES, values }
}

fn smoothing() -> LabelSmoothing {
    LabelSmoothing::new(0.1).expect("a share")
}

fn mixture(fraction: f64, weighting: Weighting) -> Mixture {
    Mixture::new(fraction, weighting, smoothing()).expect("sound settings")
}

fn pairing(fraction: f64, weight: f64) -> LogitPairing {
    LogitPairing::new(mixture(fraction, Weighting::ByPresence), weight).expect("sound settings")
}

fn table() -> Vec<Box<dyn Objective>> {
    vec![
        Box::new(Standard { smoothing: smoothing() }),
        Box::new(AdversarialOnly { smoothing: smoothing() }),
        Box::new(mixture(1.0, Weighting::ByPresence)),
        Box::new(mixture(0.4, Weighting::ByPresence)),
        Box::new(mixture(0.4, Weighting::Fixed(0.7))),
        Box::new(mixture(0.0, Weighting::Fixed(0.7))),
        Box::new(pairing(1.0, 0.5)),
        Box::new(pairing(0.6, 0.25)),
        Box::new(pairing(0.0, 0.25)),
    ]
}

fn evaluate(objective: &dyn Objective, demand: &Demand, clean: &Logits, attacked: &Logits) -> Loss {
    objective.loss(&StepLogits {
        labels: &LABELS,
        clean: Shown { positions: &demand.clean, logits: clean },
        adversarial: Shown { positions: &demand.adversarial, logits: attacked },
    })
}

/// The loss of an objective on fixed random logits.
fn on_random_logits(objective: &dyn Objective) -> Loss {
    let demand = objective.demand(COUNT, &draw(1, 0));
    let clean = logits(demand.clean.len(), 2);
    let attacked = logits(demand.adversarial.len(), 3);
    evaluate(objective, &demand, &clean, &attacked)
}

mod g28_objectives {
    use super::*;

    #[test]
    fn gradients_by_both_sets_of_logits_are_central_differences() {
        for objective in table() {
            let demand = objective.demand(COUNT, &draw(1, 0));
            let clean = logits(demand.clean.len(), 2);
            let attacked = logits(demand.adversarial.len(), 3);
            let loss = evaluate(objective.as_ref(), &demand, &clean, &attacked);
            // The logits are single precision, so the step must be exact there: 2^-10. The error of a central
            // difference is its square times the third derivative, below 1e-6 here.
            let h = 1.0 / 1024.0;
            for (which, gradient) in [(0, &loss.by_clean), (1, &loss.by_adversarial)] {
                for (position, &by) in gradient.values.iter().enumerate() {
                    let shifted = |h: f32| {
                        let mut moved = [clean.clone(), attacked.clone()];
                        let value = &mut moved[which].values[position];
                        *value += h;
                        let total =
                            evaluate(objective.as_ref(), &demand, &moved[0], &moved[1]).total;
                        (total, f64::from(moved[which].values[position]))
                    };
                    let ((up, above), (down, below)) = (shifted(h), shifted(-h));
                    let difference = (up - down) / (above - below);
                    let name = objective.name();
                    assert!((f64::from(by) - difference).abs() < 1e-6, "{name}: {by} {difference}");
                }
            }
        }
    }

    #[test]
    fn named_parts_sum_to_the_total() {
        for objective in table() {
            let loss = on_random_logits(objective.as_ref());
            let sum: f64 = loss.parts.iter().map(|part| part.weight * part.value).sum();
            assert_eq!(sum, loss.total, "{}", objective.name());
            let weights: f64 = loss
                .parts
                .iter()
                .filter(|part| part.name != "pairing")
                .map(|part| part.weight)
                .sum();
            assert!((weights - 1.0).abs() < 1e-12);
            assert_eq!(loss.non_finite_part(), None);
        }
    }

    #[test]
    fn huge_logits_give_finite_losses_and_a_logit_that_is_no_number_is_named() {
        for objective in table() {
            let demand = objective.demand(COUNT, &draw(1, 0));
            let huge = |count: usize| {
                let values =
                    (0..count * CLASSES).map(|i| if i % 3 == 0 { 1e4 } else { -1e4 }).collect();
                Logits { count, classes: CLASSES, values }
            };
            let clean = huge(demand.clean.len());
            let mut attacked = huge(demand.adversarial.len());
            let loss = evaluate(objective.as_ref(), &demand, &clean, &attacked);
            assert_eq!(loss.non_finite_part(), None);
            let gradients = loss.by_clean.values.iter().chain(&loss.by_adversarial.values);
            assert!(gradients.into_iter().all(|g| g.is_finite()));
            if let Some(first) = attacked.values.first_mut() {
                *first = f32::NAN;
                let broken = evaluate(objective.as_ref(), &demand, &clean, &attacked);
                assert_eq!(broken.non_finite_part(), Some("adversarial"));
            }
        }
    }

    #[test]
    fn a_fraction_keeps_exactly_its_share_of_counterparts_drawn_per_seed_and_step() {
        for (fraction, kept) in [(0.0, 0), (0.2, 26), (0.5, 64), (0.8, 102), (1.0, 128)] {
            let mixture = mixture(fraction, Weighting::ByPresence);
            let demand = |seed, step| mixture.demand(128, &draw(seed, step));
            let found = demand(1, 7);
            assert_eq!(found.clean.len(), kept);
            assert_eq!(found.adversarial, (0..128).collect::<Vec<_>>());
            assert!(found.clean.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(found.clean.iter().all(|&position| position < 128));
            assert_eq!(demand(1, 7), found);
            if kept > 0 && kept < 128 {
                assert_ne!(demand(1, 8), found);
                assert_ne!(demand(2, 7), found);
            }
        }
    }

    #[test]
    fn every_counterpart_is_kept_equally_often() {
        // n = 10,000 steps, seed 5, 3 of 8 kept: four standard errors of .375 are 4 * sqrt(.375 * .625 / n) = .0194.
        let mixture = mixture(0.375, Weighting::ByPresence);
        let mut counts = [0; COUNT];
        for step in 0..10_000 {
            for position in mixture.demand(COUNT, &draw(5, step)).clean {
                counts[position] += 1;
            }
        }
        for count in counts {
            assert!((f64::from(count) / 1e4 - 0.375).abs() < 0.0194, "{counts:?}");
        }
    }

    #[test]
    fn g5_settings_that_make_no_objective_are_refused() {
        let message = Mixture::new(1.5, Weighting::ByPresence, smoothing()).expect_err("a share");
        let expected = "objective: clean_fraction is 1.5, expected a share in [0, 1]";
        assert_eq!(message.to_string(), expected);
        assert!(Mixture::new(0.5, Weighting::Fixed(-0.1), smoothing()).is_err());
        assert!(LabelSmoothing::new(f64::NAN).is_err());
        let weight = LogitPairing::new(mixture(1.0, Weighting::ByPresence), -0.5);
        let expected = "objective: logit_pairing is -0.5, expected a weight that is not negative";
        assert_eq!(weight.expect_err("negative").to_string(), expected);
    }
}

mod g24_reductions {
    use super::*;

    #[test]
    fn fraction_zero_is_adversarial_only() {
        let only = on_random_logits(&AdversarialOnly { smoothing: smoothing() });
        for weighting in [Weighting::ByPresence, Weighting::Fixed(0.5)] {
            assert_eq!(on_random_logits(&mixture(0.0, weighting)), only);
        }
    }

    #[test]
    fn fraction_one_is_the_mixture_of_halves() {
        let by_presence = on_random_logits(&mixture(1.0, Weighting::ByPresence));
        assert_eq!(by_presence, on_random_logits(&mixture(1.0, Weighting::Fixed(0.5))));
    }

    #[test]
    fn the_mean_over_images_present_is_just_that() {
        let mixture = mixture(0.5, Weighting::ByPresence);
        let demand = mixture.demand(COUNT, &draw(1, 0));
        let (clean, attacked) = (logits(4, 2), logits(COUNT, 3));
        let loss = evaluate(&mixture, &demand, &clean, &attacked);
        let parts = loss.part("clean").zip(loss.part("adversarial")).expect("both parts");
        assert!((loss.total - (4.0 * parts.0 + 8.0 * parts.1) / 12.0).abs() < 1e-12);
    }

    #[test]
    fn pairing_of_weight_zero_is_the_mixture() {
        let paired = on_random_logits(&pairing(0.6, 0.0));
        let plain = on_random_logits(&mixture(0.6, Weighting::ByPresence));
        assert_eq!(paired.total, plain.total);
        assert_eq!(paired.by_clean, plain.by_clean);
        assert_eq!(paired.by_adversarial, plain.by_adversarial);
    }

    #[test]
    fn without_an_attack_the_mixture_is_ordinary_training_counted_twice() {
        let mixture = mixture(1.0, Weighting::ByPresence);
        let demand = mixture.demand(COUNT, &draw(1, 0));
        let clean = logits(COUNT, 2);
        let twice = evaluate(&mixture, &demand, &clean, &clean);
        let standard = Standard { smoothing: smoothing() };
        let once = evaluate(&standard, &standard.demand(COUNT, &draw(1, 0)), &clean, &logits(0, 3));
        assert!((twice.total - once.total).abs() < 1e-12);
        assert_eq!(twice.part("clean"), twice.part("adversarial"));
    }
}

/// One mixed training step of a small network with mixture batch norm. The gradient of a final linear layer's bias is
/// the sum of the gradients by both sets of logits.
mod g18_golden {
    use super::golden::Golden;
    use super::*;

    #[test]
    fn mixture_and_pairing_give_pytorchs_losses_and_gradients() {
        let golden = Golden::read("mixture_bn");
        let read = |key: &str| Logits { count: 4, classes: 10, values: golden.floats(key) };
        let clean = read("step/train_logits_clean");
        let attacked = read("step/train_logits_adv");
        let labels = golden.classes("labels");
        let mixture = Mixture::new(1.0, Weighting::Fixed(0.5), LabelSmoothing::NONE);
        let mixture = mixture.expect("sound settings");
        let paired = LogitPairing::new(mixture, 0.5).expect("sound settings");
        let positions = [0, 1, 2, 3];
        let step = StepLogits {
            labels: &labels,
            clean: Shown { positions: &positions, logits: &clean },
            adversarial: Shown { positions: &positions, logits: &attacked },
        };
        let is_close = |found: f64, key: &str| {
            let expected = f64::from(golden.floats(key)[0]);
            // The stored losses are single precision, of order 1.
            assert!((found - expected).abs() < 1e-6, "{key}: {found}, expected {expected}");
        };
        let (loss, pairing) = (mixture.loss(&step), paired.loss(&step));
        is_close(loss.total, "step/loss");
        is_close(loss.part("clean").expect("a part"), "step/loss_clean");
        is_close(loss.part("adversarial").expect("a part"), "step/loss_adv");
        is_close(pairing.total, "alp/loss");
        is_close(pairing.part("pairing").expect("a part"), "alp/pair_term");
        for (loss, key) in [(loss, "step/grad/fc.bias"), (pairing, "alp/grad/fc.bias")] {
            for (class, &expected) in golden.floats(key).iter().enumerate() {
                let by = |logits: &Logits| (0..4).map(|i| logits.row(i)[class]).sum::<f32>();
                let found = by(&loss.by_clean) + by(&loss.by_adversarial);
                assert!((found - expected).abs() < 1e-6, "{key}: {found}, expected {expected}");
            }
        }
    }
}
