//! What holds between passes: threads, tiles, batches, frozen against recorded, branches kept apart.

mod support;

use engine::{Engine, EngineError, Frozen, ImagesView, Logits, Recording, Session, Wants};
use kernels::Isa;
use network::graph::Bias;
use network::{Activation, Domain, Domains, Network, Pass, Shape, Sharing, Statistics};
use support::*;

/// Two stages with a projection, so that chunks of eight images occur and the last one is not full.
fn residual(kind: Kind, domains: usize) -> Network {
    let mut b = Builder::new(Shape::new(3, 9, 8), domains);
    let bias = if kind == Kind::None { Bias::Present } else { Bias::Absent };
    let x = b.convolution(0, 18, 3, 1, bias);
    let x = b.norm(x, kind);
    let x = b.act(x, Activation::Relu);
    let y = b.convolution(x, 33, 3, 2, bias);
    let y = b.norm(y, kind);
    let y = b.act(y, Activation::Relu);
    let y = b.convolution(y, 33, 3, 1, bias);
    let y = b.norm(y, kind);
    let s = b.convolution(x, 33, 1, 2, bias);
    let s = b.norm(s, kind);
    let sum = b.add(y, s);
    let x = b.act(sum, Activation::Relu);
    b.finish(x, 11)
}

fn pre_activation(kind: Kind, domains: usize) -> Network {
    let mut b = Builder::new(Shape::new(3, 6, 6), domains);
    let x = b.convolution(0, 16, 3, 1, Bias::Absent);
    let y = b.norm(x, kind);
    let y = b.act(y, Activation::Silu);
    let y = b.convolution(y, 16, 3, 1, Bias::Absent);
    let x = b.add(y, x);
    let x = b.norm(x, kind);
    let x = b.act(x, Activation::Relu);
    b.finish(x, 12)
}

fn kinds() -> [Network; 5] {
    [
        residual(PLAIN, 1),
        residual(MIXTURE, 2),
        residual(Kind::Group { groups: 3 }, 1),
        residual(Kind::None, 1),
        pre_activation(MIXTURE, 2),
    ]
}

