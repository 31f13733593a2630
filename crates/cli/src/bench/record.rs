//! What `adamant bench --json` writes.

use super::layers::Layer;
use super::parts::Part;
use super::peaks::Peaks;
use super::subject::Subject;
use super::{BenchArguments, timing};
use crate::settings::Settings;
use crate::train::identity::identity;
use adamant::train::record::Machine;
use engine::Precision;
use engine::cpu::CpuEngine;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers by [`Part::key`].
pub type ByPart = BTreeMap<&'static str, f64>;

/// One invocation.
#[derive(Debug, Serialize)]
pub struct Record {
    pub arch: String,
    /// Pixels of a side.
    pub image: usize,
    pub batch: usize,
    /// Steps of PGD.
    pub steps: usize,
    pub method: &'static str,
    pub precision: String,
    /// Instruction set that multiplies.
    pub kernel: String,
    pub threads: usize,
    pub runs: usize,
    /// Medians.
    pub milliseconds: ByPart,
    /// Rates by nominal operations: two per multiply-add of every convolution and linear map.
    pub gflops: ByPart,
    pub share_of_peak: ByPart,
    pub images_per_second: ByPart,
    /// Milliseconds of every run.
    pub samples: BTreeMap<&'static str, Vec<f64>>,
    /// What the shares are of.
    pub peak_gflops: f64,
    pub peaks: Peaks,
    pub peak_rss_bytes: u64,
    pub layers: Option<Vec<Layer>>,
    pub version: String,
    pub revision: String,
    pub dirty: bool,
    pub machine: Machine,
    /// Before the first measurement: over 1, 5 and 15 minutes; Linux only.
    pub load_average: Option<[f64; 3]>,
    /// Seconds since 1970 at the end.
    pub finished_unix: u64,
    pub command: Vec<String>,
}

impl Record {
    /// Rates and shares from times.
    #[allow(clippy::too_many_arguments, reason = "each is one thing that was measured or asked")]
    pub fn new(
        arguments: &BenchArguments,
        settings: &Settings,
        subject: &Subject,
        engine: &CpuEngine,
        peaks: Peaks,
        timed: BTreeMap<Part, Vec<f64>>,
        layers: Option<Vec<Layer>>,
        load_average: Option<[f64; 3]>,
    ) -> Self {
        let batch = subject.batch.images.count;
        let precision = settings.engine_precision();
        let peak_gflops = peaks.of(precision);
        let gflop = subject.count.flops() as f64 * batch as f64 / 1e9;
        let medians: BTreeMap<Part, f64> =
            timed.iter().map(|(&part, samples)| (part, timing::median(samples))).collect();
        let gflops: ByPart = medians
            .iter()
            .filter_map(|(part, milliseconds)| {
                let work = part.forwards(arguments)? as f64 * gflop;
                Some((part.key(), work / milliseconds * 1e3))
            })
            .collect();
        let images = medians.iter().filter(|(part, _)| **part != Part::Freeze);
        let layers = layers.map(|mut layers| {
            layers.iter_mut().for_each(|layer| layer.share_of_peak = layer.gflops / peak_gflops);
            layers
        });
        let kernel = match precision {
            Precision::F32 => engine.settings().isa.single(),
            Precision::Bf16 => engine.settings().isa,
        };
        let program = identity("bench", settings, engine, 1);
        Self {
            arch: arguments.arch.clone(),
            image: subject.network.graph.input.width,
            batch,
            steps: arguments.steps.get(),
            method: arguments.method.name(),
            precision: format!("{precision:?}").to_lowercase(),
            kernel: kernel.to_string(),
            threads: settings.thread_count(),
            runs: arguments.runs.get(),
            images_per_second: images
                .map(|(part, milliseconds)| (part.key(), batch as f64 / milliseconds * 1e3))
                .collect(),
            milliseconds: medians.iter().map(|(part, &time)| (part.key(), time)).collect(),
            share_of_peak: gflops.iter().map(|(&key, rate)| (key, rate / peak_gflops)).collect(),
            gflops,
            samples: timed.into_iter().map(|(part, samples)| (part.key(), samples)).collect(),
            peak_gflops,
            peaks,
            peak_rss_bytes: peak_rss_bytes(),
            layers,
            version: program.version,
            revision: program.revision,
            dirty: program.dirty,
            machine: program.machine,
            load_average,
            finished_unix: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()),
            command: std::env::args().collect(),
        }
    }
}

/// Linux's load averages; other systems do not tell.
pub fn load_average() -> Option<[f64; 3]> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?])
}

/// The most memory this process ever had resident; 0 where the system does not tell.
fn peak_rss_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.map_or(0, |kibibytes| 1024 * kibibytes)
}
