//! One table of attacks, held to what every attack must do: groups G1 to G15 and G29.

mod linear;

use adamant::attack::{
    Attack, AttackDefaults, AttackError, AttackStream, NoAttack, Noise, Passes, Perturbed, Pgd,
    PgdSettings, Victim, VictimError, parse,
};
use adamant::image::{Batch, Images, Logits, Shape};
use adamant::stream::Stream;
use adamant::threat::{
    CoinScope, Goal, Norm, Range, Start, StepSize, TargetRule, ThreatModel, distance,
};
use adamant::victim::{FrozenVictim, perturb_in_tiles};
use engine::Frozen;
use linear::{Linear, attacked, stream, threat};

const NORMS: [Norm; 2] = [Norm::Linf, Norm::L2];
const NAMES: [&str; 12] = [
    "margin-pgd-5",
    "clean",
    "fgsm",
    "bim-5",
    "pgd-7",
    "pgd-5-3",
    "mifgsm-5",
    "noise",
    "targeted-fgsm",
    "targeted-pgd-5-3",
    "targeted-mifgsm-5",
    "targeted-noise-4",
];

/// Every attack by name, and PGD as the paper trains with it, its coin tossed per image.
fn table(threat: &ThreatModel) -> Vec<Box<dyn Attack>> {
    let defaults = AttackDefaults::new(threat.clone());
    let mut attacks: Vec<Box<dyn Attack>> =
        NAMES.iter().map(|name| parse(name, &defaults).expect(name)).collect();
    let scope = CoinScope::PerImage;
    let start = Start::CleanWithProbability { probability: 0.2, scope };
    attacks.push(Box::new(pgd(threat, 4, start, 1)));
    attacks
}

fn settings(threat: &ThreatModel, steps: usize, start: Start, restarts: u32) -> PgdSettings {
    PgdSettings {
        threat: threat.clone(),
        goal: Goal::Untargeted,
        steps,
        step_size: StepSize::TimesEpsilonOverSteps(2.5),
        start,
        start_range: Range::Pixels,
        restarts,
    }
}

fn pgd(threat: &ThreatModel, steps: usize, start: Start, restarts: u32) -> Pgd {
    Pgd::new(settings(threat, steps, start, restarts)).expect("sound settings")
}

fn small() -> Linear {
    Linear::random(Shape::new(3, 4, 4), 5, 7)
}

fn bits(images: &Images) -> Vec<u32> {
    images.pixels.iter().map(|pixel| pixel.to_bits()).collect()
}

fn right(linear: &Linear, images: &Images, labels: &[u32]) -> usize {
    linear.predictions(images).iter().zip(labels).filter(|(p, l)| p == l).count()
}

mod g1_sign {
    use super::*;

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
                    assert_ne!(before[6], after[6], "{name}: the others move");
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
}

mod g4_nulls {
    use super::*;

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
}

mod g5_rejection {
    use super::*;

    fn refused(settings: PgdSettings) -> String {
        Pgd::new(settings).expect_err("refused").to_string()
    }

    #[test]
    fn settings_that_make_no_attack_are_refused_with_what_was_found() {
        let threat = threat(Norm::Linf, "8/255");
        let sound = |start, restarts| settings(&threat, 10, start, restarts);
        assert_eq!(
            refused(sound(Start::Clean, 3)),
            "attack pgd-10-3: restarts is 3, expected 1 without a random start, since all \
             restarts would be equal"
        );
        let refusal = "attack pgd-10-0: restarts is 0, expected at least 1";
        assert_eq!(refused(sound(Start::Uniform, 0)), refusal);
        for probability in [-0.1, 1.5, f64::NAN] {
            let start = Start::CleanWithProbability { probability, scope: CoinScope::PerBatch };
            let expected = format!(
                "attack pgd-10: start probability is {probability}, expected one in [0, 1]"
            );
            assert_eq!(refused(sound(start, 1)), expected);
        }
        for factor in [-1.0, f64::NAN] {
            let step_size = StepSize::TimesEpsilonOverSteps(factor);
            let expected = format!(
                "attack pgd-10: step factor is {factor}, expected a number that is not negative"
            );
            assert_eq!(refused(PgdSettings { step_size, ..sound(Start::Uniform, 1) }), expected);
        }
        let step_size = StepSize::Fixed("2".parse().expect("a length"));
        assert_eq!(
            refused(PgdSettings { step_size, ..sound(Start::Uniform, 1) }),
            "step size is 2, above 1\n  hint: pixels are in [0, 1]; write \"2/255\""
        );
        let noise = Noise::new(threat.clone(), Goal::Untargeted, 0).expect_err("no draw");
        assert_eq!(noise.to_string(), "attack noise: draws is 0, expected at least 1");
    }

