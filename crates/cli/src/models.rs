//! `adamant models [NAME]`: the architectures, and what one of them costs in work and memory.

mod memory;

use crate::failure::OrWrongUsage;
use crate::memory::Bytes;
use crate::output::{print, table, thousands};
use crate::settings::Settings;
use memory::Memory;
use network::{Architecture, Count, Shape};
use serde::Serialize;
use std::num::NonZeroUsize;
use std::process::ExitCode;

/// Architectures; with a name: layers, parameters, FLOPs and the memory of a training step.
#[derive(clap::Args, Debug)]
pub struct ModelsArguments {
    /// An architecture such as resnet18-cifar; without one, all are listed.
    name: Option<String>,
    /// Count FLOPs for images of N by N pixels; may be repeated. The default is the native size and 32.
    #[arg(long = "image", value_name = "N", requires = "name")]
    images: Vec<usize>,
    /// Plan the memory of a mixture step on N clean images and their adversarial counterparts.
    #[arg(long, value_name = "N", requires = "name", default_value = "8")]
    batch: NonZeroUsize,
    /// Plan within an amount of memory such as 8GiB.
    #[arg(long, value_name = "AMOUNT", requires = "name")]
    memory: Option<Bytes>,
}

/// The usual members of the families; any other depth or width a name can say is built as well.
const LISTED: [&str; 19] = [
    "resnet8-cifar",
    "resnet14-cifar",
    "resnet20-cifar",
    "resnet32-cifar",
    "resnet44-cifar",
    "resnet56-cifar",
    "resnet110-cifar",
    "resnet18-cifar",
    "resnet638-cifar",
    "wrn-28-10",
    "wrn-34-10",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet200",
    "resnet338",
    "resnet638",
];

#[derive(Serialize)]
struct Model {
    name: String,
    layers: usize,
    parameters: usize,
    running_statistics: usize,
    classes: usize,
    cost: Vec<Cost>,
}

/// One forward of one image.
#[derive(Serialize)]
struct Cost {
    image: usize,
    macs: u64,
    flops: u64,
    /// Not in a list of all architectures.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Memory>,
}

/// Runs the command.
pub fn run(arguments: &ModelsArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    match &arguments.name {
        Some(name) => one(name, arguments, settings)?,
        None => all(settings)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn one(name: &str, arguments: &ModelsArguments, settings: &Settings) -> anyhow::Result<()> {
    let architecture = Architecture::named(name).or_wrong_usage()?;
    let native = architecture.input.height;
    let images = match &arguments.images[..] {
        [] if native == 32 => vec![32],
        [] => vec![native, 32],
        given => given.to_vec(),
    };
    let mut model = count(name, &images)?;
    for cost in &mut model.cost {
        let sized = sized(&architecture, cost.image);
        cost.memory = Some(Memory::planned(sized, arguments.batch, arguments.memory, settings)?);
    }
    if settings.json {
        return print(&serde_json::to_string_pretty(&model)?);
    }
    let number = |value: usize| thousands(value as u64);
    let mut rows = vec![
        vec!["layers".to_string(), number(model.layers)],
        vec!["parameters".to_string(), number(model.parameters)],
        vec!["running statistics".to_string(), number(model.running_statistics)],
        vec!["classes".to_string(), number(model.classes)],
    ];
    for cost in &model.cost {
        rows.push(vec![format!("FLOPs at {0}x{0}", cost.image), thousands(cost.flops)]);
    }
    let mut text = format!(
        "{}\n{}FLOPs: one forward of one image, two per multiply-accumulate; an input gradient costs as much again,\n\
         a training pass three times as much in all.\n",
        model.name,
        table(&rows)
    );
    for cost in &model.cost {
        let memory = cost.memory.iter().map(|memory| memory.text(cost.image));
        text.extend(memory);
    }
    print(&text)
}

fn all(settings: &Settings) -> anyhow::Result<()> {
    let mut models = Vec::new();
    for name in LISTED {
        models.push(count(name, &[Architecture::named(name)?.input.height])?);
    }
    if settings.json {
        return print(&serde_json::to_string_pretty(&models)?);
    }
    let mut rows =
        vec![["name", "layers", "parameters", "pixels", "GFLOPs"].map(str::to_string).to_vec()];
    for model in &models {
        let cost = &model.cost[0];
        rows.push(vec![
            model.name.clone(),
            model.layers.to_string(),
            thousands(model.parameters as u64),
            cost.image.to_string(),
            format!("{:.2}", cost.flops as f64 / 1e9),
        ]);
    }
    print(&format!("{}others: {}\n", table(&rows), Architecture::names()))
}

fn count(name: &str, images: &[usize]) -> anyhow::Result<Model> {
    let architecture = Architecture::named(name).or_wrong_usage()?;
    let mut cost = Vec::new();
    for &image in images {
        let count = count_at(&architecture, image)?;
        cost.push(Cost { image, macs: count.macs, flops: count.flops(), memory: None });
    }
    let native = count_at(&architecture, architecture.input.height)?;
    Ok(Model {
        name: architecture.name(),
        layers: native.layers,
        parameters: native.parameters,
        running_statistics: native.statistics,
        classes: architecture.classes,
        cost,
    })
}

fn count_at(architecture: &Architecture, image: usize) -> anyhow::Result<Count> {
    sized(architecture, image).graph().and_then(|graph| graph.count()).or_wrong_usage()
}

/// The architecture for images of another size.
fn sized(architecture: &Architecture, image: usize) -> Architecture {
    let input = Shape::new(architecture.input.channels, image, image);
    Architecture { input, ..architecture.clone() }
}
