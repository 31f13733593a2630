//! The CPU engine: channels-last f32, fused steps, results that depend on neither threads nor tiles.
//!
//! `lower` turns the graph into steps; `chunk` runs a step for a run of images; `record` and `gradients` drive
//! all chunks through a training pass, forward and back; `frozen` is the faster engine of attacks and evaluation.

mod backward;
mod bf16;
mod border;
mod buffers;
mod chunk;
mod context;
mod describe;
mod frozen;
mod gradients;
mod half;
mod lower;
mod near;
mod normalisation;
mod plan;
mod precision;
mod rearrange;
mod record;
mod schedule;
mod segments;
mod stages;
mod sums;
mod weight_gradient;
mod weights;

pub use plan::{MemoryBudget, MemoryPlan, PlannedSegment};
pub use precision::{CpuFrozen, CpuSession};
pub use record::CpuRecording;

use crate::{Engine, EngineError, Gradients, ImagesView, Logits, MomentPool, Precision, Wants};
use bf16::HalfProgram;
use buffers::BufferPool;
use gradients::Finished;
use kernels::convolution::Scratch;
pub use kernels::{Isa, peak};
use lower::Program;
use network::{Domain, Network, ParameterId, Pass};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// How the CPU engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuSettings {
    /// Threads of a training pass.
    pub threads: usize,
    /// Which instructions the kernels use.
    pub isa: Isa,
}

/// Runs networks on this machine's processor.
pub struct CpuEngine {
    settings: CpuSettings,
    isa: Isa,
    budget: Option<MemoryBudget>,
    /// Of training passes.
    precision: Precision,
    pool: rayon::ThreadPool,
    shared: Arc<Shared>,
}

/// Memory that passes hand on to the next.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    buffers: BufferPool,
    scratches: Mutex<Vec<Scratch>>,
    /// Layouts and tables of the last training pass in half precision.
    training: Mutex<Option<Arc<HalfProgram>>>,
    /// What ended sessions worked in.
    sessions: Mutex<Vec<BufferPool>>,
    /// Whether a budget has to be kept.
    lean: AtomicBool,
    /// Of the last graph frozen in half precision.
    half: Mutex<Option<Arc<half::Plans>>>,
    /// Of the last pass: name, domains and image of its graph.
    last: Mutex<(String, usize, Option<network::Shape>)>,
}

impl Shared {
    /// Frees the buffers if another architecture's pass begins: theirs would be of other lengths. Within a budget those
    /// of attacks and those of training do not wait for each other either.
    fn begin(&self, graph: &network::Graph) {
        let now = (graph.name.clone(), graph.domains, Some(graph.input));
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *last != now || self.lean.load(Ordering::Relaxed) {
            self.clear();
            *last = now;
        }
    }

    /// What is kept of this graph in half precision; of another it is dropped.
    fn half_plans(&self, isa: Isa, graph: &network::Graph) -> Arc<half::Plans> {
        let mut kept = self.half.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*kept {
            Some(plans) if plans.is_of(graph) => Arc::clone(plans),
            _ => Arc::clone(kept.insert(Arc::new(half::Plans::new(graph, isa)))),
        }
    }

    /// Frees what nobody uses.
    fn clear(&self) {
        self.buffers.clear();
        self.sessions().clear();
    }

    fn scratch(&self) -> Scratch {
        self.scratches().pop().unwrap_or_default()
    }

