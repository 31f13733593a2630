//! How large the cells are: parameters, multiplications, and the work of training and judging.

use crate::failure::OrWrongUsage;
use adamant::data::{Part, SearchPath, hold_out};
use adamant::study::{Cell, work};
use adamant::train::plan::Plan;
use anyhow::anyhow;
use network::{Architecture, Shape};
use std::collections::BTreeMap;

/// How large one cell is.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Learnt numbers.
    pub parameters: u64,
    /// Multiply-accumulates of a forward.
    pub macs: u64,
    /// Multiply-accumulates of the cell, by estimate.
    pub work: f64,
}

/// The sizes of all cells whose data is there.
pub struct Scales(BTreeMap<String, Scale>);

#[derive(Clone, Copy)]
struct Images {
    shape: Shape,
    classes: usize,
    train: usize,
    test: usize,
}

impl Scales {
    /// Looks at the data of every regime; those whose data is not there are named in remarks.
    ///
    /// Errors: a recipe without meaning; no data for any regime.
    pub fn of(cells: &[Cell]) -> anyhow::Result<(Self, Vec<String>)> {
        let (mut seen, mut remarks) = (BTreeMap::<String, Option<Images>>::new(), Vec::new());
        let mut scales = BTreeMap::new();
        for cell in cells {
            let plan = Plan::new(&cell.recipe).or_wrong_usage()?;
            let source = plan.source.to_string();
            if !seen.contains_key(&source) {
                let images = look(&plan);
                if let Err(error) = &images {
                    let regime = &cell.regime;
                    remarks.push(format!("regime {regime} was left out: {}", told(error)));
                }
                seen.insert(source.clone(), images.ok());
            }
            let Some(images) = seen[&source] else { continue };
            let Images { shape: input, classes, train, test } = images;
            let graph = Architecture { input, classes, ..plan.architecture.clone() }.graph();
            let count = graph.and_then(|graph| graph.count()).or_wrong_usage()?;
            let work = work(&plan, &count, train, test, &cell.evaluations);
            let (parameters, macs) = (count.parameters as u64, count.macs);
            scales.insert(cell.id(), Scale { parameters, macs, work });
        }
        match scales.is_empty() {
            true => Err(anyhow!("{}", remarks.join("\n"))),
            false => Ok((Self(scales), remarks)),
        }
    }

    /// The size of a cell; none where its data is not there.
    pub fn of_cell(&self, cell: &Cell) -> Option<&Scale> {
        self.0.get(&cell.id())
    }
}

/// An error's first line: hints are for commands, not for pages.
fn told(error: &anyhow::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_string()
}

fn look(plan: &Plan) -> anyhow::Result<Images> {
    let search = SearchPath::from_environment();
    let train = plan.load(Part::Train, &search)?;
    let test = match train.part() {
        Part::Whole => hold_out(train.len(), plan.validation, plan.seed)?.validation.len(),
        Part::Train | Part::Test => plan.load(Part::Test, &search)?.len(),
    };
    Ok(Images { shape: train.shape(), classes: train.classes(), train: train.len(), test })
}
