//! What a cell costs, in multiply-accumulates, before it is run.

use super::written::EvaluationSpec;
use crate::objective::StepDraw;
use crate::stream::Stream;
use crate::train::plan::Plan;
use network::Count;

/// Multiply-accumulates of training and judging, as papers count them: an attack's
/// iteration is two forwards, a training pass three.
///
/// An estimate: attacks whose names do not tell their passes count as written in `passes`, and images that fall early as
/// if they stood.
pub fn work(
    plan: &Plan,
    count: &Count,
    images: usize,
    test_images: usize,
    evaluations: &[EvaluationSpec],
) -> f64 {
    let draw = StepDraw { stream: Stream::new(plan.seed), step: 0, rank: 0 };
    let batch = plan.loader.batch_size;
    let demand = plan.objective.demand(batch, &draw);
    let share = |some: usize| some as f64 / batch as f64;
    let (clean, adversarial) = (share(demand.clean.len()), share(demand.adversarial.len()));
    let attack = plan.attack.settings();
    let crafting = 2.0 * attack.steps as f64 * f64::from(attack.restarts) * adversarial;
    let left = images.saturating_sub(plan.validation);
    let learned = plan.images.map_or(left, |some| some.get().min(left));
    let training =
        f64::from(plan.epochs) * learned as f64 * (crafting + 3.0 * (clean + adversarial));
    let validations = f64::from(plan.epochs.div_ceil(plan.evaluation.every_epochs));
    let validating =
        validations * plan.validation as f64 * (1.0 + passes(&plan.evaluation.select_by));
    let judging = evaluations.iter().map(|evaluation| {
        let samples = match evaluation.samples {
            0 => test_images,
            some => some.min(test_images),
        };
        let attacks: f64 = evaluation.attacks.iter().map(|name| passes(name)).sum();
        samples as f64 * (1.0 + attacks)
    });
    count.macs as f64 * (training + validating + judging.sum::<f64>())
}

/// Forwards and backwards of an attack by its name: twice its steps times its restarts.
fn passes(name: &str) -> f64 {
    match name {
        "clean" => return 0.0,
        "fgsm" => return 2.0,
        // Measured on the quickstart's model: most of it is for the images that stand.
        "autoattack" => return 4000.0,
        _ => {}
    }
    let numbers = name.split('-').filter_map(|part| part.parse::<f64>().ok());
    let product: f64 = numbers.product();
    // Names without a number: APGD's 100 steps, and others of that size.
    if name.contains(|c: char| c.is_ascii_digit()) { 2.0 * product } else { 200.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::builtin;

    #[test]
    fn steps_and_restarts_are_read_from_names() {
        let found = ["clean", "fgsm", "pgd-20", "targeted-pgd-100", "pgd-50-10"].map(passes);
        assert_eq!(found, [0.0, 2.0, 40.0, 200.0, 1000.0]);
    }

    #[test]
    fn a_mixture_with_pgd_costs_two_k_plus_six_and_ordinary_training_three() {
        let forwards = |sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
            let plan = Plan::new(&builtin::recipe("quickstart", &sets).unwrap()).unwrap();
            let count = Count { layers: 1, parameters: 1, statistics: 0, macs: 1, nodes: vec![] };
            work(&plan, &count, 1500, 100, &[])
        };
        let common = ["training.epochs=1", "evaluation.select_by=clean", "data.validation=500"];
        let with = |more: &[&str]| forwards(&[&common[..], more].concat());
        assert_eq!(with(&[]), 1000.0 * 16.0 + 500.0);
        assert_eq!(with(&["data.images=100"]), 100.0 * 16.0 + 500.0);
        assert_eq!(with(&["objective.clean_fraction=0"]), 1000.0 * 13.0 + 500.0);
        assert_eq!(with(&["objective.kind=standard"]), 1000.0 * 3.0 + 500.0);
    }
}
