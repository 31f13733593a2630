//! `adamant study NAME`: a grid of recipes, cell by cell, then one page with figure, table and verdicts.

mod cell;
mod list;
mod loan;
mod render;
mod scale;

use crate::failure::{Interrupted, OrWrongUsage};
use crate::settings::Settings;
use crate::train::Signals;
use adamant::study::{
    CHOICE_RULE, Cell, CellRecord, Choice, Study, StudyError, Twins, choose, read_records, study,
};
use anyhow::{Context, anyhow};
use cell::{Bench, Outcome};
use scale::{Scale, Scales};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Runs a grid of recipes and shows what it says about the paper's claims.
#[derive(clap::Args, Debug)]
pub struct StudyArguments {
    /// A study's name or a path to a TOML file; nothing with --list or --paper.
    study: Option<String>,
    /// Lists the studies, or the cells of one with what they cost.
    #[arg(long)]
    list: bool,
    /// The study's folder: runs of all cells, raw results, page; the default is runs/studies/NAME.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The folder of raw results, a small JSON a cell; the default is results/ in the study's folder, with --render and
    /// --paper studies/results/NAME.
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Run only as many cells as fit into H hours by their estimated times, and say which are left out.
    #[arg(long, value_name = "H")]
    hours: Option<f64>,
    /// The study's small form: a few seconds, to see that everything runs. Its figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Another value for a key of every cell's recipe; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Only these regimes, such as fashion-0.1; may be given several times.
    #[arg(long, value_name = "NAME")]
    regime: Vec<String>,
    /// Makes the page from raw results alone: no model, no data, no cell is run.
    #[arg(long)]
    render: bool,
    /// The table of all claims from the raw results in studies/results, put between the marks of this Markdown file.
    #[arg(long, value_name = "FILE")]
    paper: Option<PathBuf>,
}

/// Where the raw results of this repository lie.
const RESULTS: &str = "studies/results";

/// Runs the command.
pub fn run(arguments: &StudyArguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    if let Some(file) = &arguments.paper {
        let results = arguments.results.as_deref().unwrap_or(Path::new(RESULTS));
        render::paper(file, results, settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(name) = &arguments.study else {
        if arguments.list {
            list::studies()?;
            return Ok(ExitCode::SUCCESS);
        }
        let text = "which study?\n  hint: `adamant study --list` shows them";
        return Err(anyhow!(text)).or_wrong_usage();
    };
    let study = arguments.chosen(name)?;
    let out = arguments.out.clone().unwrap_or_else(|| Path::new("runs/studies").join(&study.name));
    if arguments.render {
        let committed = Path::new(RESULTS).join(&study.name);
        let usual = if committed.is_dir() { committed } else { out.join("results") };
        let results = arguments.results.clone().unwrap_or(usual);
        if !results.is_dir() {
            let folder = results.display();
            let text =
                format!("{folder}: no such folder, expected the raw results of {}", study.name);
            return Err(anyhow!("{text}\n  hint: name it with --results")).or_wrong_usage();
        }
        let records = own(&study.cells(&arguments.set).or_wrong_usage()?, &results)?;
        return render::finish(&study, &records, &out, settings).map(|()| ExitCode::SUCCESS);
    }
    let results = arguments.results.clone().unwrap_or_else(|| out.join("results"));
    let cells = study.cells(&arguments.set).or_wrong_usage()?;
    let (scales, mut remarks) = Scales::of(&cells)?;
    let cells: Vec<Cell> =
        cells.into_iter().filter(|cell| scales.of_cell(cell).is_some()).collect();
    let engine = settings.engine()?;
    let twins = &Twins::of_others(&study.name)?;
    let bench = Bench { study: &study.name, out: &out, results: &results, engine, settings, twins };
    if arguments.list {
        let mut records = own(&cells, &results)?.records;
        for cell in cells.iter().filter(|cell| !bench.is_done(cell)) {
            records.extend(bench.lent(cell)?);
        }
        list::cells(&cells, &scales, &records)?;
        return Ok(ExitCode::SUCCESS);
    }
    let signals = Signals::watch()?;
    let mut grid = Grid { cells: &cells, scales: &scales, bench: &bench, signals: &signals };
    for cell in &cells {
        grid.is_settled(cell)?;
    }
    let outcome = match arguments.hours {
        Some(hours) => grid.within(hours, &mut remarks),
        None => grid.run((0..cells.len()).collect()),
    };
    let busy = outcome?;
    if busy > 0 {
        remarks.push(format!("{busy} cells are run by other processes, or wait for theirs"));
    }
    let mut records = own(&cells, &results)?;
    records.remarks.extend(remarks);
    render::finish(&study, &records, &out, settings)?;
    Ok(ExitCode::SUCCESS)
}

impl StudyArguments {
    fn chosen(&self, name: &str) -> anyhow::Result<Study> {
        let path = Path::new(name);
        let mut study = match path.extension().is_some_and(|extension| extension == "toml") {
            true => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("{name}: the study cannot be read"))
                    .or_wrong_usage()?;
                Study::parse(&text, name).or_wrong_usage()?
            }
            false => study(name).or_wrong_usage()?,
        };
        if let Some(unknown) =
            self.regime.iter().find(|name| !study.regimes.iter().any(|r| r.name == **name))
        {
            let error = StudyError::Dangling {
                study: study.name.clone(),
                place: "--regime".to_string(),
                found: unknown.clone(),
                valid: study.regimes.iter().map(|regime| regime.name.clone()).collect(),
            };
            return Err(error).or_wrong_usage();
        }
        if !self.regime.is_empty() {
            study.regimes.retain(|regime| self.regime.contains(&regime.name));
        }
        Ok(if self.quick { study.quick() } else { study })
    }
}

