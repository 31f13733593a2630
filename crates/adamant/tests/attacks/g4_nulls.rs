//! Epsilon, step and steps of zero do nothing at all.

use super::table::*;

#[test]
fn epsilon_zero_gives_the_images_bit_for_bit() {
    let linear = small();
    let batch = linear.batch(9, 2);
    for norm in NORMS {
        for attack in table(&threat(norm, "0")) {
            let (found, _) = attacked(&linear, attack.as_ref(), &batch, &stream(3));
            assert_eq!(bits(&found.images), bits(&batch.images), "{}", attack.name());
            assert_eq!(right(&linear, &found.images, &batch.labels), 9);
        }
    }
}

#[test]
fn no_step_or_a_step_of_zero_from_the_image_leaves_it_and_from_noise_gives_the_noise() {
    let linear = small();
    let batch = linear.batch(9, 2);
    for norm in NORMS {
        let threat = threat(norm, "0.1");
        let still = StepSize::Fixed("0".parse().expect("a length"));
        for attack in [
            pgd(&threat, 0, Start::Clean, 1),
            Pgd::bim(threat.clone(), Goal::Untargeted, 5, still).expect("settings"),
        ] {
            let (found, _) = attacked(&linear, &attack, &batch, &stream(3));
            assert_eq!(bits(&found.images), bits(&batch.images));
        }
        let noise = pgd(&threat, 0, Start::Uniform, 1);
        let (found, passes) = attacked(&linear, &noise, &batch, &stream(3));
        assert_ne!(bits(&found.images), bits(&batch.images));
        assert_eq!(passes, Passes::default());
    }
}
