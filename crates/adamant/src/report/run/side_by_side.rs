//! Several runs side by side: figures, courses, and the keys in which their recipes differ.

use super::{Judged, RunFindings, body, judged, lede, machine, program};
use crate::report::chart::{Axis, Chart, Curve, Hue, Mark, Point};
use crate::report::number::{percent, percent_interval};
use crate::report::page::{Cell, Column, Figure, Page, Table};

pub(super) fn page(runs: &[RunFindings]) -> Page {
    let title = format!("{} runs side by side", runs.len());
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let mut page = Page::new("Adamant, runs", title, names.join(", "));
    figures(&mut page, runs);
    courses(&mut page, runs);
    differences(&mut page, runs);
    for run in runs {
        page.heading(run.name.clone());
        page.paragraph(lede(run));
        body(&mut page, run);
        page.source(&run.name, format!("{}; {}", program(&run.record), machine(&run.record)));
    }
    page
}

fn figures(page: &mut Page, runs: &[RunFindings]) {
    let firsts = || runs.iter().filter_map(|run| Some((run, run.evaluations.first()?)));
    let mut attacks: Vec<&str> = Vec::new();
    for (_, judged) in firsts() {
        let names = judged.evaluation.attacks.iter().map(|attack| attack.name.as_str());
        let new: Vec<&str> = names.filter(|name| !attacks.contains(name)).collect();
        attacks.extend(new);
    }
    let mut columns = vec![Column::words("run"), Column::numbers("clean")];
    columns.extend(attacks.iter().copied().map(Column::numbers));
    columns.push(Column::words("conditions"));
    let caption =
        "Accuracy with its 95 % interval; an attack that a run was not judged under is left empty.";
    let mut table = Table::new(caption, columns);
    for (run, Judged { evaluation: e, .. }) in firsts() {
        let share = |share, ends| Cell::from(percent(share)).with_detail(percent_interval(ends));
        let mut cells = vec![Cell::from(run.name.clone()), share(e.clean_accuracy, e.clean_ci95.0)];
        cells.extend(attacks.iter().map(|name| {
            let attack = e.attacks.iter().find(|attack| attack.name == *name);
            attack.map_or_else(Cell::default, |a| share(a.robust_accuracy, a.ci95.0))
        }));
        cells.push(Cell::default().with_detail(judged::conditions(e)));
        table.row(cells);
    }
    page.table(table);
}

fn courses(page: &mut Page, runs: &[RunFindings]) {
    let chart = |title: &str, of: &dyn Fn(&RunFindings, usize) -> f64| {
        let note = "held-out images";
        let mut chart = Chart::new(title, note, Axis::numbers("step"), Axis::shares(""));
        for (number, run) in
            runs.iter().enumerate().filter(|(_, r)| !r.history.validations.is_empty())
        {
            let all = run.history.validations.iter().enumerate();
            let points = all.map(|(place, v)| Point::at(v.step as f64, of(run, place))).collect();
            chart.curves.push(Curve::new(
                run.name.clone(),
                Hue::Series(number),
                Mark::Line,
                points,
            ));
        }
        chart
    };
    let robust = chart("Robust accuracy in training", &|run, n| {
        run.history.validations[n].accuracy_adversarial
    });
    let clean =
        chart("Clean accuracy in training", &|run, n| run.history.validations[n].accuracy_clean);
    let charts: Vec<Figure> =
        [robust, clean].into_iter().filter(|c| !c.curves.is_empty()).map(Into::into).collect();
    page.figures(charts);
}

/// The first run's value of every key in which another differs, and theirs.
fn differences(page: &mut Page, runs: &[RunFindings]) {
    let Some((first, others)) = runs.split_first() else { return };
    let mut columns = vec![Column::words("key")];
    columns.extend(runs.iter().map(|run| Column::words(&run.name)));
    let mut table = Table::new("Keys in which the recipes differ.", columns);
    let all: Vec<_> = others.iter().map(|run| first.recipe.differences(&run.recipe)).collect();
    for key in first.recipe.keys() {
        let of = |place: usize| all[place].iter().find(|difference| difference.key == key);
        let Some(one) = (0..others.len()).find_map(of) else { continue };
        let mut cells = vec![Cell::from(key.clone()), Cell::from(one.started.clone())];
        cells.extend((0..others.len()).map(|place| {
            of(place).map_or_else(
                || Cell::from(one.started.clone()),
                |d| Cell::from(d.found.clone()).strong(),
            )
        }));
        table.row(cells);
    }
    page.table(table);
}
