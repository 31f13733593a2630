//! `adamant evaluate MODEL`: clean and robust accuracy, a verdict per image.

mod describe;
mod pictures;
mod place;

pub use describe::describe;
pub use pictures::save;

use crate::failure::OrWrongUsage;
use crate::model::Origin;
use crate::output::print;
use crate::progress::Progress;
use crate::ranks::{Known, RankTimeout, World, program};
use crate::settings::Settings;
use crate::subject::{SubjectArguments, fitting};
use crate::surrogate::SecondModel;
use crate::threat::{Steps, ThreatArguments};
use adamant::attack::Attack;
use adamant::data::Dataset;
use adamant::data::Part;
use adamant::evaluate::audit::{self, Audit, Depth};
use adamant::evaluate::{
    Conduct, Distances, Evaluation, Evaluator, Figures, Fingerprint, Flag, Looks, Protocol, Share,
    branch_name,
};
use adamant::report::{Entry, markdown};
use adamant::threat::{Epsilon, ThreatModel};
use anyhow::{Context, anyhow};
use clap::ValueEnum;
use collective::{Collective, Solo, agree};
use engine::cpu::{CpuEngine, Isa};
use network::{Domain, Network};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Clean and robust accuracy with intervals, and a verdict per image.
#[derive(clap::Args, Clone, Debug)]
pub struct EvaluateArguments {
    #[command(flatten)]
    subject: SubjectArguments,
    #[command(flatten)]
    threat: ThreatArguments,
    /// Attacks in the order they run, such as fgsm,pgd-20,pgd-50-10 (steps, restarts), targeted-pgd-100, autoattack, or
    /// with --surrogate transfer-pgd-20.
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
    /// Let fab, fab-t, deepfool and cw-l2 look for the nearest adversarial image of every image, whatever --eps is, and
    /// tell how far it is.
    #[arg(long)]
    distances: bool,
    /// How thoroughly the evaluation doubts itself.
    #[arg(long, value_name = "A", default_value = "quick")]
    audit: AuditChoice,
    /// Judge under these radii too, such as 2/255,4/255,16/255: a curve in evaluation.json and in pictures.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    curve: Vec<Epsilon>,
    /// Judge every branch, attacked through every branch: a two-by-two table.
    #[arg(long)]
    all_branches: bool,
    /// Also a RobustBench entry; needs `--attacks autoattack`.
    #[arg(long, value_name = "FILE")]
    robustbench: Option<PathBuf>,
    #[command(flatten)]
    rank_timeout: RankTimeout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AuditChoice {
    /// Not at all, but for what its figures say.
    None,
    /// Outputs, gradients and units of 64 images.
    Quick,
    /// Also attacks on them under other radii, steps, restarts and losses, noise and transfer.
    Thorough,
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
    let world = World::join(arguments.rank_timeout.duration())?;
    let mut known = Known::ToThisRank;
    let outcome = run_on(world.ranks(), arguments, &world.settings(settings), &mut known);
    world.end(outcome, known)
}

/// Judges with the other ranks; rank 0 writes and tells.
fn run_on(
    ranks: &dyn Collective,
    arguments: &EvaluateArguments,
    settings: &Settings,
    known: &mut Known,
) -> anyhow::Result<ExitCode> {
    if ranks.world_size() > 1 && !arguments.part.is_whole() {
        let text = "--part is of one process, ranks share the images by themselves";
        return Err(anyhow!("{text}\n  hint: start it without the launcher")).or_wrong_usage();
    }
    agree(ranks, &[("program", crate::ranks::program())])?;
    let (evaluation, out) = judge_on(ranks, arguments, settings)?;
    if ranks.rank() == 0 {
        tell(&evaluation, out.as_deref(), settings)?;
        if let Some(folder) = out.filter(|_| arguments.part.is_whole()) {
            renew_page(&folder, settings)?;
        }
    }
    // Whoever ends before rank 0 has written all would not hear that it failed.
    ranks.barrier()?;
    *known = Known::ToAll;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of the run in whose folder the evaluation lies, if it lies in one.
fn renew_page(folder: &Path, settings: &Settings) -> anyhow::Result<()> {
    let run = folder.ancestors().take(2).find(|folder| folder.join("run.json").is_file());
    if let Some(run) = run {
        let page = crate::report::of_run(run, settings)?;
        settings.remark(format_args!("report: {}", page.display()));
    }
    Ok(())
}

/// The evaluation, and the folder it was written to, if any.
pub fn judge(
    arguments: &EvaluateArguments,
    settings: &Settings,
) -> anyhow::Result<(Evaluation, Option<PathBuf>)> {
    judge_on(&Solo, arguments, settings)
}

/// The same by several ranks: each has the figures, rank 0 writes them.
fn judge_on(
    ranks: &dyn Collective,
    arguments: &EvaluateArguments,
    settings: &Settings,
) -> anyhow::Result<(Evaluation, Option<PathBuf>)> {
    let model = arguments.subject.open_model()?;
    let threat = arguments.threat.threat(model.origin.as_ref())?;
    let (data, named) = arguments.subject.open_data(&model)?;
    let several = !arguments.curve.is_empty() || arguments.all_branches;
    if several && !arguments.part.is_whole() {
        let text = "--curve and --all-branches are of whole evaluations, --part is not";
        return Err(anyhow!("{text}\n  hint: judge parts, merge them, draw the curve apart"))
            .or_wrong_usage();
    }
    if arguments.all_branches && model.network.graph.domains < 2 {
        let text =
            "--all-branches needs a network with mixture batch norm, this one has one branch";
        return Err(anyhow!(text)).or_wrong_usage();
    }
    let engine = settings.engine()?;
    let names = &arguments.attacks;
    let attack_branch = arguments.subject.branches().1;
    let second = arguments.threat.second_model(names, attack_branch, &engine)?;
    let out = place::agreed(ranks, || arguments.folder(model.origin.as_ref()))?;
    let (network, second, data) = (&model.network, second.as_ref(), &data);
    let job = Job { ranks, arguments, settings, engine: &engine, network, second, data, named };
    let attacks = job.attacks(&threat, Steps::Usual)?;
    if arguments.distances && attacks.iter().all(|attack| attack.minimal().is_none()) {
        let text = "--distances: none of the attacks looks for the nearest adversarial image";
        return Err(anyhow!("{text}\n  hint: --attacks fab,deepfool, or in L2 cw-l2"))
            .or_wrong_usage();
    }
    let branches = arguments.subject.branches();
    let is_own = |origin: &Origin| origin.recipe.data.source == job.named;
    let mut conduct = arguments.conduct();
    if data.part() == Part::Whole && model.origin.as_ref().is_some_and(is_own) {
        conduct.doubts.push(Flag::no_test_images(&job.named, "include those it was trained on"));
    }
    let mut evaluation = job.evaluate(&threat, branches, out.as_deref(), conduct)?;
    job.add_curve(&threat, out.as_deref(), &mut evaluation)?;
    job.add_branches(&threat, out.as_deref(), &mut evaluation)?;
    evaluation.program = Some(program());
    if ranks.rank() > 0 {
        return Ok((evaluation, out));
    }
    if let Some(folder) = &out {
        evaluation.write(folder)?;
        write(&folder.join("evaluation.md"), markdown::evaluation(&evaluation).as_bytes())?;
        pictures::write(&evaluation, folder)?;
    }
    if let Some(file) = &arguments.robustbench {
        write(file, Entry::of(&evaluation).or_wrong_usage()?.to_json().as_bytes())?;
    }
    Ok((evaluation, out))
}

/// Shows an evaluation, and where it lies.
fn tell(evaluation: &Evaluation, out: Option<&Path>, settings: &Settings) -> anyhow::Result<()> {
    if settings.json {
        print(&evaluation.to_json())?;
    } else {
        print(&describe(evaluation))?;
        if let Some(folder) = out {
            let file = |name: &str| folder.join(name).display().to_string();
            settings.remark(format!(
                "written: {}, {}",
                file("evaluation.json"),
                file(&evaluation.verdicts)
            ));
        }
    }
    Ok(())
}

/// Writes a file beside the evaluation.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("writing {} failed", path.display()))
}

/// What all evaluations of one command share.
struct Job<'a> {
    ranks: &'a dyn Collective,
    arguments: &'a EvaluateArguments,
    settings: &'a Settings,
    engine: &'a CpuEngine,
    network: &'a Network,
    second: Option<&'a SecondModel>,
    data: &'a Dataset,
    named: String,
}

