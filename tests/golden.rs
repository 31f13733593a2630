//! The engine, the importer, the objectives and the optimiser against numbers that PyTorch gave (G18).
//!
//! `fixtures/golden/README.md` says where they come from and how far PyTorch's own float32 is from float64.

use adamant::image::{ImagesView, Logits, Shape};
use adamant::objective::{
    LabelSmoothing, LogitPairing, Loss, Mixture, Objective, Shown, Standard, StepLogits, Weighting,
};
use adamant::optimizer::{Sgd, SgdSettings};
use engine::cpu::{CpuEngine, CpuSettings, Isa};
use engine::{Engine, Frozen, Gradients, Precision, Recording, Session, Wants};
use network::architecture::{Shortcut, Stem};
use network::resnet::{Block, with_stages};
use network::{
    Architecture, Domain, Domains, InputScaling, Moments, Network, NormChoice, Pass, Statistics,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Logits, and losses of order 1.
const LOGITS: f64 = 1e-4;
/// Gradients and statistics, as a share of the reference's norm.
const SHARE: f64 = 1e-3;
/// Parameters after a step, of order 1; of the largest one where a tensor has larger ones.
const STEP: f64 = 1e-5;

/// One file of golden tensors, by name.
struct Golden(BTreeMap<String, Vec<f32>>);

fn fixture(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("fixtures/golden").join(format!("{name}.safetensors"))
}

impl Golden {
    fn open(name: &str) -> Self {
        let path = fixture(name);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        Self(tensors.iter().map(|(key, tensor)| (key.to_string(), values(&tensor))).collect())
    }

    fn find(&self, key: &str) -> Option<&[f32]> {
        self.0.get(key).map(Vec::as_slice)
    }

    fn get(&self, key: &str) -> &[f32] {
        self.find(key).unwrap_or_else(|| panic!("no tensor {key}"))
    }

    fn labels(&self) -> Vec<u32> {
        self.get("labels").iter().map(|&label| label as u32).collect()
    }

    /// How many tensors have a name that begins with `prefix`.
    fn count(&self, prefix: &str) -> usize {
        self.0.keys().filter(|name| name.starts_with(prefix)).count()
    }
}

/// A tensor as f32; bytes are pixels.
fn values(tensor: &TensorView<'_>) -> Vec<f32> {
    let bytes = tensor.data();
    let words = bytes.chunks_exact(4).map(|b| <[u8; 4]>::try_from(b).expect("chunks of four"));
    match tensor.dtype() {
        Dtype::F32 => words.map(f32::from_le_bytes).collect(),
        Dtype::I32 => words.map(|word| i32::from_le_bytes(word) as f32).collect(),
        Dtype::U8 => bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect(),
        Dtype::F16 => bytes.chunks_exact(2).map(half).collect(),
        other => panic!("a tensor has the type {other:?}"),
    }
}

/// A normal or subnormal number of IEEE half precision.
fn half(bytes: &[u8]) -> f32 {
    let bits = u16::from_le_bytes([bytes[0], bytes[1]]);
    let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let magnitude = match exponent {
        0 => mantissa * 2.0_f32.powi(-24),
        _ => (1024.0 + mantissa) * 2.0_f32.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len(), "lengths");
    norm(found.iter().zip(expected).map(|(f, e)| f64::from(*f) - f64::from(*e)))
}

fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: lengths");
    for (position, (f, e)) in found.iter().zip(expected).enumerate() {
        let apart = (f64::from(*f) - f64::from(*e)).abs();
        assert!(apart <= tolerance, "{what}[{position}]: found {f}, PyTorch has {e}");
    }
}

fn assert_share(what: &str, found: &[f32], expected: &[f32]) {
    let share = distance(found, expected) / norm(expected.iter().map(|&e| f64::from(e)));
    assert!(share <= SHARE, "{what}: {share:.2e} of its norm apart");
}

/// Every image's gradient by itself, so that a large one hides no small one.
fn assert_shares_per_image(what: &str, count: usize, found: &[f32], expected: &[f32]) {
    let size = expected.len() / count;
    for (image, (f, e)) in found.chunks(size).zip(expected.chunks(size)).enumerate() {
        assert_share(&format!("{what} of image {image}"), f, e);
    }
}

