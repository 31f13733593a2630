//! `adamant train [RECIPE]`: trains, then judges the best model on the test images.
//!
//! A new run goes to `runs/NAME`, or to `runs/NAME-2`, `-3` and so on where that exists; `--resume` continues the last
//! of them. With `--out` the folder is the one that is named, and a run that is there is never overwritten.

mod begin;
mod budget;
pub mod identity;
mod judge;
pub mod progress;

use crate::failure::{Interrupted, OrWrongUsage};
use crate::memory::Bytes;
use crate::ranks::{Known, RankTimeout, World};
use crate::settings::{PrecisionChoice, Settings};
use adamant::data::{Part, SearchPath};
use adamant::train::builtin;
use adamant::train::error::TrainError;
use adamant::train::fit::{Setting, fit};
use adamant::train::follow::follow;
use adamant::train::plan::Plan;
use adamant::train::precision::PrecisionKind;
use adamant::train::recipe::{Difference, Recipe};
use adamant::train::resume;
use adamant::train::run::{Run, RunError};
use adamant::train::survey::survey;
use anyhow::{Context, anyhow};
use collective::Collective;
use engine::Precision;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Trains a network and judges it.
#[derive(clap::Args, Debug)]
pub struct TrainArguments {
    /// A recipe's name or a path to a TOML file; quickstart if nothing is said.
    recipe: Option<String>,
    /// The images, instead of the recipe's: a name or a source such as bin:PATH.
    #[arg(long)]
    data: Option<String>,
    /// Another value for a key of the recipe, such as attack.steps=10; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The run's folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue from the newest good checkpoint of the run: the one of --out, else the last of the recipe's name, else
    /// the newest in runs/ that is not done.
    #[arg(long)]
    resume: bool,
    /// A key that --set or the recipe may change on --resume, such as training.epochs; may be given several times.
    #[arg(long, value_name = "KEY", requires = "resume")]
    allow_change: Vec<String>,
    /// Seed of all randomness, instead of the recipe's.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Memory the run may take, such as 8GiB: what does not fit is computed twice. Results do not depend on it.
    #[arg(long, value_name = "AMOUNT")]
    memory: Option<Bytes>,
    #[command(flatten)]
    rank_timeout: RankTimeout,
}

/// Runs the command.
pub fn run(arguments: &TrainArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let world = World::join(arguments.rank_timeout.duration())?;
    let settings = world.settings(settings);
    let mut known = Known::ToThisRank;
    let outcome = run_on(world.ranks(), arguments, &settings, &mut known);
    world.end(outcome, known)
}

