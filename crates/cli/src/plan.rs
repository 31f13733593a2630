//! `adamant plan`: what a training would take on many machines, from a measurement of one.

use crate::failure::OrWrongUsage;
use crate::memory::Bytes;
use crate::output::{print, table, thousands};
use crate::settings::Settings;
use adamant::forecast::{Compute, Forecast, Layer, Links, Work, forecast};
use adamant::report::number::duration;
use adamant::train::buckets::{Overlap, OverlapKind};
use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;
use collective::Wire;
use engine::Wants;
use network::{Architecture, Domains, Network, NodeParameters, NormChoice, Pass, Shape};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

/// Predicts step time, efficiency, memory and days of a training on many machines, from a measurement of one.
#[derive(clap::Args, Debug)]
pub struct PlanArguments {
    /// What `adamant bench --json` has written on such a machine: its network, method and attack are planned.
    #[arg(long, value_name = "FILE")]
    bench: PathBuf,
    /// Machines; several numbers, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [1, 8, 32, 128].map(|n| NonZeroUsize::new(n).expect("none is 0")))]
    nodes: Vec<NonZeroUsize>,
    /// Images of a step, all machines together.
    #[arg(long, value_name = "N", default_value = "4096")]
    batch: NonZeroUsize,
    /// Gradients of the attack, instead of those the measurement was made with.
    #[arg(long, value_name = "K")]
    steps: Option<NonZeroUsize>,
    /// Images of an epoch.
    #[arg(long, value_name = "N", default_value = "1281167")]
    images: NonZeroUsize,
    /// Epochs.
    #[arg(long, value_name = "N", default_value = "100")]
    epochs: NonZeroUsize,
    /// What one machine sends and, meanwhile, receives: 10Gbit/s, 1GB/s.
    #[arg(long, value_name = "RATE", default_value = "10Gbit/s")]
    bandwidth: Rate,
    /// Microseconds until a message arrives.
    #[arg(long, value_name = "US", default_value = "50")]
    latency: f64,
    /// How gradients travel.
    #[arg(long, value_name = "W", default_value = "f32")]
    wire: WireKind,
    /// When gradients travel: as soon as the backward has finished them, or after it.
    #[arg(long, value_name = "WHEN", default_value = "backward")]
    overlap: Hidden,
    /// MiB of gradients that travel together, as `training.bucket_mib`.
    #[arg(long, value_name = "MIB", default_value = "25")]
    bucket: NonZeroUsize,
    /// What a machine costs an hour, in any currency.
    #[arg(long, value_name = "PRICE")]
    price: Option<f64>,
}

/// How gradients travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WireKind {
    /// As they are.
    F32,
    /// Rounded to bf16: half the bytes.
    Bf16,
}

/// When gradients travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Hidden {
    /// As soon as the backward has finished them.
    Backward,
    /// After the backward.
    None,
}

/// Bytes a second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate(f64);

impl FromStr for Rate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        const UNITS: [(&str, f64); 4] =
            [("Gbit/s", 1e9 / 8.0), ("Mbit/s", 1e6 / 8.0), ("GB/s", 1e9), ("MB/s", 1e6)];
        let named = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
        let expected = "expected a rate such as 10Gbit/s or 1.2GB/s";
        let Some((number, bytes)) = named else { bail!("{text:?}: {expected}") };
        let number: f64 = number.trim().parse().with_context(|| format!("{text:?}: {expected}"))?;
        if !(number > 0.0 && number.is_finite()) {
            bail!("{text:?}: {expected}, above 0");
        }
        Ok(Self(number * bytes))
    }
}

/// What is read of a measurement.
#[derive(Debug, Deserialize)]
struct Bench {
    arch: String,
    image: usize,
    batch: usize,
    steps: usize,
    method: String,
    precision: String,
    threads: usize,
    milliseconds: BTreeMap<String, f64>,
}