/// All kernels this machine has.
fn engines() -> impl Iterator<Item = CpuEngine> {
    let settings = |isa| CpuSettings { threads: 2, isa };
    Isa::available().into_iter().map(move |isa| CpuEngine::new(settings(isa)).expect("threads"))
}

const CIFAR: Shape = Shape::new(3, 32, 32);
const SIDE_64: Shape = Shape::new(3, 64, 64);

fn view(count: usize, shape: Shape, pixels: &[f32]) -> ImagesView<'_> {
    ImagesView { count, shape, pixels }
}

fn pretrained() -> Network {
    let mut architecture = Architecture::named("resnet20-cifar").expect("a known name");
    architecture.scaling = InputScaling::imagenet();
    let graph = architecture.graph().expect("a valid architecture");
    let (network, report) = network::import::import_file(graph, &fixture("cifar_resnet20"))
        .expect("weights under their own names");
    assert!(report.dropped.is_empty() && report.filled.is_empty(), "{report}");
    network
}

/// The small random network; `mixture` gives the values of the second domain, if there is one.
fn bottleneck(choice: NormChoice, mixture: Option<&Golden>) -> Network {
    let architecture = Architecture {
        depth: 26,
        width: 16,
        stem: Stem::Imagenet,
        shortcut: Shortcut::Projection,
        norm: choice,
        scaling: InputScaling::None,
        input: SIDE_64,
        ..Architecture::named("resnet50-cifar").expect("a known name")
    };
    let graph = with_stages(&architecture, Block::Bottleneck, [2, 2, 2, 2]).expect("a graph");
    let weights = Golden::open("bottleneck_resnet");
    Network::with_values(graph, |spec| {
        Ok(match spec.name.contains(".aux_bn.0.") {
            false => weights.get(&spec.name).to_vec(),
            true => mixture
                .expect("a second domain has values")
                .get(&format!("weights/{}", theirs(&spec.name)))
                .to_vec(),
        })
    })
    .expect("weights that fit")
}

/// PyTorch's key: its second batch norm has no number.
fn theirs(name: &str) -> String {
    name.replace(".aux_bn.0.", ".aux_bn.")
}

/// The mean cross-entropy of images that all are clean.
fn mean_loss(labels: &[u32], logits: &Logits) -> Loss {
    let positions: Vec<usize> = (0..logits.count).collect();
    let none = Logits::zeros(0, logits.classes);
    Standard { smoothing: LabelSmoothing::NONE }.loss(&StepLogits {
        labels,
        clean: Shown { positions: &positions, logits },
        adversarial: Shown { positions: &[], logits: &none },
    })
}

/// Logits, per-image losses' sum gradient and the gradient by the pixels, of the frozen network of a domain.
fn frozen_gradient(
    engine: &CpuEngine,
    network: &Network,
    images: ImagesView<'_>,
    labels: &[u32],
) -> (Logits, Vec<f32>) {
    let frozen = engine.freeze(network, Domain::CLEAN, Precision::F32).expect("a frozen network");
    let mut loss = |logits: &Logits, first: usize, gradient: &mut Logits| {
        let part = mean_loss(&labels[first..first + logits.count], logits);
        // The reference is the sum over images, the objective their mean.
        let sum = logits.count as f32;
        for (g, mean) in gradient.values.iter_mut().zip(part.by_clean.values) {
            *g = mean * sum;
        }
    };
    frozen.session().input_gradient(images, &mut loss).expect("a gradient")
}

/// One recorded training pass of clean images.
fn training_pass(
    engine: &CpuEngine,
    network: &Network,
    images: ImagesView<'_>,
    labels: &[u32],
) -> (Logits, Loss, Gradients, Moments) {
    let (logits, recording) =
        engine.record(network, images, &Pass::batch(Domain::CLEAN)).expect("a recording");
    let loss = mean_loss(labels, &logits);
    let gradients = engine
        .backward(network, &recording, &loss.by_clean, Wants::ParametersAndInput)
        .expect("gradients");
    (logits, loss, gradients, recording.moments().clone())
}

