//! The `adamant` binary; the only crate that prints.
//!
//! Each command is one file: its arguments (`clap::Args`) and `run`. [`settings`] are the flags every command takes,
//! [`failure`] turns errors into messages and exit codes.

#![forbid(unsafe_code)]

mod attack;
mod bench;
mod data;
mod diagnose;
mod evaluate;
mod failure;
mod import;
mod memory;
mod merge;
mod model;
mod models;
mod output;
mod plan;
mod progress;
mod ranks;
mod report;
mod runs;
mod settings;
mod study;
mod subject;
mod surrogate;
mod threat;
mod train;

use clap::{Parser, Subcommand};
use settings::Settings;
use std::process::ExitCode;

/// The release and the commit: a benchmark's record names what it timed.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("ADAMANT_REVISION"),
    ", dirty: ",
    env!("ADAMANT_DIRTY"),
    ")"
);

/// Trains image classifiers that stay right under attack, attacks them and judges them.
#[derive(Parser)]
#[command(name = "adamant", version = VERSION, arg_required_else_help = true)]
struct CommandLine {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(train::TrainArguments),
    Runs(runs::RunsArguments),
    Evaluate(evaluate::EvaluateArguments),
    Merge(merge::MergeArguments),
    Attack(attack::AttackArguments),
    Bench(bench::BenchArguments),
    Data(data::DataArguments),
    Study(study::StudyArguments),
    Import(import::ImportArguments),
    Models(models::ModelsArguments),
    Plan(plan::PlanArguments),
    Report(report::ReportArguments),
    Diagnose(diagnose::DiagnoseArguments),
}

fn main() -> ExitCode {
    let CommandLine { settings, command } = CommandLine::parse();
    match run(&settings, command) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}

fn run(settings: &Settings, command: Command) -> anyhow::Result<ExitCode> {
    settings.apply()?;
    match command {
        Command::Train(arguments) => train::run(&arguments, settings),
        Command::Runs(arguments) => runs::run(&arguments, settings),
        Command::Evaluate(arguments) => evaluate::run(&arguments, settings),
        Command::Merge(arguments) => merge::run(&arguments, settings),
        Command::Attack(arguments) => attack::run(&arguments, settings),
        Command::Bench(arguments) => bench::run(&arguments, settings),
        Command::Data(arguments) => data::run(&arguments, settings),
        Command::Study(arguments) => study::run(&arguments, settings),
        Command::Import(arguments) => import::run(&arguments, settings),
        Command::Models(arguments) => models::run(&arguments, settings),
        Command::Plan(arguments) => plan::run(&arguments, settings),
        Command::Diagnose(arguments) => diagnose::run(&arguments, settings),
        Command::Report(arguments) => report::run(&arguments, settings),
    }
}
