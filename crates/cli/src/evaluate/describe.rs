//! An evaluation as a table for people.

use crate::output::{percent, table, thousands};
use adamant::evaluate::{Evaluation, Figures, Interval, Level, Protocol};
use adamant::report::markdown::told;

/// The figures as a table, with what they mean above and doubts below.
pub fn describe(evaluation: &Evaluation) -> String {
    let protocol = match evaluation.protocol {
        Protocol::WorstCase => "worst case: right as it is and under every attack",
        Protocol::Paper => "paper: every image attacked, last answer counts",
    };
    let mut text = format!(
        "{} on {}: {} images, seed {}\n{} {}, {}; branch {}, attacked through {}\n{protocol}\n\n",
        evaluation.model,
        evaluation.data,
        thousands(evaluation.samples as u64),
        evaluation.seed,
        evaluation.threat.norm,
        evaluation.threat.epsilon,
        evaluation.threat.goal,
        evaluation.branch,
        evaluation.attack_branch,
    );
    let head =
        ["", "accuracy", "95 % interval", "success", "attacked", "forward", "backward", "seconds"];
    let mut rows = vec![head.map(str::to_string).to_vec()];
    rows.push(accuracy("clean", evaluation.clean_accuracy, evaluation.clean_ci95));
    for attack in &evaluation.attacks {
        for on_the_way in &attack.along {
            let name = format!("  after {} steps", on_the_way.steps);
            let mut row = accuracy(&name, on_the_way.robust_accuracy, on_the_way.ci95);
            row.push(percent(on_the_way.success_rate));
            rows.push(row);
        }
        let mut row = accuracy(&attack.name, attack.robust_accuracy, attack.ci95);
        row.extend([
            percent(attack.success_rate),
            thousands(attack.attacked as u64),
            thousands(attack.forward_passes),
            thousands(attack.backward_passes),
            format!("{:.1}", attack.seconds),
        ]);
        rows.push(row);
    }
    if let (Some(worst), Some(interval)) =
        (evaluation.worst_case_accuracy, evaluation.worst_case_ci95)
    {
        rows.push(accuracy("worst case", worst, interval));
    }
    text.push_str(&table(&rows));
    for attack in &evaluation.attacks {
        if let Some(distances) = &attack.distances {
            text.push_str(&format!("\n{}\n", told(attack, distances, &evaluation.threat.norm)));
        }
    }
    text.push_str(&several(&evaluation.curve, "epsilon", &|point| point.epsilon.clone()));
    text.push_str(&several(&evaluation.branches, "judged, attacked through", &|cell| {
        format!("{}, {}", cell.branch, cell.attack_branch)
    }));
    for flag in &evaluation.flags {
        let level = match flag.level {
            Level::Warning => "warning",
            Level::Failure => "failure",
        };
        text.push_str(&format!(
            "\n{level} {}: {}\n  {}\n  hint: {}\n",
            flag.name, flag.found, flag.why, flag.advice
        ));
    }
    text
}

fn accuracy(name: &str, share: f64, Interval([low, high]): Interval) -> Vec<String> {
    let interval = format!("{:.1} - {:.1}", 100.0 * low, 100.0 * high);
    vec![name.to_string(), percent(share), interval]
}

/// Several evaluations, a row each.
fn several(figures: &[Figures], head: &str, name: &dyn Fn(&Figures) -> String) -> String {
    let Some(first) = figures.first() else { return String::new() };
    let names = first.attacks.iter().map(|attack| attack.name.clone());
    let mut rows = vec![[head.to_string(), "clean".to_string()].into_iter().chain(names).collect()];
    for figure in figures {
        let shares = figure.attacks.iter().map(|attack| percent(attack.robust_accuracy));
        let row = [name(figure), percent(figure.clean_accuracy)].into_iter().chain(shares);
        rows.push(row.collect::<Vec<_>>());
    }
    format!("\n{}", table(&rows))
}
