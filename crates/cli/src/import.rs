//! `adamant import FILE`: weights of other programs become a model file.

use crate::failure::OrWrongUsage;
use crate::output::{print, thousands};
use crate::settings::Settings;
use anyhow::bail;
use clap::ValueEnum;
use network::import::{ImportReport, ScalingSource, import_file};
use network::{Architecture, InputScaling, NormChoice, Shape};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Weights from torchvision, timm or CIFAR-ResNet key names; says what it renamed, dropped or missed.
#[derive(clap::Args, Debug)]
pub struct ImportArguments {
    /// The weights, as safetensors; pickles are not read.
    file: PathBuf,
    /// The architecture, such as resnet50 or resnet20-cifar.
    #[arg(long, value_name = "NAME")]
    arch: String,
    /// Where the model goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What the network does to pixels of [0, 1] first: none, symmetric (to [-1, 1]), imagenet, cifar10, or means and
    /// deviations such as 0.5,0.5,0.5/0.2,0.2,0.2. A normaliser in the file takes its place.
    #[arg(long, value_name = "S", alias = "input_scaling", value_parser = scaling)]
    input_scaling: Option<InputScaling>,
    /// Number of classes; the default is the architecture's.
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    /// Height and width of the images; the default is the architecture's.
    #[arg(long, value_name = "N")]
    image: Option<usize>,
    /// Channels of the images.
    #[arg(long, value_name = "N", default_value_t = 3)]
    channels: usize,
    /// Normalisation of the network; with mixture, a single batch norm in the file fills both branches.
    #[arg(long, value_name = "KIND", default_value = "batch")]
    norm: NormKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NormKind {
    /// Ordinary batch norm.
    Batch,
    /// A branch for clean and a branch for adversarial images.
    Mixture,
}

/// What an import did, as JSON.
#[derive(Serialize)]
struct Imported<'a> {
    model: String,
    architecture: &'a str,
    parameters: usize,
    renamed: &'a [(String, String)],
    dropped: &'a [(String, String)],
    missing: &'a [String],
    filled: &'a [String],
    input_scaling: &'static str,
}

/// Runs the command.
pub fn run(arguments: &ImportArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut architecture = Architecture::named(&arguments.arch).or_wrong_usage()?;
    let size = arguments.image.unwrap_or(architecture.input.height);
    architecture.input = Shape::new(arguments.channels, size, size);
    architecture.classes = arguments.classes.unwrap_or(architecture.classes);
    architecture.norm = match arguments.norm {
        NormKind::Batch => NormChoice::BATCH,
        NormKind::Mixture => NormChoice::MIXTURE,
    };
    architecture.scaling = arguments.input_scaling.clone().unwrap_or_else(InputScaling::imagenet);
    let graph = architecture.graph().or_wrong_usage()?;
    let parameters = graph.count()?.parameters;
    let (network, report) = import_file(graph, &arguments.file)?;
    network.write(&arguments.out)?;

    let model = arguments.out.display().to_string();
    let scaling = scaling_source(&report, arguments.input_scaling.is_some());
    if settings.json {
        let imported = Imported {
            model,
            architecture: &network.graph.name,
            parameters,
            renamed: &report.renamed,
            dropped: &report.dropped,
            missing: &report.missing,
            filled: &report.filled,
            input_scaling: scaling,
        };
        print(&serde_json::to_string_pretty(&imported)?)?;
    } else {
        print(&format!(
            "{report}\ninput scaling: {scaling}\n{model}: {}, {} parameters\n",
            network.graph.name,
            thousands(parameters as u64)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Wrong scaling costs accuracy without any error (T18), so an assumption is said aloud.
fn scaling_source(report: &ImportReport, is_stated: bool) -> &'static str {
    match (report.scaling, is_stated) {
        (ScalingSource::File, _) => "from the file",
        (ScalingSource::Architecture, true) => "as stated",
        (ScalingSource::Architecture, false) => {
            "mean and deviation of ImageNet, assumed; state another with --input-scaling"
        }
    }
}

/// A name, or `MEANS/DEVIATIONS` with a number per channel.
fn scaling(text: &str) -> anyhow::Result<InputScaling> {
    let Some((mean, std)) = text.split_once('/') else {
        return Ok(text.parse()?);
    };
    let numbers = |part: &str| -> anyhow::Result<Vec<f32>> {
        part.split(',')
            .map(|number| match number.trim().parse::<f32>() {
                Ok(value) if value.is_finite() => Ok(value),
                _ => bail!("{number:?} is no number in the input scaling {text:?}"),
            })
            .collect()
    };
    Ok(InputScaling::MeanStd { mean: numbers(mean)?, std: numbers(std)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_is_a_name_or_means_and_deviations() {
        assert_eq!(scaling("imagenet").unwrap(), InputScaling::imagenet());
        let custom = InputScaling::MeanStd { mean: vec![0.5, 0.25], std: vec![1.0, 2.0] };
        assert_eq!(scaling("0.5,.25/1,2").unwrap(), custom);
        assert!(scaling("0.5,x/1,2").unwrap_err().to_string().contains("\"x\" is no number"));
        assert!(scaling("nowhere").is_err());
    }
}