/// Runs this rank's share.
fn run_on(
    ranks: &dyn Collective,
    arguments: &TrainArguments,
    settings: &Settings,
    known: &mut Known,
) -> anyhow::Result<ExitCode> {
    let mut engine = settings.engine()?;
    let (run, recipe) = begin::begin(ranks, arguments, settings, &engine, known)?;
    let plan = Plan::new(&recipe).or_wrong_usage()?;
    engine = engine.training_in(plan.precision.resolve(Precision::F32));
    let search = SearchPath::from_environment();
    let dataset = Arc::new(plan.load(Part::Train, &search)?);
    begin::agree_on_images(ranks, &dataset)?;
    // What the model will be judged on has to be there before hours are spent on it.
    let judged = plan.load(Part::Test, &search)?;
    if let Some(memory) = arguments.memory {
        engine = budget::within(engine, memory, &plan, &dataset, settings)?;
    }
    let signals = Signals::watch()?;
    let setting = Setting {
        engine: &engine,
        collective: ranks,
        plan: &plan,
        dataset,
        interrupt: &signals.interrupt,
        checkpoint_now: &signals.checkpoint_now,
    };
    *known = Known::ToAll;
    let bench = judge::Bench { ranks, engine: &engine, plan: &plan, dataset: &judged, settings };
    let Some(mut run) = run else {
        match engine.pool().install(|| follow(&setting)) {
            Err(TrainError::Interrupted { .. }) => {}
            outcome => {
                outcome?;
                signals.interrupt.store(true, Ordering::SeqCst);
                *known = Known::ToThisRank;
                judge::help(&bench)?;
                *known = Known::ToAll;
            }
        }
        return Ok(ExitCode::SUCCESS);
    };
    let mut progress = progress::Progress::new(settings, run.folder());
    // The pool of the engine also runs the attack's tiles, so that --threads bounds everything.
    let outcome = engine.pool().install(|| fit(&setting, &mut run, &mut progress));
    progress.finish();
    match outcome {
        Ok(state) => {
            // Nothing is left to save: from here on the first signal ends the process at once.
            signals.interrupt.store(true, Ordering::SeqCst);
            *known = Known::ToThisRank;
            judge::judge(&bench, &run, state.seconds)?;
            *known = Known::ToAll;
            let page = crate::report::of_run(run.folder(), settings)?;
            settings.remark(format_args!("report      {}", page.display()));
        }
        Err(error @ TrainError::Interrupted { .. }) => {
            settings.remark(error);
            let signal = signals.received.load(Ordering::SeqCst) as u8;
            return Err(Interrupted { signal }.into());
        }
        Err(error) => {
            // Where only the record could not be written, the others are judging already.
            if matches!(error, TrainError::Run(_)) {
                *known = Known::ToThisRank;
            }
            return Err(error.into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The run to write to, new or continued, and what it is to do.
fn open(
    arguments: &TrainArguments,
    settings: &Settings,
    engine: &engine::cpu::CpuEngine,
    world_size: usize,
) -> anyhow::Result<(Run, Recipe)> {
    let name = arguments.recipe.as_deref().unwrap_or(builtin::RECIPES[0].0);
    if arguments.resume {
        let folder = match (&arguments.out, &arguments.recipe) {
            (Some(folder), _) => folder.clone(),
            (None, Some(name)) => last_folder(&stem(name)),
            (None, None) => newest_folder()?,
        };
        let (mut run, started) = Run::resume(&folder).or_else(refused)?;
        settings.remark(format_args!("resuming {}", folder.display()));
        let mut asked = asked_again(arguments, &folder)?;
        // What was left open is decided when a run begins; other machines go on with it.
        if asked.training.workers == 0 {
            asked.training.workers = started.training.workers;
        }
        if settings.precision == PrecisionChoice::Auto
            && asked.training.precision == PrecisionKind::Auto
        {
            asked.training.precision = started.training.precision;
        } else {
            asked.training.precision =
                settings.training_precision(asked.training.precision, engine);
        }
        let changes =
            resume::changes(&started, &asked, &arguments.allow_change).or_wrong_usage()?;
        if changes.is_empty() {
            return Ok((run, started));
        }
        Plan::new(&asked).or_wrong_usage()?;
        for change in &changes {
            let Difference { key, started, found } = change;
            settings.remark(format_args!("{key} is {found} from here on, it was {started}"));
        }
        run.change(&asked, changes)?;
        return Ok((run, asked));
    }
    let mut recipe = read(name, &sets(arguments))?;
    recipe.training.precision = settings.training_precision(recipe.training.precision, engine);
    if recipe.training.workers == 0 {
        recipe.training.workers = world_size;
    }
    // Refused before a folder appears.
    Plan::new(&recipe).or_wrong_usage()?;
    let folder = match &arguments.out {
        Some(folder) => folder.clone(),
        None => new_folder(&stem(name)),
    };
    let identity = identity::identity(&stem(name), settings, engine, world_size);
    let run = Run::create(&folder, &recipe, identity).or_else(refused)?;
    Ok((run, recipe))
}

/// A folder with a run in it, or without one, is the user's to choose again.
fn refused<T>(error: RunError) -> anyhow::Result<T> {
    match error {
        RunError::Absent { .. } | RunError::Exists { .. } => Err(error).or_wrong_usage(),
        error => Err(error.into()),
    }
}

/// What a resumed run is asked to do: the recipe named, else its own, with the assignments on top.
fn asked_again(arguments: &TrainArguments, folder: &Path) -> anyhow::Result<Recipe> {
    match &arguments.recipe {
        Some(name) => read(name, &sets(arguments)),
        None => {
            let path = folder.join("recipe.toml");
            read(&path.display().to_string(), &sets(arguments))
        }
    }
}

fn sets(arguments: &TrainArguments) -> Vec<String> {
    let mut sets = arguments.set.clone();
    sets.extend(arguments.data.iter().map(|data| format!("data.source={data:?}")));
    sets.extend(arguments.seed.iter().map(|seed| format!("training.seed={seed}")));
    sets
}

/// A recipe by path, where the name looks like one, else by name.
fn read(name: &str, sets: &[String]) -> anyhow::Result<Recipe> {
    let path = Path::new(name);
    if path.extension().is_none_or(|extension| extension != "toml") {
        return builtin::recipe(name, sets).or_wrong_usage();
    }
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{name}: the recipe cannot be read"))
        .or_wrong_usage()?;
    Recipe::parse(&text, path, sets).or_wrong_usage()
}

fn stem(name: &str) -> String {
    let stem = Path::new(name).file_stem();
    stem.map_or_else(|| name.to_string(), |stem| stem.to_string_lossy().into_owned())
}

fn numbered(name: &str, number: usize) -> PathBuf {
    let runs = Path::new("runs");
    if number == 1 { runs.join(name) } else { runs.join(format!("{name}-{number}")) }
}

fn new_folder(name: &str) -> PathBuf {
    let free = (1..).map(|number| numbered(name, number)).find(|folder| !folder.exists());
    free.expect("some number is free")
}

fn last_folder(name: &str) -> PathBuf {
    let taken = (1..).map(|number| numbered(name, number)).take_while(|folder| folder.exists());
    taken.last().unwrap_or_else(|| numbered(name, 1))
}

/// The run in `runs/` that was written last and is not done, else the one written last.
fn newest_folder() -> anyhow::Result<PathBuf> {
    let runs = survey(Path::new("runs")).unwrap_or_default();
    let newest = runs.iter().find(|run| run.condition.can_go_on()).or_else(|| runs.first());
    let none = || anyhow!("runs/ holds no run to resume\n  hint: name its folder with --out");
    newest.map(|run| run.folder.clone()).ok_or_else(none).or_wrong_usage()
}

/// What signals do. SIGINT and SIGTERM: the first ends the run with a checkpoint, a second ends the process at once.
/// SIGUSR1: a checkpoint after the step under way.
pub struct Signals {
    /// Ends training after the step under way; while it is set a signal ends the process at once.
    pub interrupt: Arc<AtomicBool>,
    /// Asks for a checkpoint after the step under way.
    pub checkpoint_now: Arc<AtomicBool>,
    /// The number of the signal that came, 0 for none.
    pub received: Arc<AtomicUsize>,
}

impl Signals {
    /// Begins to watch; once a process.
    pub fn watch() -> anyhow::Result<Self> {
        let interrupt = Arc::new(AtomicBool::new(false));
        let received = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM] {
            use signal_hook::flag;
            // In this order: the shutdown looks at the flag that an earlier signal has set.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&interrupt))
                .and_then(|_| flag::register_usize(signal, Arc::clone(&received), signal as usize))
                .and_then(|_| flag::register(signal, Arc::clone(&interrupt)))
                .context("watching for signals")?;
        }
        let checkpoint_now = Arc::new(AtomicBool::new(false));
        #[cfg(unix)]
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&checkpoint_now))
            .context("watching for signals")?;
        Ok(Self { interrupt, checkpoint_now, received })
    }
}
