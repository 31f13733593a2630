//! The documents of studies, made from raw results alone.

use super::Records;
use crate::evaluate::write;
use crate::failure::OrWrongUsage;
use crate::output::print;
use crate::settings::Settings;
use adamant::study::{STUDIES, Study, claims_table, page, paper_claims, read_records, study};
use anyhow::{Context, anyhow};
use std::path::Path;

/// Writes page, figures and findings into `out` and shows the verdicts.
pub fn finish(
    study: &Study,
    records: &Records,
    out: &Path,
    settings: &Settings,
) -> anyhow::Result<()> {
    let page = page(study, &records.records, &records.remarks);
    std::fs::create_dir_all(out)
        .with_context(|| format!("making the folder {} failed", out.display()))?;
    let json = serde_json::to_string_pretty(&page.json)? + "\n";
    for (name, _, drawing) in &page.figures {
        write(&out.join(format!("{name}.svg")), drawing.to_svg().as_bytes())?;
    }
    write(&out.join("study.json"), json.as_bytes())?;
    write(&out.join("study.md"), page.markdown.as_bytes())?;
    write(&out.join("study.html"), page.html.as_bytes())?;
    for remark in &records.remarks {
        settings.remark(remark);
    }
    settings.remark(format_args!("written: {}", out.join("study.html").display()));
    if settings.json {
        return print(&json);
    }
    let mut text = format!("{}: {} cells\n", study.title, records.records.len());
    for finding in &page.findings {
        text += &format!(
            "{:<4} {:<12} {:<12} {}\n",
            finding.claim,
            finding.verdict.to_string(),
            finding.regime,
            finding.what
        );
    }
    print(&text)
}

const BEGIN: &str = "<!-- adamant study --paper: begin -->\n";
const END: &str = "<!-- adamant study --paper: end -->";

/// Puts the table of all claims between the marks of `file`, from `results/NAME/*.json` of every study.
pub fn paper(file: &Path, results: &Path, settings: &Settings) -> anyhow::Result<()> {
    let mut studies = Vec::new();
    for (name, _) in STUDIES {
        let study = study(name)?;
        let keys: Vec<(String, String)> =
            study.cells(&[])?.into_iter().map(|cell| (cell.id(), cell.key)).collect();
        let mut records = read_records(&results.join(name))?;
        records.retain(|record| keys.contains(&(record.id(), record.key.clone())));
        studies.push((study, records));
    }
    let table = claims_table(&paper_claims(), &studies);
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{}: the document cannot be read", file.display()))
        .or_wrong_usage()?;
    let marks = || {
        let (before, rest) = text.split_once(BEGIN)?;
        let (_, after) = rest.split_once(END)?;
        Some(format!("{before}{BEGIN}{table}{END}{after}"))
    };
    let none = || anyhow!("{}: has no marks {BEGIN}and {END}", file.display());
    write(file, marks().ok_or_else(none).or_wrong_usage()?.as_bytes())?;
    settings.remark(format_args!("written: {}", file.display()));
    Ok(())
}
