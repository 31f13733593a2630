//! The page of a study, from its records alone.

use super::claims::{Claim, paper_claims};
use super::document::document;
use super::figure::figures;
use super::findings::{Finding, judge};
use super::quantity::Quantity;
use super::record::CellRecord;
use super::verdict::{CONTRAST_RULE, TREND_RULE};
use super::written::{Regime, Rule, Study};
use crate::report::Drawing;
use crate::spread::summary;
use crate::train::record::Machine;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What a study has come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// For people: Markdown that shows the figures as files beside it.
    pub markdown: String,
    /// For a browser: one file, figures and all.
    pub html: String,
    /// For programs: findings and tables.
    pub json: Value,
    /// Figures: name of the file without ending, what it shows, drawing.
    pub figures: Vec<(String, String, Drawing)>,
    /// One for every test and regime.
    pub findings: Vec<Finding>,
}

/// The page of `study` from its records; `remarks` say what was left out, and the like.
pub fn page(study: &Study, records: &[CellRecord], remarks: &[String]) -> Page {
    let claims = paper_claims();
    let (figures, findings) = (figures(study, records), judge(study, records));
    let mut text = format!("# {}\n\n{}\n\n", study.title, study.question.trim());
    for remark in remarks {
        text += &format!("> {remark}\n\n");
    }
    text += &verdicts(study, &findings, &claims);
    for (name, said, _) in &figures {
        text += &format!("![{said}]({name}.svg)\n\n*{said}.*\n\n");
    }
    for regime in &study.regimes {
        text += &table(study, regime, records);
    }
    text += "## Caveats and provenance\n\n";
    caveats(study, records).iter().for_each(|caveat| text += &format!("- {caveat}\n"));
    let html = document(study, records, &findings, &claims, remarks).to_html();
    let json = json!({
        "study": study.name,
        "findings": findings,
        "cells": records.len(),
        "expected_cells": study.regimes.len() * study.arms.len() * study.seeds.len(),
        "remarks": remarks,
        "tables": study.regimes.iter().map(|r| table_json(study, r, records)).collect::<Vec<_>>(),
    });
    Page { markdown: text, html, json, figures, findings }
}

fn verdicts(study: &Study, findings: &[Finding], claims: &[Claim]) -> String {
    if study.tests.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "## Verdicts\n\n| claim | compared | regime | our figure | resolution | the paper's | verdict |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for finding in findings {
        let claim = claims.iter().find(|claim| claim.id == finding.claim);
        let (statement, paper) = claim.map_or(("", ""), |c| (&c.statement, &c.paper));
        text += &format!(
            "| {} {statement} | {} | {} | {} | {} | {paper} | **{}** |\n",
            finding.claim,
            finding.what,
            finding.regime,
            figure_text(finding),
            resolution_text(finding),
            finding.verdict
        );
    }
    if findings.is_empty() {
        text += "\nNot run yet.\n";
    }
    let has = |wanted: fn(&Rule) -> bool| study.tests.iter().any(|test| wanted(&test.rule));
    text += "\n";
    if has(|rule| matches!(rule, Rule::Contrast { .. })) {
        text += &format!("The rule: {CONTRAST_RULE}\n\n");
    }
    if has(|rule| matches!(rule, Rule::Trend { .. })) {
        text += &format!("The rule of trends: {TREND_RULE}\n\n");
    }
    text
}

/// A finding's number with its interval, seeds and images.
pub(super) fn figure_text(finding: &Finding) -> String {
    let Some(value) = finding.value else {
        return "no seed has every arm".to_string();
    };
    let (seeds, n) = (finding.seeds, finding.samples);
    let number = match (finding.is_correlation, finding.interval) {
        (true, _) => format!("rank correlation {value:+.2}"),
        (false, Some([low, high])) => {
            format!("{:+.1} points [{:+.1}, {:+.1}]", 100.0 * value, 100.0 * low, 100.0 * high)
        }
        (false, None) => format!("{:+.1} points", 100.0 * value),
    };
    let plural = if seeds == 1 { "seed" } else { "seeds" };
    let guessing = match &finding.at_chance[..] {
        [] => String::new(),
        arms => format!("; at chance: {}", arms.join(", ")),
    };
    format!("{number}, {seeds} {plural}, n = {n}{guessing}")
}

/// The smallest effect that matters.
pub(super) fn resolution_text(finding: &Finding) -> String {
    format!("{:.1} points", 100.0 * finding.resolution)
}

pub(super) fn of_arm<'a>(
    records: &'a [CellRecord],
    regime: &'a Regime,
    arm: &'a str,
) -> impl Iterator<Item = &'a CellRecord> {
    records.iter().filter(move |r| r.regime == regime.name && r.arm == arm)
}

pub(super) fn values(quantity: &Quantity, records: &[&CellRecord]) -> Vec<f64> {
    records.iter().filter_map(|record| quantity.of(record)).map(|m| m.value).collect()
}