    #[test]
    fn batches_that_do_not_fit_are_refused_by_every_attack() {
        let linear = small();
        let good = linear.batch(4, 1);
        let with = |change: &dyn Fn(&mut Batch)| {
            let mut batch = good.clone();
            change(&mut batch);
            batch
        };
        let hint = "hint: scaling belongs inside the network, divide bytes by 255";
        let shape = "a batch of 4 images of shape [3, 4, 4] has";
        for (batch, message) in [
            (
                with(&|b| b.labels[1] = 5),
                "image 13: the label is 5, expected one below 5".to_owned(),
            ),
            (
                with(&|b| b.images.one_mut(2)[0] = 1.5),
                format!("image 23: a pixel is 1.5, expected [0, 1]\n  {hint}"),
            ),
            (
                with(&|b| b.images.one_mut(0)[47] = f32::NAN),
                format!("image 3: a pixel is NaN, expected [0, 1]\n  {hint}"),
            ),
            (with(&|b| b.labels.truncate(3)), format!("{shape} 3 labels, expected 4")),
            (with(&|b| b.indices.truncate(2)), format!("{shape} 2 indices, expected 4")),
            (with(&|b| b.images.pixels.truncate(9)), format!("{shape} 9 pixels, expected 192")),
        ] {
            for attack in table(&threat(Norm::Linf, "0.1")) {
                let mut session = linear.session();
                let mut victim = FrozenVictim::new(&mut session, linear.classes);
                let error = attack.perturb(&mut victim, &batch, &stream(1)).expect_err("refused");
                assert_eq!(error.to_string(), message, "{}", attack.name());
            }
        }
    }

    #[test]
    fn a_targeted_attack_needs_a_class_to_aim_at() {
        let linear = Linear::random(Shape::new(1, 2, 2), 1, 1);
        let batch = linear.batch(1, 1);
        let attack = parse("targeted-fgsm", &AttackDefaults::new(threat(Norm::Linf, "0.1")));
        let mut session = linear.session();
        let mut victim = FrozenVictim::new(&mut session, 1);
        let found = attack.expect("a name").perturb(&mut victim, &batch, &stream(1));
        assert!(matches!(found, Err(AttackError::TooFewClasses { classes: 1 })));
    }
}

mod g7_batch_independence {
    use super::*;

    #[test]
    fn an_image_gets_the_same_bits_alone_in_any_order_tile_and_thread_count() {
        let mut linear = small();
        let batch = linear.batch(13, 4);
        for norm in NORMS {
            for attack in table(&threat(norm, "0.2")) {
                linear.tile = 3;
                let (whole, passes) = attacked(&linear, attack.as_ref(), &batch, &stream(5));
                let backwards: Vec<usize> = (0..13).rev().collect();
                let (reversed, _) =
                    attacked(&linear, attack.as_ref(), &batch.select(&backwards), &stream(5));
                for image in 0..13 {
                    let (alone, _) =
                        attacked(&linear, attack.as_ref(), &batch.select(&[image]), &stream(5));
                    assert_eq!(alone.images.one(0), whole.images.one(image), "{}", attack.name());
                    assert_eq!(alone.restarts[0], whole.restarts[image]);
                    let target = |some: &Perturbed, i: usize| some.targets.as_ref().map(|t| t[i]);
                    assert_eq!(target(&alone, 0), target(&whole, image));
                    assert_eq!(reversed.images.one(12 - image), whole.images.one(image));
                }
                for (threads, tile) in [(1, 1), (1, 64), (2, 3), (3, 2), (5, 64)] {
                    linear.tile = tile;
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                    let tiled = pool
                        .expect("threads")
                        .install(|| perturb_in_tiles(&linear, attack.as_ref(), &batch, &stream(5)));
                    let (tiled, tiled_passes) = tiled.expect("a sound attack");
                    assert_eq!(bits(&tiled.images), bits(&whole.images), "{}", attack.name());
                    assert_eq!(
                        (&tiled.targets, &tiled.restarts),
                        (&whole.targets, &whole.restarts)
                    );
                    assert_eq!(tiled_passes, passes);
                }
            }
        }
    }