impl Bench {
    fn read(path: &PathBuf) -> anyhow::Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{name}: the measurement cannot be read"));
        let bench: Self = serde_json::from_str(&text.or_wrong_usage()?)
            .map_err(|error| {
                anyhow!("{name}: {error}\n  hint: adamant bench --arch resnet50 --image 224 --batch 8 --json > {name}")
            })
            .or_wrong_usage()?;
        for (what, found) in [("batch", bench.batch), ("image", bench.image)] {
            if found == 0 {
                return Err(anyhow!("{name}: {what} is 0, expected what was measured"))
                    .or_wrong_usage();
            }
        }
        Ok(bench)
    }

    fn seconds(&self, part: &str) -> anyhow::Result<f64> {
        let found = self.milliseconds.get(part).filter(|ms| ms.is_finite() && **ms > 0.0);
        let none = || {
            anyhow!(
                "the measurement lacks {part}\n  hint: adamant bench times it unless --parts leaves it out"
            )
        };
        Ok(found.ok_or_else(none).or_wrong_usage()? / 1e3)
    }

    /// Images shown for each one attacked.
    fn shown(&self) -> usize {
        if self.method == "mixture" { 2 } else { 1 }
    }

    fn compute(&self) -> anyhow::Result<Compute> {
        let batch = self.batch as f64;
        let attack_pass = self.seconds("attack_pass")? / batch;
        let training_pass = self.seconds("training_pass")? / batch;
        let by_image = self.steps as f64 * attack_pass + self.shown() as f64 * training_pass;
        let fixed = (self.seconds("step")? - batch * by_image).max(0.0);
        Ok(Compute { attack_pass, training_pass, fixed })
    }
}