fn table(study: &Study, regime: &Regime, records: &[CellRecord]) -> String {
    let heads: Vec<String> = study.show.iter().map(Quantity::title).collect();
    let mut text = format!(
        "## {}\n\nAccuracy in %: mean ± standard deviation over seeds.\n\n\
         | arm | seeds | {} | parameters | forward, M MAC | training, s | judging, s |\n|---|---:|{}---:|---:|---:|---:|\n",
        regime.title,
        heads.join(" | "),
        "---:|".repeat(heads.len()),
    );
    let before = text.len();
    for arm in &study.arms {
        let own: Vec<&CellRecord> = of_arm(records, regime, &arm.name).collect();
        let Some(first) = own.first() else { continue };
        let cells = study.show.iter().map(|quantity| match summary(&values(quantity, &own)) {
            None => "-".to_string(),
            Some(s) if s.n == 1 => format!("{:.1}", 100.0 * s.mean),
            Some(s) => format!("{:.1} ± {:.1}", 100.0 * s.mean, 100.0 * s.sd),
        });
        let mean = |f: &dyn Fn(&CellRecord) -> f64| {
            own.iter().map(|record| f(record)).sum::<f64>() / own.len() as f64
        };
        text += &format!(
            "| {} | {} | {} | {} | {:.1} | {:.0} | {:.0} |\n",
            arm.title,
            own.len(),
            cells.collect::<Vec<_>>().join(" | "),
            first.parameters,
            first.macs as f64 / 1e6,
            mean(&|record| record.train_seconds),
            mean(&|record| record.judge_seconds),
        );
    }
    if text.len() == before {
        return format!("## {}\n\nNot run yet.\n\n", regime.title);
    }
    text + "\n"
}

fn table_json(study: &Study, regime: &Regime, records: &[CellRecord]) -> Value {
    let arms = study.arms.iter().map(|arm| {
        let own: Vec<&CellRecord> = of_arm(records, regime, &arm.name).collect();
        let figures = study.show.iter().map(|quantity| {
            let all = summary(&values(quantity, &own));
            json!({
                "quantity": quantity.title(),
                "n": all.map_or(0, |s| s.n),
                "mean": all.map(|s| s.mean),
                "sd": all.map(|s| s.sd),
            })
        });
        json!({ "arm": arm.name, "figures": figures.collect::<Vec<_>>() })
    });
    json!({ "regime": regime.name, "arms": arms.collect::<Vec<_>>() })
}

/// What a reader must know: size, doubts, failures, provenance.
pub(super) fn caveats(study: &Study, records: &[CellRecord]) -> Vec<String> {
    let mut all = study.caveats.clone();
    for record in records {
        if let Some(error) = &record.error {
            let error = error.replace('\n', " ");
            all.push(format!("{}: training ended early and has no figures: {error}", record.id()));
        }
    }
    let every = |f: &dyn Fn(&CellRecord) -> Vec<String>| {
        let distinct: BTreeSet<String> = records.iter().flat_map(f).collect();
        distinct.into_iter().collect::<Vec<_>>()
    };
    let flags = every(&|record| {
        let flags = record.evaluations.iter().map(|e| (e, record.id()));
        flags
            .flat_map(|(e, id)| e.flags.iter().map(move |f| format!("{id}, {}: {f}", e.name)))
            .collect()
    });
    all.extend(flags.into_iter().map(|flag| format!("the audit doubts {flag}")));
    if records.is_empty() {
        return all;
    }
    let lenders = every(&|record| {
        let lender = record.lent_by.as_ref().and_then(|cell| cell.split('/').next());
        lender.map(str::to_string).into_iter().collect()
    });
    if !lenders.is_empty() {
        let count = records.iter().filter(|record| record.lent_by.is_some()).count();
        let lenders = lenders.join(", ");
        all.push(format!(
            "{count} cells were trained and judged just so in other studies: {lenders}"
        ));
    }
    let dirty = |record: &CellRecord| if record.dirty { ", with changes beyond it" } else { "" };
    for (name, found) in [
        ("revision", every(&|r| vec![format!("{}{}", r.revision, dirty(r))])),
        (
            "machine",
            every(&|r| {
                let machine = &r.machine;
                let Machine { processor, kernel, threads, .. } = machine;
                vec![format!("{processor}, {kernel} kernels, {threads} threads")]
            }),
        ),
        ("training in", every(&|r| vec![r.precision.clone()])),
        ("attacks in", every(&|r| r.evaluations.iter().map(|e| e.precision.clone()).collect())),
        ("threat", every(&|r| r.evaluations.iter().map(|e| e.threat.clone()).collect())),
    ] {
        all.push(format!("{name}: {}", found.join("; ")));
    }
    let seeds = every(&|record| vec![record.seed.to_string()]).len();
    let expected = study.regimes.len() * study.arms.len() * study.seeds.len();
    all.push(format!("{} of {expected} cells, {seeds} seeds", records.len()));
    all
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::{SOME, record};
    use super::*;

    #[test]
    fn a_page_has_verdicts_with_their_rule_figures_tables_and_what_went_wrong() {
        let study = Study::parse(SOME, "some.toml").unwrap();
        let mut records: Vec<CellRecord> =
            (0..3).flat_map(|s| [record("a", s, 0.4), record("b", s, 0.5)]).collect();
        let mut failed = record("c", 0, 0.0);
        failed.error = Some("the loss\nexploded".into());
        failed.evaluations.clear();
        records.push(failed);
        let page = page(&study, &records, &["two cells were left out".to_string()]);
        for part in [
            "# Some\n",
            "> two cells were left out",
            "| b less a | here | +10.0 points [",
            "**consistent**",
            "**undecided**",
            "The rule: Each arm",
            "![Here: ",
            "| A | 3 | 40.0 ± 0.0 | 1 |",
            "| C | 1 | - | 1 |",
            "here.c.seed-0: training ended early and has no figures: the loss exploded",
            "7 of 9 cells, 3 seeds",
        ] {
            assert!(page.markdown.contains(part), "no {part:?} in\n{}", page.markdown);
        }
        for part in
            ["<h1>Some</h1>", "two cells were left out", "consistent", "40.0", "± 0.0", "<svg"]
        {
            assert!(page.html.contains(part), "no {part:?} in\n{}", page.html);
        }
        assert_eq!(page.json["findings"][0]["verdict"], "consistent");
        assert_eq!(page.json["tables"][0]["arms"][1]["figures"][0]["mean"], 0.5);
        assert_eq!(page.findings.len(), 3);
    }
}
