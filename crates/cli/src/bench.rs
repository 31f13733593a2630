//! `adamant bench`: what training and attacks cost on this machine, held against what its processor can do.
//!
//! Four parts are timed, each alone: `forward` and `attack-pass` (forward and input gradient) of the frozen network on
//! all threads as an attack runs them, `training-pass` (recording and backward of all parameters, batch statistics)
//! and `step`, exactly what the trainer does for one batch. Pixels are random and dense, never zeros: the clock of a
//! processor depends on its data. Peaks are measured in the same process.

mod layers;
mod parts;
mod peaks;
mod record;
mod subject;
mod timing;

use crate::output::{print, table, thousands};
use crate::settings::Settings;
use clap::ValueEnum;
use parts::Part;
use record::Record;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use subject::Subject;

/// Times forward, attack pass, training pass and a whole PGD-K training step.
#[derive(clap::Args, Debug)]
pub struct BenchArguments {
    /// An architecture such as resnet18-cifar; `adamant models` lists them.
    #[arg(long, value_name = "A", default_value = "resnet20-cifar")]
    arch: String,
    /// Images are N by N pixels; the default is the architecture's own size.
    #[arg(long, value_name = "N")]
    image: Option<NonZeroUsize>,
    /// Images of a batch; a mixture step shows the network as many adversarial ones again.
    #[arg(long, value_name = "N", default_value = "64")]
    batch: NonZeroUsize,
    /// Steps of PGD in the whole step.
    #[arg(long, value_name = "K", default_value = "10")]
    steps: NonZeroUsize,
    /// Training method of the whole step.
    #[arg(long, value_name = "M", default_value = "mixture")]
    method: Method,
    /// What to time, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = Part::ALL)]
    parts: Vec<Part>,
    /// How often each part is timed, after one unmeasured run; medians are reported.
    #[arg(long, value_name = "N", default_value = "7")]
    runs: NonZeroUsize,
    /// Also a table of the layers of the attack pass: time, rate, share of the peak, bytes.
    #[arg(long)]
    layers: bool,
}

/// A training method whose step can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// All clean and all adversarial images, mixture batch norm.
    Mixture,
    /// Adversarial images, one batch norm.
    AdversarialOnly,
}

impl Method {
    /// The name that a recipe's `objective.kind` takes.
    fn name(self) -> &'static str {
        match self {
            Self::Mixture => "mixture",
            Self::AdversarialOnly => "adversarial-only",
        }
    }
}

/// Runs the command.
pub fn run(arguments: &BenchArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let subject = Subject::new(arguments)?;
    let precision = settings.engine_precision();
    let engine = settings.engine()?.training_in(precision);
    let load = record::load_average();
    // On the engine's threads, as `train` does it: attack and training pass then share them.
    let (peaks, timed, layers) = engine.pool().install(|| -> anyhow::Result<_> {
        let peaks = peaks::measure(engine.settings().isa);
        let timed = parts::measure(arguments, &subject, &engine, precision)?;
        let runs = arguments.runs.get();
        let layers = arguments.layers.then(|| layers::measure(&subject, &engine, precision, runs));
        Ok((peaks, timed, layers.transpose()?))
    })?;
    let record = Record::new(arguments, settings, &subject, &engine, peaks, timed, layers, load);
    if settings.json {
        print(&serde_json::to_string_pretty(&record)?)?;
    } else {
        print(&text(&record))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(record: &Record) -> String {
    let Record { arch, image, batch, threads, kernel, precision, method, steps, .. } = record;
    let mut rows = vec![
        ["", "ms", "min", "max", "images/s", "GFLOP/s", "of peak"].map(str::to_string).to_vec(),
    ];
    for name in Part::ALL.map(Part::key) {
        let Some(milliseconds) = record.milliseconds.get(name) else { continue };
        let samples = &record.samples[name];
        let rate = |rates: &record::ByPart, decimals: usize| match rates.get(name) {
            Some(rate) => format!("{rate:.decimals$}"),
            None => String::new(),
        };
        let share = record.share_of_peak.get(name);
        rows.push(vec![
            name.replace('_', " "),
            format!("{milliseconds:.2}"),
            format!("{:.2}", timing::least(samples)),
            format!("{:.2}", timing::most(samples)),
            rate(&record.images_per_second, 1),
            rate(&record.gflops, 1),
            share.map_or(String::new(), |share| crate::output::percent(*share)),
        ]);
    }
    let mut text = format!(
        "{arch}, {batch} images of {image}x{image}, {threads} threads, {precision} on {kernel}\n\n{}\n",
        table(&rows)
    );
    text.push_str(&format!(
        "ms: medians of {} runs. step: PGD-{steps}, {method}, as the trainer does it.\n\
         Peaks, all threads at once: {}; shares are of {:.0} GFLOP/s.\n\
         Resident memory at most {} MB; load average {}.\n",
        record.runs,
        record.peaks.text(),
        record.peak_gflops,
        thousands(record.peak_rss_bytes / 1_000_000),
        record.load_average.map_or("unknown".to_string(), |load| format!("{:.2}", load[0])),
    ));
    if let Some(layers) = &record.layers {
        text.push('\n');
        text.push_str(&layers::text(layers));
    }
    text
}
