//! The memory plan of `adamant models NAME`: what a mixture step holds, stored and computed again.

use crate::failure::OrWrongUsage;
use crate::memory::Bytes;
use crate::output::{percent, table};
use crate::settings::Settings;
use engine::cpu::{CpuEngine, MemoryBudget, MemoryPlan};
use engine::{EngineError, Wants};
use network::{Architecture, Domain, Domains, Network, NormChoice, Pass, Statistics};
use serde::Serialize;
use std::num::NonZeroUsize;

/// What a mixture step holds: clean and adversarial images in one recording, f32, in bytes.
#[derive(Serialize)]
pub struct Memory {
    /// Clean images; as many adversarial ones stand beside them.
    batch: usize,
    /// Learnt numbers of both branches and running statistics.
    parameters: u64,
    momentum: u64,
    gradients: u64,
    /// The attacked network, before the recording exists.
    attack: u64,
    /// Everything stays.
    stored: Plan,
    /// As little as possible stays.
    least: Plan,
    /// What `--memory` makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<Plan>,
}

/// One way of keeping a recording.
#[derive(Serialize)]
struct Plan {
    /// What the recording keeps.
    recording: u64,
    /// The most of a whole step.
    peak: u64,
    segments: usize,
    /// Share of a forward that the backward computes again.
    computed_again: f64,
}

impl Memory {
    /// Plans a step of the mixture network of an architecture.
    ///
    /// Errors: sizes the architecture cannot take; an amount of memory that does not suffice.
    pub fn planned(
        architecture: Architecture,
        batch: NonZeroUsize,
        memory: Option<Bytes>,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let architecture = Architecture { norm: NormChoice::MIXTURE, ..architecture };
        let network = architecture.graph().and_then(Network::new).or_wrong_usage()?;
        let batch = batch.get();
        let mut domains = vec![Domain::CLEAN; batch];
        domains.resize(2 * batch, Domain::ADVERSARIAL);
        let pass = Pass { statistics: Statistics::Batch, domains: Domains::PerImage(domains) };
        let plan =
            |engine: &CpuEngine| engine.memory_plan(&network, 2 * batch, &pass, Wants::Parameters);
        let within = |bytes: u64| {
            let budget = MemoryBudget { bytes, recordings: 1 };
            Ok::<_, anyhow::Error>(plan(&settings.engine()?.within(budget)))
        };
        let stored = plan(&settings.engine()?)?;
        let least = match within(0)? {
            Err(EngineError::Memory { least, .. }) => within(least)??,
            other => other?,
        };
        let chosen = match memory {
            Some(memory) => Some(within(memory.0)?.or_wrong_usage()?),
            None => None,
        };
        Ok(Self {
            batch,
            parameters: stored.parameters,
            momentum: stored.momentum,
            gradients: stored.gradients,
            attack: stored.attack,
            stored: Plan::of(&stored),
            least: Plan::of(&least),
            within: chosen.as_ref().map(Plan::of),
        })
    }

    /// For people.
    pub fn text(&self, image: usize) -> String {
        let row = |name: &str, plan: &Plan| {
            vec![
                name.to_string(),
                Bytes(plan.recording).to_string(),
                Bytes(plan.peak).to_string(),
                plan.segments.to_string(),
                percent(plan.computed_again),
            ]
        };
        let head = ["", "recording", "at most", "segments", "computed again"];
        let mut rows =
            vec![head.map(str::to_string).to_vec(), row("everything stored", &self.stored)];
        rows.push(row("as little as possible", &self.least));
        rows.extend(self.within.iter().map(|plan| row("within --memory", plan)));
        format!(
            "\nMemory of a mixture step at {image}x{image}, {0} clean and {0} adversarial images, f32:\n\
             parameters {1}, momentum {2}, gradients {3}; attacked network {4}, before the recording\n{5}",
            self.batch,
            Bytes(self.parameters),
            Bytes(self.momentum),
            Bytes(self.gradients),
            Bytes(self.attack),
            table(&rows)
        )
    }
}

impl Plan {
    fn of(plan: &MemoryPlan) -> Self {
        Self {
            recording: plan.recording,
            peak: plan.peak(),
            segments: plan.segments.len(),
            computed_again: plan.recomputed_share(),
        }
    }
}