/// Every learnt parameter's gradient under `prefix`; all of the file's are met.
fn assert_gradients(golden: &Golden, prefix: &str, network: &Network, gradients: &Gradients) {
    let mut met = 0;
    for (parameter, found) in network.parameters.iter().zip(&gradients.parameters) {
        let key = format!("{prefix}{}", theirs(&parameter.name));
        match golden.find(&key) {
            Some(expected) => {
                assert_share(&key, found, expected);
                met += 1;
            }
            None => assert!(!parameter.role.is_learnt(), "no tensor {key}"),
        }
    }
    assert_eq!(met, golden.count(prefix), "gradients under {prefix}");
}

/// The running statistics after one batch.
fn assert_statistics(golden: &Golden, prefix: &str, network: &Network) {
    let mut met = 0;
    for parameter in network.parameters.iter().filter(|p| !p.role.is_learnt()) {
        let key = format!("{prefix}{}", theirs(&parameter.name));
        assert_share(&key, &parameter.values, golden.get(&key));
        met += 1;
    }
    assert_eq!(met, golden.count(prefix), "statistics under {prefix}");
}

/// One step, and the parameters of the file after it.
fn assert_step(
    golden: &Golden,
    prefix: &str,
    network: &mut Network,
    gradients: &Gradients,
    rate: f32,
) {
    let mut sgd = Sgd::new(SgdSettings::default(), &network.parameters);
    sgd.step(&mut network.parameters, &gradients.parameters, rate);
    let mut met = 0;
    for parameter in network.parameters.iter() {
        let key = format!("{prefix}{}", theirs(&parameter.name));
        if let Some(expected) = golden.find(&key) {
            let largest = expected.iter().fold(1.0, |most: f32, e| most.max(e.abs()));
            assert_close(&key, &parameter.values, expected, STEP * f64::from(largest));
            met += 1;
        }
    }
    assert_eq!(met, golden.count(prefix), "parameters under {prefix}");
}

#[test]
fn g18_the_pretrained_network_gives_pytorchs_logits_and_input_gradients() {
    let (network, golden) = (pretrained(), Golden::open("cifar_resnet20_eval"));
    let pixels = golden.get("images_u8");
    let images = view(16, CIFAR, pixels);
    let wrong: Vec<u32> = golden.labels().into_iter().map(|label| (label + 1) % 10).collect();
    for engine in engines() {
        let (logits, gradient) = frozen_gradient(&engine, &network, images, &wrong);
        assert_close("logits", &logits.values, golden.get("logits"), LOGITS);
        let expected = golden.get("shifted_input_grad_sum_loss");
        assert_shares_per_image("input gradient", 16, &gradient, expected);

        let pass = Pass::running(Domain::CLEAN);
        let (logits, _) = engine.record(&network, images, &pass).expect("a recording");
        assert_close("recorded logits", &logits.values, golden.get("logits"), LOGITS);
        for image in 0..16 {
            let one = Logits { count: 1, classes: 10, values: logits.row(image).to_vec() };
            let loss = mean_loss(&wrong[image..=image], &one).total as f32;
            let expected = golden.get("shifted_loss_per_image")[image];
            assert_close("loss with the wrong label", &[loss], &[expected], LOGITS);
        }
    }
}

#[test]
fn g18_one_training_step_of_the_pretrained_network_is_pytorchs() {
    let golden = Golden::open("cifar_resnet20_train");
    let (pixels, labels) = (golden.get("images_u8"), golden.labels());
    for engine in engines() {
        let mut network = pretrained();
        let (logits, loss, gradients, moments) =
            training_pass(&engine, &network, view(16, CIFAR, pixels), &labels);
        assert_close("logits", &logits.values, golden.get("logits"), LOGITS);
        assert_close("loss", &[loss.total as f32], golden.get("mean_loss"), LOGITS);
        assert_share("input gradient", &gradients.input, golden.get("input_grad_mean_loss"));
        assert_gradients(&golden, "grad/", &network, &gradients);
        network.absorb(&moments).expect("moments of this network");
        assert_statistics(&golden, "stats_after/", &network);
        assert_step(&golden, "after_step/", &mut network, &gradients, 0.1);
    }
}

