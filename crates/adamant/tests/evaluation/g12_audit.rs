//! Each network that hides is flagged by the check that should; honest ones raise nothing.

use crate::masked::{Mask, Masked};
use crate::support::engine;
use crate::trained::{adversarial, conduct, evaluator, flags, frozen, subject, test_images, train};
use adamant::evaluate::audit::{Audit, Depth, Networks};
use adamant::evaluate::{Evaluation, Silent, Subject};
use engine::Precision;
use engine::cpu::CpuFrozen;
use network::{Domain, Network};

fn judged(network: &Network, mask: Mask, depth: Depth) -> Evaluation {
    let masked = Masked::new(frozen(network), mask);
    let networks = Networks::new(&masked, &masked);
    let evaluator = evaluator(&["fgsm", "pgd-10"]);
    let images = test_images();
    evaluator
        .conduct_frozen(&networks, subject(), images, &mut Silent, conduct(depth))
        .expect("an evaluation")
}

fn raises_nothing(network: &Network, clean: f64) {
    let subject = Subject { model: "honest".into(), data: "shrunken fashion-sample".into() };
    let conduct = conduct(Depth::Thorough);
    let evaluator = evaluator(&["fgsm", "pgd-10", "noise"]);
    let evaluation = evaluator
        .conduct(&engine(), network, subject, test_images(), &mut Silent, conduct)
        .expect("an evaluation");
    assert!(evaluation.clean_accuracy > clean, "clean {}", evaluation.clean_accuracy);
    assert_eq!(evaluation.flags, []);
}

#[test]
fn an_ordinarily_trained_network_raises_nothing() {
    let settings = ["objective.kind='standard'", "network.norm='batch'"];
    raises_nothing(&train(&settings, 4, 1500), 0.5);
}

#[test]
fn an_adversarially_trained_network_raises_nothing() {
    raises_nothing(adversarial(), 0.4);
}

#[test]
fn honest_half_precision_raises_nothing() {
    let conduct = conduct(Depth::Thorough);
    let mut evaluator = evaluator(&["fgsm", "pgd-10"]);
    evaluator.precision = Precision::Bf16;
    let evaluation = evaluator
        .conduct(&engine(), adversarial(), subject(), test_images(), &mut Silent, conduct)
        .expect("an evaluation");
    assert_eq!((evaluation.precision.as_str(), &evaluation.flags[..]), ("bf16", &[][..]));
}

#[test]
fn a_mixture_with_two_branches_raises_nothing() {
    let settings = ["objective.kind='mixture'", "network.norm='mixture'"];
    raises_nothing(&train(&settings, 5, 1500), 0.4);
}

#[test]
fn each_disguise_is_seen_through_by_the_check_that_should() {
    let honest = judged(adversarial(), Mask::None, Depth::Quick);
    let right = |evaluation: &Evaluation| evaluation.attacks[1].robust_accuracy;
    for (mask, name) in [
        (Mask::HugeLogits, "vanishing-gradients"),
        (Mask::StopGradient, "zero-gradients"),
        (Mask::OtherGradient, "gradients-disagree"),
        (Mask::Quantised(4.0), "flat-outputs"),
        (Mask::Softmax, "outputs-look-like-probabilities"),
        (Mask::Random(0.5), "random-outputs"),
        (Mask::Neighbours(0.2), "batch-dependent-outputs"),
    ] {
        let evaluation = judged(adversarial(), mask, Depth::Quick);
        assert!(flags(&evaluation).contains(&name), "{mask:?}: {:?}", flags(&evaluation));
        let flag = evaluation.flags.iter().find(|flag| flag.name == name).expect("seen above");
        for text in [&flag.found, &flag.why, &flag.advice] {
            assert!(!text.is_empty(), "{name} says what was found, why it matters, what to do");
        }
        // What hides from PGD looks robust to it.
        if matches!(mask, Mask::HugeLogits | Mask::StopGradient | Mask::OtherGradient) {
            assert!(right(&evaluation) > right(&honest) + 0.1, "{mask:?} hides nothing");
        }
    }
}

#[test]
fn rounded_inputs_are_beaten_by_noise() {
    let evaluation = judged(adversarial(), Mask::Quantised(4.0), Depth::Thorough);
    assert!(flags(&evaluation).contains(&"noise-beats-gradients"), "{:?}", flags(&evaluation));
}

#[test]
fn a_figure_of_square_below_that_of_gradient_attacks_is_flagged_without_an_audit() {
    let run = |mask| {
        let masked = Masked::new(frozen(adversarial()), mask);
        let evaluator = evaluator(&["pgd-10", "square-100"]);
        evaluator.run(&masked, &masked, subject(), test_images(), &mut Silent).expect("figures")
    };
    let masked = run(Mask::OtherGradient);
    assert_eq!(flags(&masked), ["black-box-beats-white-box"]);
    assert_eq!(flags(&run(Mask::None)), [] as [&str; 0]);
}

#[test]
fn attacks_that_a_stopped_gradient_fools_are_beaten_by_transfer_and_by_queries() {
    let network = adversarial();
    let masked = Masked::new(frozen(network), Mask::StopGradient);
    let plain = frozen(network);
    let surrogate = Some(&plain);
    let networks = Networks { attacked: &masked, judged: &masked, reference: None, surrogate };
    let audit = Audit { depth: Depth::Thorough };
    let flags = audit.run(&evaluator(&[]), &networks, test_images()).expect("an audit");
    let names: Vec<&str> = flags.iter().map(|flag| flag.name.as_str()).collect();
    for name in [
        "transfer-beats-white-box",
        "black-box-beats-white-box",
        "not-zero-at-unbounded-epsilon",
        "loss-does-not-rise",
    ] {
        assert!(names.contains(&name), "{name} is missing of {names:?}");
    }
}

#[test]
fn logits_that_are_no_numbers_and_gradients_of_another_precision_are_flagged() {
    let broken = Masked::new(frozen(adversarial()), Mask::NotFinite);
    let audit = Audit { depth: Depth::Quick };
    let flags = |networks: &Networks<'_, _, _, Masked<CpuFrozen>>| {
        let flags = audit.run(&evaluator(&[]), networks, test_images()).expect("an audit");
        flags.into_iter().map(|flag| flag.name).collect::<Vec<_>>()
    };
    assert_eq!(flags(&Networks::new(&broken, &broken)), ["not-finite"]);

    let other = Masked::new(frozen(adversarial()), Mask::OtherGradient);
    let exact = Masked::new(frozen(adversarial()), Mask::None);
    let networks = Networks { reference: Some(&exact), ..Networks::new(&other, &exact) };
    assert!(flags(&networks).contains(&"precision-disagrees".to_string()));
    let same = Networks { reference: Some(&exact), ..Networks::new(&exact, &exact) };
    assert_eq!(flags(&same), [] as [&str; 0]);
}

#[test]
fn the_branch_that_is_attacked_should_be_the_one_that_is_judged() {
    let mut evaluator = evaluator(&[]);
    evaluator.attack_branch = Domain::CLEAN;
    let plain = frozen(adversarial());
    let audit = Audit { depth: Depth::Quick };
    let flags = audit.run(&evaluator, &Networks::new(&plain, &plain), test_images()).unwrap();
    assert_eq!(flags.len(), 1);
    assert_eq!(flags[0].name, "branch-mismatch");
}
