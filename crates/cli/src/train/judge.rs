//! The end of a run: best and last model, both branches, on the test images.

use crate::output::{percent, print, table};
use crate::progress::Progress;
use crate::settings::Settings;
use adamant::attack;
use adamant::data::{Dataset, Part, hold_out};
use adamant::evaluate::{
    Conduct, EvaluateError, Evaluation, Evaluator, Fingerprint, Flag, Interval, LEDGER, Ledger,
    Protocol, Samples, Subject, branch_name,
};
use adamant::train::fit::{BEST, LAST};
use adamant::train::plan::Plan;
use adamant::train::run::Run;
use adamant::train::validation::Subset;
use anyhow::Context;
use engine::Precision;
use engine::cpu::CpuEngine;
use network::{Domain, Network};
use serde_json::json;
use std::path::PathBuf;

/// A model of a run as it was judged.
struct Judged {
    branch: Domain,
    evaluation: Evaluation,
}

/// What all judgements of a run share.
struct Bench<'a> {
    engine: &'a CpuEngine,
    plan: &'a Plan,
    run: &'a Run,
    dataset: &'a Dataset,
    indices: &'a [u64],
    settings: &'a Settings,
}

/// Judges best and last model of a run on `dataset`, the test images, through every branch it has trained, and shows the figures and where they are.
///
/// The best model's judged branch lies in the run folder, everything else in a folder of its own. Each has a ledger, so
/// that a judgement that was broken off goes on where it was.
pub fn judge(
    engine: &CpuEngine,
    plan: &Plan,
    run: &Run,
    dataset: &Dataset,
    seconds: f64,
    settings: &Settings,
) -> anyhow::Result<()> {
    let indices: Vec<u64> = match dataset.part() {
        // Judging on what was learned would be worth nothing; the held-out images only chose the best step.
        Part::Whole => hold_out(dataset.len(), plan.validation, plan.seed)?.validation,
        Part::Train | Part::Test => (0..dataset.len() as u64).collect(),
    };
    let bench = Bench { engine, plan, run, dataset, indices: &indices, settings };
    let best = Network::read(&run.folder().join(BEST))?;
    let last = Network::read(&run.folder().join(LAST))?;
    let bests = bench.model(BEST, &best)?;
    let lasts = match last == best {
        // The same bytes give the same verdicts.
        true => bench.same(&bests)?,
        false => bench.model(LAST, &last)?,
    };
    if settings.json {
        let figures = |judged: &[Judged]| {
            let all = judged.iter().map(|one| serde_json::to_value(&one.evaluation));
            all.collect::<Result<Vec<_>, _>>()
        };
        let result = json!({
            "run": run.folder(),
            "best": run.record().best,
            "seconds": seconds,
            "alarms": run.record().alarms,
            "evaluations": figures(&bests)?,
            "last_evaluations": figures(&lasts)?,
        });
        return print(&serde_json::to_string_pretty(&result)?);
    }
    let images = match dataset.part() {
        Part::Whole => "held-out",
        Part::Train | Part::Test => "test",
    };
    print(&describe(plan, run, seconds, images, &bests, &lasts))
}