#[test]
fn g27_pytorchs_gradients_give_pytorchs_step() {
    let golden = Golden::open("cifar_resnet20_train");
    let mut network = pretrained();
    let gradient = |name: &str| golden.find(&format!("grad/{name}")).unwrap_or(&[]).to_vec();
    let parameters = network.parameters.iter().map(|p| gradient(&p.name)).collect();
    let gradients = Gradients { parameters, input: Vec::new() };
    assert_step(&golden, "after_step/", &mut network, &gradients, 0.1);
}

#[test]
fn g18_the_bottleneck_network_gives_pytorchs_logits_and_input_gradients() {
    let network = bottleneck(NormChoice::BATCH, None);
    let golden = Golden::open("bottleneck_resnet_io");
    let (pixels, labels) = (golden.get("input"), golden.labels());
    for engine in engines() {
        let images = view(4, SIDE_64, pixels);
        let (logits, gradient) = frozen_gradient(&engine, &network, images, &labels);
        assert_close("logits", &logits.values, golden.get("eval/logits"), LOGITS);
        let expected = golden.get("eval/input_grad_sum_loss");
        assert_shares_per_image("input gradient", 4, &gradient, expected);
    }
}

#[test]
fn g18_one_training_step_of_the_bottleneck_network_is_pytorchs() {
    let golden = Golden::open("bottleneck_resnet_io");
    let (pixels, labels) = (golden.get("input"), golden.labels());
    for engine in engines() {
        let mut network = bottleneck(NormChoice::BATCH, None);
        let (logits, loss, gradients, moments) =
            training_pass(&engine, &network, view(4, SIDE_64, pixels), &labels);
        assert_close("logits", &logits.values, golden.get("train/logits"), LOGITS);
        assert_close("loss", &[loss.total as f32], golden.get("train/mean_loss"), LOGITS);
        let expected = golden.get("train/input_grad_mean_loss");
        assert_share("input gradient", &gradients.input, expected);
        assert_gradients(&golden, "train/grad/", &network, &gradients);
        network.absorb(&moments).expect("moments of this network");
        assert_statistics(&golden, "train/stats_after/", &network);
        assert_step(&golden, "train/after_step/", &mut network, &gradients, 0.1);
    }
}

/// `network` with two offsets moved by 3e-5.
///
/// Where the gradient jumps, rounding decides it: in double precision unit 376 of `layer3.1.bn1` (clean image 0, channel
/// 23) gives 7.2e-6 and unit 1145 of `layer4.0.bn1` (adversarial image 1, channel 71) gives -7.1e-6 before ReLU, within
/// the rounding of f32 there, PyTorch's too (logits 1.4e-5 apart from double precision). Moved away from zero, on the side
/// where double precision has them, they leave one smooth piece to compare, and gradients move by 1e-5 of themselves.
fn away_from_kinks(network: &Network) -> Network {
    let mut network = network.clone();
    for (name, channel, by) in
        [("layer3.1.bn1.bias", 23, 3e-5), ("layer4.0.bn1.aux_bn.0.bias", 71, -3e-5)]
    {
        let id = network.parameters.id(name).expect("a batch norm of this network");
        network.parameters[id].values[channel] += by;
    }
    network
}

/// The mixture's images: four clean ones, then their adversarial counterparts, in one forward.
struct MixedStep {
    clean: Logits,
    adversarial: Logits,
    gradients: Gradients,
    moments: Moments,
    loss: Loss,
}

