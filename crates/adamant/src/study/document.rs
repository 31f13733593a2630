//! The page of a study for a browser, from the same records as its Markdown.

use super::claims::Claim;
use super::figure::plots;
use super::findings::Finding;
use super::page::{caveats, figure_text, of_arm, resolution_text, values};
use super::quantity::Quantity;
use super::record::CellRecord;
use super::verdict::{CONTRAST_RULE, TREND_RULE, Verdict};
use super::written::{Regime, Rule, Study};
use crate::report::Plot;
use crate::report::chart::{Axis, Chart, Curve, Hue, Mark, Name, Point, Row, Rows, Size};
use crate::report::number::thousands;
use crate::report::page::{Cell, Column, Emphasis, Figure, Page, Table, Text, Tone};
use crate::spread::{summary, t975};
use std::collections::BTreeSet;

/// Verdicts first, then figure and table of every regime, then what a reader must know.
pub(super) fn document(
    study: &Study,
    records: &[CellRecord],
    findings: &[Finding],
    claims: &[Claim],
    remarks: &[String],
) -> Page {
    let mut page = Page::new("Adamant, a study", &*study.title, study.question.trim());
    for remark in remarks {
        page.note(Tone::Neutral, "To know first", remark.as_str());
    }
    verdicts(&mut page, study, findings, claims);
    for regime in &study.regimes {
        let own: Vec<&CellRecord> = records.iter().filter(|r| r.regime == regime.name).collect();
        page.heading(&*regime.title);
        if own.is_empty() {
            page.paragraph("Not run yet.");
            continue;
        }
        let mut figures = vec![Figure::Rows(arms(study, regime, records))];
        figures.extend(plots(study, regime, &own).into_iter().map(|(_, said, plot)| {
            let note = said.split_once(": ").map_or(said.as_str(), |(_, note)| note);
            Figure::Chart(chart(&plot, note))
        }));
        page.figures(figures);
        page.table(table(study, regime, records));
    }
    page.heading("Caveats and provenance");
    for caveat in caveats(study, records) {
        page.paragraph(caveat);
    }
    page
}

fn verdicts(page: &mut Page, study: &Study, findings: &[Finding], claims: &[Claim]) {
    if study.tests.is_empty() {
        return;
    }
    page.heading("Verdicts");
    if findings.is_empty() {
        page.paragraph("Not run yet.");
    }
    let mut told = BTreeSet::new();
    for finding in findings {
        if told.insert(&*finding.claim) {
            let own = findings.iter().filter(|other| other.claim == finding.claim);
            of_claim(page, &finding.claim, claims, own);
        }
    }
    let has = |wanted: fn(&Rule) -> bool| study.tests.iter().any(|test| wanted(&test.rule));
    if has(|rule| matches!(rule, Rule::Contrast { .. })) {
        page.paragraph(rule_text("The rule", CONTRAST_RULE));
    }
    if has(|rule| matches!(rule, Rule::Trend { .. })) {
        page.paragraph(rule_text("The rule of trends", TREND_RULE));
    }
}

/// A claim in words, and what was found about it.
fn of_claim<'a>(
    page: &mut Page,
    id: &str,
    claims: &[Claim],
    findings: impl Iterator<Item = &'a Finding>,
) {
    let claim = claims.iter().find(|claim| claim.id == id);
    let (statement, paper) = claim.map_or(("", ""), |c| (&c.statement, &c.paper));
    let text = Text::new().strong(id).plain(format!(" {statement}. "));
    page.paragraph(text.quiet(format!("The paper: {paper}.")));
    // Data and verdict early: on a narrow screen the last columns are out of sight.
    let words = ["compared", "regime", "verdict", "our figure", "resolution"];
    let columns = words.map(|word| Column::Words(word.into())).to_vec();
    let mut table = Table { columns, ..Table::default() };
    for finding in findings {
        let emphasis = match finding.verdict {
            Verdict::Undecided => Emphasis::Usual,
            _ => Emphasis::Strong,
        };
        table.rows.push(vec![
            finding.what.as_str().into(),
            finding.regime.as_str().into(),
            Cell { text: finding.verdict.to_string().into(), emphasis, ..Cell::default() },
            figure_text(finding).into(),
            resolution_text(finding).into(),
        ]);
    }
    page.table(table);
}