/// The gradient of a loss that depends on the image's position, as attacks have it.
fn loss(logits: &Logits, first: usize, gradient: &mut Logits) {
    for image in 0..logits.count {
        let seed = (first + image) as u64 + 1;
        let row = Numbers::new(seed).take(logits.classes);
        for (slot, (weight, z)) in
            gradient.row_mut(image).iter_mut().zip(row.iter().zip(logits.row(image)))
        {
            *slot = weight + 0.1 * z;
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

mod g7_batch_independence {
    use super::*;

    #[test]
    fn an_image_alone_has_the_bits_it_has_in_any_batch() {
        for network in kinds() {
            for isa in Isa::available() {
                let frozen = engine_with(1, isa)
                    .freeze(&network, Domain::CLEAN, engine::Precision::F32)
                    .unwrap();
                let pixels = images(&network, 19, 1);
                let image = network.graph.input.len();
                let (logits, gradient) =
                    frozen.session().input_gradient(view(&network, &pixels), &mut loss).unwrap();
                let only = frozen.session().logits(view(&network, &pixels)).unwrap();
                assert_eq!(bits(&only.values), bits(&logits.values));
                let mut session = frozen.session();
                for index in [0, 7, 8, 18] {
                    let alone = view(&network, &pixels[index * image..(index + 1) * image]);
                    let mut shifted = |z: &Logits, _: usize, by: &mut Logits| loss(z, index, by);
                    let (one, by_one) = session.input_gradient(alone, &mut shifted).unwrap();
                    assert_eq!(bits(&one.values), bits(logits.row(index)), "image {index}");
                    let own = &gradient[index * image..(index + 1) * image];
                    assert_eq!(bits(&by_one), bits(own), "image {index}");
                }
            }
        }
    }

    #[test]
    fn one_and_two_threads_give_the_same_bytes() {
        for network in kinds() {
            let pixels = images(&network, 27, 2);
            for pass in passes(network.graph.domains, 27) {
                let run = |threads: usize| {
                    let engine = engine(threads);
                    let (logits, recording) =
                        engine.record(&network, view(&network, &pixels), &pass).unwrap();
                    let upstream = weights_of_logits(27, 3);
                    let gradients = engine
                        .backward(&network, &recording, &upstream, Wants::ParametersAndInput)
                        .unwrap();
                    (logits, recording.moments().clone(), gradients)
                };
                assert!(run(1) == run(2), "{pass:?}");
            }
        }
    }

    #[test]
    fn a_second_step_on_used_buffers_gives_the_same_bytes() {
        let network = residual(MIXTURE, 2);
        let engine = engine(2);
        let pixels = images(&network, 12, 4);
        let pass = Pass::batch(Domain::ADVERSARIAL);
        let run = |count: usize| {
            let pixels = &pixels[..count * network.graph.input.len()];
            let (logits, recording) =
                engine.record(&network, view(&network, pixels), &pass).unwrap();
            let upstream = weights_of_logits(count, 3);
            let wants = Wants::ParametersAndInput;
            (logits, engine.backward(&network, &recording, &upstream, wants).unwrap())
        };
        let first = run(12);
        run(5);
        assert!(run(12) == first);
    }
}

mod g22_folding {
    use super::*;

    #[test]
    fn frozen_logits_and_gradients_are_those_of_the_running_statistics() {
        for network in kinds() {
            for domain in (0..network.graph.domains).map(Domain) {
                let engine = engine(2);
                let pixels = images(&network, 11, 3);
                let pass = Pass::running(domain);
                let (expected, recording) =
                    engine.record(&network, view(&network, &pixels), &pass).unwrap();
                assert!(recording.moments().layers.is_empty(), "running statistics see no moments");
                let mut upstream = Logits::zeros(11, 3);
                loss(&expected, 0, &mut upstream);
                let by_input =
                    engine.backward(&network, &recording, &upstream, Wants::Input).unwrap();
                assert!(by_input.parameters.is_empty());
                let frozen = engine.freeze(&network, domain, engine::Precision::F32).unwrap();
                let (logits, gradient) =
                    frozen.session().input_gradient(view(&network, &pixels), &mut loss).unwrap();
                let wide =
                    |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
                // f32 rounding in another order, through a handful of layers.
                assert!(distance(&wide(&logits.values), &wide(&expected.values)) < 1e-5);
                assert!(distance(&wide(&gradient), &wide(&by_input.input)) < 1e-4);
            }
        }
    }

    #[test]
    fn branches_that_differ_give_different_logits() {
        let network = residual(MIXTURE, 2);
        let engine = engine(1);
        let pixels = images(&network, 2, 3);
        let logits = [Domain::CLEAN, Domain::ADVERSARIAL].map(|domain| {
            let frozen = engine.freeze(&network, domain, engine::Precision::F32).unwrap();
            frozen.session().logits(view(&network, &pixels)).unwrap()
        });
        let difference = logits[0].values[0] - logits[1].values[0];
        assert!(difference.abs() > 1e-3, "{difference}");
    }
}

mod g23_separation {
    use super::*;

    /// Moments of both branches and gradients of one step over four clean and four adversarial images.
    fn step(network: &Network, clean_seed: u64) -> (network::Moments, engine::Gradients) {
        let mut pixels = images(network, 4, clean_seed);
        pixels.extend(images(network, 4, 99));
        let domains = (0..8).map(|image| Domain(usize::from(image >= 4))).collect();
        let pass = Pass { statistics: Statistics::Batch, domains: Domains::PerImage(domains) };
        let engine = engine(2);
        let (_, recording) = engine.record(network, view(network, &pixels), &pass).unwrap();
        let upstream = weights_of_logits(8, 3);
        let gradients = engine.backward(network, &recording, &upstream, Wants::Parameters).unwrap();
        (recording.moments().clone(), gradients)
    }

    fn branch(moments: &network::Moments, branch: usize) -> Vec<&network::LayerMoments> {
        moments.layers.iter().filter(|layer| layer.branch == branch).collect()
    }

    #[test]
    fn other_clean_images_leave_the_adversarial_statistics_bitwise_alone() {
        let mixture = residual(MIXTURE, 2);
        let ((one, _), (other, _)) = (step(&mixture, 1), step(&mixture, 2));
        assert_eq!(branch(&one, 1), branch(&other, 1));
        assert_ne!(branch(&one, 0), branch(&other, 0));
        assert_eq!(branch(&one, 1).len(), 4, "one entry a layer");
        let statistics =
            residual(Kind::Batch { statistics: Sharing::Separate, affine: Sharing::Shared }, 2);
        let ((one, _), (other, _)) = (step(&statistics, 1), step(&statistics, 2));
        assert_eq!(branch(&one, 1)[0], branch(&other, 1)[0]);
    }

    #[test]
    fn shared_statistics_do_see_the_other_images() {
        for affine in [Sharing::Shared, Sharing::Separate] {
            let network = residual(Kind::Batch { statistics: Sharing::Shared, affine }, 2);
            let ((one, _), (other, _)) = (step(&network, 1), step(&network, 2));
            assert_ne!(one.layers, other.layers);
            assert!(one.layers.iter().all(|layer| layer.branch == 0 && layer.count % 8 == 0));
        }
    }

    #[test]
    fn a_branch_without_images_has_no_moments_and_zero_gradients() {
        let network = residual(MIXTURE, 2);
        let engine = engine(1);
        let pixels = images(&network, 4, 1);
        let pass = Pass::batch(Domain::CLEAN);
        let (_, recording) = engine.record(&network, view(&network, &pixels), &pass).unwrap();
        assert!(branch(recording.moments(), 1).is_empty());
        let upstream = weights_of_logits(4, 3);
        let gradients =
            engine.backward(&network, &recording, &upstream, Wants::Parameters).unwrap();
        for (parameter, gradient) in network.parameters.iter().zip(&gradients.parameters) {
            if !parameter.role.is_learnt() {
                assert!(gradient.is_empty());
            } else if parameter.name.contains("aux_bn") {
                assert!(gradient.iter().all(|&x| x == 0.0) && !gradient.is_empty());
            } else {
                assert!(gradient.iter().any(|&x| x != 0.0), "{}", parameter.name);
            }
        }
        assert!(gradients.input.is_empty());
    }

    #[test]
    fn a_mixed_pass_is_two_separate_passes() {
        let network = residual(MIXTURE, 2);
        let engine = engine(2);
        let pixels = images(&network, 10, 8);
        let half = pixels.len() / 2;
        let domains = (0..10).map(|image| Domain(usize::from(image >= 5))).collect();
        let mixed = Pass { statistics: Statistics::Batch, domains: Domains::PerImage(domains) };
        let (together, recording) =
            engine.record(&network, view(&network, &pixels), &mixed).unwrap();
        let (clean, first) = engine
            .record(&network, view(&network, &pixels[..half]), &Pass::batch(Domain(0)))
            .unwrap();
        let (adversarial, second) = engine
            .record(&network, view(&network, &pixels[half..]), &Pass::batch(Domain(1)))
            .unwrap();
        assert_eq!(bits(&together.values[..15]), bits(&clean.values));
        assert_eq!(bits(&together.values[15..]), bits(&adversarial.values));
        assert_eq!(branch(recording.moments(), 0), branch(first.moments(), 0));
        assert_eq!(branch(recording.moments(), 1), branch(second.moments(), 1));
    }
}

mod g24_reductions {
    use super::*;

    #[test]
    fn equal_branches_and_running_statistics_make_all_four_layouts_one() {
        use Sharing::{Separate, Shared};
        let pixels = images(&residual(PLAIN, 2), 6, 1);
        let run = |statistics, affine| {
            let mut network = residual(Kind::Batch { statistics, affine }, 2);
            let plain = residual(PLAIN, 2);
            for parameter in network.parameters.iter_mut() {
                let name = parameter.name.replace("aux_bn.0.", "");
                parameter.values = plain.parameters.get(&name).unwrap().values.clone();
            }
            let domains = (0..6).map(|image| Domain(image % 2)).collect();
            let pass =
                Pass { statistics: Statistics::Running, domains: Domains::PerImage(domains) };
            bits(&engine(2).record(&network, view(&network, &pixels), &pass).unwrap().0.values)
        };
        let plain = run(Shared, Shared);
        assert!(run(Separate, Shared) == plain);
        assert!(run(Shared, Separate) == plain);
        assert!(run(Separate, Separate) == plain);
    }
}

mod g25_consistent_phase {
    use super::*;

    /// The largest gradient of image 0's logits by the pixels of the other images.
    fn influence(statistics: Statistics) -> f32 {
        let network = residual(PLAIN, 1);
        let engine = engine(2);
        let pixels = images(&network, 9, 1);
        let pass = Pass { statistics, domains: Domains::All(Domain::CLEAN) };
        let (_, recording) = engine.record(&network, view(&network, &pixels), &pass).unwrap();
        let mut upstream = Logits::zeros(9, 3);
        upstream.row_mut(0).copy_from_slice(&[1.0, -2.0, 0.5]);
        let gradients =
            engine.backward(&network, &recording, &upstream, Wants::ParametersAndInput).unwrap();
        let gamma = network.parameters.id("n2.weight").unwrap();
        assert!(gradients.parameters[gamma.0].iter().any(|&x| x != 0.0), "gamma is trained");
        let others = &gradients.input[network.graph.input.len()..];
        others.iter().fold(0.0, |most, x| x.abs().max(most))
    }

    #[test]
    fn images_depend_on_each_other_only_under_batch_statistics() {
        assert_eq!(influence(Statistics::Running), 0.0);
        assert!(influence(Statistics::Batch) > 1e-8);
    }
}

mod g21_batch_norm {
    use super::*;

    /// A batch norm alone, then the mean of its pixels; one channel is constant.
    fn lone(height: usize) -> Network {
        let mut b = Builder::new(Shape::new(3, height, 4), 1);
        let x = b.norm(0, PLAIN);
        b.finish(x, 5)
    }

    #[test]
    fn moments_are_exact_also_at_a_large_mean() {
        let network = lone(4);
        let mut pixels = images(&network, 21, 1);
        for (index, pixel) in pixels.iter_mut().enumerate() {
            *pixel = match index / 16 % 3 {
                0 => 1000.0 + (*pixel - 0.5) * 12.0_f32.sqrt(),
                1 => 0.25,
                _ => *pixel,
            };
        }
        let pass = Pass::batch(Domain::CLEAN);
        let (logits, recording) =
            engine(2).record(&network, view(&network, &pixels), &pass).unwrap();
        let moments = &recording.moments().layers[0];
        assert_eq!((moments.branch, moments.count), (0, 21 * 16));
        for channel in 0..3 {
            let values: Vec<f64> = pixels
                .iter()
                .enumerate()
                .filter(|(index, _)| index / 16 % 3 == channel)
                .map(|(_, &x)| f64::from(x))
                .collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let squares = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
            assert!((moments.mean[channel] - mean).abs() < 1e-10 * mean.abs());
            assert!((moments.centred_squares[channel] - squares).abs() < 1e-9 * squares.max(1e-9));
        }
        let wide: Vec<f64> = pixels.iter().map(|&x| f64::from(x)).collect();
        let expected = reference::logits(&network, &reference::widen(&network), &wide, 21, &pass);
        for (found, expected) in logits.values.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-3, "{found} {expected}");
        }
    }

    #[test]
    fn a_channel_without_variance_gives_beta() {
        let network = lone(4);
        let pixels = vec![0.7; 5 * network.graph.input.len()];
        let (logits, _) = engine(1)
            .record(&network, view(&network, &pixels), &Pass::batch(Domain::CLEAN))
            .unwrap();
        let find = |name: &str| &network.parameters.get(name).unwrap().values;
        let (beta, weight, bias) = (find("n1.bias"), find("n3.weight"), find("n3.bias"));
        for (class, z) in logits.row(0).iter().enumerate() {
            let expected: f32 =
                (0..3).map(|c| weight[class * 3 + c] * beta[c]).sum::<f32>() + bias[class];
            assert!((z - expected).abs() < 1e-6, "{z} {expected}");
        }
    }

    #[test]
    fn a_single_value_per_channel_is_an_error_that_names_the_layer() {
        let mut b = Builder::new(Shape::new(3, 1, 1), 1);
        let x = b.norm(0, PLAIN);
        let network = b.finish(x, 5);
        let pixels = images(&network, 1, 1);
        let refused =
            engine(1).record(&network, view(&network, &pixels), &Pass::batch(Domain::CLEAN));
        let error = refused.map(|_| ()).unwrap_err();
        assert!(
            matches!(&error, EngineError::TooFewValues { node, count: 1, .. } if node == "n1"),
            "{error}"
        );
    }

    #[test]
    fn group_norm_with_a_group_per_channel_is_instance_norm() {
        let run = |kind| {
            let network = residual(kind, 1);
            let pixels = images(&network, 3, 1);
            engine(1)
                .record(&network, view(&network, &pixels), &Pass::batch(Domain::CLEAN))
                .unwrap()
                .0
        };
        let mut b = Builder::new(Shape::new(6, 3, 3), 1);
        let x = b.norm(0, Kind::Group { groups: 6 });
        let groups = b.finish(x, 1);
        let mut b = Builder::new(Shape::new(6, 3, 3), 1);
        let x = b.norm(0, Kind::Instance);
        let instance = b.finish(x, 1);
        let pixels = images(&groups, 3, 1);
        let logits = [&groups, &instance].map(|network| {
            let pass = Pass::running(Domain::CLEAN);
            engine(1).record(network, view(network, &pixels), &pass).unwrap().0
        });
        assert_eq!(logits[0], logits[1]);
        assert!(run(Kind::Instance).values.iter().all(|z| z.is_finite()));
    }
}

#[test]
fn nan_pixels_give_nan_and_leave_the_other_images_alone() {
    for network in kinds() {
        let frozen = engine(1).freeze(&network, Domain::CLEAN, engine::Precision::F32).unwrap();
        let good = images(&network, 3, 1);
        let image = network.graph.input.len();
        let mut bad = good.clone();
        bad[image..2 * image].fill(f32::NAN);
        let run = |pixels: &[f32]| {
            frozen.session().input_gradient(view(&network, pixels), &mut loss).unwrap()
        };
        let ((clean, by_clean), (poisoned, by_poisoned)) = (run(&good), run(&bad));
        assert!(poisoned.row(1).iter().all(|z| z.is_nan()));
        assert!(by_poisoned[image..2 * image].iter().all(|x| x.is_nan()));
        for index in [0, 2] {
            assert_eq!(bits(poisoned.row(index)), bits(clean.row(index)));
            let range = index * image..(index + 1) * image;
            assert_eq!(bits(&by_poisoned[range.clone()]), bits(&by_clean[range]));
        }
        let pass = Pass::batch(Domain::CLEAN);
        let (recorded, _) = engine(2).record(&network, view(&network, &bad), &pass).unwrap();
        assert!(recorded.row(1).iter().all(|z| z.is_nan()));
    }
}

#[test]
fn wrong_shapes_are_errors_that_say_what_was_expected() {
    let network = residual(PLAIN, 1);
    let engine = engine(1);
    let pixels = images(&network, 2, 1);
    let pass = Pass::batch(Domain::CLEAN);
    let short = ImagesView { count: 2, shape: network.graph.input, pixels: &pixels[1..] };
    let other = ImagesView { count: 2, shape: Shape::new(3, 8, 9), pixels: &pixels };
    for (images, message) in [
        (short, "record: expected 432 numbers for 2 images, found 431"),
        (other, "record: expected images of shape [3, 9, 8], found [3, 8, 9]"),
    ] {
        let refused = engine.record(&network, images, &pass).map(|_| ());
        assert_eq!(refused.unwrap_err().to_string(), message);
    }
    let domains = Domains::PerImage(vec![Domain::CLEAN; 3]);
    let many = Pass { statistics: Statistics::Batch, domains };
    let refused = engine.record(&network, view(&network, &pixels), &many).map(|_| ());
    assert_eq!(
        refused.unwrap_err().to_string(),
        "record: expected one domain for each of 2 images, found 3"
    );
    let (_, recording) = engine.record(&network, view(&network, &pixels), &pass).unwrap();
    let refused = engine.backward(&network, &recording, &Logits::zeros(3, 3), Wants::Input);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "backward: expected a gradient by [2, 3] logits, found [3, 3] with 9 numbers"
    );
}

