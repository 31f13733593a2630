//! The flags that every command takes.

use crate::failure::OrWrongUsage;
use adamant::train::precision::PrecisionKind;
use anyhow::Context;
use clap::ValueEnum;
use engine::Precision;
use engine::cpu::{CpuEngine, CpuSettings, Isa};
use std::num::NonZeroUsize;

/// What holds for a whole invocation, whatever the command.
#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    /// Threads that compute; the default is every core. Results do not depend on it.
    #[arg(long, global = true, help_heading = "Everywhere", value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Arithmetic of attacks and training; judging is always f32.
    #[arg(
        long,
        global = true,
        help_heading = "Everywhere",
        value_name = "P",
        default_value = "auto"
    )]
    pub precision: PrecisionChoice,
    /// No progress, no remarks: only results and errors.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub quiet: bool,
    /// The result alone, as JSON, on standard output.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// How much to say on standard error.
    #[arg(
        long,
        global = true,
        help_heading = "Everywhere",
        value_name = "LEVEL",
        default_value = "info"
    )]
    pub log: LogLevel,
}

/// The precisions a user can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrecisionChoice {
    /// Single precision.
    F32,
    /// bf16 values with f32 sums.
    Bf16,
    /// Training: what the recipe says, and if it says auto, what is fastest on this machine. Attacks of an evaluation:
    /// f32.
    Auto,
}

/// How much is said on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What a user wants to know.
    Info,
    /// Also what a developer wants to know.
    Debug,
}

impl Settings {
    /// Sizes the pool of threads; called once, before any work.
    pub fn apply(&self) -> anyhow::Result<()> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.thread_count())
            .build_global()
            .with_context(|| format!("starting {} threads", self.thread_count()))
            .or_wrong_usage()
    }

    /// The engine of this invocation.
    pub fn engine(&self) -> anyhow::Result<CpuEngine> {
        let isa = Isa::best().or_wrong_usage()?;
        self.debug(|| format!("{} threads, instructions {isa:?}", self.thread_count()));
        Ok(CpuEngine::new(CpuSettings { threads: self.thread_count(), isa })?)
    }

    /// How networks compute that an evaluation attacks. Half precision is never chosen unasked: its gradients differ
    /// from the exact ones, and a weaker attack makes a model look better than it is.
    pub fn engine_precision(&self) -> Precision {
        match self.precision {
            PrecisionChoice::F32 | PrecisionChoice::Auto => Precision::F32,
            PrecisionChoice::Bf16 => Precision::Bf16,
        }
    }

    /// What a run computes with whose recipe says `written`.
    pub fn training_precision(&self, written: PrecisionKind, engine: &CpuEngine) -> PrecisionKind {
        let asked = match self.precision {
            PrecisionChoice::F32 => PrecisionKind::F32,
            PrecisionChoice::Bf16 => PrecisionKind::Bf16,
            PrecisionChoice::Auto => written,
        };
        asked.resolve(engine.fastest_precision()).into()
    }

    /// How many threads compute.
    pub fn thread_count(&self) -> usize {
        match self.threads {
            Some(count) => count.get(),
            None => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }

    /// Whether progress is shown.
    pub fn shows_progress(&self) -> bool {
        !self.quiet
    }

    /// A remark on standard error, unless the user wants quiet.
    pub fn remark(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// A remark for developers: shown with `--log debug`.
    pub fn debug(&self, text: impl FnOnce() -> String) {
        if self.log == LogLevel::Debug {
            eprintln!("debug: {}", text());
        }
    }
}