/// A rule as Markdown has it, without its stars.
fn rule_text(head: &str, rule: &str) -> Text {
    Text::new().quiet(format!("{head}: {}", rule.replace("**", "")))
}

/// A row for every arm, a dot for every shown quantity.
fn arms(study: &Study, regime: &Regime, records: &[CellRecord]) -> Rows {
    let names = study
        .show
        .iter()
        .enumerate()
        .map(|(place, quantity)| Name { text: quantity.title(), hue: Hue::Series(place) });
    let note = "mean over seeds, the line its 95 % interval over seeds";
    let mut rows = Rows::new("Every arm", note, Axis::near_shares(""), names.collect());
    rows.size = Size::Wide;
    for arm in &study.arms {
        let own: Vec<&CellRecord> = of_arm(records, regime, &arm.name).collect();
        if own.is_empty() {
            continue;
        }
        let value = |quantity: &Quantity| {
            let all = summary(&values(quantity, &own))?;
            let half = t975(all.n.max(2) - 1) * all.sd / (all.n as f64).sqrt();
            let ends = [(all.mean - half).max(0.0), (all.mean + half).min(1.0)];
            Some((all.mean, (all.n > 1).then_some(ends)))
        };
        let values = study.show.iter().map(value).collect();
        rows.rows.push(Row { label: arm.title.clone(), values });
    }
    rows
}

fn chart(plot: &Plot, note: &str) -> Chart {
    let ticks = plot.places.iter().map(|place| (place.x, place.label.clone())).collect();
    let x = Axis::numbers(&*plot.x_label).named(ticks);
    let mut chart = Chart::new(&*plot.title, note, x, Axis::near_shares("")).wide();
    for (place, series) in plot.series.iter().enumerate() {
        let points = series.points.iter().map(|&(x, y, ends)| Point::at(x, y).within(ends));
        let hue = Hue::Series(place);
        chart = chart.curve(Curve::new(&*series.name, hue, Mark::LineAndDots, points.collect()));
    }
    chart
}

fn table(study: &Study, regime: &Regime, records: &[CellRecord]) -> Table {
    let mut columns = vec![Column::Words("arm".into()), Column::Numbers("seeds".into())];
    columns.extend(study.show.iter().map(|quantity| Column::Numbers(quantity.title())));
    for word in ["parameters", "forward, M MAC", "training, s", "judging, s"] {
        columns.push(Column::Numbers(word.into()));
    }
    let caption = "Accuracy in %: mean and, smaller, standard deviation over seeds.".into();
    let mut table = Table { caption, columns, rows: Vec::new() };
    for arm in &study.arms {
        let own: Vec<&CellRecord> = of_arm(records, regime, &arm.name).collect();
        let Some(first) = own.first() else { continue };
        let mut row: Vec<Cell> = vec![arm.title.as_str().into(), own.len().to_string().into()];
        row.extend(study.show.iter().map(|quantity| match summary(&values(quantity, &own)) {
            None => "-".into(),
            Some(all) => Cell {
                text: format!("{:.1}", 100.0 * all.mean).into(),
                detail: match all.n {
                    1 => String::new(),
                    _ => format!("± {:.1}", 100.0 * all.sd),
                },
                ..Cell::default()
            },
        }));
        let mean = |seconds: fn(&CellRecord) -> f64| {
            let sum: f64 = own.iter().map(|record| seconds(record)).sum();
            format!("{:.0}", sum / own.len() as f64)
        };
        row.push(thousands(first.parameters).into());
        row.push(format!("{:.1}", first.macs as f64 / 1e6).into());
        row.push(mean(|record| record.train_seconds).into());
        row.push(mean(|record| record.judge_seconds).into());
        table.rows.push(row);
    }
    table
}