    #[test]
    fn the_coin_of_a_batch_is_the_same_in_all_its_tiles() {
        let mut linear = small();
        let batch = linear.batch(12, 4);
        let start = Start::CleanWithProbability { probability: 0.5, scope: CoinScope::PerBatch };
        let attack = pgd(&threat(Norm::Linf, "0.1"), 0, start, 1);
        linear.tile = 1;
        let clean = |time| {
            let stream = AttackStream { time, ..stream(8) };
            let (found, _) =
                perturb_in_tiles(&linear, &attack, &batch, &stream).expect("a sound attack");
            (0..12).filter(|&i| found.images.one(i) == batch.images.one(i)).count()
        };
        let counts: Vec<usize> = (0..20).map(clean).collect();
        assert!(counts.iter().all(|&count| count == 0 || count == 12), "{counts:?}");
        assert!(counts.contains(&0) && counts.contains(&12), "{counts:?}");
    }

    #[test]
    fn of_several_errors_the_earliest_image_is_named() {
        let mut linear = small();
        let mut batch = linear.batch(12, 4);
        batch.labels[5] = 77;
        batch.labels[9] = 78;
        linear.tile = 1;
        let error = perturb_in_tiles(&linear, &NoAttack, &batch, &stream(1)).expect_err("labels");
        assert_eq!(error.to_string(), "image 53: the label is 77, expected one below 5");
    }
}

mod g8_seeds_and_restarts {
    use super::*;

    #[test]
    fn the_seed_decides_and_restart_image_step_and_seed_all_matter() {
        let linear = small();
        let mut batch = linear.batch(4, 4);
        let one = batch.images.one(0).to_vec();
        (1..4).for_each(|i| batch.images.one_mut(i).copy_from_slice(&one));
        batch.labels = vec![batch.labels[0]; 4];
        let attack = pgd(&threat(Norm::Linf, "0.1"), 0, Start::Uniform, 1);
        let with = |stream: AttackStream| attacked(&linear, &attack, &batch, &stream).0.images;
        let base = with(stream(1));
        assert_eq!(bits(&base), bits(&with(stream(1))));
        assert_ne!(base.one(0), base.one(1), "equal images of other indices");
        for other in [
            stream(2),
            AttackStream { time: 1, ..stream(1) },
            AttackStream { first_restart: 1, ..stream(1) },
        ] {
            assert_ne!(base.one(0), with(other).one(0));
        }
        // A start is an image's own: the rank that happens to hold it does not matter.
        assert_eq!(bits(&base), bits(&with(AttackStream { rank: 3, ..stream(1) })));
    }

    /// Right about everything but the images it is told to get wrong.
    struct FallsFor {
        wrong: Vec<Vec<f32>>,
    }

    impl Victim for FallsFor {
        fn classes(&self) -> usize {
            2
        }
        fn logits(&mut self, images: &Images) -> Result<Logits, VictimError> {
            let mut logits = Logits::zeros(images.count, 2);
            for image in 0..images.count {
                let is_wrong = self.wrong.iter().any(|pixels| pixels == images.one(image));
                logits.row_mut(image)[usize::from(is_wrong)] = 1.0;
            }
            Ok(logits)
        }
        fn input_gradient(
            &mut self,
            _: &Images,
            _: &mut dyn FnMut(&Logits, usize, &mut Logits),
        ) -> Result<(Logits, Images), VictimError> {
            unreachable!("an attack of no steps asks for no gradient")
        }
        fn passes(&self) -> Passes {
            Passes::default()
        }
    }

