//! What makes no attack is refused with what was found and what was expected.

use super::table::*;

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
        let expected =
            format!("attack pgd-10: start probability is {probability}, expected one in [0, 1]");
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
        (with(&|b| b.labels[1] = 5), "image 13: the label is 5, expected one below 5".to_owned()),
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

#[test]
fn settings_are_plain_data_that_reads_itself_back_and_knows_its_keys() {
    let threat = threat(Norm::L2, "0.5");
    let scope = CoinScope::PerBatch;
    let start = Start::CleanWithProbability { probability: 0.2, scope };
    let step_size = StepSize::AtLeastEpsilonOverSteps("1/255".parse().expect("a length"));
    let goal = Goal::Targeted(TargetRule::UniformOther);
    let written = PgdSettings { goal, step_size, ..settings(&threat, 30, start, 2) };
    let text = toml::to_string(&written).expect("plain data");
    assert_eq!(toml::from_str::<PgdSettings>(&text).expect(&text), written);
    let misspelt = text.replace("restarts", "restart");
    let error = toml::from_str::<PgdSettings>(&misspelt).expect_err("no such key").to_string();
    assert!(error.contains("unknown field `restart`"), "{error}");
}
