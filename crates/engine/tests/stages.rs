//! A network that a frozen session takes through in stages of differently many images.

mod support;

use engine::{Engine, Frozen, Logits, Precision, Session};
use kernels::Isa;
use network::architecture::{Architecture, NormChoice};
use network::{Activation, Domain, Network, Shape};
use support::*;

/// Large maps first, then many weights: 64 channels of 32x32, 256 of 8x8.
fn wide(norm: NormChoice, activation: Activation) -> Network {
    let mut architecture = Architecture::named("wrn-10-4").expect("a known name");
    (architecture.norm, architecture.activation) = (norm, activation);
    architecture.input = Shape::new(3, 32, 32);
    architecture.classes = 3;
    randomized(architecture.graph().expect("a graph"), 1)
}

fn loss(logits: &Logits, _: usize, gradient: &mut Logits) {
    gradient.values.copy_from_slice(&logits.values);
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn g7_an_image_alone_has_the_bits_it_has_in_stages_of_differently_many_images() {
    for (norm, activation) in [
        (NormChoice::MIXTURE, Activation::Relu),
        (NormChoice::Group { groups: 8 }, Activation::Silu),
    ] {
        let network = wide(norm, activation);
        let isa = Isa::best().expect("a known instruction set");
        let frozen = engine_with(1, isa).freeze(&network, Domain::CLEAN, Precision::F32).unwrap();
        let count = 11;
        let pixels = images(&network, count, 1);
        let mut session = frozen.session();
        let (logits, gradient) =
            session.input_gradient(view(&network, &pixels), &mut loss).unwrap();
        assert!(gradient.iter().any(|&x| x != 0.0));
        let image = network.graph.input.len();
        for index in [0, 2, 10] {
            let own = index * image..(index + 1) * image;
            let alone = view(&network, &pixels[own.clone()]);
            let (one, by_one) = session.input_gradient(alone, &mut loss).unwrap();
            assert_eq!(bits(&one.values), bits(logits.row(index)), "image {index}");
            assert_eq!(bits(&by_one), bits(&gradient[own]), "image {index}");
        }
    }
}
