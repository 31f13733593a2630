//! `adamant report RUN...`: what is known of runs as one page, `report.html`, readable offline.

mod gallery;
mod read;

use crate::output::print;
use crate::settings::Settings;
use adamant::report::run::page;
use anyhow::Context;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One page of a run, or of several side by side: figures, curves, images under attack, recipe.
#[derive(clap::Args, Debug)]
pub struct ReportArguments {
    /// Folders of runs.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The page; the default is report.html in the folder of the run, of several in the present folder.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Images that are shown under attack; 0 attacks none.
    #[arg(long, value_name = "N", default_value_t = PICTURES)]
    pictures: usize,
}

/// Rows of pictures of a page.
const PICTURES: usize = 9;

/// Runs the command.
pub fn run(arguments: &ReportArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let out = match (&arguments.out, &arguments.runs[..]) {
        (Some(out), _) => out.clone(),
        (None, [one]) => one.join(PAGE),
        (None, _) => PathBuf::from(PAGE),
    };
    write(&arguments.runs, &out, arguments.pictures, settings)?;
    match settings.json {
        true => print(&json!({ "report": out }).to_string())?,
        false => print(&format!("written: {}", out.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The page of a run, in its folder.
pub fn of_run(folder: &Path, settings: &Settings) -> anyhow::Result<PathBuf> {
    let out = folder.join(PAGE);
    write(&[folder.to_path_buf()], &out, PICTURES, settings)?;
    Ok(out)
}

const PAGE: &str = "report.html";

fn write(runs: &[PathBuf], out: &Path, pictures: usize, settings: &Settings) -> anyhow::Result<()> {
    let findings = runs.iter().map(|run| read::findings(run, pictures, settings));
    let findings = findings.collect::<anyhow::Result<Vec<_>>>()?;
    std::fs::write(out, page(&findings).to_html())
        .with_context(|| format!("writing {} failed", out.display()))
}
