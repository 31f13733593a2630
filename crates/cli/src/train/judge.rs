//! The end of a run: the best model, both branches, on the test images.

use crate::output::{percent, print, table};
use crate::progress::Progress;
use crate::settings::Settings;
use adamant::attack;
use adamant::data::{Part, SearchPath, hold_out};
use adamant::evaluate::{
    Evaluation, Evaluator, Flag, Interval, Protocol, Samples, Subject, branch_name,
};
use adamant::train::fit::BEST;
use adamant::train::plan::Plan;
use adamant::train::run::Run;
use adamant::train::validation::Subset;
use engine::Precision;
use engine::cpu::CpuEngine;
use network::{Domain, Network};
use serde_json::json;
use std::path::PathBuf;

/// Judges every branch the run has trained, and shows the figures and where they are.
///
/// The judged branch's `evaluation.json` lies in the run folder, another branch's in a folder of its own.
pub fn judge(
    engine: &CpuEngine,
    plan: &Plan,
    run: &Run,
    seconds: f64,
    settings: &Settings,
) -> anyhow::Result<()> {
    let model = run.folder().join(BEST);
    let network = Network::read(&model)?;
    let dataset = plan.source.load(Part::Test, &SearchPath::from_environment())?;
    let indices: Vec<u64> = match dataset.part() {
        // Judging on what was learned would be worth nothing; the held-out images only chose the best step.
        Part::Whole => hold_out(dataset.len(), plan.validation, plan.seed)?.validation,
        Part::Train | Part::Test => (0..dataset.len() as u64).collect(),
    };
    let examples = Subset { dataset: &dataset, indices: &indices };
    let mut evaluations = Vec::new();
    for &branch in plan.branches.iter().rev() {
        let evaluator = evaluator(plan, branch, indices.len())?;
        let subject = Subject { model: model.display().to_string(), data: plan.source.to_string() };
        let mut progress = Progress::new(settings);
        let evaluation = engine
            .pool()
            .install(|| evaluator.evaluate(engine, &network, subject, &examples, &mut progress));
        progress.finish();
        let mut evaluation = evaluation?;
        if dataset.part() == Part::Whole {
            let part = "were held out from training and chose the best step";
            evaluation.flags.push(Flag::no_test_images(&evaluation.data, part));
        }
        evaluation.write(&folder(plan, run, branch))?;
        evaluations.push((branch, evaluation));
    }
    if settings.json {
        let figures: Vec<_> = evaluations
            .iter()
            .map(|(_, evaluation)| serde_json::to_value(evaluation))
            .collect::<Result<_, _>>()?;
        let result = json!({
            "run": run.folder(),
            "best": run.record().best,
            "seconds": seconds,
            "evaluations": figures,
        });
        return print(&serde_json::to_string_pretty(&result)?);
    }
    let images = match dataset.part() {
        Part::Whole => "held-out",
        Part::Train | Part::Test => "test",
    };
    print(&describe(plan, run, seconds, images, &evaluations))
}

fn evaluator(plan: &Plan, branch: Domain, available: usize) -> anyhow::Result<Evaluator> {
    let defaults = &plan.evaluation.defaults;
    let attacks = plan.evaluation.attacks.iter().map(|name| attack::parse(name, defaults));
    Ok(Evaluator {
        threat: defaults.threat.clone(),
        attacks: attacks.collect::<Result<_, _>>()?,
        protocol: Protocol::WorstCase,
        branch,
        attack_branch: branch,
        precision: Precision::F32,
        samples: match plan.evaluation.samples {
            Some(count) if count < available => Samples::Some(count),
            _ => Samples::All,
        },
        seed: plan.seed,
        batch_size: 256,
    })
}

fn folder(plan: &Plan, run: &Run, branch: Domain) -> PathBuf {
    if branch == plan.judged_branch() {
        run.folder().to_path_buf()
    } else {
        run.folder().join(format!("evaluation-{}", branch_name(branch)))
    }
}

fn describe(
    plan: &Plan,
    run: &Run,
    seconds: f64,
    images: &str,
    evaluations: &[(Domain, Evaluation)],
) -> String {
    let (_, first) = &evaluations[0];
    let mut head = vec![String::new()];
    let mut rows = vec![vec!["clean".to_string()]];
    rows.extend(first.attacks.iter().map(|attack| vec![attack.name.clone()]));
    for (branch, evaluation) in evaluations {
        head.extend([format!("{} branch", branch_name(*branch)), "95 % interval".to_string()]);
        let robust = evaluation.attacks.iter().map(|a| (a.robust_accuracy, a.ci95));
        let figures = std::iter::once((evaluation.clean_accuracy, evaluation.clean_ci95));
        for (row, (share, interval)) in rows.iter_mut().zip(figures.chain(robust)) {
            let Interval([low, high]) = interval;
            let interval = format!("{:.1} - {:.1}", 100.0 * low, 100.0 * high);
            row.extend([percent(share), interval]);
        }
    }
    rows.insert(0, head);
    let record = run.record();
    let chosen = record.best.as_ref().map_or(String::new(), |best| {
        format!(
            "best by {} on {} held-out images: step {}",
            best.attack, plan.validation, best.step
        )
    });
    let threat = &first.threat;
    let mut text = format!(
        "\n{} on the {} {images} images of {}, {} {}, seed {}\n{chosen}; attacks on survivors, each branch attacked through \
         itself\n\n{}\n",
        record.recipe,
        first.samples,
        first.data,
        threat.norm,
        threat.epsilon,
        record.seed,
        table(&rows)
    );
    for (branch, evaluation) in evaluations {
        for flag in &evaluation.flags {
            let (branch, name) = (branch_name(*branch), &flag.name);
            text += &format!("{branch} branch, {name}: {}\n  hint: {}\n", flag.found, flag.advice);
        }
    }
    text += &format!("training took {seconds:.0} s\n");
    for (what, name) in [
        ("best model", BEST),
        ("last model", adamant::train::fit::LAST),
        ("figures", "evaluation.json"),
        ("every step", "metrics.jsonl"),
        ("recipe", "recipe.toml"),
        ("record", "run.json"),
    ] {
        text += &format!("{what:<11} {}\n", run.folder().join(name).display());
    }
    text
}
