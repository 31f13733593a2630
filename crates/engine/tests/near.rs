//! Images that differ in a window from those a session remembers.

mod support;

use engine::cpu::CpuSession;
use engine::{Engine, Frozen, ImagesView, Logits, Precision, Session};
use kernels::Isa;
use network::architecture::Architecture;
use network::{Domain, Network, Shape};
use support::*;

fn network(name: &str, shape: Shape) -> Network {
    let mut architecture = Architecture::named(name).expect("a known name");
    architecture.input = shape;
    randomized(architecture.graph().expect("a graph"), 1)
}

fn bits(logits: &Logits) -> Vec<u32> {
    logits.values.iter().map(|value| value.to_bits()).collect()
}

/// Side by side in memory, as a session is asked.
fn joined(images: &[Vec<f32>]) -> Vec<f32> {
    images.concat()
}

fn ask<'a>(shape: Shape, pixels: &'a [f32]) -> ImagesView<'a> {
    ImagesView { count: pixels.len() / shape.len(), shape, pixels }
}

/// The image with other numbers in a window that begins somewhere, or ends with the image.
fn changed(image: &[f32], shape: Shape, side: usize, numbers: &mut Numbers) -> Vec<f32> {
    let Shape { channels, height, width } = shape;
    let mut place = |length: usize| {
        let side = side.min(length);
        let at = (numbers.next().abs() * (length - side + 1) as f32) as usize;
        (at.min(length - side), side)
    };
    let ((top, rows), (left, columns)) = (place(height), place(width));
    let mut image = image.to_vec();
    for channel in 0..channels {
        for row in top..top + rows {
            for column in left..left + columns {
                image[(channel * height + row) * width + column] = numbers.next().abs();
            }
        }
    }
    image
}

#[test]
fn g7_what_is_computed_in_part_has_the_bits_of_what_is_remembered_anew_through_changes_kept_and_undone()
 {
    for (name, shape, count) in [
        ("resnet8-cifar", Shape::new(1, 28, 28), 3),
        // More images than go together, and odd sides.
        ("resnet8-cifar", Shape::new(3, 21, 23), 17),
        // Channels that are padded.
        ("resnet8-cifar-w20", Shape::new(3, 28, 28), 2),
        // Projections in the shortcuts.
        ("resnet18-cifar-w16", Shape::new(3, 32, 32), 2),
    ] {
        let network = network(name, shape);
        for isa in Isa::available() {
            let frozen =
                engine_with(1, isa).freeze(&network, Domain::CLEAN, Precision::F32).unwrap();
            let (mut session, mut other) = (frozen.session(), frozen.session());
            // Remembered anew, and about the logits of a plain forward.
            let mut expect = |pixels: &[f32], found: &Logits, when: &str| {
                let expected = other.remember(ask(shape, pixels)).unwrap();
                assert_eq!(bits(found), bits(&expected), "{name} on {isa}, {when}");
                let plain = other.logits(ask(shape, pixels)).unwrap();
                let scale = plain.values.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
                for (found, plain) in found.values.iter().zip(&plain.values) {
                    let distance = (found - plain).abs() / scale;
                    assert!(distance < 1e-5, "{name} on {isa}, {when}: {found}, {plain}");
                }
            };
            let mut numbers = Numbers::new(7);
            let mut images: Vec<Vec<f32>> = (0..count)
                .map(|_| (0..shape.len()).map(|_| numbers.next().abs()).collect())
                .collect();
            let pixels = joined(&images);
            let found = session.remember(ask(shape, &pixels)).unwrap();
            expect(&pixels, &found, "as remembered");
            for (round, side) in [1, 2, 5, 40, 0, 3].into_iter().enumerate() {
                let near: Vec<usize> = (0..count).rev().filter(|at| at % 3 != round % 3).collect();
                let asked: Vec<Vec<f32>> = near
                    .iter()
                    .map(|&at| changed(&images[at], shape, side, &mut numbers))
                    .collect();
                let pixels = joined(&asked);
                let found = session.logits_near(&near, ask(shape, &pixels)).unwrap();
                expect(&pixels, &found, &format!("round {round}"));
                let kept: Vec<usize> = near.iter().copied().filter(|at| at % 2 == 0).collect();
                session.accept(&kept);
                for (at, image) in near.into_iter().zip(asked) {
                    if at % 2 == 0 {
                        images[at] = image;
                    }
                }
            }
        }
    }
}

#[test]
fn g7_images_beyond_those_that_are_remembered_get_the_same_bits() {
    let shape = Shape::new(1, 28, 28);
    let network = network("resnet8-cifar-w32", shape);
    let isa = Isa::best().expect("a known instruction set");
    let frozen = engine_with(1, isa).freeze(&network, Domain::CLEAN, Precision::F32).unwrap();
    let (mut session, mut few) = (frozen.session(), frozen.session());
    let mut numbers = Numbers::new(5);
    // More than 256 MiB of maps: only the first are held.
    let images: Vec<f32> = (0..1000 * shape.len()).map(|_| numbers.next().abs()).collect();
    let last = &images[990 * shape.len()..];
    let found = session.remember(ask(shape, &images)).unwrap();
    let expected = bits(&few.remember(ask(shape, last)).unwrap());
    assert_eq!(bits(&found)[990 * found.classes..], expected);
    let near: Vec<usize> = (990..1000).collect();
    assert_eq!(bits(&session.logits_near(&near, ask(shape, last)).unwrap()), expected);
}

#[test]
fn a_network_without_local_layers_and_one_in_half_precision_answer_as_ever() {
    let shape = Shape::new(3, 64, 64);
    for (name, precision) in [("resnet18", Precision::F32), ("resnet8-cifar", Precision::Bf16)] {
        let network = network(name, shape);
        let isa = Isa::best().expect("a known instruction set");
        let frozen = engine_with(1, isa).freeze(&network, Domain::CLEAN, precision).unwrap();
        let (mut session, mut whole): (CpuSession<'_>, _) = (frozen.session(), frozen.session());
        let mut numbers = Numbers::new(3);
        let image: Vec<f32> = (0..shape.len()).map(|_| numbers.next().abs()).collect();
        session.remember(ask(shape, &image)).unwrap();
        let other = changed(&image, shape, 3, &mut numbers);
        let found = session.logits_near(&[0], ask(shape, &other)).unwrap();
        session.accept(&[0]);
        let expected = whole.logits(ask(shape, &other)).unwrap();
        assert_eq!(bits(&found), bits(&expected), "{name}");
    }
}

#[test]
fn a_question_without_a_position_for_each_image_is_refused() {
    let shape = Shape::new(1, 28, 28);
    let network = network("resnet8-cifar", shape);
    let isa = Isa::best().expect("a known instruction set");
    let frozen = engine_with(1, isa).freeze(&network, Domain::CLEAN, Precision::F32).unwrap();
    let mut session = frozen.session();
    let images = vec![0.5; 2 * shape.len()];
    session.remember(ask(shape, &images)).unwrap();
    let refused = session.logits_near(&[0], ask(shape, &images)).unwrap_err().to_string();
    assert!(refused.contains("a position for each of 2 images"), "{refused}");
}
