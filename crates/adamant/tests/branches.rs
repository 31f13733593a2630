//! G16 on the real engine: which branch is attacked and which is judged are two choices, and both are heeded (T6).

use adamant::attack::{AttackDefaults, AttackStream, parse};
use adamant::evaluate::{Evaluator, Protocol, Samples, Silent, Subject};
use adamant::image::{Batch, Images, Shape};
use adamant::stream::{Key, Purpose, Stream};
use adamant::threat::{Epsilon, Norm, ThreatModel};
use adamant::victim::{logits_in_tiles, perturb_in_tiles};
use engine::cpu::{CpuEngine, CpuSettings, Isa};
use engine::{Engine, Frozen, Precision, Session};
use network::{Architecture, Domain, Network, NormChoice};

const SHAPE: Shape = Shape::new(3, 8, 8);

fn engine() -> CpuEngine {
    CpuEngine::new(CpuSettings { threads: 2, isa: Isa::best().unwrap() }).unwrap()
}

/// A small mixture network whose branches are equal, as after an import.
fn equal_branches() -> Network {
    let mut architecture = Architecture::named("resnet8-cifar-w4").unwrap();
    architecture.norm = NormChoice::MIXTURE;
    architecture.input = SHAPE;
    let mut normals = |tensor: u32, values: &mut [f32]| {
        let key = Key { purpose: Purpose::Initialize, time: 0, index: tensor, restart: 0 };
        let mut draws = Stream::new(5).draws(key);
        values.fill_with(|| draws.normal());
    };
    let mut network = Network::initialized(architecture.graph().unwrap(), &mut normals).unwrap();
    for parameter in network.parameters.iter_mut() {
        // A fresh network's blocks are switched off and its classifier is near zero; a trained one's are not.
        if parameter.name.contains("bn2") && parameter.name.ends_with("weight") {
            parameter.values.fill(1.0);
        }
        if parameter.name == "linear.weight" {
            parameter.values.iter_mut().for_each(|value| *value *= 100.0);
        }
    }
    network
}

/// The same with statistics and affine parameters of the adversarial branch moved.
fn different_branches() -> Network {
    let mut network = equal_branches();
    for (position, parameter) in network.parameters.iter_mut().enumerate() {
        if parameter.name.contains("aux_bn") {
            for (channel, value) in parameter.values.iter_mut().enumerate() {
                *value = *value * 1.3 + 0.1 * ((position + channel) % 3) as f32;
            }
        }
    }
    network
}

fn images(count: usize) -> Images {
    let mut images = Images::zeros(count, SHAPE);
    let key = Key { purpose: Purpose::Subset, time: 0, index: 1, restart: 0 };
    let mut draws = Stream::new(9).draws(key);
    images.pixels.fill_with(|| draws.uniform());
    images
}

/// Images labelled with what the branch to be judged says, so that all are right as they are.
fn batch(network: &Network, judged: Domain) -> Batch {
    let images = images(24);
    let frozen = engine().freeze(network, judged, Precision::F32).unwrap();
    let logits = logits_in_tiles(&frozen, &images).unwrap();
    let labels = (0..24).map(|image| adamant::attack::prediction(logits.row(image))).collect();
    Batch { images, labels, indices: (0..24).collect() }
}

fn gradient(network: &Network, domain: Domain) -> Vec<f32> {
    let frozen = engine().freeze(network, domain, Precision::F32).unwrap();
    let mut first_logit = |_: &_, _: usize, gradient: &mut engine::Logits| {
        for image in 0..gradient.count {
            gradient.row_mut(image)[0] = 1.0;
        }
    };
    let images = images(4);
    frozen.session().input_gradient(images.view(), &mut first_logit).unwrap().1
}

fn evaluator(branch: Domain, attack_branch: Domain) -> Evaluator {
    let epsilon: Epsilon = "8/255".parse().unwrap();
    let threat = ThreatModel::new(Norm::Linf, epsilon).unwrap();
    Evaluator {
        attacks: vec![parse("pgd-3", &AttackDefaults::new(threat.clone())).unwrap()],
        threat,
        protocol: Protocol::WorstCase,
        branch,
        attack_branch,
        precision: Precision::F32,
        samples: Samples::All,
        seed: 0,
        batch_size: 7,
    }
}

#[test]
fn g16_gradients_through_the_branches_differ_once_their_statistics_do() {
    let equal = equal_branches();
    assert_eq!(gradient(&equal, Domain::CLEAN), gradient(&equal, Domain::ADVERSARIAL));

    let different = different_branches();
    let (clean, adversarial) =
        (gradient(&different, Domain::CLEAN), gradient(&different, Domain::ADVERSARIAL));
    let largest = clean.iter().zip(&adversarial).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest > 1e-3, "the gradients differ by {largest}");
}

#[test]
fn g16_the_attack_sees_the_attack_branch_and_the_verdict_is_the_judged_branchs() {
    let network = different_branches();
    for (judged, attacked) in [
        (Domain::CLEAN, Domain::CLEAN),
        (Domain::CLEAN, Domain::ADVERSARIAL),
        (Domain::ADVERSARIAL, Domain::CLEAN),
        (Domain::ADVERSARIAL, Domain::ADVERSARIAL),
    ] {
        let evaluator = evaluator(judged, attacked);
        let data = batch(&network, judged);
        let attack = &*evaluator.attacks[0];
        let crafted = evaluator.craft(attack, &engine(), &network, &data, &mut Silent).unwrap();

        let frozen = engine().freeze(&network, attacked, Precision::F32).unwrap();
        let stream = AttackStream { stream: Stream::new(0), time: 0, rank: 0, first_restart: 0 };
        let (expected, _) = perturb_in_tiles(&frozen, attack, &data, &stream).unwrap();
        assert_eq!(
            crafted.adversarial, expected.images,
            "judged {judged:?}, attacked {attacked:?}"
        );

        let frozen = engine().freeze(&network, judged, Precision::F32).unwrap();
        let logits = logits_in_tiles(&frozen, &expected.images).unwrap();
        let said: Vec<u32> =
            (0..24).map(|image| adamant::attack::prediction(logits.row(image))).collect();
        assert_eq!(crafted.predictions, said);

        let subject = Subject { model: "mixture".into(), data: "noise".into() };
        let report = evaluator.evaluate(&engine(), &network, subject, &data, &mut Silent).unwrap();
        let right = said.iter().zip(&data.labels).filter(|(said, label)| said == label).count();
        assert_eq!(report.worst_case_accuracy, Some(right as f64 / 24.0));
        assert_eq!(report.clean_accuracy, 1.0);
    }
}

#[test]
fn g16_an_attack_through_its_own_branch_is_stronger_than_through_the_other() {
    let network = different_branches();
    let data = batch(&network, Domain::ADVERSARIAL);
    let robust = |attacked: Domain| {
        let subject = Subject { model: "mixture".into(), data: "noise".into() };
        let report = evaluator(Domain::ADVERSARIAL, attacked)
            .evaluate(&engine(), &network, subject, &data, &mut Silent)
            .unwrap();
        report.attacks[0].robust_accuracy
    };
    let (own, other) = (robust(Domain::ADVERSARIAL), robust(Domain::CLEAN));
    assert!(own < other, "white box {own}, transfer {other}");
}
