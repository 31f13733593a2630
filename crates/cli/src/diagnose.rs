//! `adamant diagnose MODEL`: what batch norms hold and see, layer by layer; gradients; the loss along an attack.

use crate::evaluate::write;
use crate::model::Model;
use crate::output::{percent, print, table};
use crate::settings::Settings;
use crate::subject::{SubjectArguments, fitting};
use crate::threat::{Steps, ThreatArguments};
use adamant::attack::AttackStream;
use adamant::diagnose::noise::{mean_length, noise_like};
use adamant::diagnose::{Diagnosis, Seen, distance::quantile};
use adamant::diagnose::{climb::climb, seen::seen, stored::stored};
use adamant::evaluate::{Examples, Samples};
use adamant::report::diagnosis;
use adamant::report::number::significant;
use adamant::stream::Stream;
use anyhow::{Context, anyhow};
use engine::{Engine, Precision};
use std::path::PathBuf;
use std::process::ExitCode;

/// What batch norms hold and see in two domains, gradients by layer, the loss along an attack.
#[derive(clap::Args, Debug)]
pub struct DiagnoseArguments {
    #[command(flatten)]
    subject: SubjectArguments,
    #[command(flatten)]
    threat: ThreatArguments,
    /// The attack: PGD of one restart.
    #[arg(long, value_name = "NAME", default_value = "pgd-50")]
    attacks: String,
    /// Where diagnose.json and diagnose.html go; the default is the model's run folder, else the present one.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Images that are looked at where nobody says how many: eight mini-batches of 64.
const SAMPLES: usize = 512;
/// Images of a mini-batch of statistics, at most: a quarter of the images where there are few.
const MINI_BATCH: usize = 64;

/// Runs the command.
pub fn run(arguments: &DiagnoseArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let model = arguments.subject.open_model()?;
    let of_run = model.origin.as_ref().map(|origin| origin.folder.clone());
    let found = look(arguments, model, settings)?;
    let folder = arguments.out.clone().or(of_run).unwrap_or_default();
    if folder != PathBuf::new() {
        std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    }
    let json = serde_json::to_string_pretty(&found)? + "\n";
    write(&folder.join("diagnose.json"), json.as_bytes())?;
    write(&folder.join("diagnose.html"), diagnosis::page(&found).to_html().as_bytes())?;
    match settings.json {
        true => print(&json)?,
        false => print(&describe(&found))?,
    }
    settings.remark(format_args!("written: {}", folder.join("diagnose.html").display()));
    Ok(ExitCode::SUCCESS)
}

/// What the command's arguments ask for, of a model as they name it.
pub fn diagnose(arguments: &DiagnoseArguments, settings: &Settings) -> anyhow::Result<Diagnosis> {
    look(arguments, arguments.subject.open_model()?, settings)
}

fn look(
    arguments: &DiagnoseArguments,
    model: Model,
    settings: &Settings,
) -> anyhow::Result<Diagnosis> {
    let subject = &arguments.subject;
    let threat = arguments.threat.threat(model.origin.as_ref())?;
    let (data, named) = subject.open_data(&model)?;
    let names = std::slice::from_ref(&arguments.attacks);
    let attacks = arguments.threat.attacks(names, &threat, Steps::Usual, None)?;
    let attack = attacks.first().ok_or_else(|| anyhow!("{names:?} changes no image"))?;
    let samples = match subject.samples() {
        Samples::All => Samples::Some(SAMPLES.min(data.len())),
        some => some,
    };
    let positions = fitting(samples.positions(data.len(), subject.seed))?;
    let clean = Examples::read(&data, &positions).map_err(|error| anyhow!(error))?;
    let engine = settings.engine()?;
    let (domain, attack_branch) = subject.branches();
    let stream = Stream::new(subject.seed);
    let keys = AttackStream { stream, time: 0, rank: 0, first_restart: 0 };
    let frozen = engine.freeze(&model.network, attack_branch, Precision::F32)?;
    let (climb, adversarial) =
        engine.pool().install(|| climb(&frozen, &**attack, &clean, &keys))?;
    let noisy = noise_like(&clean, &adversarial, &stream);
    let batch_size = MINI_BATCH.min(positions.len() / 4);
    let images =
        Seen { clean: &clean, adversarial: &adversarial, noisy: &noisy, domain, batch_size };
    let (layers, gradients) = seen(&engine, &model.network, &images)?;
    Ok(Diagnosis {
        model: subject.model.display().to_string(),
        data: named,
        samples: positions.len(),
        batch_size,
        seed: subject.seed,
        threat: format!("{} {}", threat.norm(), threat.epsilon()),
        attack: attack.name(),
        change: [&adversarial, &noisy].map(|images| mean_length(&clean.images, images)),
        stored: stored(&model.network),
        seen: layers,
        gradients,
        climb,
    })
}

fn describe(found: &Diagnosis) -> String {
    let head = ["batch norm", "running", "attack", "noise", "variance outside"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for (stored, seen) in found.stored.iter().zip(&found.seen) {
        let median = |distances: &[adamant::diagnose::Distance]| {
            let values: Vec<f64> = distances.iter().map(|d| d.divergence).collect();
            if values.is_empty() { "-".to_string() } else { significant(quantile(&values, 0.5)) }
        };
        let outside = seen.channels.iter().filter(|c| c.variance_is_outside()).count();
        rows.push(vec![
            seen.layer.clone(),
            median(&stored.distances),
            median(&seen.adversarial),
            median(&seen.noisy),
            percent(outside as f64 / seen.channels.len() as f64),
        ]);
    }
    let (first, last) = (&found.climb[0], &found.climb[found.climb.len() - 1]);
    format!(
        "median divergence over channels: running statistics of the domains, clean to {} images, clean to noise\n\n{}\n\
         cross-entropy {} at the start, {} after {} steps; {} right, {} right\n",
        found.attack,
        table(&rows),
        significant(first.mean),
        significant(last.mean),
        last.steps,
        percent(first.accuracy),
        percent(last.accuracy)
    )
}
