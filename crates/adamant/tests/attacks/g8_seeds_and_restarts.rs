//! The same seed gives the same bytes; restarts are compared per image.

use super::table::*;

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
fn an_image_that_nothing_breaks_keeps_the_restart_with_the_largest_loss() {
    let linear = small();
    let batch = linear.batch(30, 4);
    // So small a ball that noise breaks hardly anything.
    let threat = threat(Norm::Linf, "0.002");
    let loss = |images: &Images, image: usize| {
        let logits = linear.logits_of(images.one(image));
        adamant::attack::loss::cross_entropy(&logits, batch.labels[image])
    };
    let once = Noise::new(threat.clone(), Goal::Untargeted, 1).expect("settings");
    let each: Vec<Images> = (0..4)
        .map(|first_restart| {
            let stream = AttackStream { first_restart, ..stream(1) };
            attacked(&linear, &once, &batch, &stream).0.images
        })
        .collect();
    let worst = Noise::new(threat, Goal::Untargeted, 4).expect("settings");
    let (found, _) = attacked(&linear, &worst, &batch, &stream(1));
    assert!(right(&linear, &found.images, &batch.labels) > 20);
    for image in 0..30 {
        let largest = each.iter().map(|images| loss(images, image)).fold(0.0, f64::max);
        if linear.predictions(&found.images)[image] == batch.labels[image] {
            assert_eq!(loss(&found.images, image), largest);
        }
        let chosen = &each[found.restarts[image] as usize];
        assert_eq!(found.images.one(image), chosen.one(image));
    }
    let last = found.restarts.iter().filter(|&&restart| restart == 3).count();
    assert!(last < 20, "the last restart is not always the worst: {last} of 30");
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