fn mixed_step(
    engine: &CpuEngine,
    network: &Network,
    golden: &Golden,
    objective: &dyn Objective,
) -> MixedStep {
    let network = &away_from_kinks(network);
    let pixels = [golden.get("clean_images"), golden.get("adv_images")].concat();
    let domains = [[Domain::CLEAN; 4], [Domain::ADVERSARIAL; 4]].concat();
    let pass = Pass { statistics: Statistics::Batch, domains: Domains::PerImage(domains) };
    let (logits, recording) =
        engine.record(network, view(8, SIDE_64, &pixels), &pass).expect("a recording");
    let half = |range: std::ops::Range<usize>| Logits {
        count: 4,
        classes: 10,
        values: logits.values[range.start * 10..range.end * 10].to_vec(),
    };
    let (clean, adversarial) = (half(0..4), half(4..8));
    let positions = [0, 1, 2, 3];
    let loss = objective.loss(&StepLogits {
        labels: &golden.labels(),
        clean: Shown { positions: &positions, logits: &clean },
        adversarial: Shown { positions: &positions, logits: &adversarial },
    });
    let by_logits = Logits {
        count: 8,
        classes: 10,
        values: [&loss.by_clean.values[..], &loss.by_adversarial.values].concat(),
    };
    let gradients =
        engine.backward(network, &recording, &by_logits, Wants::Parameters).expect("gradients");
    let moments = recording.moments().clone();
    MixedStep { clean, adversarial, gradients, moments, loss }
}

/// Both kinds of image through both branches with running statistics.
fn assert_branches(engine: &CpuEngine, golden: &Golden, moment: &str, network: &Network) {
    for (branch, domain) in [("clean", Domain::CLEAN), ("adv", Domain::ADVERSARIAL)] {
        let frozen = engine.freeze(network, domain, Precision::F32).expect("a frozen network");
        for images in ["clean_images", "adv_images"] {
            let pixels = golden.get(images);
            let found = frozen.session().logits(view(4, SIDE_64, pixels)).expect("logits");
            let key = format!("{moment}/{branch}/logits_{images}");
            assert_close(&key, &found.values, golden.get(&key), LOGITS);
        }
    }
}

#[test]
fn g18_one_mixed_step_through_two_batch_norms_is_pytorchs() {
    let golden = Golden::open("mixture_bn");
    let mixture = Mixture::new(1.0, Weighting::ByPresence, LabelSmoothing::NONE).expect("shares");
    for engine in engines() {
        let mut network = bottleneck(NormChoice::MIXTURE, Some(&golden));
        assert_branches(&engine, &golden, "eval_before", &network);
        let step = mixed_step(&engine, &network, &golden, &mixture);
        assert_close(
            "clean logits",
            &step.clean.values,
            golden.get("step/train_logits_clean"),
            LOGITS,
        );
        assert_close(
            "adversarial logits",
            &step.adversarial.values,
            golden.get("step/train_logits_adv"),
            LOGITS,
        );
        let parts = [step.loss.total, step.loss.parts[0].value, step.loss.parts[1].value];
        for (key, found) in ["step/loss", "step/loss_clean", "step/loss_adv"].iter().zip(parts) {
            assert_close(key, &[found as f32], golden.get(key), LOGITS);
        }
        assert_gradients(&golden, "step/grad/", &network, &step.gradients);
        network.absorb(&step.moments).expect("moments of this network");
        assert_statistics(&golden, "stats_after/", &network);
        assert_branches(&engine, &golden, "eval_after_forward", &network);
        assert_step(&golden, "after_step/", &mut network, &step.gradients, 0.002);
        assert_branches(&engine, &golden, "eval_after_step", &network);
    }
}

#[test]
fn g18_logit_pairing_on_top_of_the_mixture_is_pytorchs() {
    let golden = Golden::open("mixture_bn");
    let mixture = Mixture::new(1.0, Weighting::ByPresence, LabelSmoothing::NONE).expect("shares");
    let pairing = LogitPairing::new(mixture, 0.5).expect("a weight");
    for engine in engines() {
        let network = bottleneck(NormChoice::MIXTURE, Some(&golden));
        let step = mixed_step(&engine, &network, &golden, &pairing);
        let pair = step.loss.part("pairing").expect("a named part") as f32;
        assert_close("pairing", &[pair], golden.get("alp/pair_term"), LOGITS);
        assert_close("loss", &[step.loss.total as f32], golden.get("alp/loss"), LOGITS);
        assert_gradients(&golden, "alp/grad/", &network, &step.gradients);
    }
}
