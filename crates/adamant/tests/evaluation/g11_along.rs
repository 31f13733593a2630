//! One long search passes through the shorter ones: PGD-2000 also gives PGD-10 to PGD-1000, where steps agree.

use crate::support::{batch, frozen, threat};
use adamant::attack::{Attack, AttackDefaults, AttackStream, parse};
use adamant::stream::Stream;
use adamant::threat::StepSize;
use adamant::victim::{perturb_along_in_tiles, perturb_in_tiles};

const STREAM: fn() -> AttackStream =
    || AttackStream { stream: Stream::new(3), time: 0, rank: 0, first_restart: 0 };

fn attack(name: &str, step: StepSize) -> Box<dyn Attack> {
    let mut defaults = AttackDefaults::new(threat("16/255"));
    defaults.step_size = Some(step);
    parse(name, &defaults).expect("a known name")
}

fn paper() -> StepSize {
    StepSize::AtLeastEpsilonOverSteps("1/255".parse().expect("a length"))
}

#[test]
fn the_milestones_of_a_long_search_are_the_shorter_attacks_bit_for_bit() {
    let (frozen, batch) = (frozen(), batch(12));
    let long = attack("targeted-pgd-50", paper());
    let milestones = long.milestones();
    let steps: Vec<usize> = milestones.iter().map(|milestone| milestone.steps).collect();
    assert_eq!(steps, [10, 20, 30, 40]);
    let (along, passes) = perturb_along_in_tiles(&frozen, &*long, &batch, &STREAM()).unwrap();
    let (end, plain) = perturb_in_tiles(&frozen, &*long, &batch, &STREAM()).unwrap();
    assert_eq!((along.len(), along.last()), (5, Some(&end)));
    assert_eq!(passes, plain, "looking costs the attacked network nothing");
    for (milestone, seen) in milestones.iter().zip(&along).skip(1) {
        let name = milestone.equals.as_deref().expect("1/255 is the step of 20 steps and more");
        assert_eq!(name, format!("targeted-pgd-{}", milestone.steps));
        let shorter = attack(name, paper());
        let (alone, _) = perturb_in_tiles(&frozen, &*shorter, &batch, &STREAM()).unwrap();
        assert_eq!(seen, &alone, "{name}");
    }
}

#[test]
fn a_milestone_of_another_step_size_is_not_called_by_the_shorter_attacks_name() {
    // At 10 steps of epsilon 16/255 the paper steps by 1.6/255, on the way of 50 steps by 1/255.
    assert_eq!(attack("targeted-pgd-50", paper()).milestones()[0].equals, None);
    let usual = attack("pgd-50", StepSize::TimesEpsilonOverSteps(2.5));
    assert!(usual.milestones().iter().all(|milestone| milestone.equals.is_none()));
    let fixed = attack("pgd-50", StepSize::Fixed("1/255".parse().expect("a length")));
    assert!(fixed.milestones().iter().all(|milestone| milestone.equals.is_some()));
}

#[test]
fn restarts_that_drop_the_fallen_have_no_common_way() {
    assert_eq!(attack("pgd-50-3", paper()).milestones(), []);
    assert_eq!(attack("noise", paper()).milestones(), []);
}

#[test]
fn the_resolved_step_is_told() {
    let told = |name: &str| attack(name, paper()).resolved();
    let step = |name: &str| told(name).into_iter().find(|(key, _)| *key == "step_size").unwrap().1;
    assert!((step("targeted-pgd-10").parse::<f64>().unwrap() - 1.6 / 255.0).abs() < 1e-15);
    assert_eq!(step("targeted-pgd-2000").parse::<f64>().unwrap(), 1.0 / 255.0);
    assert!(told("pgd-20").contains(&("start", "uniform".to_string())));
}
