//! `adamant evaluate MODEL`: clean and robust accuracy, a verdict per image.

use crate::failure::OrWrongUsage;
use crate::model::Origin;
use crate::output::{percent, print, table, thousands};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::subject::{SubjectArguments, fitting};
use crate::threat::ThreatArguments;
use adamant::data::Part;
use adamant::evaluate::{
    Conduct, EvaluateError, Evaluation, Evaluator, Fingerprint, Flag, Interval, LEDGER, Ledger,
    Level, Looks, Protocol, Share,
};
use anyhow::Context;
use clap::ValueEnum;
use engine::cpu::Isa;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Clean and robust accuracy with intervals, and a verdict per image.
#[derive(clap::Args, Debug)]
pub struct EvaluateArguments {
    #[command(flatten)]
    subject: SubjectArguments,
    #[command(flatten)]
    threat: ThreatArguments,
    /// Attacks in the order they run, such as fgsm,pgd-20,pgd-50-10 (steps, restarts) or targeted-pgd-100.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "fgsm,pgd")]
    attacks: Vec<String>,
    /// What counts as robust.
    #[arg(long, value_name = "P", default_value = "worst-case")]
    protocol: ProtocolChoice,
    /// Where evaluation.json, verdicts.jsonl and the ledger go; the default is the model's run folder, or a new folder
    /// in it where it holds figures already; for a single file nowhere.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the evaluation that was begun there, if one was; what is judged stays judged.
    #[arg(long)]
    resume: bool,
    /// Judge part K of N of the images; `adamant merge` puts the parts together.
    #[arg(long, value_name = "K/N", default_value = "1/1")]
    part: Share,
    /// Also judge searches on their way, after 10, 20, ... steps; the paper's protocol always does.
    #[arg(long)]
    along: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProtocolChoice {
    /// Right as it is and under every attack; only survivors are attacked again.
    WorstCase,
    /// The paper's: every image is attacked, the last answer counts.
    Paper,
}

/// Runs the command.
pub fn run(arguments: &EvaluateArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let model = arguments.subject.open_model()?;
    let threat = arguments.threat.threat(model.origin.as_ref())?;
    let attacks = arguments.threat.attacks(&arguments.attacks, &threat)?;
    let (data, named) = arguments.subject.open_data(model.origin.as_ref())?;
    let (branch, attack_branch) = arguments.subject.branches();
    let evaluator = Evaluator {
        threat,
        attacks,
        protocol: match arguments.protocol {
            ProtocolChoice::WorstCase => Protocol::WorstCase,
            ProtocolChoice::Paper => Protocol::Paper,
        },
        branch,
        attack_branch,
        precision: settings.engine_precision(),
        samples: arguments.subject.samples(),
        seed: arguments.subject.seed,
        batch_size: arguments.subject.batch_size.get(),
    };
    let engine = settings.engine()?;
    let out = arguments.folder(model.origin.as_ref());
    let conduct = match &out {
        Some(folder) => {
            let positions = fitting(evaluator.positions(&data))?;
            let instructions = format!("{:?}", Isa::best().or_wrong_usage()?);
            Conduct {
                fingerprint: Fingerprint::of(&model.network, &data, &positions, instructions)?,
                ledger: arguments.ledger(folder)?,
                ..arguments.conduct()
            }
        }
        None => arguments.conduct(),
    };
    let mut progress = Progress::new(settings);
    let subject = arguments.subject.subject(named);
    let network = &model.network;
    let evaluation = evaluator.conduct(&engine, network, subject, &data, &mut progress, conduct);
    progress.finish();
    let mut evaluation = fitting(evaluation)?;
    let is_own = |origin: &Origin| origin.recipe.data.source == evaluation.data;
    if data.part() == Part::Whole && model.origin.as_ref().is_some_and(is_own) {
        let flag = Flag::no_test_images(&evaluation.data, "include those it was trained on");
        evaluation.flags.push(flag);
    }
    if let Some(folder) = &out {
        evaluation.write(folder)?;
    }
    if settings.json {
        print(&evaluation.to_json())?;
    } else {
        print(&describe(&evaluation))?;
        if let Some(folder) = out {
            let file = |name: &str| folder.join(name).display().to_string();
            settings.remark(format!(
                "written: {}, {}",
                file("evaluation.json"),
                file(&evaluation.verdicts)
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl EvaluateArguments {
    /// Where the evaluation goes, if anywhere.
    fn folder(&self, origin: Option<&Origin>) -> Option<PathBuf> {
        let of_run = || origin.map(|origin| unused(&origin.folder));
        self.out.clone().or_else(of_run)
    }

    /// All but what lasts.
    fn conduct(&self) -> Conduct {
        let looks = match self.along || self.protocol == ProtocolChoice::Paper {
            true => Looks::Along,
            false => Looks::End,
        };
        Conduct { share: self.part, looks, ..Conduct::default() }
    }

    /// The ledger of `folder`: a new one in place of an ended evaluation's, or the one to continue.
    fn ledger(&self, folder: &Path) -> anyhow::Result<Ledger> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("making the folder {} failed", folder.display()))?;
        let (ledger, figures) = (folder.join(LEDGER), folder.join(FIGURES));
        if self.resume && ledger.exists() {
            return ledgers(Ledger::resume(&ledger));
        }
        if ledger.exists() && Ledger::has_ended(&ledger)? {
            // Figures without their ledger are never left behind: they go first.
            for old in [figures, ledger.clone()] {
                match std::fs::remove_file(&old) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error).with_context(|| format!("removing {}", old.display()));
                    }
                    _ => {}
                }
            }
        }
        ledgers(Ledger::create(&ledger))
    }
}

/// A ledger that belongs to another evaluation is the user's to mend in the command.
fn ledgers<T>(result: Result<T, EvaluateError>) -> anyhow::Result<T> {
    match result {
        Err(error @ EvaluateError::LedgerExists { .. }) => Err(error).or_wrong_usage(),
        other => Ok(other?),
    }
}

/// The file that an ended evaluation leaves.
const FIGURES: &str = "evaluation.json";

/// Where an evaluation of a run goes that nobody named a folder for: earlier figures are never overwritten.
fn unused(run: &Path) -> PathBuf {
    let others = (2..).map(|number| run.join(format!("evaluation-{number}")));
    let mut folders = std::iter::once(run.to_path_buf()).chain(others);
    let is_unused = |folder: &PathBuf| !folder.join(FIGURES).exists();
    folders.find(is_unused).expect("numbers do not end")
}

/// The figures as a table, with what they mean above and doubts below.
pub fn describe(evaluation: &Evaluation) -> String {
    let protocol = match evaluation.protocol {
        Protocol::WorstCase => "worst case: right as it is and under every attack",
        Protocol::Paper => "paper: every image attacked, last answer counts",
    };
    let mut text = format!(
        "{} on {}: {} images, seed {}\n{} {}, {}; branch {}, attacked through {}\n{protocol}\n\n",
        evaluation.model,
        evaluation.data,
        thousands(evaluation.samples as u64),
        evaluation.seed,
        evaluation.threat.norm,
        evaluation.threat.epsilon,
        evaluation.threat.goal,
        evaluation.branch,
        evaluation.attack_branch,
    );
    let head =
        ["", "accuracy", "95 % interval", "success", "attacked", "forward", "backward", "seconds"];
    let mut rows = vec![head.map(str::to_string).to_vec()];
    rows.push(accuracy("clean", evaluation.clean_accuracy, evaluation.clean_ci95));
    for attack in &evaluation.attacks {
        for on_the_way in &attack.along {
            let name = format!("  after {} steps", on_the_way.steps);
            let mut row = accuracy(&name, on_the_way.robust_accuracy, on_the_way.ci95);
            row.push(percent(on_the_way.success_rate));
            rows.push(row);
        }
        let mut row = accuracy(&attack.name, attack.robust_accuracy, attack.ci95);
        row.extend([
            percent(attack.success_rate),
            thousands(attack.attacked as u64),
            thousands(attack.forward_passes),
            thousands(attack.backward_passes),
            format!("{:.1}", attack.seconds),
        ]);
        rows.push(row);
    }
    if let (Some(worst), Some(interval)) =
        (evaluation.worst_case_accuracy, evaluation.worst_case_ci95)
    {
        rows.push(accuracy("worst case", worst, interval));
    }
    text.push_str(&table(&rows));
    for flag in &evaluation.flags {
        let level = match flag.level {
            Level::Warning => "warning",
            Level::Failure => "failure",
        };
        text.push_str(&format!(
            "\n{level} {}: {}\n  hint: {}\n",
            flag.name, flag.found, flag.advice
        ));
    }
    text
}

fn accuracy(name: &str, share: f64, Interval([low, high]): Interval) -> Vec<String> {
    let interval = format!("{:.1} - {:.1}", 100.0 * low, 100.0 * high);
    vec![name.to_string(), percent(share), interval]
}
