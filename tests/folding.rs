//! A folded network is the branch it was folded from: through the engine, in every family and after the model file.

use engine::cpu::{CpuEngine, CpuSettings, Isa};
use engine::{Engine, Frozen, ImagesView, Logits, Precision, Session};
use network::{
    Activation, Architecture, Domain, Network, NormChoice, Op, Pass, Role, Shape, Sharing, fold,
};

/// Numbers in `[0, 1)` from a linear congruential generator.
fn numbers(seed: u32) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    }
}

/// A network in which every branch differs from every other and activations keep their order of magnitude.
fn varied(name: &str, norm: NormChoice, activation: Activation) -> Network {
    let mut architecture = Architecture::named(name).expect("a known name");
    architecture.norm = norm;
    architecture.activation = activation;
    architecture.input = Shape::new(3, 32, 32);
    architecture.classes = 10;
    let mut next = numbers(7);
    Network::with_values(architecture.graph().expect("a graph"), |spec| {
        let inputs: usize = spec.shape[1..].iter().product();
        let spread = (3.0 / inputs as f32).sqrt();
        Ok((0..spec.len())
            .map(|_| match spec.role {
                Role::Weight => (2.0 * next() - 1.0) * spread,
                Role::Scale | Role::RunningVariance => 0.5 + next(),
                Role::Gain => 0.5,
                _ => 0.4 * next() - 0.2,
            })
            .collect())
    })
    .expect("values that fit")
}

fn engine() -> CpuEngine {
    CpuEngine::new(CpuSettings { threads: 2, isa: Isa::detected() }).expect("threads")
}

fn pixels() -> Vec<f32> {
    let mut next = numbers(3);
    (0..3 * 3 * 32 * 32).map(|_| next()).collect()
}

fn recorded(network: &Network, domain: Domain, pixels: &[f32]) -> Logits {
    let images = ImagesView { count: 3, shape: network.graph.input, pixels };
    engine().record(network, images, &Pass::running(domain)).expect("a recording").0
}

fn frozen(network: &Network, domain: Domain, pixels: &[f32]) -> Logits {
    let images = ImagesView { count: 3, shape: network.graph.input, pixels };
    let frozen = engine().freeze(network, domain, Precision::F32).expect("a frozen network");
    frozen.session().logits(images).expect("logits")
}

/// Largest difference as a share of the largest logit.
fn apart(found: &Logits, expected: &Logits) -> f32 {
    let largest = expected.values.iter().fold(0.0, |most: f32, z| most.max(z.abs()));
    let pairs = found.values.iter().zip(&expected.values);
    pairs.map(|(f, e)| (f - e).abs()).fold(0.0, f32::max) / largest
}

fn four_layouts() -> [NormChoice; 4] {
    use Sharing::{Separate, Shared};
    [(Shared, Shared), (Shared, Separate), (Separate, Shared), (Separate, Separate)].map(
        |(statistics, affine)| match NormChoice::MIXTURE {
            NormChoice::Batch { domains, running_variance, .. } => {
                NormChoice::Batch { domains, statistics, affine, running_variance }
            }
            _ => unreachable!("mixture batch norm is a batch norm"),
        },
    )
}

#[test]
fn g22_each_branch_folded_is_that_branch_in_every_family_and_layout() {
    let pixels = pixels();
    for name in ["resnet8-cifar", "resnet18-cifar-w8", "resnet50-w8", "wrn-10-1"] {
        for norm in four_layouts() {
            let network = varied(name, norm, Activation::Relu);
            for domain in [Domain::CLEAN, Domain::ADVERSARIAL] {
                let folded = fold(&network, domain).expect("a folded network");
                assert!(!folded.graph.nodes.iter().any(|node| matches!(node.op, Op::Norm(_))));
                let expected = recorded(&network, domain, &pixels);
                // The folded network has one domain, so any domain names it.
                let found = recorded(&folded, Domain::CLEAN, &pixels);
                assert!(apart(&found, &expected) < 1e-4, "{name} {norm:?} {domain:?}");
                let found = frozen(&folded, domain, &pixels);
                assert!(apart(&found, &expected) < 1e-4, "{name} {norm:?} {domain:?}, frozen");
            }
        }
    }
}

#[test]
fn g16_the_branches_of_an_export_differ_and_survive_the_model_file() {
    let pixels = pixels();
    let network = varied("resnet8-cifar", NormChoice::MIXTURE, Activation::Silu);
    let logits = [Domain::CLEAN, Domain::ADVERSARIAL].map(|domain| {
        let folded = fold(&network, domain).expect("a folded network");
        let read = Network::from_bytes(&folded.to_bytes(), "export").expect("a model file");
        assert_eq!(read, folded);
        recorded(&read, Domain::CLEAN, &pixels)
    });
    assert!(apart(&logits[0], &logits[1]) > 1e-3);
}

#[test]
fn every_norm_and_activation_freezes_to_what_it_computes() {
    let pixels = pixels();
    let norms = [
        NormChoice::BATCH,
        NormChoice::Group { groups: 4 },
        NormChoice::Instance,
        NormChoice::None,
    ];
    let activations = [
        Activation::Relu,
        Activation::Silu,
        Activation::SmoothRelu { beta: 5.0 },
        Activation::Gelu,
        Activation::Elu,
    ];
    for norm in norms {
        for activation in activations {
            let network = varied("resnet8-cifar", norm, activation);
            let expected = recorded(&network, Domain::CLEAN, &pixels);
            let found = frozen(&network, Domain::CLEAN, &pixels);
            assert!(apart(&found, &expected) < 1e-4, "{norm:?} {activation:?}");
        }
    }
}