    #[test]
    fn five_images_that_fall_to_one_restart_and_five_to_another_all_fall() {
        let mut batch = small().batch(10, 4);
        batch.labels = vec![0; 10];
        let threat = threat(Norm::Linf, "0.1");
        let once = pgd(&threat, 0, Start::Uniform, 1);
        let starts = |first_restart| {
            let stream = AttackStream { first_restart, ..stream(1) };
            let mut any = FallsFor { wrong: Vec::new() };
            once.perturb(&mut any, &batch, &stream).expect("a sound attack").images
        };
        let (first, second) = (starts(0), starts(1));
        let wrong = (0..10)
            .map(|i| if i < 5 { first.one(i).to_vec() } else { second.one(i).to_vec() })
            .collect();
        let mut victim = FallsFor { wrong };
        let twice = pgd(&threat, 0, Start::Uniform, 2);
        let found = twice.perturb(&mut victim, &batch, &stream(1)).expect("a sound attack");
        let logits = victim.logits(&found.images).expect("it always answers");
        assert!((0..10).all(|i| logits.row(i)[1] == 1.0), "0 % robust");
        assert_eq!(found.restarts, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn more_restarts_keep_what_fewer_broke() {
        let linear = small();
        let batch = linear.batch(60, 4);
        // Short steps, so that it matters where a search starts.
        for (name, epsilon) in [("noise", "0.15"), ("pgd-1", "0.04")] {
            let mut defaults = AttackDefaults::new(threat(Norm::Linf, epsilon));
            defaults.step_size = Some(StepSize::Fixed("0.01".parse().expect("a length")));
            let mut broken: Vec<usize> = Vec::new();
            let mut counts = Vec::new();
            for restarts in 1..6 {
                let name = format!("{name}-{restarts}");
                let attack = parse(&name, &defaults).expect("a name");
                let (found, _) = attacked(&linear, attack.as_ref(), &batch, &stream(2));
                let wrong = linear.predictions(&found.images);
                let now: Vec<usize> = (0..60).filter(|&i| wrong[i] != batch.labels[i]).collect();
                assert!(broken.iter().all(|image| now.contains(image)), "{name}");
                counts.push(now.len());
                broken = now;
            }
            assert!(counts[4] > counts[0] && counts[4] < 60, "{name}: {counts:?}");
        }
    }
}

mod g11_monotone {
    use super::*;

    fn robust(linear: &Linear, batch: &Batch, name: &str, epsilon: &str, norm: Norm) -> usize {
        let attack = parse(name, &AttackDefaults::new(threat(norm, epsilon))).expect("a name");
        let (found, _) = attacked(linear, attack.as_ref(), batch, &stream(6));
        right(linear, &found.images, &batch.labels)
    }

    #[test]
    fn robust_accuracy_never_rises_with_epsilon_and_ends_at_zero() {
        let linear = small();
        let batch = linear.batch(200, 5);
        for norm in NORMS {
            let sweep = ["0", "0.01", "0.03", "0.06", "0.1", "0.2", "0.4", "1"];
            let counts: Vec<usize> =
                sweep.iter().map(|e| robust(&linear, &batch, "pgd-20", e, norm)).collect();
            assert!(counts.windows(2).all(|pair| pair[1] <= pair[0]), "{norm}: {counts:?}");
            assert_eq!(counts[0], 200);
            if norm == Norm::Linf {
                assert_eq!(counts[7], 0);
            }
        }
    }

    #[test]
    fn noise_never_beats_pgd() {
        let linear = small();
        let batch = linear.batch(200, 5);
        for (norm, epsilon) in [(Norm::Linf, "0.06"), (Norm::L2, "0.3")] {
            let by_noise = robust(&linear, &batch, "noise", epsilon, norm);
            let by_pgd = robust(&linear, &batch, "pgd-20", epsilon, norm);
            assert!(by_pgd + 50 < by_noise, "{norm}: noise leaves {by_noise}, PGD {by_pgd}");
        }
    }

    #[test]
    fn the_loss_of_a_linear_victim_with_two_classes_rises_with_every_step() {
        let linear = Linear::random(Shape::new(3, 4, 4), 2, 9);
        let batch = linear.batch(20, 5);
        let loss = |image: &[f32], label: u32| {
            adamant::attack::loss::cross_entropy(&linear.logits_of(image), label)
        };
        for norm in NORMS {
            let step = StepSize::Fixed("0.02".parse().expect("a length"));
            let mut before = [0.0; 20];
            for steps in 0..12 {
                let threat = threat(norm, "0.1");
                let attack = Pgd::bim(threat, Goal::Untargeted, steps, step.clone());
                let (found, _) = attacked(&linear, &attack.expect("settings"), &batch, &stream(1));
                for (image, previous) in before.iter_mut().enumerate() {
                    let now = loss(found.images.one(image), batch.labels[image]);
                    // Rounding of single-precision pixels once the border of the ball is reached.
                    assert!(now >= *previous - 1e-5, "{norm}, step {steps}: {previous} {now}");
                    *previous = now;
                }
            }
        }
    }
}

mod g13_work {
    use super::*;

    fn passes(linear: &Linear, batch: &Batch, name: &str, target: TargetRule) -> Passes {
        let mut defaults = AttackDefaults::new(threat(Norm::Linf, "0.05"));
        defaults.target = target;
        let attack = parse(name, &defaults).expect("a name");
        attacked(linear, attack.as_ref(), batch, &stream(6)).1
    }

    #[test]
    fn passes_are_those_of_the_plan() {
        let linear = small();
        let batch = linear.batch(10, 5);
        for (name, forward, backward) in [
            ("clean", 0, 0),
            ("fgsm", 10, 10),
            ("bim-7", 70, 70),
            ("pgd-7", 70, 70),
            ("mifgsm-7", 70, 70),
            ("noise-1", 0, 0),
            ("targeted-pgd-7", 70, 70),
        ] {
            let found = passes(&linear, &batch, name, TargetRule::UniformOther);
            assert_eq!(found, Passes { forward, backward }, "{name}");
        }
        let found = passes(&linear, &batch, "targeted-pgd-7", TargetRule::LeastLikely);
        assert_eq!(found, Passes { forward: 80, backward: 70 }, "one look at the clean images");
    }

    #[test]
    fn restarts_search_only_images_that_still_stand() {
        let linear = small();
        let batch = linear.batch(40, 5);
        let standing = |restarts: u32| {
            let name = format!("pgd-3-{restarts}");
            let attack = parse(&name, &AttackDefaults::new(threat(Norm::Linf, "0.015")));
            let (found, passes) =
                attacked(&linear, attack.expect("a name").as_ref(), &batch, &stream(6));
            (right(&linear, &found.images, &batch.labels) as u64, passes)
        };
        let (mut forward, mut backward) = (0, 0);
        let mut stand = 40;
        for restarts in 2..5 {
            let (left, passes) = standing(restarts);
            if restarts == 2 {
                // The first restart meets all images, the second those that the first left.
                let once = pgd(&threat(Norm::Linf, "0.015"), 3, Start::Uniform, 1);
                let (found, _) = attacked(&linear, &once, &batch, &stream(6));
                (forward, backward) = (40 * 4, 40 * 3);
                stand = right(&linear, &found.images, &batch.labels) as u64;
                assert!(stand > 0 && stand < 40, "{stand}");
            }
            (forward, backward) = (forward + stand * 4, backward + stand * 3);
            assert_eq!(passes, Passes { forward, backward });
            stand = left;
        }
    }

    #[test]
    fn noise_asks_for_no_gradient() {
        let linear = small();
        let batch = linear.batch(10, 5);
        let found = passes(&linear, &batch, "noise", TargetRule::Next);
        assert_eq!(found.backward, 0);
        assert!(found.forward > 0);
    }
}

#[test]
fn g14_what_is_proposed_lies_in_the_ball_and_in_the_pixel_range() {
    let linear = small();
    let mut batch = linear.batch(20, 5);
    // Black and white pixels, where ball and range meet.
    for image in 0..20 {
        batch.images.one_mut(image)[0] = 0.0;
        batch.images.one_mut(image)[1] = 1.0;
    }
    for (norm, epsilon) in
        [(Norm::Linf, "8/255"), (Norm::Linf, "1"), (Norm::L2, "0.5"), (Norm::L2, "3")]
    {
        let threat = threat(norm, epsilon);
        let mut attacks = table(&threat);
        let unlimited = PgdSettings {
            start_range: Range::Unlimited,
            ..settings(&threat, 0, Start::Uniform, 1)
        };
        attacks.push(Box::new(Pgd::new(unlimited.clone()).expect("settings")));
        attacks.push(Box::new(Pgd::new(PgdSettings { steps: 1, ..unlimited }).expect("settings")));
        for attack in attacks {
            let (found, _) = attacked(&linear, attack.as_ref(), &batch, &stream(5));
            assert!(found.images.pixels.iter().all(|p| (0.0..=1.0).contains(p)));
            for image in 0..20 {
                let moved = distance(norm, found.images.one(image), batch.images.one(image));
                assert!(moved <= threat.epsilon().exact() + 1e-6, "{}: {moved}", attack.name());
            }
        }
    }
}

mod g15_targets {
    use super::*;
    use adamant::attack::Aims;
    use adamant::attack::loss::AttackLoss;

    fn targets(
        linear: &Linear,
        batch: &Batch,
        rule: TargetRule,
        stream: &AttackStream,
    ) -> Vec<u32> {
        let mut session = linear.session();
        let mut victim = FrozenVictim::new(&mut session, linear.classes);
        let aims = Aims::resolve(
            Goal::Targeted(rule),
            AttackLoss::CrossEntropy,
            &mut victim,
            batch,
            stream,
        );
        aims.expect("more than one class").into_targets().expect("a targeted goal has targets")
    }

    #[test]
    fn a_uniform_target_is_never_the_label_and_uniform_over_the_others() {
        // n = 100,000, seed 11: chi-square of 9 other classes, 8 degrees of freedom; 26.1 has p = 1e-3.
        let n = 100_000;
        let linear = Linear::random(Shape::new(1, 1, 1), 10, 1);
        let mut batch = linear.batch(n, 1);
        batch.labels = (0..n as u32).map(|i| i % 10).collect();
        let found = targets(&linear, &batch, TargetRule::UniformOther, &stream(11));
        let mut counts = [0_u32; 10];
        for (&target, &label) in found.iter().zip(&batch.labels) {
            counts[((target + 10 - label) % 10) as usize] += 1;
        }
        assert_eq!(counts[0], 0);
        let expected = n as f64 / 9.0;
        let each = counts[1..].iter().map(|&c| (f64::from(c) - expected).powi(2) / expected);
        let chi_square: f64 = each.sum();
        assert!(chi_square < 26.1, "{chi_square}");
        // Redrawn for every attack of a run, the same in every restart.
        let later = AttackStream { time: 1, ..stream(11) };
        assert_ne!(targets(&linear, &batch, TargetRule::UniformOther, &later), found);
        let again = AttackStream { first_restart: 5, ..stream(11) };
        assert_eq!(targets(&linear, &batch, TargetRule::UniformOther, &again), found);
    }

    #[test]
    fn next_and_least_likely_are_what_they_say() {
        let linear = small();
        let batch = linear.batch(30, 1);
        let next = targets(&linear, &batch, TargetRule::Next, &stream(1));
        assert!(next.iter().zip(&batch.labels).all(|(&t, &l)| t == (l + 1) % 5));
        let least = targets(&linear, &batch, TargetRule::LeastLikely, &stream(1));
        for (image, &target) in least.iter().enumerate() {
            let logits = linear.logits_of(batch.images.one(image));
            assert!(logits.iter().all(|&logit| logit >= logits[target as usize]));
        }
    }

    #[test]
    fn success_is_a_wrong_class_untargeted_and_the_target_targeted() {
        let linear = small();
        let batch = linear.batch(30, 1);
        let mut defaults = AttackDefaults::new(threat(Norm::Linf, "0.3"));
        defaults.target = TargetRule::Next;
        let run = |name: &str| {
            let attack = parse(name, &defaults).expect("a name");
            attacked(&linear, attack.as_ref(), &batch, &stream(1)).0
        };
        let untargeted = run("pgd-20");
        assert_eq!(untargeted.targets, None);
        assert_eq!(right(&linear, &untargeted.images, &batch.labels), 0);
        let targeted = run("targeted-pgd-20");
        let wanted = targeted.targets.expect("targets");
        assert_eq!(right(&linear, &targeted.images, &wanted), 30);
    }
}

mod g29_starts {
    use super::*;

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
}