impl Bench<'_> {
    /// One model through every branch, the one whose robustness counts first.
    fn model(&self, name: &str, network: &Network) -> anyhow::Result<Vec<Judged>> {
        let branches = self.plan.branches.iter().rev();
        branches.map(|&branch| self.branch(name, network, branch)).collect()
    }

    fn branch(&self, name: &str, network: &Network, branch: Domain) -> anyhow::Result<Judged> {
        let Self { engine, plan, run, dataset, indices, settings } = *self;
        let examples = Subset { dataset, indices };
        let evaluator = evaluator(plan, branch, indices.len())?;
        let folder = self.folder(name, branch);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("making the folder {} failed", folder.display()))?;
        let ledger = folder.join(LEDGER);
        let positions = evaluator.positions(&examples)?;
        let instructions = format!("{:?}", engine.settings().isa);
        let fingerprint = Fingerprint::of(network, &examples, &positions, instructions)?;
        let model = run.folder().join(name);
        let judge = |ledger: Ledger| {
            let subject =
                Subject { model: model.display().to_string(), data: plan.source.to_string() };
            let conduct =
                Conduct { ledger, fingerprint: fingerprint.clone(), ..Conduct::default() };
            let mut progress = Progress::new(settings);
            let evaluation = engine.pool().install(|| {
                evaluator.conduct(engine, network, subject, &examples, &mut progress, conduct)
            });
            progress.finish();
            evaluation
        };
        let begun = match ledger.exists() {
            true => judge(Ledger::resume(&ledger)?),
            false => judge(Ledger::create(&ledger)?),
        };
        let mut evaluation = match begun {
            // Of a model that has been trained on since.
            Err(EvaluateError::LedgerDiffers { .. }) => {
                std::fs::remove_file(&ledger)
                    .with_context(|| format!("removing {} failed", ledger.display()))?;
                judge(Ledger::create(&ledger)?)?
            }
            evaluation => evaluation?,
        };
        if dataset.part() == Part::Whole {
            let part = "were held out from training and chose the best step";
            evaluation.flags.push(Flag::no_test_images(&evaluation.data, part));
        }
        evaluation.write(&folder)?;
        Ok(Judged { branch, evaluation })
    }

    /// The best model's evaluations as those of the last, where they are one.
    fn same(&self, bests: &[Judged]) -> anyhow::Result<Vec<Judged>> {
        let model = self.run.folder().join(LAST).display().to_string();
        let of_last = |judged: &Judged| {
            let evaluation = Evaluation { model: model.clone(), ..judged.evaluation.clone() };
            evaluation.write(&self.folder(LAST, judged.branch))?;
            Ok(Judged { branch: judged.branch, evaluation })
        };
        bests.iter().map(of_last).collect()
    }

    fn folder(&self, name: &str, branch: Domain) -> PathBuf {
        let is_judged = branch == self.plan.judged_branch();
        let branch = branch_name(branch);
        let run = self.run.folder();
        match (name == BEST, is_judged) {
            (true, true) => run.to_path_buf(),
            (true, false) => run.join(format!("evaluation-{branch}")),
            (false, true) => run.join("evaluation-last"),
            (false, false) => run.join(format!("evaluation-last-{branch}")),
        }
    }
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

fn describe(
    plan: &Plan,
    run: &Run,
    seconds: f64,
    images: &str,
    bests: &[Judged],
    lasts: &[Judged],
) -> String {
    let first = &bests[0].evaluation;
    let mut head = vec![String::new()];
    let mut rows = vec![vec!["clean".to_string()]];
    rows.extend(first.attacks.iter().map(|attack| vec![attack.name.clone()]));
    for Judged { branch, evaluation } in bests {
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
    for Judged { branch, evaluation } in lasts {
        let figures = evaluation.attacks.iter().map(|a| (a.name.as_str(), a.robust_accuracy));
        let figures = std::iter::once(("clean", evaluation.clean_accuracy)).chain(figures);
        let told: Vec<String> =
            figures.map(|(name, share)| format!("{name} {}", percent(share))).collect();
        text += &format!("last model, {} branch: {}\n", branch_name(*branch), told.join(", "));
    }
    for alarm in &record.alarms {
        text += &format!("alarm at step {}: {}\n", alarm.step, alarm.message);
    }
    for Judged { branch, evaluation } in bests {
        for flag in &evaluation.flags {
            let (branch, name) = (branch_name(*branch), &flag.name);
            text += &format!("{branch} branch, {name}: {}\n  hint: {}\n", flag.found, flag.advice);
        }
    }
    text += &format!("training took {seconds:.0} s\n");
    for (what, name) in [
        ("best model", BEST),
        ("last model", LAST),
        ("figures", "evaluation.json"),
        ("of the last", "evaluation-last/evaluation.json"),
        ("every step", "metrics.jsonl"),
        ("recipe", "recipe.toml"),
        ("record", "run.json"),
    ] {
        text += &format!("{what:<11} {}\n", run.folder().join(name).display());
    }
    text
}