/// The raw results of a study's cells.
pub struct Records {
    /// Those of these very cells.
    pub records: Vec<CellRecord>,
    /// What a page must say besides.
    pub remarks: Vec<String>,
}

/// The records of `cells` in a folder; others are counted in a remark.
fn own(cells: &[Cell], results: &Path) -> anyhow::Result<Records> {
    let all = read_records(results)?;
    let keys: BTreeMap<String, &str> =
        cells.iter().map(|cell| (cell.id(), cell.key.as_str())).collect();
    let (records, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|record| keys.get(&record.id()) == Some(&record.key.as_str()));
    let mut remarks = Vec::new();
    if !others.is_empty() {
        let count = others.len();
        remarks.push(format!(
            "{count} raw results are of other recipes than the study has now, and not shown"
        ));
    }
    Ok(Records { records, remarks })
}

/// The cells of a study being run.
struct Grid<'a> {
    cells: &'a [Cell],
    scales: &'a Scales,
    bench: &'a Bench<'a>,
    signals: &'a Signals,
}

impl Grid<'_> {
    /// Runs the cells at `places`, again and again while another process may leave one free. Gives how many are left.
    fn run(&mut self, mut places: Vec<usize>) -> anyhow::Result<usize> {
        loop {
            let before = places.len();
            let mut busy = Vec::new();
            for &place in &places {
                if self.one(place, &places)? == Outcome::Busy {
                    busy.push(place);
                }
            }
            if busy.is_empty() || busy.len() == before {
                return Ok(busy.len());
            }
            places = busy;
        }
    }

    fn one(&self, place: usize, places: &[usize]) -> anyhow::Result<Outcome> {
        let cell = &self.cells[place];
        if self.is_settled(cell)? {
            return Ok(Outcome::Done);
        }
        let turn = places.iter().position(|&other| other == place).map_or(0, |turn| turn + 1);
        let settings = self.bench.settings;
        settings.remark(format_args!("cell {turn} of {}: {}", places.len(), cell.id()));
        let scale = self.scale(cell);
        let outcome = self.bench.run(cell, scale, self.signals)?;
        let signal = self.signals.received.load(Ordering::SeqCst) as u8;
        if signal != 0 {
            return Err(Interrupted { signal }.into());
        }
        Ok(outcome)
    }

    /// Whether the cell has its record, or now has that of another study, and no open cell waits for its model.
    fn is_settled(&self, cell: &Cell) -> anyhow::Result<bool> {
        let waits = |other: &&Cell| other.from == Some(cell.id()) && !self.bench.is_done(other);
        if self.cells.iter().any(|other| waits(&other)) && !self.bench.has_model(cell) {
            return Ok(false);
        }
        Ok(self.bench.is_done(cell) || self.bench.borrow(cell)?)
    }

    fn scale(&self, cell: &Cell) -> &Scale {
        self.scales.of_cell(cell).expect("cells without data were left out")
    }

    /// Runs what fits into `hours`; the first cell shows how fast this machine is, where no result does.
    fn within(&mut self, hours: f64, remarks: &mut Vec<String>) -> anyhow::Result<usize> {
        let began = Instant::now();
        let mut records = own(self.cells, self.bench.results)?.records;
        let open = |place: &usize| !self.bench.is_done(&self.cells[*place]);
        let first = (0..self.cells.len()).find(open);
        if let (true, Some(first)) = (records.iter().all(|r| r.error.is_some()), first) {
            self.one(first, &[first])?;
            records = own(self.cells, self.bench.results)?.records;
        }
        let rate =
            rate(&records).context("no cell is done that could show how fast this machine is")?;
        let seconds: Vec<f64> = self
            .cells
            .iter()
            .map(|cell| match self.bench.is_done(cell) {
                true => 0.0,
                false => rate * self.scale(cell).work,
            })
            .collect();
        let budget = 3600.0 * hours - began.elapsed().as_secs_f64();
        let Choice { chosen, left_out } = choose(self.cells, &seconds, budget);
        if !left_out.is_empty() {
            let names: Vec<String> = left_out.iter().map(|&place| self.cells[place].id()).collect();
            let time: f64 = left_out.iter().map(|&place| seconds[place]).sum();
            remarks.push(format!(
                "{} cells did not fit into {hours} hours and were left out, {:.1} hours by estimate; {CHOICE_RULE}: {}",
                left_out.len(),
                time / 3600.0,
                names.join(", ")
            ));
            self.bench.settings.remark(&remarks[remarks.len() - 1]);
        }
        self.run(chosen)
    }
}

/// Seconds of a multiply-accumulate, over all cells that are done.
pub fn rate(records: &[CellRecord]) -> Option<f64> {
    let done = records.iter().filter(|record| record.error.is_none());
    let (seconds, work) = done.fold((0.0, 0.0), |(seconds, work), record| {
        (seconds + record.train_seconds + record.judge_seconds, work + record.work)
    });
    (work > 0.0 && seconds > 0.0).then(|| seconds / work)
}
