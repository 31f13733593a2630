//! The beginning of a run on all ranks: rank 0 opens the folder, and all find out whether they work at the same thing.

use super::{TrainArguments, open, read, sets};
use crate::failure::OrWrongUsage;
use crate::ranks::Known;
use crate::settings::Settings;
use adamant::data::Dataset;
use adamant::train::error::TrainError;
use adamant::train::recipe::Recipe;
use adamant::train::run::Run;
use collective::{Collective, agree};
use engine::cpu::CpuEngine;
use std::path::Path;

/// The run on rank 0, and everywhere what it is to do.
///
/// Other ranks need no run folder: the recipe as it was resolved comes from rank 0. A refusal of rank 0 is known to all.
pub fn begin(
    ranks: &dyn Collective,
    arguments: &TrainArguments,
    settings: &Settings,
    engine: &CpuEngine,
    known: &mut Known,
) -> anyhow::Result<(Option<Run>, Recipe)> {
    let world_size = ranks.world_size();
    if world_size == 1 {
        let (run, recipe) = open(arguments, settings, engine, world_size)?;
        return Ok((Some(run), recipe));
    }
    agree(ranks, &[("program", crate::ranks::program()), ("recipe", asked(arguments))])?;
    let opened = match ranks.rank() {
        0 => Some(open(arguments, settings, engine, world_size)),
        _ => None,
    };
    let told = match &opened {
        Some(Ok((_, recipe))) => format!("{OPENED}{}", recipe.print()),
        Some(Err(error)) => error.to_string(),
        None => String::new(),
    };
    let heard = ranks.gather("begin", told.as_bytes())?;
    let text = String::from_utf8_lossy(&heard[0]);
    match (opened, text.strip_prefix(OPENED)) {
        (Some(opened), _) => {
            if opened.is_err() {
                *known = Known::ToAll;
            }
            opened.map(|(run, recipe)| (Some(run), recipe))
        }
        (None, Some(recipe)) => {
            let recipe = Recipe::parse(recipe, Path::new("the recipe of rank 0"), &[]);
            Ok((None, recipe.or_wrong_usage()?))
        }
        (None, None) => {
            *known = Known::ToAll;
            Err(TrainError::OtherRank { rank: 0, message: text.into_owned() }).or_wrong_usage()
        }
    }
}

const OPENED: &str = "opened\n";

/// Whether every rank has the same images: their name, number and labels, and the pixels of some.
///
/// Errors: `Differs`; the data set's.
pub fn agree_on_images(ranks: &dyn Collective, dataset: &Dataset) -> anyhow::Result<()> {
    if ranks.world_size() == 1 {
        return Ok(());
    }
    let last = dataset.len() as u64 - 1;
    let indices: Vec<u64> = (0..=16).map(|part| last * part / 16).collect();
    let mut hash = Fnv::default();
    dataset.labels().iter().for_each(|label| hash.add(&label.to_le_bytes()));
    for pixel in dataset.batch(&indices)?.images.pixels {
        hash.add(&pixel.to_bits().to_le_bytes());
    }
    let fact = format!("{}, {} of them, hash {:016x}", dataset.name(), dataset.len(), hash.0);
    Ok(agree(ranks, &[("set of training images", fact)])?)
}

/// What this rank was asked for, as a hash; a recipe that cannot be read here is told when it is needed.
fn asked(arguments: &TrainArguments) -> String {
    let name = arguments.recipe.as_deref().unwrap_or("quickstart");
    let written = match arguments.resume {
        // The run's own recipe lies where rank 0 can read it.
        true => format!("{:?} {:?}", arguments.recipe, sets(arguments)),
        false => read(name, &sets(arguments)).map_or_else(|e| e.to_string(), |r| r.print()),
    };
    let mut hash = Fnv::default();
    hash.add(written.as_bytes());
    format!("{name}, hash {:016x}", hash.0)
}

/// Tells texts apart that differ by mistake, not by intent. Source: Fowler, Noll and Vo, FNV-1a of 64 bits.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}
