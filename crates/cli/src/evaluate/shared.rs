//! An evaluation over several ranks: each judges a part of the images, rank 0 puts the parts together.
//!
//! The parts and their merging are those of `--part` and `adamant merge`, so that no image is dropped or counted twice
//! whatever the remainder, and the merged ledger is that of one process. Ranks need no common file system.

use super::{EvaluateArguments, judge, pictures, tell, write};
use crate::failure::OrWrongUsage;
use crate::ranks::Known;
use crate::settings::Settings;
use adamant::evaluate::{LEDGER, Share, merge};
use adamant::report::markdown;
use anyhow::{Context, anyhow};
use collective::Collective;
use std::path::PathBuf;
use std::process::ExitCode;

/// Judges this rank's part; on rank 0 also writes and tells the whole.
pub fn run(
    ranks: &dyn Collective,
    arguments: &EvaluateArguments,
    settings: &Settings,
    known: &mut Known,
) -> anyhow::Result<ExitCode> {
    let (rank, size) = (ranks.rank(), ranks.world_size());
    let Some(out) = arguments.out.clone() else {
        let text = "an evaluation over several ranks needs a folder";
        return Err(anyhow!("{text}\n  hint: --out DIR")).or_wrong_usage();
    };
    let several = !arguments.curve.is_empty() || arguments.all_branches;
    if several || !arguments.part.is_whole() || arguments.robustbench.is_some() {
        let text = "--curve, --all-branches, --part and --robustbench are of one process";
        return Err(anyhow!("{text}\n  hint: start it without the launcher")).or_wrong_usage();
    }
    let merged = out.join(LEDGER);
    if rank == 0 && merged.exists() {
        let text = format!("{}: holds an evaluation already", out.display());
        return Err(anyhow!("{text}\n  hint: choose another folder with --out")).or_wrong_usage();
    }
    let part = |rank: usize| out.join(format!("part-{}-of-{size}", rank + 1));
    let own = EvaluateArguments {
        part: Share::new(rank + 1, size)?,
        out: Some(part(rank)),
        ..arguments.clone()
    };
    judge(&own, settings)?;
    let path = part(rank).join(LEDGER);
    let ledger = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let ledgers = ranks.gather("ledgers", &ledger)?;
    // The parts are judged: what fails from here on concerns rank 0 alone.
    *known = Known::ToAll;
    if rank > 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let parts: Vec<PathBuf> = (0..size).map(part).collect();
    for (part, ledger) in parts.iter().zip(&ledgers).skip(1) {
        std::fs::create_dir_all(part).with_context(|| format!("making {}", part.display()))?;
        let path = part.join(LEDGER);
        // On a common file system it is there already.
        if std::fs::read(&path).ok().as_ref() != Some(ledger) {
            write(&path, ledger)?;
        }
    }
    let merged = merge(&parts)?;
    merged.write(&out)?;
    let evaluation = &merged.evaluation;
    write(&out.join("evaluation.md"), markdown::evaluation(evaluation).as_bytes())?;
    pictures::write(evaluation, &out)?;
    tell(evaluation, Some(&out), settings)?;
    Ok(ExitCode::SUCCESS)
}
