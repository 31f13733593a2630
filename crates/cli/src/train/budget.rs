//! `--memory`: a whole run within an amount of memory.

use crate::failure::OrWrongUsage;
use crate::memory::{Bytes, resident};
use crate::output::percent;
use crate::settings::Settings;
use adamant::data::Dataset;
use adamant::objective::StepDraw;
use adamant::stream::Stream;
use adamant::train::plan::Plan;
use adamant::train::sections::{ForwardKind, FrozenStatistics};
use anyhow::anyhow;
use engine::cpu::{CpuEngine, MemoryBudget};
use engine::{EngineError, Wants};
use network::{Architecture, Domain, Domains, Network, Pass, Statistics};

/// The engine that keeps a step of `plan` within `memory`, less what the process holds already: program and images.
///
/// Errors: no step fits.
pub fn within(
    engine: CpuEngine,
    memory: Bytes,
    plan: &Plan,
    dataset: &Dataset,
    settings: &Settings,
) -> anyhow::Result<CpuEngine> {
    let held = resident();
    let (images, pass, recordings) = passes(plan);
    let bytes = memory.0.saturating_sub(held.0);
    let engine = engine.within(MemoryBudget { bytes, recordings });
    let (input, classes) = (dataset.shape(), dataset.classes());
    let graph = Architecture { input, classes, ..plan.architecture.clone() }.graph();
    let network = graph.and_then(Network::new).or_wrong_usage()?;
    let planned = match engine.memory_plan(&network, images, &pass, Wants::ParametersAndInput) {
        Err(EngineError::Memory { least, .. }) => {
            let least = Bytes(least + held.0);
            let refusal = anyhow!(
                "--memory {memory}: training needs at least {least}\n  \
                 hint: allow more, or use fewer images per batch"
            );
            return Err(refusal).or_wrong_usage();
        }
        planned => planned.or_wrong_usage()?,
    };
    settings.remark(format_args!(
        "memory: at most {} of {memory}, {} of a forward is computed again",
        Bytes(planned.peak() + held.0),
        percent(planned.recomputed_share())
    ));
    Ok(engine)
}

/// Images and domains of one recording, and how many recordings a step has alive at once.
fn passes(plan: &Plan) -> (usize, Pass, usize) {
    let draw = StepDraw { stream: Stream::new(plan.seed), step: 0, rank: 0 };
    let demand = plan.objective.demand(plan.loader.batch_size, &draw);
    let (clean, adversarial) = (demand.clean.len(), demand.adversarial.len());
    let apart = plan.forward == ForwardKind::TwoPasses && clean > 0 && adversarial > 0;
    let domains = match apart {
        true => vec![Domain::ADVERSARIAL; clean.max(adversarial)],
        false => {
            let mut domains = vec![Domain::CLEAN; clean];
            domains.resize(clean + adversarial, Domain::ADVERSARIAL);
            domains
        }
    };
    // Where running statistics keep moving in the consistent phase, a second forward finds their moments.
    let moving = plan.consistent.is_some_and(|phase| phase.statistics == FrozenStatistics::Ema);
    let recordings = (1 + usize::from(apart)) * (1 + usize::from(moving));
    let images = domains.len();
    let pass = Pass { statistics: Statistics::Batch, domains: Domains::PerImage(domains) };
    (images, pass, recordings)
}
