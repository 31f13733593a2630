//! Where a search starts is drawn as the recipe says.

use super::table::*;

fn clean_share(scope: CoinScope, streams: &[AttackStream], images: usize) -> Vec<usize> {
    let linear = Linear::random(Shape::new(1, 1, 2), 2, 1);
    let batch = linear.batch(images, 1);
    let start = Start::CleanWithProbability { probability: 0.2, scope };
    let attack = pgd(&threat(Norm::Linf, "0.1"), 0, start, 1);
    let clean = |stream: &AttackStream| {
        let (found, _) = attacked(&linear, &attack, &batch, stream);
        (0..images).filter(|&i| found.images.one(i) == batch.images.one(i)).count()
    };
    streams.iter().map(clean).collect()
}

// Four standard errors of a share of .2 at n = 10,000: 4 * sqrt(.2 * .8 / n) = .016.
fn assert_a_fifth(count: usize) {
    assert!((count as f64 / 1e4 - 0.2).abs() < 0.016, "{count} of 10,000");
}

#[test]
fn a_coin_per_image_is_clean_a_fifth_of_the_time() {
    assert_a_fifth(clean_share(CoinScope::PerImage, &[stream(21)], 10_000)[0]);
}

#[test]
fn a_coin_per_batch_has_one_outcome_per_rank_and_step() {
    let streams: Vec<AttackStream> = (0..5_000)
        .flat_map(|time| [0, 1].map(|rank| AttackStream { time, rank, ..stream(22) }))
        .collect();
    let counts = clean_share(CoinScope::PerBatch, &streams, 3);
    assert!(counts.iter().all(|&count| count == 0 || count == 3));
    let clean = |count: usize| count == 3;
    assert_a_fifth(counts.iter().filter(|&&count| clean(count)).count());
    let differ = counts.chunks(2).filter(|pair| clean(pair[0]) != clean(pair[1])).count();
    // Independent ranks differ with probability 2 * .2 * .8 = .32.
    assert!((differ as f64 / 5e3 - 0.32).abs() < 4.0 * (0.32_f64 * 0.68 / 5e3).sqrt());
}

#[test]
fn a_start_depends_only_on_its_keys() {
    let linear = small();
    let batch = linear.batch(3, 1);
    let attack = pgd(&threat(Norm::L2, "0.5"), 0, Start::Uniform, 1);
    let run = |stream: AttackStream| attacked(&linear, &attack, &batch, &stream).0.images;
    let stream = AttackStream { stream: Stream::new(9), time: 4, rank: 0, first_restart: 2 };
    assert_eq!(bits(&run(stream)), bits(&run(stream)));
    let alone = attacked(&linear, &attack, &batch.select(&[2]), &stream).0.images;
    assert_eq!(alone.one(0), run(stream).one(2));
}

/// A linear victim that remembers what it was shown.
struct Remembers<'a> {
    linear: &'a Linear,
    shown: Vec<Images>,
}

impl Victim for Remembers<'_> {
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
        self.shown.push(images.clone());
        let mut session = self.linear.session();
        FrozenVictim::new(&mut session, self.linear.classes).input_gradient(images, loss)
    }
    fn passes(&self) -> Passes {
        Passes::default()
    }
}

#[test]
fn only_the_papers_start_shows_the_network_pixels_outside_the_range() {
    let linear = small();
    let mut batch = linear.batch(4, 1);
    batch.images.pixels.iter_mut().step_by(2).for_each(|pixel| *pixel = 1.0);
    let threat = threat(Norm::Linf, "16/255");
    for (start_range, leaves) in [(Range::Unlimited, true), (Range::Pixels, false)] {
        let settings = PgdSettings { start_range, ..settings(&threat, 3, Start::Uniform, 1) };
        let attack = Pgd::new(settings).expect("sound settings");
        let mut victim = Remembers { linear: &linear, shown: Vec::new() };
        attack.perturb(&mut victim, &batch, &stream(1)).expect("a sound attack");
        let outside: Vec<bool> = victim
            .shown
            .iter()
            .map(|images| images.pixels.iter().any(|pixel| !(0.0..=1.0).contains(pixel)))
            .collect();
        // T22: the first gradient of the paper's code is taken at the noise as drawn, all later ones within the range.
        assert_eq!(outside, [leaves, false, false]);
    }
}

#[test]
fn the_papers_attack_is_its_five_lines() {
    let linear = small();
    let batch = linear.batch(6, 1);
    let threat = threat(Norm::Linf, "16/255");
    let scope = CoinScope::PerBatch;
    let attack = Pgd::new(PgdSettings {
        goal: Goal::Targeted(TargetRule::UniformOther),
        step_size: StepSize::AtLeastEpsilonOverSteps("1/255".parse().expect("a length")),
        start_range: Range::Unlimited,
        ..settings(&threat, 30, Start::CleanWithProbability { probability: 0.2, scope }, 1)
    })
    .expect("sound settings");
    assert_eq!(attack.step(), 1.0 / 255.0);
    let mut victim = Remembers { linear: &linear, shown: Vec::new() };
    let found = attack.perturb(&mut victim, &batch, &stream(1)).expect("a sound attack");
    let targets = found.targets.expect("a targeted goal has targets");
    let (epsilon, step) = ((16.0 / 255.0) as f32, (1.0 / 255.0) as f32);

    // Begun at the attack's own start, redone by hand: g = dCE(f(x), t)/dx, x <- clip(x - step sign(g)).
    let mut images = victim.shown[0].clone();
    assert_eq!(victim.shown.len(), 30);
    for next in victim.shown[1..].iter().chain([&found.images]) {
        for (image, &target) in targets.iter().enumerate() {
            let origin = batch.images.one(image);
            let logits = linear.logits_of(images.one(image));
            let total: f64 = logits.iter().map(|&z| f64::from(z).exp()).sum();
            let pixels = images.one_mut(image);
            for (pixel, x) in pixels.iter_mut().enumerate() {
                let gradient: f64 = (0..5)
                    .map(|class| {
                        let share = f64::from(logits[class]).exp() / total;
                        let wanted = f64::from(u8::from(class as u32 == target));
                        (share - wanted) * f64::from(linear.row(class)[pixel])
                    })
                    .sum();
                let moved = *x - step * gradient.signum() as f32;
                let (low, high) = (origin[pixel] - epsilon, origin[pixel] + epsilon);
                *x = moved.clamp(low.max(0.0), high.min(1.0));
            }
        }
        assert_eq!(&images, next);
    }
}
