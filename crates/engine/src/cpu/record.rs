//! The forward of a training step: all threads, batch or running statistics, and what the backward needs is kept.

use super::bf16::HalfProgram;
use super::border;
use super::buffers::BufferPool;
use super::chunk::{Chunk, Context, Keep};
use super::lower::{BatchParameters, Operation, Program};
use super::normalisation::{self, BatchState, MergedMoments};
use super::schedule::{Weighted, chunk_images, forward_stretches, measured};
use super::segments::{Kept, Segment, run_again};
use super::weights::{Direction, Weights};
use super::{CpuEngine, Shared};
use crate::{EngineError, ImagesView, Logits, MomentPool, Recording};
use network::{LayerMoments, Moments, Network, Pass, Statistics};
use rayon::prelude::*;
use std::sync::Arc;

/// What a forward keeps for its backward; its buffers return to the engine when it is dropped.
#[derive(Debug)]
pub struct CpuRecording {
    pub(crate) program: Program,
    /// Layouts and tables if the pass is in half precision.
    pub(crate) half: Option<Arc<HalfProgram>>,
    pub(crate) statistics: Statistics,
    pub(crate) count: usize,
    /// Images of a full chunk.
    pub(crate) chunk_images: usize,
    pub(crate) chunks: Vec<Chunk<'static>>,
    /// In order; together they are the program.
    pub(crate) segments: Vec<Segment>,
    kept: Kept,
    pub(crate) domains: Vec<usize>,
    /// By step.
    pub(crate) batch: Vec<Option<BatchState>>,
    /// [`Program::readers`].
    pub(crate) readers: Vec<Option<(usize, usize)>>,
    moments: Moments,
    shared: Arc<Shared>,
}

impl Recording for CpuRecording {
    fn moments(&self) -> &Moments {
        &self.moments
    }

    fn bytes(&self) -> usize {
        let states = self.batch.iter().flatten().map(BatchState::bytes).sum::<usize>();
        let numbers = |layer: &LayerMoments| layer.mean.len() + layer.centred_squares.len();
        let moments = self.moments.layers.iter().map(numbers).sum::<usize>() * size_of::<f64>();
        self.chunks.iter().map(Chunk::bytes).sum::<usize>() + states + moments
    }
}

impl Drop for CpuRecording {
    fn drop(&mut self) {
        self.chunks.drain(..).for_each(|chunk| chunk.free(&self.shared.buffers));
    }
}

impl CpuEngine {
    /// The body of [`crate::Engine::record`], on the engine's pool.
    pub(crate) fn record_on_pool(
        &self,
        network: &Network,
        images: ImagesView<'_>,
        pass: &Pass,
        pool: Option<&dyn MomentPool>,
    ) -> Result<(Logits, CpuRecording), EngineError> {
        let program = Program::new(network)?;
        border::check_images("record", &program, images)?;
        let domains = border::domains(pass, images.count)?;
        self.shared.begin(&network.graph);
        let segments = self.segments(network, &program, &domains, pass)?;
        let chunk_images = chunk_images(&program).min(images.count.max(1));
        let chunks = (0..images.count)
            .step_by(chunk_images)
            .map(|first| Chunk::new(&program, first, chunk_images.min(images.count - first)));
        let mut recording = CpuRecording {
            statistics: pass.statistics,
            count: images.count,
            chunk_images,
            chunks: chunks.collect(),
            domains,
            batch: vec![None; program.steps.len()],
            readers: program.readers(),
            half: self.half_program(&program, chunk_images),
            kept: Kept::between(&program, &segments),
            segments,
            moments: Moments::default(),
            shared: Arc::clone(&self.shared),
            program,
        };
        recording.run(self, network, images, pool)?;
        let mut logits = Logits::zeros(images.count, recording.program.classes);
        let rows = logits.values.chunks_mut(chunk_images * logits.classes);
        for (rows, chunk) in rows.zip(&recording.chunks) {
            let output = chunk.value(&recording.program, recording.program.output);
            border::store_dense(output, recording.program.classes, rows);
        }
        Ok((logits, recording))
    }
}

