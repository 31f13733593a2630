//! `adamant attack MODEL`: adversarial images to keep or to look at.

use crate::evaluate::save;
use crate::failure::OrWrongUsage;
use crate::output::{percent, print};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::subject::{SubjectArguments, fitting};
use crate::threat::ThreatArguments;
use adamant::data::Dataset;
use adamant::evaluate::{Crafted, Evaluator, Protocol};
use adamant::image::{Images, Shape};
use adamant::report::{Grid, GridRow};
use anyhow::{Context, anyhow, bail};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Writes adversarial images with labels and predictions.
#[derive(clap::Args, Debug)]
pub struct AttackArguments {
    #[command(flatten)]
    subject: SubjectArguments,
    #[command(flatten)]
    threat: ThreatArguments,
    /// The attack, such as pgd-20.
    #[arg(long, value_name = "NAME", alias = "attack")]
    attacks: String,
    /// A safetensors file with images, adversarial, labels, predictions and indices.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also pictures: INDEX-LABEL.png and INDEX-LABEL-as-PREDICTION.png. Eight bits per value, so a picture can lie
    /// half a level outside the ball; the safetensors file is exact.
    #[arg(long, value_name = "DIR")]
    png: Option<PathBuf>,
    /// A picture of some images, their changes and what they became, with both predictions: STEM.svg and STEM.png.
    #[arg(long, value_name = "STEM")]
    grid: Option<PathBuf>,
    /// Rows of that picture; images that the attack turned come first.
    #[arg(long, value_name = "N", default_value_t = 8)]
    grid_rows: usize,
    /// By how much that picture enlarges changes; the default makes the largest possible change of a pixel visible.
    #[arg(long, value_name = "FACTOR")]
    amplify: Option<f32>,
}

/// Runs the command.
pub fn run(arguments: &AttackArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let model = arguments.subject.open_model()?;
    let threat = arguments.threat.threat(model.origin.as_ref())?;
    let (branch, attack_branch) = arguments.subject.branches();
    let engine = settings.engine()?;
    let names = std::slice::from_ref(&arguments.attacks);
    let second = arguments.threat.second_model(names, attack_branch, &engine)?;
    let named = arguments.threat.attack(&arguments.attacks, &threat, second.as_ref())?;
    let Some(attack) = named else {
        return Err(anyhow!("{} changes no image\n  hint: name an attack", arguments.attacks))
            .or_wrong_usage();
    };
    let (data, named) = arguments.subject.open_data(&model)?;
    let evaluator = Evaluator {
        threat: threat.clone(),
        attacks: Vec::new(),
        protocol: Protocol::Paper,
        branch,
        attack_branch,
        precision: settings.engine_precision(),
        samples: arguments.subject.samples(),
        seed: arguments.subject.seed,
        batch_size: arguments.subject.batch_size.get(),
    };
    let mut progress = Progress::new(settings);
    let crafted = evaluator.craft(&*attack, &engine, &model.network, &data, &mut progress);
    progress.finish();
    let crafted = fitting(crafted)?;
    std::fs::write(&arguments.out, crafted.to_safetensors())
        .with_context(|| format!("writing {} failed", arguments.out.display()))?;
    if let Some(folder) = &arguments.png {
        write_pictures(&crafted, folder)?;
    }
    if let Some(stem) = &arguments.grid {
        let title = format!("{}, {} {}", attack.name(), threat.norm(), threat.epsilon());
        let rows = grid_rows(&crafted, arguments.grid_rows, &data);
        let grid = Grid {
            title: &title,
            images: &crafted.images,
            adversarial: &crafted.adversarial,
            amplification: arguments.amplify.unwrap_or_else(|| amplification(&crafted)),
            rows: &rows,
        };
        save(&grid.draw(), stem)?;
    }
    report(arguments, settings, &attack.name(), &named, &crafted)?;
    Ok(ExitCode::SUCCESS)
}

fn report(
    arguments: &AttackArguments,
    settings: &Settings,
    attack: &str,
    data: &str,
    crafted: &Crafted,
) -> anyhow::Result<()> {
    let pairs = || crafted.predictions.iter().zip(&crafted.labels);
    let wrong = pairs().filter(|(prediction, label)| prediction != label).count();
    let share = wrong as f64 / crafted.labels.len() as f64;
    if settings.json {
        let result = json!({
            "model": arguments.subject.model.display().to_string(),
            "data": data,
            "attack": attack,
            "samples": crafted.labels.len(),
            "wrong": wrong,
            "out": arguments.out.display().to_string(),
        });
        return print(&serde_json::to_string_pretty(&result)?);
    }
    print(&format!(
        "{attack}: {} images, {wrong} predicted wrongly ({})\nwritten: {}\n",
        crafted.labels.len(),
        percent(share),
        arguments.out.display()
    ))
}

/// Turned images first, then the others, each as the data set orders them.
fn grid_rows(crafted: &Crafted, count: usize, data: &Dataset) -> Vec<GridRow> {
    let turned = |&position: &usize| {
        crafted.clean_predictions[position] == crafted.labels[position]
            && crafted.predictions[position] != crafted.labels[position]
    };
    let name = |class: u32| {
        data.class_names().get(class as usize).cloned().unwrap_or_else(|| class.to_string())
    };
    let mut positions: Vec<usize> = (0..crafted.labels.len()).collect();
    positions.sort_by_key(|position| !turned(position));
    let row = |position: usize| GridRow {
        position,
        before: name(crafted.clean_predictions[position]),
        after: name(crafted.predictions[position]),
    };
    positions.into_iter().take(count).map(row).collect()
}

/// The factor at which the largest change of all reaches from grey to black or white, rounded down.
fn amplification(crafted: &Crafted) -> f32 {
    let pairs = crafted.images.pixels.iter().zip(&crafted.adversarial.pixels);
    let largest = pairs.map(|(before, after)| (after - before).abs()).fold(0.0, f32::max);
    if largest > 0.0 { (0.5 / largest + 1e-3).floor().max(1.0) } else { 1.0 }
}

fn write_pictures(crafted: &Crafted, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("making the folder {} failed", folder.display()))?;
    for (position, index) in crafted.indices.iter().enumerate() {
        let (label, prediction) = (crafted.labels[position], crafted.predictions[position]);
        let before = folder.join(format!("{index}-{label}.png"));
        write_picture(&before, &crafted.images, position)?;
        let after = folder.join(format!("{index}-{label}-as-{prediction}.png"));
        write_picture(&after, &crafted.adversarial, position)?;
    }
    Ok(())
}

fn write_picture(path: &Path, images: &Images, position: usize) -> anyhow::Result<()> {
    let Shape { channels, height, width } = images.shape;
    let color = match channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        other => bail!("a picture has 1 or 3 channels, these images have {other}"),
    };
    let planes = images.one(position);
    let mut bytes = Vec::with_capacity(planes.len());
    for pixel in 0..height * width {
        for channel in 0..channels {
            bytes.push((planes[channel * height * width + pixel] * 255.0).round() as u8);
        }
    }
    let write = || -> anyhow::Result<()> {
        let file = std::io::BufWriter::new(std::fs::File::create(path)?);
        let mut encoder = png::Encoder::new(file, u32::try_from(width)?, u32::try_from(height)?);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header()?.write_image_data(&bytes)?;
        Ok(())
    };
    write().with_context(|| format!("writing {} failed", path.display()))
}