/// Runs the command.
pub fn run(arguments: &PlanArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    if !(arguments.latency >= 0.0 && arguments.latency.is_finite()) {
        let found = arguments.latency;
        return Err(anyhow!("--latency is {found}, expected microseconds from 0")).or_wrong_usage();
    }
    let bench = Bench::read(&arguments.bench)?;
    let compute = bench.compute()?;
    let native = Architecture::named(&bench.arch).or_wrong_usage()?;
    let input = Shape::new(native.input.channels, bench.image, bench.image);
    let norm = if bench.shown() == 2 { NormChoice::MIXTURE } else { NormChoice::BATCH };
    let graph = Architecture { norm, input, ..native }.graph();
    let network = graph.and_then(Network::new).or_wrong_usage()?;
    let work = Work {
        batch: arguments.batch.get(),
        attack_steps: arguments.steps.map_or(bench.steps, NonZeroUsize::get),
        shown: bench.shown(),
        layers: layers(&network).or_wrong_usage()?,
    };
    let links = Links {
        bandwidth: arguments.bandwidth.0,
        latency: arguments.latency / 1e6,
        wire: match arguments.wire {
            WireKind::F32 => Wire::F32,
            WireKind::Bf16 => Wire::Bf16,
        },
        overlap: Overlap {
            kind: match arguments.overlap {
                Hidden::Backward => OverlapKind::Backward,
                Hidden::None => OverlapKind::None,
            },
            bucket_bytes: arguments.bucket.get().saturating_mul(1 << 20),
        },
    };
    let steps_per_epoch = (arguments.images.get() / work.batch).max(1);
    let mut rows = Vec::new();
    for nodes in arguments.nodes.iter().map(|nodes| nodes.get()) {
        let found = forecast(&compute, &work, &links, nodes);
        let memory = memory(&network, found.images * work.shown, settings)?;
        let epoch = found.step() * steps_per_epoch as f64;
        rows.push(Planned { found, memory, epoch, run: epoch * arguments.epochs.get() as f64 });
    }
    if settings.json {
        print(&serde_json::to_string_pretty(&to_json(arguments, &bench, &work, &compute, &rows))?)?;
    } else {
        print(&text(arguments, &bench, &work, &compute, &rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What each node of the graph multiplies and learns.
fn layers(network: &Network) -> anyhow::Result<Vec<Layer>> {
    let count = network.graph.count()?;
    let learnt = |node: &NodeParameters| match node {
        NodeParameters::None => Vec::new(),
        NodeParameters::Weighted { weight, bias } => {
            [Some(*weight), *bias].into_iter().flatten().collect()
        }
        NodeParameters::Norm { affine, .. } => {
            affine.iter().flat_map(|ids| [ids.scale, ids.shift]).collect()
        }
        NodeParameters::Gain(gain) => vec![*gain],
    };
    let layer = |(found, node): (&network::NodeCount, &NodeParameters)| Layer {
        macs: found.macs,
        parameters: learnt(node).into_iter().map(|id| network.parameters[id].values.len()).sum(),
    };
    Ok(count.nodes.iter().zip(&network.layout().nodes).map(layer).collect())
}

struct Planned {
    found: Forecast,
    /// Bytes of a step in f32, everything stored; less with a budget.
    memory: u64,
    /// Seconds.
    epoch: f64,
    run: f64,
}

/// What a node's recording and parameters take in f32 with everything stored.
fn memory(network: &Network, images: usize, settings: &Settings) -> anyhow::Result<u64> {
    let pass = Pass {
        statistics: network::Statistics::Batch,
        domains: Domains::All(network::Domain::CLEAN),
    };
    let plan = settings.engine()?.memory_plan(network, images, &pass, Wants::Parameters)?;
    Ok(plan.peak())
}

fn text(
    arguments: &PlanArguments,
    bench: &Bench,
    work: &Work,
    compute: &Compute,
    rows: &[Planned],
) -> String {
    let Bench { arch, image, batch, method, precision, threads, .. } = bench;
    let mut head = vec![
        "nodes",
        "images each",
        "step s",
        "waiting",
        "images/s",
        "efficiency",
        "memory each",
        "epoch",
        "run",
    ];
    if arguments.price.is_some() {
        head.push("price");
    }
    let mut lines = vec![head.into_iter().map(String::from).collect::<Vec<_>>()];
    for Planned { found, memory, epoch, run } in rows {
        let mut row = vec![
            found.nodes.to_string(),
            found.images.to_string(),
            format!("{:.2}", found.step()),
            format!("{:.1} %", 100.0 * found.waiting / found.step()),
            format!("{:.1}", work.batch as f64 / found.step()),
            format!("{:.1} %", 100.0 * found.efficiency),
            Bytes(*memory).to_string(),
            duration(*epoch),
            duration(*run),
        ];
        if let Some(price) = arguments.price {
            row.push(format!("{:.0}", run / 3600.0 * found.nodes as f64 * price));
        }
        lines.push(row);
    }
    format!(
        "{arch}, {image} pixels, {method}, PGD-{}, batches of {}: {} parameters\n\n{}\n\
         measured on one machine ({precision}, {threads} threads, {batch} images): {:.2} ms an image and gradient of the attack, {:.2} ms an image\n\
         shown, {:.0} ms a step besides. Assumed: machines alike, a network of their own, images never waited for; gradients travel\n\
         {} and take no computing. Memory is that of f32 with everything stored: `adamant models --memory`.\n",
        work.attack_steps,
        work.batch,
        thousands(work.parameters() as u64),
        table(&lines),
        1e3 * compute.attack_pass,
        1e3 * compute.training_pass,
        1e3 * compute.fixed,
        match arguments.overlap {
            Hidden::Backward => "behind the backward",
            Hidden::None => "after the backward",
        },
    )
}

fn to_json(
    arguments: &PlanArguments,
    bench: &Bench,
    work: &Work,
    compute: &Compute,
    rows: &[Planned],
) -> serde_json::Value {
    let rows = rows.iter().map(|Planned { found, memory, epoch, run }| {
        json!({
            "nodes": found.nodes,
            "images_each": found.images,
            "step_seconds": found.step(),
            "compute_seconds": found.compute,
            "travelling_seconds": found.travelling,
            "waiting_seconds": found.waiting,
            "bytes_sent": found.bytes,
            "efficiency": found.efficiency,
            "memory_bytes": memory,
            "epoch_seconds": epoch,
            "run_seconds": run,
            "price": arguments.price.map(|price| run / 3600.0 * found.nodes as f64 * price),
        })
    });
    json!({
        "arch": bench.arch,
        "image": bench.image,
        "method": bench.method,
        "precision": bench.precision,
        "threads": bench.threads,
        "batch": work.batch,
        "attack_steps": work.attack_steps,
        "parameters": work.parameters(),
        "attack_pass_seconds_per_image": compute.attack_pass,
        "training_pass_seconds_per_image": compute.training_pass,
        "fixed_seconds": compute.fixed,
        "bandwidth_bytes_per_second": arguments.bandwidth.0,
        "latency_seconds": arguments.latency / 1e6,
        "nodes": rows.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_unit() {
        assert_eq!("10Gbit/s".parse::<Rate>().unwrap(), Rate(1.25e9));
        assert_eq!("1.5 GB/s".parse::<Rate>().unwrap(), Rate(1.5e9));
        for wrong in ["10", "0Gbit/s", "-1MB/s", "fastGB/s"] {
            let error = wrong.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
