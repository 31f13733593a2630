//! The memory plan: what a training step keeps, in bytes, known before it runs, and what is computed twice so that it
//! fits a budget.
//!
//! `sizes` says how long everything is, `ledger` counts buffers as the pool hands them out, `simulate` walks a step
//! through the ledger, `choose` cuts the program into segments. Begin with [`MemoryPlan`].

mod choose;
mod ledger;
mod simulate;
mod sizes;

use super::CpuEngine;
use super::border;
use super::lower::Program;
use super::segments::{Retention, Segment};
use crate::{EngineError, Wants};
use choose::choose;
use network::{Network, Pass};
use simulate::{Found, Simulation};
use sizes::packed_frozen;

/// How much memory a training step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    /// Parameters, momentum, gradients, recordings and what passes need meanwhile.
    pub bytes: u64,
    /// Recordings alive at once: 2 where clean and adversarial images take forwards of their own, else 1.
    pub recordings: usize,
}

/// What a training step holds in memory, in bytes, known before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Parameters and running statistics.
    pub parameters: u64,
    /// The optimiser's, one number per learnt parameter.
    pub momentum: u64,
    /// By the learnt parameters.
    pub gradients: u64,
    /// The network that is attacked: a folded copy in f32, packed for both directions; what its threads work in is not
    /// counted. It is gone before the forward begins.
    pub attack: u64,
    /// One recording: what [`crate::Recording::bytes`] will tell.
    pub recording: u64,
    /// The most that a forward has at once: recordings, values in passing, packed weights.
    pub record_peak: u64,
    /// The most that a backward has at once: the same with gradients by values, but not [`Self::gradients`].
    pub backward_peak: u64,
    /// Runs of steps, stored or computed again.
    pub segments: Vec<PlannedSegment>,
}

/// A run of steps between two borders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedSegment {
    /// Name of the first node.
    pub from: String,
    /// Whether the backward computes it again.
    pub recomputed: bool,
    /// Multiply-adds of its convolutions for one image.
    pub macs: u64,
}

impl MemoryPlan {
    /// The most that a step holds at once.
    pub fn peak(&self) -> u64 {
        let held = self.parameters + self.momentum;
        held + self.attack.max(self.record_peak).max(self.backward_peak + self.gradients)
    }

    /// Share of a forward's multiply-adds that the backward does again.
    pub fn recomputed_share(&self) -> f64 {
        let sum = |chosen: &dyn Fn(&PlannedSegment) -> bool| -> u64 {
            self.segments.iter().filter(|segment| chosen(segment)).map(|segment| segment.macs).sum()
        };
        sum(&|segment| segment.recomputed) as f64 / sum(&|_| true).max(1) as f64
    }
}

impl CpuEngine {
    /// What [`crate::Engine::record`] and its backward will hold for `images` images of a network.
    ///
    /// Errors: shapes; [`EngineError::Memory`] if no plan fits this engine's budget.
    pub fn memory_plan(
        &self,
        network: &Network,
        images: usize,
        pass: &Pass,
        wants: Wants,
    ) -> Result<MemoryPlan, EngineError> {
        let program = Program::new(network)?;
        let domains = border::domains(pass, images)?;
        let simulation = Simulation::new(self, &program, &domains, pass.statistics, wants);
        let segments = choose(&simulation, self.budget, &Fixed::of(network, &program))?;
        Ok(planned(network, &simulation, self.budget, &segments))
    }

    /// The segments of a recording that fits the budget; without one, everything is stored.
    pub(crate) fn segments(
        &self,
        network: &Network,
        program: &Program,
        domains: &[usize],
        pass: &Pass,
    ) -> Result<Vec<Segment>, EngineError> {
        if self.budget.is_none() {
            return Ok(vec![Segment::whole(program)]);
        }
        // Which gradients will be asked for is not known yet: the most.
        let wants = Wants::ParametersAndInput;
        let simulation = Simulation::new(self, program, domains, pass.statistics, wants);
        choose(&simulation, self.budget, &Fixed::of(network, program))
    }
}

/// What a step holds whatever its recordings do.
pub(crate) struct Fixed {
    parameters: u64,
    learnt: u64,
    attack: u64,
}

impl Fixed {
    fn of(network: &Network, program: &Program) -> Self {
        let bytes = |learnt_only: bool| {
            let chosen = network.parameters.iter().filter(|p| !learnt_only || p.role.is_learnt());
            chosen.map(|p| size_of_val(&p.values[..]) as u64).sum()
        };
        let learnt = bytes(true);
        let packed = program.steps.iter().map(packed_frozen);
        Self { parameters: bytes(false), learnt, attack: learnt + packed.sum::<u64>() }
    }

    /// The most that a step holds whose passes need so much.
    fn peak(&self, found: Found) -> u64 {
        let passes = found.record.max(found.backward + self.learnt);
        self.parameters + self.learnt + passes.max(self.attack)
    }
}

fn planned(
    network: &Network,
    simulation: &Simulation<'_>,
    budget: Option<MemoryBudget>,
    segments: &[Segment],
) -> MemoryPlan {
    let fixed = Fixed::of(network, simulation.program);
    let found = simulation.run(segments, budget);
    let planned = segments.iter().map(|segment| PlannedSegment {
        from: network.graph.nodes[simulation.program.steps[segment.steps.start].node.0]
            .name
            .clone(),
        recomputed: segment.retention == Retention::Recomputed,
        macs: simulation.macs(segment.steps.clone()),
    });
    MemoryPlan {
        parameters: fixed.parameters,
        momentum: fixed.learnt,
        gradients: fixed.learnt,
        attack: fixed.attack,
        recording: found.recording,
        record_peak: found.record,
        backward_peak: found.backward,
        segments: planned.collect(),
    }
}
