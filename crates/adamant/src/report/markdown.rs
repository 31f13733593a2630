//! An evaluation as a Markdown table, with all that a figure needs to be quoted.

use crate::evaluate::{AttackReport, DistanceReport, Evaluation, Figures, Interval, Protocol};

/// The figures, the doubts, and under which conditions they hold.
pub fn evaluation(evaluation: &Evaluation) -> String {
    let protocol = match evaluation.protocol {
        Protocol::WorstCase => "worst case",
        Protocol::Paper => "paper",
    };
    let e = evaluation;
    let mut text = format!(
        "{} on {}: {} images, seed {}, {} {} ({}), protocol {protocol}, branch {} attacked through {}, {}\n\n\
         | attack | accuracy | 95 % interval | success | forward | backward |\n\
         |---|---:|---:|---:|---:|---:|\n",
        e.model,
        e.data,
        e.samples,
        e.seed,
        e.threat.norm,
        e.threat.epsilon,
        e.threat.goal,
        e.branch,
        e.attack_branch,
        e.precision,
    );
    text += &row("none (clean)", e.clean_accuracy, e.clean_ci95, ["", "", ""].map(String::from));
    for attack in &e.attacks {
        for look in &attack.along {
            let name = format!("{} after {} steps", attack.name, look.steps);
            let rest = [percent(look.success_rate), String::new(), String::new()];
            text += &row(&name, look.robust_accuracy, look.ci95, rest);
        }
        let passes = [attack.forward_passes, attack.backward_passes].map(|n| n.to_string());
        let [forward, backward] = passes;
        let rest = [percent(attack.success_rate), forward, backward];
        text += &row(&attack.name, attack.robust_accuracy, attack.ci95, rest);
    }
    if let (Some(worst), Some(interval)) = (e.worst_case_accuracy, e.worst_case_ci95) {
        text += &row("**worst case**", worst, interval, ["", "", ""].map(String::from));
    }
    for attack in &e.attacks {
        if let Some(distances) = &attack.distances {
            text += &format!("\n{}\n", told(attack, distances, &e.threat.norm));
        }
    }
    text += &curve(&e.curve);
    text += &branches(&e.branches);
    for flag in &e.flags {
        text +=
            &format!("\n- **{}**: {}; {}. *{}*\n", flag.name, flag.found, flag.why, flag.advice);
    }
    text
}

/// The distances that an attack found, as a sentence.
pub fn told(attack: &AttackReport, distances: &DistanceReport, norm: &str) -> String {
    let median = match distances.median {
        Some(median) => format!("median {norm} distance {median:.5}"),
        None => format!("no median {norm} distance, since most images have none"),
    };
    let (found, attacked) = (distances.found, attack.attacked);
    format!("{}: {median}; found for {found} of {attacked} images", attack.name)
}

/// A row a radius.
fn curve(points: &[Figures]) -> String {
    table(points, "epsilon", &|point| point.epsilon.clone())
}

/// A row a pair of branches: the one judged and the one attacked through (T9).
fn branches(cells: &[Figures]) -> String {
    table(cells, "judged, attacked through", &|cell| {
        format!("{}, {}", cell.branch, cell.attack_branch)
    })
}

fn table(figures: &[Figures], head: &str, name: &dyn Fn(&Figures) -> String) -> String {
    let Some(first) = figures.first() else { return String::new() };
    let names: Vec<&str> = first.attacks.iter().map(|attack| attack.name.as_str()).collect();
    let columns = names.len() + 1;
    let mut text = format!("\n| {head} | clean | {} |\n|---|", names.join(" | "));
    text += &"---:|".repeat(columns);
    text.push('\n');
    for figure in figures {
        let cells = figure.attacks.iter().map(|attack| share(attack.robust_accuracy, attack.ci95));
        let clean = share(figure.clean_accuracy, figure.clean_ci95);
        let cells: Vec<String> = std::iter::once(clean).chain(cells).collect();
        text += &format!("| {} | {} |\n", name(figure), cells.join(" | "));
    }
    text
}

fn row(name: &str, accuracy: f64, interval: Interval, rest: [String; 3]) -> String {
    let Interval([low, high]) = interval;
    let interval = format!("{:.1} - {:.1}", 100.0 * low, 100.0 * high);
    format!("| {name} | {} | {interval} | {} |\n", percent(accuracy), rest.join(" | "))
}

fn share(accuracy: f64, Interval([low, high]): Interval) -> String {
    format!("{} ({:.1} - {:.1})", percent(accuracy), 100.0 * low, 100.0 * high)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