impl Job<'_> {
    fn attacks(&self, threat: &ThreatModel, steps: Steps) -> anyhow::Result<Vec<Box<dyn Attack>>> {
        let Self { arguments, second, .. } = self;
        arguments.threat.attacks(&arguments.attacks, threat, steps, *second)
    }

    /// Judges one branch, attacked through one branch, under one threat, with its ledger in `out`.
    fn evaluate(
        &self,
        threat: &ThreatModel,
        (branch, attack_branch): (Domain, Domain),
        out: Option<&Path>,
        conduct: Conduct<'_>,
    ) -> anyhow::Result<Evaluation> {
        let Self { ranks, arguments, settings, .. } = *self;
        let (protocol, steps) = match arguments.protocol {
            ProtocolChoice::WorstCase => (Protocol::WorstCase, Steps::Usual),
            ProtocolChoice::Paper => (Protocol::Paper, Steps::Paper),
        };
        let evaluator = Evaluator {
            threat: threat.clone(),
            attacks: self.attacks(threat, steps)?,
            protocol,
            branch,
            attack_branch,
            precision: settings.engine_precision(),
            samples: arguments.subject.samples(),
            seed: arguments.subject.seed,
            batch_size: arguments.subject.batch_size.get(),
        };
        let conduct = match out {
            Some(folder) => {
                let positions = fitting(evaluator.positions(self.data))?;
                let instructions = format!("{:?}", Isa::best().or_wrong_usage()?);
                let network = self.network;
                Conduct {
                    fingerprint: Fingerprint::of(network, self.data, &positions, instructions)?,
                    ledger: place::ledger(folder, arguments.resume, ranks.rank())?,
                    ranks,
                    ..conduct
                }
            }
            None => Conduct { ranks, ..conduct },
        };
        let mut progress = Progress::new(settings);
        let subject = arguments.subject.subject(self.named.clone());
        let (network, data) = (self.network, self.data);
        let evaluation =
            evaluator.conduct(self.engine, network, subject, data, &mut progress, conduct);
        progress.finish();
        let evaluation = fitting(evaluation)?;
        if let Some(folder) = out {
            // Rank 0 has written down what all have found.
            ranks.barrier()?;
            place::clear(folder)?;
        }
        Ok(evaluation)
    }

    /// The same under every radius of the curve, each with a ledger of its own.
    fn add_curve(
        &self,
        threat: &ThreatModel,
        out: Option<&Path>,
        evaluation: &mut Evaluation,
    ) -> anyhow::Result<()> {
        let mut radii = self.arguments.curve.clone();
        if !radii.is_empty() && !radii.contains(threat.epsilon()) {
            radii.push(threat.epsilon().clone());
        }
        radii.sort_by(|a, b| a.exact().total_cmp(&b.exact()));
        for radius in radii {
            if radius == *threat.epsilon() {
                evaluation.curve.push(Figures::from(&*evaluation));
                continue;
            }
            let folder = format!("epsilon-{}", radius.written().replace('/', "-of-"));
            let folder = out.map(|out| out.join("curve").join(folder));
            let threat = ThreatModel::new(threat.norm(), radius).or_wrong_usage()?;
            let conduct = Conduct { audit: None, ..self.arguments.conduct() };
            let branches = self.arguments.subject.branches();
            let point = self.evaluate(&threat, branches, folder.as_deref(), conduct)?;
            evaluation.curve.push(Figures::from(&point));
        }
        evaluation.flags.extend(audit::figures::of_curve(&evaluation.curve, evaluation.samples));
        Ok(())
    }

    /// The same for every pair of branches.
    fn add_branches(
        &self,
        threat: &ThreatModel,
        out: Option<&Path>,
        evaluation: &mut Evaluation,
    ) -> anyhow::Result<()> {
        if !self.arguments.all_branches {
            return Ok(());
        }
        let both = [Domain::CLEAN, Domain::ADVERSARIAL];
        for pair in both.into_iter().flat_map(|judged| both.map(|attacked| (judged, attacked))) {
            if pair == self.arguments.subject.branches() {
                evaluation.branches.push(Figures::from(&*evaluation));
                continue;
            }
            let (judged, attacked) = (branch_name(pair.0), branch_name(pair.1));
            let folder = format!("{judged}-through-{attacked}");
            let folder = out.map(|out| out.join("branches").join(folder));
            let conduct = Conduct { audit: None, ..self.arguments.conduct() };
            let cell = self.evaluate(threat, pair, folder.as_deref(), conduct)?;
            evaluation.branches.push(Figures::from(&cell));
        }
        Ok(())
    }
}

impl EvaluateArguments {
    /// Where the evaluation goes, if anywhere.
    fn folder(&self, origin: Option<&Origin>) -> Option<PathBuf> {
        let of_run = || origin.map(|origin| place::unused(&origin.folder));
        self.out.clone().or_else(of_run)
    }

    /// All but what lasts.
    fn conduct(&self) -> Conduct<'static> {
        let looks = match self.along || self.protocol == ProtocolChoice::Paper {
            true => Looks::Along,
            false => Looks::End,
        };
        let audit = match self.audit {
            AuditChoice::None => None,
            AuditChoice::Quick => Some(Audit { depth: Depth::Quick }),
            AuditChoice::Thorough => Some(Audit { depth: Depth::Thorough }),
        };
        let distances = match self.distances {
            true => Distances::Told,
            false => Distances::Ignored,
        };
        Conduct { share: self.part, looks, audit, distances, ..Conduct::default() }
    }
}
