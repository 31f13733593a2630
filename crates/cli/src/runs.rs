//! `adamant runs [DIR]`: the runs there are, how they stand, and what they have come to.

use crate::output::{percent, print, table};
use crate::settings::Settings;
use adamant::report::number::duration;
use adamant::train::survey::{Condition, Surveyed, survey};
use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Lists runs: how they stand, their best figures, the time they need yet.
#[derive(clap::Args, Debug)]
pub struct RunsArguments {
    /// A folder of runs, or one run.
    #[arg(default_value = "runs")]
    folder: PathBuf,
}

/// Runs the command.
pub fn run(arguments: &RunsArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let folder = &arguments.folder;
    let runs = survey(folder)
        .with_context(|| format!("{}: the folder cannot be read", folder.display()))?;
    if settings.json {
        let all: Vec<Value> = runs.iter().map(to_json).collect();
        print(&serde_json::to_string_pretty(&all)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if runs.is_empty() {
        return Err(anyhow!(
            "{} holds no runs\n  hint: `adamant train` begins one in runs/",
            folder.display()
        ));
    }
    let head = ["run", "status", "step", "best step", "clean", "robust", "trained", "left"];
    let mut rows = vec![head.map(String::from).to_vec()];
    rows.extend(runs.iter().map(row));
    let mut text = table(&rows);
    for run in &runs {
        text += &remarks(run);
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn row(run: &Surveyed) -> Vec<String> {
    let record = &run.record;
    let none = || "-".to_string();
    let best = record.best.as_ref();
    vec![
        run.folder.display().to_string(),
        run.condition.name().to_string(),
        match record.steps {
            0 => run.step.to_string(),
            steps => format!("{} of {steps}", run.step),
        },
        best.map_or_else(none, |best| best.step.to_string()),
        best.map_or_else(none, |best| percent(best.accuracy_clean)),
        best.map_or_else(none, |best| {
            format!("{} {}", best.attack, percent(best.accuracy_adversarial))
        }),
        duration(run.seconds),
        run.seconds_left.map_or_else(none, duration),
    ]
}

/// What a table has no room for.
fn remarks(run: &Surveyed) -> String {
    let name = run.folder.display();
    let mut text = String::new();
    if let Some(holder) = &run.holder {
        text += &format!("{name}: process {} on {}\n", holder.pid, holder.host);
    }
    if run.condition.can_go_on() {
        text += &format!("{name}: continue with adamant train --resume --out {name}\n");
    }
    if let (Condition::Failed, Some(error)) = (run.condition, &run.record.error) {
        text += &format!("{name}: {error}\n");
    }
    for alarm in &run.record.alarms {
        text += &format!("{name}: alarm at step {}: {}\n", alarm.step, alarm.message);
    }
    text
}

fn to_json(run: &Surveyed) -> Value {
    let record = &run.record;
    json!({
        "folder": run.folder,
        "recipe": record.recipe,
        "status": run.condition,
        "step": run.step,
        "steps": record.steps,
        "seconds": run.seconds,
        "seconds_left": run.seconds_left,
        "best": record.best,
        "alarms": record.alarms,
        "error": record.error,
        "resumed": record.resumed,
        "changes": record.changes,
        "holder": run.holder,
    })
}