#[test]
fn no_images_are_no_logits() {
    let network = residual(MIXTURE, 2);
    let engine = engine(1);
    let (logits, recording) =
        engine.record(&network, view(&network, &[]), &Pass::batch(Domain::CLEAN)).unwrap();
    assert_eq!((logits.values.len(), recording.bytes()), (0, 0));
    let gradients = engine
        .backward(&network, &recording, &Logits::zeros(0, 3), Wants::ParametersAndInput)
        .unwrap();
    assert!(gradients.parameters.iter().flatten().all(|&x| x == 0.0));
    let frozen = engine.freeze(&network, Domain::CLEAN, engine::Precision::F32).unwrap();
    assert!(frozen.session().logits(view(&network, &[])).unwrap().values.is_empty());
}

mod g26_depth {
    use super::*;
    use network::architecture::{Architecture, NormChoice};

    #[test]
    fn a_training_step_of_638_layers_runs_on_a_small_stack_within_the_memory_plan() {
        let run = || {
            let mut architecture = Architecture::named("resnet638-cifar").unwrap();
            architecture.input = Shape::new(3, 32, 32);
            architecture.width = 4;
            architecture.norm = NormChoice::MIXTURE;
            let network = randomized(architecture.graph().unwrap(), 1);
            let pixels = images(&network, 2, 1);
            let engine = engine(2);
            let pass = Pass::batch(Domain::ADVERSARIAL);
            let (logits, recording) =
                engine.record(&network, view(&network, &pixels), &pass).unwrap();
            assert!(logits.values.iter().all(|z| z.is_finite()));
            let mut upstream = Logits::zeros(2, network.graph.classes);
            upstream.values.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 3) as f32 - 1.0);
            let gradients = engine
                .backward(&network, &recording, &upstream, Wants::ParametersAndInput)
                .unwrap();
            assert!(gradients.parameters.iter().flatten().all(|x| x.is_finite()));
            assert!(gradients.input.iter().any(|&x| x != 0.0));
            let frozen =
                engine.freeze(&network, Domain::ADVERSARIAL, engine::Precision::F32).unwrap();
            let mut ones = |_: &Logits, _: usize, by: &mut Logits| by.values.fill(1.0);
            let (_, by_input) =
                frozen.session().input_gradient(view(&network, &pixels), &mut ones).unwrap();
            assert!(by_input.iter().all(|x| x.is_finite()));
            (recording.bytes(), planned_bytes(&network, 2))
        };
        let small = std::thread::Builder::new().stack_size(256 * 1024);
        let (bytes, planned) = small.spawn(run).unwrap().join().unwrap();
        assert!(bytes <= planned, "{bytes} bytes kept, {planned} planned");
    }

    /// Each node's value once at padded channels, sums and scalings apart, and one bit for each.
    fn planned_bytes(network: &Network, images: usize) -> usize {
        let shapes = network.graph.shapes().unwrap();
        let values =
            network.graph.nodes.iter().zip(shapes).filter(|(node, _)| {
                !matches!(node.op, network::Op::Add | network::Op::Scale { .. })
            });
        let words: usize =
            values.map(|(_, s)| kernels::padded(s.channels) * s.height * s.width).sum();
        words * images * 4 * 33 / 32
    }
}

