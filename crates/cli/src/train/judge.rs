//! The end of a run: best and last model, both branches, on the test images, by all ranks.

use crate::output::{percent, print, table};
use crate::progress::Progress;
use crate::ranks::program;
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
use collective::Collective;
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
pub struct Bench<'a> {
    /// Who judges.
    pub ranks: &'a dyn Collective,
    /// What computes.
    pub engine: &'a CpuEngine,
    /// What the run was to do.
    pub plan: &'a Plan,
    /// The test images.
    pub dataset: &'a Dataset,
    /// How much is told.
    pub settings: &'a Settings,
}

/// The models of a run, and the folder they came from, which only rank 0 has.
struct Models<'a> {
    best: Network,
    last: Network,
    run: Option<&'a Run>,
}

/// Judges best and last model of a run on the test images, through every branch it has trained, and shows the figures and
/// where they are. Called by rank 0.
///
/// The best model's judged branch lies in the run folder, everything else in a folder of its own. Each has a ledger, so
/// that a judgement that was broken off goes on where it was.
pub fn judge(bench: &Bench<'_>, run: &Run, seconds: f64) -> anyhow::Result<()> {
    let Bench { ranks, plan, dataset, settings, .. } = *bench;
    let model = |name: &str| {
        let network = Network::read(&run.folder().join(name))?;
        if ranks.world_size() > 1 {
            ranks.broadcast(0, network.to_bytes())?;
        }
        anyhow::Ok(network)
    };
    let models = Models { best: model(BEST)?, last: model(LAST)?, run: Some(run) };
    let (bests, lasts) = bench.all(&models)?;
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

/// Helps rank 0 to judge. Called by the other ranks.
pub fn help(bench: &Bench<'_>) -> anyhow::Result<()> {
    let model = |name: &str| {
        let bytes = bench.ranks.broadcast(0, Vec::new())?;
        anyhow::Ok(Network::from_bytes(&bytes, name)?)
    };
    bench.all(&Models { best: model(BEST)?, last: model(LAST)?, run: None }).map(drop)
}

impl Bench<'_> {
    /// Best and last model.
    fn all(&self, models: &Models<'_>) -> anyhow::Result<(Vec<Judged>, Vec<Judged>)> {
        let Self { plan, dataset, .. } = *self;
        let indices: Vec<u64> = match dataset.part() {
            // Judging on what was learned would be worth nothing; the held-out images only chose the best step.
            Part::Whole => hold_out(dataset.len(), plan.validation, plan.seed)?.validation,
            Part::Train | Part::Test => (0..dataset.len() as u64).collect(),
        };
        let examples = Subset { dataset, indices: &indices };
        let Models { best, last, run } = models;
        let bests = self.model(BEST, best, *run, examples)?;
        let lasts = match (last == best, run) {
            // The same bytes give the same verdicts.
            (true, Some(run)) => self.same(&bests, run)?,
            (true, None) => Vec::new(),
            (false, _) => self.model(LAST, last, *run, examples)?,
        };
        // Whoever ends before rank 0 has written all would not hear that it failed.
        self.ranks.barrier()?;
        Ok((bests, lasts))
    }

    /// One model through every branch, the one whose robustness counts first.
    fn model(
        &self,
        name: &str,
        network: &Network,
        run: Option<&Run>,
        examples: Subset<'_>,
    ) -> anyhow::Result<Vec<Judged>> {
        let branches = self.plan.branches.iter().rev();
        let judged = |&branch: &Domain| {
            let evaluation = match run {
                Some(run) => self.keep(run, name, (network, branch), examples)?,
                None => {
                    let model = name.to_string();
                    self.branch(model, (network, branch), examples, Ledger::in_memory())??
                }
            };
            Ok(Judged { branch, evaluation })
        };
        branches.map(judged).collect()
    }

    /// One branch of a model, with figures and ledger in its folder.
    fn keep(
        &self,
        run: &Run,
        name: &str,
        subject: (&Network, Domain),
        examples: Subset<'_>,
    ) -> anyhow::Result<Evaluation> {
        let folder = self.folder(run, name, subject.1);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("making the folder {} failed", folder.display()))?;
        let ledger = folder.join(LEDGER);
        let model = run.folder().join(name).display().to_string();
        let judge = |ledger| self.branch(model.clone(), subject, examples, ledger);
        let begun = match ledger.exists() {
            true => judge(Ledger::resume(&ledger)?)?,
            false => judge(Ledger::create(&ledger)?)?,
        };
        let mut evaluation = match begun {
            // Of a model that has been trained on since. No other rank has heard of it.
            Err(EvaluateError::LedgerDiffers { .. }) => {
                std::fs::remove_file(&ledger)
                    .with_context(|| format!("removing {} failed", ledger.display()))?;
                judge(Ledger::create(&ledger)?)??
            }
            evaluation => evaluation?,
        };
        if examples.dataset.part() == Part::Whole {
            let part = "were held out from training and chose the best step";
            evaluation.flags.push(Flag::no_test_images(&evaluation.data, part));
        }
        evaluation.write(&folder)?;
        Ok(evaluation)
    }

    /// What the evaluator says of one branch of a model.
    fn branch(
        &self,
        model: String,
        (network, branch): (&Network, Domain),
        examples: Subset<'_>,
        ledger: Ledger,
    ) -> anyhow::Result<Result<Evaluation, EvaluateError>> {
        let Self { ranks, engine, plan, settings, .. } = *self;
        let evaluator = evaluator(plan, branch, examples.indices.len())?;
        let positions = evaluator.positions(&examples)?;
        let instructions = format!("{:?}", engine.settings().isa);
        let fingerprint = Fingerprint::of(network, &examples, &positions, instructions)?;
        let subject = Subject { model, data: plan.source.to_string() };
        let conduct = Conduct { ranks, ledger, fingerprint, ..Conduct::default() };
        let mut progress = Progress::new(settings);
        let evaluation = engine.pool().install(|| {
            evaluator.conduct(engine, network, subject, &examples, &mut progress, conduct)
        });
        progress.finish();
        Ok(evaluation.map(|evaluation| Evaluation { program: Some(program()), ..evaluation }))
    }

    /// The best model's evaluations as those of the last, where they are one.
    fn same(&self, bests: &[Judged], run: &Run) -> anyhow::Result<Vec<Judged>> {
        let model = run.folder().join(LAST).display().to_string();
        let of_last = |judged: &Judged| {
            let evaluation = Evaluation { model: model.clone(), ..judged.evaluation.clone() };
            evaluation.write(&self.folder(run, LAST, judged.branch))?;
            Ok(Judged { branch: judged.branch, evaluation })
        };
        bests.iter().map(of_last).collect()
    }

    fn folder(&self, run: &Run, name: &str, branch: Domain) -> PathBuf {
        let is_judged = branch == self.plan.judged_branch();
        let branch = branch_name(branch);
        let run = run.folder();
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
