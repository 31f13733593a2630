//! Passes are counted, and no image is attacked twice in vain.

use super::table::*;

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
fn apgd_asks_once_more_than_it_steps_for_who_stands_and_stops_at_once_for_who_falls() {
    let linear = small();
    let batch = linear.batch(30, 5);
    let found = |epsilon: &str, name: &str| {
        let attack = parse(name, &AttackDefaults::new(threat(Norm::Linf, epsilon)));
        let (found, passes) =
            attacked(&linear, attack.expect("a name").as_ref(), &batch, &stream(6));
        (right(&linear, &found.images, &batch.labels), passes)
    };
    // Nobody falls: 101 gradients each, with 4 targets (5 classes) four times that and a look at the clean image.
    assert_eq!(found("0.0001", "apgd-ce"), (30, Passes { forward: 3030, backward: 3030 }));
    assert_eq!(found("0.0001", "apgd-t"), (30, Passes { forward: 12_150, backward: 12_120 }));
    // The three stages of an L1 search each look at their start.
    let l1 = parse("apgd-ce", &AttackDefaults::new(threat(Norm::L1, "0.0001"))).expect("a name");
    let passes = attacked(&linear, l1.as_ref(), &batch, &stream(6)).1;
    assert_eq!(passes, Passes { forward: 3090, backward: 3090 });
    // Everybody falls, within a few steps.
    let (left, passes) = found("0.3", "apgd-ce");
    assert!(left == 0 && passes.forward < 150, "{left} {passes:?}");
}

#[test]
fn square_asks_for_logits_only_and_fab_for_fewer_passes_than_the_official_code() {
    let linear = small();
    let batch = linear.batch(30, 5);
    let found = |epsilon: &str, name: &str| {
        let attack = parse(name, &AttackDefaults::new(threat(Norm::Linf, epsilon)));
        let (found, passes) =
            attacked(&linear, attack.expect("a name").as_ref(), &batch, &stream(6));
        (right(&linear, &found.images, &batch.labels), passes)
    };
    // Nobody falls: the first point and each query.
    assert_eq!(found("0.0001", "square-50"), (30, Passes { forward: 1530, backward: 0 }));
    let (left, passes) = found("0.3", "square");
    assert!(left == 0 && passes.backward == 0, "{left} {passes:?}");
    assert!(passes.forward < 30 * 200, "who falls is asked no more: {passes:?}");
    // The official code asks twice forward and once backward per step, after three looks at the clean image per target.
    let (left, passes) = found("0.0001", "fab-t-20");
    assert_eq!(left, 30);
    assert!(passes.forward <= 30 * 4 * (2 * 20 + 3), "{passes:?}");
    assert!(passes.backward <= 30 * 4 * (20 + 2), "{passes:?}");
    let (left, passes) = found("0.3", "fab-t");
    assert!(left == 0 && passes.backward <= 30 * 4, "{left} {passes:?}");
}

#[test]
fn an_ensemble_attacks_only_what_the_last_member_left() {
    let linear = small();
    let batch = linear.batch(30, 5);
    let defaults = AttackDefaults::new(threat(Norm::Linf, "0.006"));
    let run = |attack: &dyn Attack| {
        let (found, passes) = attacked(&linear, attack, &batch, &stream(6));
        (linear.predictions(&found.images), passes)
    };
    let members = || ["pgd-5", "square-20"].map(|name| parse(name, &defaults).expect(name));
    let [first, second] = members();
    let (by_first, passes) = run(first.as_ref());
    let standing: Vec<usize> = (0..30).filter(|&i| by_first[i] == batch.labels[i]).collect();
    assert!(!standing.is_empty() && standing.len() < 30, "{standing:?}");
    let (_, more) = attacked(&linear, second.as_ref(), &batch.select(&standing), &stream(6));
    let (_, together) = run(&Ensemble::new("both", members().into()));
    // Each member's result is looked at once.
    let looks = 30 + standing.len() as u64;
    let forward = passes.forward + more.forward + looks;
    assert_eq!(together, Passes { forward, backward: passes.backward });
}

#[test]
fn noise_asks_for_no_gradient() {
    let linear = small();
    let batch = linear.batch(10, 5);
    let found = passes(&linear, &batch, "noise", TargetRule::Next);
    assert_eq!(found.backward, 0);
    assert!(found.forward > 0);
}
