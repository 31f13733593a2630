//! Evaluations as tables and figures.

use super::Judged;
use crate::evaluate::{Evaluation, Figures, Level, Protocol};
use crate::report::chart::{Axis, Chart, Curve, Hue, Mark, Name, Point, Row, Rows};
use crate::report::number::{percent, percent_interval, thousands};
use crate::report::page::{Cell, Column, Figure, Page, Table, Text, Tone};
use crate::report::sentence::capital;
use crate::threat::Epsilon;

/// Under which conditions the figures of an evaluation hold.
pub(super) fn conditions(e: &Evaluation) -> String {
    let protocol = match e.protocol {
        Protocol::WorstCase => "worst case (only survivors are attacked again)",
        Protocol::Paper => "paper (every image is attacked, the last answer counts)",
    };
    format!(
        "{} images of {}, {} {}, {}, {protocol}, {} branch attacked through {}, seed {}, attacks in {}.",
        thousands(e.samples as u64),
        e.data,
        e.threat.norm,
        e.threat.epsilon,
        e.threat.goal,
        e.branch,
        e.attack_branch,
        e.seed,
        e.precision
    )
}

/// Tables of all judgements, figures of the first; `classes` are their names, where they are known.
pub(super) fn tables(page: &mut Page, all: &[Judged], classes: &[String]) {
    for Judged { name, evaluation } in all {
        attacks(page, name, evaluation);
    }
    if let Some(Judged { evaluation, .. }) = all.first() {
        let curves = [by_epsilon(evaluation), by_steps(evaluation)].into_iter().flatten();
        let mut figures: Vec<Figure> = curves.map(Into::into).collect();
        figures.extend(by_class(evaluation, classes).map(Figure::from));
        page.figures(figures);
        pairs(page, evaluation);
    }
    for Judged { name, evaluation } in all {
        for flag in &evaluation.flags {
            let tone = match flag.level {
                Level::Warning => Tone::Warning,
                Level::Failure => Tone::Failure,
            };
            let text = Text::new().plain(format!("{}; {}. ", flag.found, flag.why));
            page.note(tone, format!("{}, {name}", flag.name), text.strong(flag.advice.clone()));
        }
    }
}

fn share(share: f64, ends: [f64; 2]) -> Cell {
    Cell::from(percent(share)).with_detail(percent_interval(ends))
}

fn attacks(page: &mut Page, name: &str, e: &Evaluation) {
    let caption = format!("{}. {}", capital(name), conditions(e));
    let columns = ["accuracy, 95 % interval", "success", "attacked", "forward", "backward"];
    let mut columns: Vec<Column> = columns.into_iter().map(Column::numbers).collect();
    columns.insert(0, Column::words("attack"));
    let mut table = Table::new(caption, columns);
    let none = || ["", "", "", ""].map(Cell::from);
    let row = |name: &str, first: Cell, rest: [Cell; 4]| {
        let mut cells = vec![Cell::from(name), first];
        cells.extend(rest);
        cells
    };
    table.row(row("none", share(e.clean_accuracy, e.clean_ci95.0), none()));
    for attack in &e.attacks {
        let counts = [attack.attacked as u64, attack.forward_passes, attack.backward_passes];
        let [attacked, forward, backward] = counts.map(|count| Cell::from(thousands(count)));
        let rest = [Cell::from(percent(attack.success_rate)), attacked, forward, backward];
        table.row(row(&attack.name, share(attack.robust_accuracy, attack.ci95.0), rest));
    }
    if let (Some(worst), Some(ends)) = (e.worst_case_accuracy, e.worst_case_ci95) {
        table.row(row("all of them", share(worst, ends.0).strong(), none()));
    }
    page.table(table);
}