    fn return_scratch(&self, scratch: Scratch) {
        self.scratches().push(scratch);
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Vec<BufferPool>> {
        self.sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn scratches(&self) -> std::sync::MutexGuard<'_, Vec<Scratch>> {
        self.scratches.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl CpuEngine {
    /// Starts the threads; 0 means one per core.
    ///
    /// Errors: this processor lacks the instructions; the operating system refuses the threads.
    pub fn new(settings: CpuSettings) -> Result<Self, EngineError> {
        if !settings.isa.is_available() {
            let best = Isa::detected();
            return Err(EngineError::InstructionSet { asked: settings.isa, best });
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(settings.threads)
            .thread_name(|index| format!("engine-{index}"))
            .build()
            .map_err(|error| EngineError::Threads {
                threads: settings.threads,
                reason: error.to_string(),
            })?;
        let (isa, precision) = (settings.isa, Precision::F32);
        Ok(Self { settings, isa, budget: None, precision, pool, shared: Arc::default() })
    }

    /// Runs training passes in a precision: values and gradients, while weights, statistics and sums stay f32.
    pub fn training_in(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The precision in which training is fastest on this processor: what `auto` means.
    ///
    /// bf16 where it multiplies tiles (AMX), and on AMD's processors with products of bf16 pairs: on a Zen 4 a PGD-10 mixture
    /// step of ResNet-18 (CIFAR) took 0.75 of its time in f32, one of ResNet-8 or ResNet-20 0.86, before bf16 was filtered too
    /// (`benches/results/precision/step*a44a473*`).
    pub fn fastest_precision(&self) -> Precision {
        if self.isa.is_faster_in_bf16() { Precision::Bf16 } else { Precision::F32 }
    }

    /// Layouts and tables for a training pass, from the last if it was the same.
    fn half_program(&self, program: &Program, chunk_images: usize) -> Option<Arc<HalfProgram>> {
        if self.precision == Precision::F32 {
            return None;
        }
        let mut known =
            self.shared.training.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(half) = known.as_ref().filter(|half| half.fits(program, chunk_images)) {
            return Some(Arc::clone(half));
        }
        let half = Arc::new(HalfProgram::new(self.isa, program, chunk_images));
        *known = Some(Arc::clone(&half));
        Some(half)
    }

    /// Keeps every training step within a budget: what does not fit is computed again by the backward. Results have the
    /// same bits.
    pub fn within(self, budget: MemoryBudget) -> Self {
        kernels::memory::return_large_blocks();
        self.shared.lean.store(true, Ordering::Relaxed);
        Self { budget: Some(budget), ..self }
    }

    /// As it was built.
    pub fn settings(&self) -> CpuSettings {
        self.settings
    }

    /// Buffers of one segment rarely have the lengths that the next needs: within a budget they do not wait for it.
    pub(crate) fn end_segment(&self) {
        if self.budget.is_some() {
            self.shared.buffers.clear();
        }
    }

    /// The threads, for callers that run several sessions at once.
    pub fn pool(&self) -> &rayon::ThreadPool {
        &self.pool
    }
}

impl Engine for CpuEngine {
    type Recording = CpuRecording;
    type Frozen = CpuFrozen;

    fn record(
        &self,
        network: &Network,
        images: ImagesView<'_>,
        pass: &Pass,
    ) -> Result<(Logits, CpuRecording), EngineError> {
        self.pool.install(|| self.record_on_pool(network, images, pass, None))
    }

    fn record_pooled(
        &self,
        network: &Network,
        images: ImagesView<'_>,
        pass: &Pass,
        pool: &dyn MomentPool,
    ) -> Result<(Logits, CpuRecording), EngineError> {
        self.pool.install(|| self.record_on_pool(network, images, pass, Some(pool)))
    }

    fn backward(
        &self,
        network: &Network,
        recording: &CpuRecording,
        logit_gradient: &Logits,
        wants: Wants,
    ) -> Result<Gradients, EngineError> {
        self.pool.install(|| {
            self.backward_on_pool(network, recording, logit_gradient, wants, Finished::Kept, None)
        })
    }

    fn backward_by_parameter(
        &self,
        network: &Network,
        recording: &CpuRecording,
        logit_gradient: &Logits,
        finished: &mut (dyn FnMut(ParameterId, Vec<f32>) + Send),
    ) -> Result<(), EngineError> {
        let (wants, finished) = (Wants::Parameters, Finished::HandedTo(finished));
        self.pool.install(|| {
            self.backward_on_pool(network, recording, logit_gradient, wants, finished, None)
        })?;
        Ok(())
    }

    fn backward_pooled(
        &self,
        network: &Network,
        recording: &CpuRecording,
        logit_gradient: &Logits,
        pool: &dyn MomentPool,
        finished: &mut (dyn FnMut(ParameterId, Vec<f32>) + Send),
    ) -> Result<(), EngineError> {
        let (wants, finished) = (Wants::Parameters, Finished::HandedTo(finished));
        self.pool.install(|| {
            self.backward_on_pool(network, recording, logit_gradient, wants, finished, Some(pool))
        })?;
        Ok(())
    }

    fn recycle(&self, gradients: Vec<Vec<f32>>) {
        gradients.into_iter().for_each(|buffer| self.shared.buffers.give(buffer));
    }

    fn training_precision(&self) -> Precision {
        self.precision
    }

    fn freeze(
        &self,
        network: &Network,
        domain: Domain,
        precision: Precision,
    ) -> Result<CpuFrozen, EngineError> {
        match precision {
            Precision::F32 => {
                let frozen = self.pool.install(|| frozen::SingleFrozen::new(self, network, domain));
                frozen.map(CpuFrozen::single)
            }
            Precision::Bf16 => {
                let frozen = self.pool.install(|| half::HalfFrozen::new(self, network, domain));
                frozen.map(CpuFrozen::half)
            }
        }
    }
}
