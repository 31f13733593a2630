//! Each network that hides is flagged by the check that should; honest ones raise nothing.

use crate::masked::{Mask, Masked};
use crate::support::engine;
use crate::trained::{EPSILON, test_images, train};
use crate::wave::{self, Wave};
use adamant::evaluate::audit::{Audit, Depth, Networks};
use adamant::evaluate::{Conduct, Evaluation, Evaluator, Protocol, Samples, Silent, Subject};
use adamant::threat::{Norm, ThreatModel};
use engine::cpu::CpuFrozen;
use engine::{Engine, Precision};
use network::{Domain, Network};
use std::sync::OnceLock;

fn evaluator(attacks: &[&str]) -> Evaluator {
    let epsilon = EPSILON.parse().expect("a length");
    let threat = ThreatModel::new(Norm::Linf, epsilon).expect("a threat");
    let defaults = adamant::attack::AttackDefaults::new(threat.clone());
    let parse = |name: &&str| adamant::attack::parse(name, &defaults).expect("a known name");
    Evaluator {
        threat,
        attacks: attacks.iter().map(parse).collect(),
        protocol: Protocol::WorstCase,
        branch: Domain::ADVERSARIAL,
        attack_branch: Domain::ADVERSARIAL,
        precision: Precision::F32,
        samples: Samples::Some(100),
        seed: 0,
        batch_size: 64,
    }
}

fn frozen(network: &Network) -> CpuFrozen {
    engine().freeze(network, Domain::ADVERSARIAL, Precision::F32).expect("a sound network")
}

fn conduct(depth: Depth) -> Conduct {
    Conduct { audit: Some(Audit { depth }), ..Conduct::default() }
}

fn subject() -> Subject {
    Subject { model: "small".into(), data: "shrunken fashion-sample".into() }
}

fn judged(network: &Network, mask: Mask, depth: Depth) -> Evaluation {
    let masked = Masked::new(frozen(network), mask);
    let networks = Networks::new(&masked, &masked);
    let evaluator = evaluator(&["fgsm", "pgd-10"]);
    let images = test_images();
    evaluator
        .conduct_frozen(&networks, subject(), images, &mut Silent, conduct(depth))
        .expect("an evaluation")
}

fn names(evaluation: &Evaluation) -> Vec<&str> {
    evaluation.flags.iter().map(|flag| flag.name.as_str()).collect()
}

fn adversarial() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(|| {
        train(&["objective.kind='adversarial-only'", "network.norm='batch'"], 5, 1500)
    })
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
        assert!(names(&evaluation).contains(&name), "{mask:?}: {:?}", names(&evaluation));
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
fn attacks_that_a_stopped_gradient_fools_are_beaten_by_transfer() {
    let network = adversarial();
    let masked = Masked::new(frozen(network), Mask::StopGradient);
    let plain = frozen(network);
    let surrogate = Some(&plain);
    let networks = Networks { attacked: &masked, judged: &masked, reference: None, surrogate };
    let audit = Audit { depth: Depth::Thorough };
    let flags = audit.run(&evaluator(&[]), &networks, test_images()).expect("an audit");
    let names: Vec<&str> = flags.iter().map(|flag| flag.name.as_str()).collect();
    for name in ["transfer-beats-white-box", "not-zero-at-unbounded-epsilon", "loss-does-not-rise"]
    {
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

#[test]
fn a_network_that_only_a_full_step_finds_right_is_flagged_as_fooling_single_steps() {
    let mut evaluator = evaluator(&["fgsm", "pgd-20"]);
    evaluator.samples = Samples::All;
    let images = wave::batch(40);
    let networks = Networks::new(&Wave, &Wave);
    let conduct = conduct(Depth::Thorough);
    let evaluation = evaluator
        .conduct_frozen(&networks, subject(), &images, &mut Silent, conduct)
        .expect("an evaluation");
    assert_eq!(evaluation.attacks[0].robust_accuracy, 1.0, "a single step finds nothing");
    assert_eq!(evaluation.attacks[1].robust_accuracy, 0.0, "many steps find everything");
    let names = names(&evaluation);
    assert!(names.contains(&"single-step-is-fooled"), "{names:?}");
}