/// Accuracy against the radius, where it was asked for.
fn by_epsilon(e: &Evaluation) -> Option<Chart> {
    let first = e.curve.first()?;
    let radius = |written: &str| written.parse::<Epsilon>().map_or(0.0, |epsilon| epsilon.exact());
    let rest: Vec<&Figures> = e.curve.iter().filter(|f| radius(&f.epsilon) > 0.0).collect();
    let mut places = vec![(0.0, "0".to_string())];
    places.extend(rest.iter().map(|f| (radius(&f.epsilon), f.epsilon.clone())));
    let x = Axis::numbers("epsilon").named(places);
    let note = format!("{}, {} images, bands are 95 % intervals", e.threat.norm, e.samples);
    let mut chart = Chart::new("Accuracy against the radius", note, x, Axis::shares(""));
    for (number, attack) in first.attacks.iter().enumerate() {
        // Without a radius every attack leaves the clean accuracy (G4).
        let mut points = vec![Point::at(0.0, e.clean_accuracy).within(e.clean_ci95.0)];
        points.extend(rest.iter().map(|figures| {
            let attack = &figures.attacks[number];
            Point::at(radius(&figures.epsilon), attack.robust_accuracy).within(attack.ci95.0)
        }));
        let hue = Hue::Series(number);
        chart.curves.push(Curve::new(attack.name.clone(), hue, Mark::LineAndDots, points));
    }
    Some(chart)
}

/// Accuracy against steps, where searches were looked at on their way.
fn by_steps(e: &Evaluation) -> Option<Chart> {
    let x = Axis::numbers("steps").logarithmic();
    let note = format!(
        "{} {}, {} images, bands are 95 % intervals",
        e.threat.norm, e.threat.epsilon, e.samples
    );
    let mut chart = Chart::new("Accuracy against steps of the attack", note, x, Axis::shares(""));
    for (number, attack) in e.attacks.iter().filter(|attack| !attack.along.is_empty()).enumerate() {
        let looks = attack.along.iter();
        let mut points: Vec<Point> = looks
            .map(|look| Point::at(look.steps as f64, look.robust_accuracy).within(look.ci95.0))
            .collect();
        let steps: f64 = attack.settings.get("steps")?.parse().ok()?;
        points.push(Point::at(steps, attack.robust_accuracy).within(attack.ci95.0));
        let hue = Hue::Series(number);
        chart.curves.push(Curve::new(attack.name.clone(), hue, Mark::LineAndDots, points));
    }
    (!chart.curves.is_empty()).then_some(chart)
}

/// At most so many classes fit a figure one can read.
const CLASSES: usize = 40;

fn by_class(e: &Evaluation, names: &[String]) -> Option<Rows> {
    if e.classes.is_empty() || e.classes.len() > CLASSES {
        return None;
    }
    let hue = |text: &str, hue| Name { text: text.into(), hue };
    let hues = vec![hue("clean", Hue::Clean), hue("under every attack", Hue::Adversarial)];
    let name = |class: usize| names.get(class).cloned().unwrap_or(format!("class {class}"));
    let note = "bars are 95 % intervals";
    let mut rows = Rows::new("Accuracy by class", note, Axis::shares(""), hues);
    rows.rows = e
        .classes
        .iter()
        .map(|class| Row {
            label: format!("{}, n = {}", name(class.class as usize), class.samples),
            values: vec![
                Some((class.clean_accuracy, Some(class.clean_ci95.0))),
                class.worst_case_accuracy.map(|a| (a, class.worst_case_ci95.map(|ends| ends.0))),
            ],
        })
        .collect();
    Some(rows)
}

/// Every pair of judged and attacked branch, where that was asked for (T9).
fn pairs(page: &mut Page, e: &Evaluation) {
    let Some(first) = e.branches.first() else { return };
    let mut columns =
        vec![Column::words("judged"), Column::words("attacked through"), Column::numbers("clean")];
    columns.extend(first.attacks.iter().map(|attack| Column::numbers(&attack.name)));
    let mut table = Table::new("Every branch, attacked through every branch.", columns);
    for pair in &e.branches {
        let mut cells: Vec<Cell> =
            vec![pair.branch.clone().into(), pair.attack_branch.clone().into()];
        cells.push(share(pair.clean_accuracy, pair.clean_ci95.0));
        cells.extend(pair.attacks.iter().map(|a| share(a.robust_accuracy, a.ci95.0)));
        table.row(cells);
    }
    page.table(table);
}
