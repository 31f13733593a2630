//! A pixel without gradient stays, a gradient that is no number is an error.

use super::table::*;

#[test]
fn a_pixel_without_gradient_does_not_move() {
    let mut linear = small();
    let length = linear.shape.len();
    (0..linear.classes).for_each(|class| linear.weight[class * length + 5] = 0.0);
    let batch = linear.batch(6, 1);
    for norm in NORMS {
        for name in ["fgsm", "bim-5", "mifgsm-5"] {
            let attack = parse(name, &AttackDefaults::new(threat(norm, "0.1"))).expect(name);
            let (found, _) = attacked(&linear, attack.as_ref(), &batch, &stream(1));
            for image in 0..6 {
                let (before, after) = (batch.images.one(image), found.images.one(image));
                assert_eq!(before[5].to_bits(), after[5].to_bits(), "{name}");
                assert_ne!(before, after, "{name}: others move");
                // In L1 a step moves one pixel alone.
                assert!(norm == Norm::L1 || before[6] != after[6], "{name}: all others move");
            }
        }
    }
}

/// A victim whose gradient for one image is spoilt.
struct Spoilt<'a> {
    linear: &'a Linear,
    value: f32,
}

impl Victim for Spoilt<'_> {
    fn classes(&self) -> usize {
        self.linear.classes
    }
    fn logits(&mut self, images: &Images) -> Result<Logits, VictimError> {
        FrozenVictim::new(&mut self.linear.session(), self.linear.classes).logits(images)
    }
    fn input_gradient(
        &mut self,
        images: &Images,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
    ) -> Result<(Logits, Images), VictimError> {
        let mut session = self.linear.session();
        let mut inner = FrozenVictim::new(&mut session, self.linear.classes);
        let (logits, mut gradient) = inner.input_gradient(images, loss)?;
        gradient.one_mut(2)[7] = self.value;
        Ok((logits, gradient))
    }
    fn passes(&self) -> Passes {
        Passes::default()
    }
}

#[test]
fn a_gradient_that_is_no_number_is_an_error_naming_the_image() {
    let linear = small();
    let batch = linear.batch(4, 1);
    let before = batch.clone();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let attack = parse("pgd-5", &AttackDefaults::new(threat(Norm::Linf, "0.1")));
        let mut victim = Spoilt { linear: &linear, value };
        let attack = attack.expect("a name");
        let error = attack.perturb(&mut victim, &batch, &stream(1)).expect_err("spoilt");
        let message = "attack pgd-5, step 0: the gradient of image 23 is not finite";
        assert_eq!(error.to_string(), message);
        // G6: nothing else has changed, also after an error.
        assert_eq!(before, batch);
    }
}