mod g10_backward_asks {
    use super::*;

    #[test]
    fn what_is_asked_for_beside_it_does_not_change_a_gradient() {
        for network in kinds() {
            for pass in passes(network.graph.domains, 9) {
                let engine = engine(2);
                let pixels = images(&network, 9, 1);
                let (_, recording) =
                    engine.record(&network, view(&network, &pixels), &pass).unwrap();
                let upstream = weights_of_logits(9, 2);
                let ask = |wants| engine.backward(&network, &recording, &upstream, wants).unwrap();
                let both = ask(Wants::ParametersAndInput);
                assert!(ask(Wants::Parameters).parameters == both.parameters, "{pass:?}");
                assert!(ask(Wants::Input).input == both.input, "{pass:?}");
            }
        }
    }

    #[test]
    fn two_recordings_may_be_alive_and_each_may_be_used_twice() {
        let network = residual(MIXTURE, 2);
        let engine = engine(2);
        let pixels = images(&network, 16, 1);
        let (first, second) = pixels.split_at(pixels.len() / 2);
        let record = |pixels, domain| {
            engine.record(&network, view(&network, pixels), &Pass::batch(domain)).unwrap()
        };
        let upstream = weights_of_logits(8, 2);
        let back = |recording| {
            engine.backward(&network, recording, &upstream, Wants::ParametersAndInput).unwrap()
        };
        let (_, clean) = record(first, Domain::CLEAN);
        let alone = back(&clean);
        let (_, adversarial) = record(second, Domain::ADVERSARIAL);
        let other = back(&adversarial);
        assert!(back(&clean) == alone);
        assert!(alone != other);
    }
}
