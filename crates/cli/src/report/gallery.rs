//! Some test images of a run under its own attack.

use crate::settings::Settings;
use adamant::attack;
use adamant::data::{Part, SearchPath, hold_out};
use adamant::evaluate::{Evaluator, Protocol, Samples, Silent};
use adamant::report::run::Gallery;
use adamant::train::fit::BEST;
use adamant::train::plan::Plan;
use adamant::train::recipe::Recipe;
use adamant::train::validation::Subset;
use anyhow::{anyhow, bail};
use engine::Precision;
use network::Network;
use std::path::Path;

/// Images that are attacked, from which those shown are chosen.
const ATTACKED: usize = 64;
/// Values of all images of a page: what keeps it small where images are large.
const VALUES: usize = 1_500_000;

/// Images that the attack turned first, then the others, each in the order of the data.
pub fn gallery(
    folder: &Path,
    recipe: &Recipe,
    pictures: usize,
    settings: &Settings,
) -> anyhow::Result<Gallery> {
    if pictures == 0 {
        bail!("none were asked for");
    }
    let plan = Plan::new(recipe)?;
    let network = Network::read(&folder.join(BEST))?;
    let dataset = plan.load(Part::Test, &SearchPath::from_environment())?;
    let indices: Vec<u64> = match dataset.part() {
        Part::Whole => hold_out(dataset.len(), plan.validation, plan.seed)?.validation,
        Part::Train | Part::Test => (0..dataset.len() as u64).collect(),
    };
    let defaults = &plan.evaluation.defaults;
    let Some(name) = plan.evaluation.attacks.last() else {
        return Err(anyhow!("the recipe names no attack of an evaluation"));
    };
    let attack = attack::parse(name, defaults)?;
    let branch = plan.judged_branch();
    let evaluator = Evaluator {
        threat: defaults.threat.clone(),
        attacks: Vec::new(),
        protocol: Protocol::Paper,
        branch,
        attack_branch: branch,
        precision: Precision::F32,
        samples: Samples::Some(ATTACKED.min(indices.len())),
        seed: plan.seed,
        batch_size: ATTACKED,
    };
    let engine = settings.engine()?;
    let examples = Subset { dataset: &dataset, indices: &indices };
    let crafted = engine
        .pool()
        .install(|| evaluator.craft(&*attack, &engine, &network, &examples, &mut Silent))?;
    let turned = |&position: &usize| {
        crafted.clean_predictions[position] == crafted.labels[position]
            && crafted.predictions[position] != crafted.labels[position]
    };
    let all = 0..crafted.labels.len();
    let count = all.clone().filter(turned).count();
    let mut shown: Vec<usize> = all.collect();
    shown.sort_by_key(|position| !turned(position));
    shown.truncate(pictures.min((VALUES / (3 * crafted.images.shape.len())).max(1)));
    let pairs = crafted.images.pixels.iter().zip(&crafted.adversarial.pixels);
    let largest = pairs.map(|(before, after)| (after - before).abs()).fold(0.0, f32::max);
    // The factor at which the largest change of all reaches from grey to black or white, rounded down.
    let amplification = if largest > 0.0 { (0.5 / largest + 1e-3).floor().max(1.0) } else { 1.0 };
    let threat = &defaults.threat;
    Ok(Gallery {
        attack: format!("{}, {} {},", attack.name(), threat.norm(), threat.epsilon()),
        crafted,
        shown,
        turned: count,
        amplification,
        classes: dataset.class_names().to_vec(),
    })
}
