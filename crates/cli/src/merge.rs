//! `adamant merge`: the parts of an evaluation that several processes shared, made one.

use crate::evaluate::describe;
use crate::failure::OrWrongUsage;
use crate::output::print;
use crate::ranks::program;
use crate::settings::Settings;
use adamant::evaluate::{EvaluateError, merge};
use std::path::PathBuf;
use std::process::ExitCode;

/// Puts the parts of one evaluation together, as `evaluate --part` left them.
#[derive(clap::Args, Debug)]
pub struct MergeArguments {
    /// The folders of all parts.
    #[arg(required = true, value_name = "DIR")]
    parts: Vec<PathBuf>,
    /// Where evaluation.json, verdicts.jsonl and the merged ledger go.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs the command.
pub fn run(arguments: &MergeArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut merged = match merge(&arguments.parts) {
        Err(
            error @ (EvaluateError::LedgerDiffers { .. }
            | EvaluateError::LedgerContradicts { .. }
            | EvaluateError::Incomplete { .. }),
        ) => Err(error).or_wrong_usage()?,
        other => other?,
    };
    merged.evaluation.program = Some(program());
    merged.write(&arguments.out)?;
    if settings.json {
        print(&merged.evaluation.to_json())?;
    } else {
        print(&describe(&merged.evaluation))?;
        settings.remark(format!("written: {}", arguments.out.display()));
    }
    Ok(ExitCode::SUCCESS)
}