impl CpuRecording {
    /// What the chunks share in a pass over this recording.
    pub(crate) fn context<'a>(
        &'a self,
        engine: &'a CpuEngine,
        network: &'a Network,
        weights: &'a Weights,
        keep: Keep<'a>,
    ) -> Context<'a> {
        Context {
            isa: engine.isa,
            network,
            program: &self.program,
            half: self.half.as_deref(),
            readers: &self.readers,
            weights,
            buffers: &self.shared.buffers,
            domains: &self.domains,
            batch: &self.batch,
            keep,
        }
    }

    fn run(
        &mut self,
        engine: &CpuEngine,
        network: &Network,
        images: ImagesView<'_>,
        pool: Option<&dyn MomentPool>,
    ) -> Result<(), EngineError> {
        let measured = measured(&self.program, self.statistics);
        let mut chunks = std::mem::take(&mut self.chunks);
        chunks.par_iter_mut().for_each(|chunk| {
            let none = Weights::of(network, &self.program, 0..0, Direction::Forward);
            let context = self.context(engine, network, &none, Keep::Nothing);
            load(&context, chunk, self.chunk_images, images.pixels);
            if measured[self.program.input] {
                chunk.measure(&context, self.program.input);
            }
        });
        let stretches = forward_stretches(&self.program, &measured, &self.segments);
        for (position, stretches) in stretches.iter().enumerate() {
            let steps = self.segments[position].steps.clone();
            let (program, half) = (&self.program, self.half_packing());
            let weights = Weights::of_training(network, program, half, steps, Direction::Forward);
            for stretch in stretches {
                for index in stretch.clone() {
                    self.normalise_with(network, index, &mut chunks, pool)?;
                }
                let context =
                    self.context(engine, network, &weights, Keep::ForBackward(&self.kept));
                chunks.par_iter_mut().for_each(|chunk| {
                    let mut scratch = engine.shared.scratch();
                    for index in stretch.clone() {
                        chunk.forward(&context, index, self.chunk_images, &mut scratch);
                        let output = self.program.steps[index].output;
                        if measured[output] {
                            chunk.measure(&context, output);
                        }
                    }
                    engine.shared.return_scratch(scratch);
                });
            }
            weights.free(&self.shared.buffers);
            engine.end_segment();
        }
        for chunk in &mut chunks {
            chunk.moments = Vec::new();
        }
        self.chunks = chunks;
        self.moments = self.layer_moments();
        Ok(())
    }

    /// Computes again what a segment did not keep, into `chunks` over those of the recording.
    pub(crate) fn recompute(
        &self,
        engine: &CpuEngine,
        network: &Network,
        segment: &Segment,
        chunks: &mut [Chunk<'_>],
    ) {
        let program = &self.program;
        let steps = segment.steps.clone();
        let half = self.half_packing();
        let weights = Weights::of_training(network, program, half, steps, Direction::Forward);
        let all = Kept::all(program, Weighted::Yes);
        let context = self.context(engine, network, &weights, Keep::ForBackward(&all));
        chunks.par_iter_mut().for_each(|chunk| {
            let mut scratch = engine.shared.scratch();
            for index in run_again(program, &self.readers, &self.kept, segment) {
                chunk.forward(&context, index, self.chunk_images, &mut scratch);
            }
            engine.shared.return_scratch(scratch);
        });
        weights.free(&self.shared.buffers);
    }

    /// What weights in half precision are packed with.
    pub(crate) fn half_packing(&self) -> Option<(&HalfProgram, &BufferPool)> {
        self.half.as_deref().map(|half| (half, &self.shared.buffers))
    }

    /// Finds the statistics of a batch norm; its input has been measured if they are the images'.
    fn normalise_with(
        &mut self,
        network: &Network,
        index: usize,
        chunks: &mut [Chunk<'_>],
        pool: Option<&dyn MomentPool>,
    ) -> Result<(), EngineError> {
        let step = &self.program.steps[index];
        let Operation::Batch(layer) = &step.operation else { return Ok(()) };
        let layout = self.program.values[step.input];
        self.batch[index] = Some(match self.statistics {
            Statistics::Running => {
                normalisation::running_state(network, layer, layout.stride, &self.domains)
            }
            Statistics::Batch => {
                let mut moments = self.merge(layer, step.input, chunks);
                if let Some(pool) = pool {
                    moments = MergedMoments::of_all(pool, layer.norm.channels, &moments)?;
                }
                if self.readers[step.input].is_some_and(|(_, last)| last == index) {
                    chunks.iter_mut().for_each(|chunk| chunk.moments[step.input] = Vec::new());
                }
                for (domain, found) in moments.iter().enumerate() {
                    if let Some(count) = found.as_ref().map(|found| found.count)
                        && count < 2
                    {
                        let node = network.graph.nodes[step.node.0].name.clone();
                        return Err(EngineError::TooFewValues { node, domain, count });
                    }
                }
                normalisation::batch_state(network, layer, layout.stride, &self.domains, moments)
            }
        });
        Ok(())
    }

    /// The moments of every statistics branch, image by image.
    fn merge(
        &self,
        layer: &BatchParameters,
        value: usize,
        chunks: &[Chunk<'_>],
    ) -> Vec<Option<MergedMoments>> {
        let layout = self.program.values[value];
        let channels = layer.norm.channels;
        let mut merged: Vec<Option<MergedMoments>> = vec![None; layer.statistics.len()];
        for chunk in chunks {
            let images = chunk.moments[value].chunks_exact(2 * layout.stride);
            for (offset, image) in images.enumerate() {
                let branch = layer.norm.statistics_branch(self.domains[chunk.first + offset]);
                let (mean, squares) = image.split_at(layout.stride);
                merged[branch].get_or_insert_with(|| MergedMoments::new(channels)).merge(
                    layout.pixels(),
                    &mean[..channels],
                    &squares[..channels],
                );
            }
        }
        merged
    }

    fn layer_moments(&self) -> Moments {
        let mut layers = Vec::new();
        for (step, state) in self.program.steps.iter().zip(&self.batch) {
            let branches = state.iter().flat_map(|state| state.moments.iter().enumerate());
            for (branch, moments) in branches {
                layers.extend(moments.as_ref().map(|moments| LayerMoments {
                    node: step.node,
                    branch,
                    count: moments.count,
                    mean: moments.mean.clone(),
                    centred_squares: moments.squares.clone(),
                }));
            }
        }
        // A fused step stands where its last node stands; the promise is graph order.
        layers.sort_by_key(|layer| (layer.node, layer.branch));
        Moments { layers }
    }
}

/// Reads a chunk's images.
pub(crate) fn load(
    context: &Context<'_>,
    chunk: &mut Chunk<'_>,
    chunk_images: usize,
    pixels: &[f32],
) {
    let program = context.program;
    let mut buffer = context.buffers.take(chunk_images * program.values[program.input].len());
    let image = program.input_shape.len();
    let own = &pixels[chunk.first * image..(chunk.first + chunk.count) * image];
    border::load_images(program, own, &mut buffer);
    chunk.values[program.input] = buffer;
}
