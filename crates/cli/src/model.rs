//! What `MODEL` on the command line means: a run folder, a checkpoint folder or a model file.

use crate::failure::OrWrongUsage;
use adamant::train::recipe::Recipe;
use adamant::train::run::Run;
use anyhow::{Context, bail};
use network::Network;
use std::path::{Path, PathBuf};

/// The file of a run folder that a run is judged by.
const BEST: &str = "best.safetensors";
/// The model of a checkpoint folder.
const CHECKPOINT: &str = "model.safetensors";
/// The file that makes a folder a run.
const RECIPE: &str = "recipe.toml";

/// A model and where it comes from.
pub struct Model {
    /// The network.
    pub network: Network,
    /// The run that trained it, if it lies in one.
    pub origin: Option<Origin>,
}

/// The run a model comes from.
pub struct Origin {
    /// Its folder.
    pub folder: PathBuf,
    /// What it was trained with.
    pub recipe: Recipe,
}

/// Opens what the user named.
pub fn open(named: &Path) -> anyhow::Result<Model> {
    let file = locate(named)?;
    let network = Network::read(&file)?;
    Ok(Model { origin: origin(&file)?, network })
}

fn locate(named: &Path) -> anyhow::Result<PathBuf> {
    if named.is_file() {
        return Ok(named.to_path_buf());
    }
    for name in [BEST, CHECKPOINT] {
        if named.join(name).is_file() {
            return Ok(named.join(name));
        }
    }
    if named.is_dir() {
        bail!(
            "{}: no model in this folder, expected {BEST} (a run) or {CHECKPOINT} (a checkpoint)\n  \
             hint: a run has no {BEST} before its first validation; name a folder of its checkpoints/",
            named.display()
        );
    }
    Err(anyhow::anyhow!(
        "{}: no such model, expected a run folder, a checkpoint folder or a .safetensors file",
        named.display()
    ))
    .or_wrong_usage()
}

/// A run's models lie in its folder, a checkpoint's in `RUN/checkpoints/step-N`.
fn origin(file: &Path) -> anyhow::Result<Option<Origin>> {
    let file = std::path::absolute(file).with_context(|| format!("{}", file.display()))?;
    let parents: Vec<&Path> = file.ancestors().skip(1).collect();
    for folder in [parents.first(), parents.get(2)].into_iter().flatten() {
        if folder.join(RECIPE).is_file() {
            let recipe = Run::recipe(folder)?;
            return Ok(Some(Origin { folder: folder.to_path_buf(), recipe }));
        }
    }
    Ok(None)
}
