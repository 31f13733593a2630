//! Attacks around attacks: averaged gradients, and images crafted on another network.

use super::table::*;
use adamant::attack::{Expectation, Transfer};
use adamant::victim::FrozenSurrogate;
use std::sync::Arc;

/// A linear classifier whose gradients are drowned in noise that differs from call to call.
struct Noisy<'a> {
    inner: FrozenVictim<'a, super::linear::LinearSession<'a>>,
    calls: u64,
}

impl Victim for Noisy<'_> {
    fn classes(&self) -> usize {
        self.inner.classes()
    }
    fn logits(&mut self, images: &Images) -> Result<Logits, VictimError> {
        self.inner.logits(images)
    }
    fn input_gradient(
        &mut self,
        images: &Images,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
    ) -> Result<(Logits, Images), VictimError> {
        let (logits, mut gradient) = self.inner.input_gradient(images, loss)?;
        self.calls += 1;
        let mut draws = super::linear::draws(self.calls);
        gradient.pixels.iter_mut().for_each(|g| *g += 8.0 * draws.normal());
        Ok((logits, gradient))
    }
    fn passes(&self) -> Passes {
        self.inner.passes()
    }
}

#[test]
fn averaged_gradients_find_what_noise_hides() {
    let linear = small();
    let batch = linear.batch(60, 5);
    let defaults = AttackDefaults::new(threat(Norm::Linf, "0.008"));
    let left = |name: &str| {
        let mut session = linear.session();
        let inner = FrozenVictim::new(&mut session, linear.classes);
        let mut victim = Noisy { inner, calls: 0 };
        let attack = parse(name, &defaults).expect(name);
        let found = attack.perturb(&mut victim, &batch, &stream(1)).expect("a sound attack");
        (right(&linear, &found.images, &batch.labels), victim.passes())
    };
    let (once, passes) = left("bim-5");
    assert_eq!(passes, Passes { forward: 300, backward: 300 });
    let (averaged, passes) = left("eot-20-bim-5");
    assert_eq!(passes, Passes { forward: 6000, backward: 6000 });
    // n = 60 images, fixed seed; without noise bim-5 leaves fewer still.
    assert!(averaged + 5 < once, "{once} stand without averaging, {averaged} with");
}

#[test]
fn the_mean_of_one_answer_is_that_answer() {
    let linear = small();
    let batch = linear.batch(7, 5);
    let threat = threat(Norm::L2, "0.2");
    let plain = pgd(&threat, 5, Start::Uniform, 2);
    let (expected, _) = attacked(&linear, &plain, &batch, &stream(1));
    let wrapped = Expectation::new(Box::new(plain), 1).expect("one draw");
    assert_eq!(wrapped.name(), "eot-1-pgd-5-2");
    let (found, _) = attacked(&linear, &wrapped, &batch, &stream(1));
    assert_eq!(bits(&found.images), bits(&expected.images));
    assert_eq!(wrapped.restarts().expect("two restarts").count, 2);
}

#[test]
fn a_transfer_attack_asks_its_victim_nothing() {
    let (linear, other) = (small(), Linear::random(Shape::new(3, 4, 4), 5, 8));
    let batch = linear.batch(9, 5);
    let threat = threat(Norm::Linf, "0.05");
    let attack = || Box::new(pgd(&threat, 5, Start::Uniform, 1));
    let (expected, _) = attacked(&other, attack().as_ref(), &batch, &stream(1));
    let surrogate = Arc::new(FrozenSurrogate(other));
    let transfer = Transfer::new(attack(), surrogate);
    assert_eq!(transfer.name(), "transfer-pgd-5");
    let (found, passes) = attacked(&linear, &transfer, &batch, &stream(1));
    assert_eq!(bits(&found.images), bits(&expected.images));
    assert_eq!(passes, Passes::default());
}

#[test]
fn g5_a_surrogate_with_other_classes_is_refused() {
    let linear = small();
    let surrogate = Arc::new(FrozenSurrogate(Linear::random(Shape::new(3, 4, 4), 4, 8)));
    let attack = Box::new(pgd(&threat(Norm::Linf, "0.05"), 5, Start::Uniform, 1));
    let mut session = linear.session();
    let mut victim = FrozenVictim::new(&mut session, linear.classes);
    let found =
        Transfer::new(attack, surrogate).perturb(&mut victim, &linear.batch(2, 5), &stream(1));
    let message = found.expect_err("other classes").to_string();
    assert_eq!(message, "the surrogate has 4 classes, expected 5 as the network under attack");
}
