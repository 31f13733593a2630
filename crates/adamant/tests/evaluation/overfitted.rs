//! Catastrophic overfitting, for real: a network trained with single steps that learns to fool them, and only them.
//!
//! Images are a pattern of their class, weaker than epsilon, in noise. A full step turns the pattern into its opposite, so
//! nothing stands honestly; but pattern and opposite can both be learned as the class, with a grey valley between them that
//! only shorter steps find.

use crate::support::{draws, engine};
use crate::trained::{conduct, evaluator_at, flags, subject, train_on};
use adamant::evaluate::Silent;
use adamant::evaluate::audit::Depth;
use adamant::image::{Batch, Images, Shape};

const SHAPE: Shape = Shape::new(1, 8, 8);
const AMPLITUDE: f32 = 0.15;
const NOISE: f32 = 0.03;

fn patterns(count: usize, seed: u64) -> Batch {
    let mut images = Images::zeros(count, SHAPE);
    let labels: Vec<u32> = (0..count as u32).map(|image| image % 10).collect();
    for (image, &label) in labels.iter().enumerate() {
        let (mut pattern, mut noise) = (draws(100, label), draws(seed, image as u32));
        images.one_mut(image).fill_with(|| {
            let side = if pattern.uniform() < 0.5 { -AMPLITUDE } else { AMPLITUDE };
            (0.5 + side + NOISE * noise.normal()).clamp(0.0, 1.0)
        });
    }
    Batch { images, labels, indices: (0..count as u64).collect() }
}

#[test]
fn g34_a_network_that_learned_to_fool_single_steps_falls_to_many_and_is_flagged() {
    let settings = [
        "objective.kind='mixture'",
        "network.norm='batch'",
        "attack.epsilon='0.15'",
        "attack.steps=1",
        "attack.step_size='0.15'",
        "attack.start='clean'",
        "optimizer.learning_rate=0.3",
    ];
    let network = train_on(&patterns(500, 1), &settings, 40);
    let evaluator = evaluator_at("0.15", &["fgsm", "pgd-20"]);
    let (images, conduct) = (patterns(100, 2), conduct(Depth::Thorough));
    let evaluation = evaluator
        .conduct(&engine(), &network, subject(), &images, &mut Silent, conduct)
        .expect("an evaluation");
    let [single, many] = [0, 1].map(|attack| evaluation.attacks[attack].robust_accuracy);
    assert!(evaluation.clean_accuracy > 0.9, "clean {}", evaluation.clean_accuracy);
    assert!(single > 0.4, "a single step leaves {single}");
    assert!(many < 0.1, "twenty steps leave {many}");
    assert_eq!(flags(&evaluation), ["single-step-is-fooled"]);
}
