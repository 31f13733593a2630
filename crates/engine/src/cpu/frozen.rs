//! The frozen engine: running statistics, no weight gradients, one thread's images in one core's cache.

use super::backward::Backward;
use super::border;
use super::buffers::BufferPool;
use super::chunk::{Chunk, Context, Keep};
use super::describe;
use super::lower::Program;
use super::near::{Head, Memory};
use super::record::load;
use super::schedule::{Weighted, wanted};
use super::segments::Kept;
use super::stages::{Stage, stages};
use super::weights::{Direction, Weights};
use super::{CpuEngine, Shared};
use crate::{
    Direction as Way, EngineError, Frozen, ImagesView, Logits, Observable, Session,
    StepDescription, StepObserver, Unobserved, Wants,
};
use kernels::Isa;
use kernels::convolution::Scratch;
use network::{Domain, Network, Shape, Statistics};
use std::sync::{Arc, OnceLock};

/// A network with the running statistics of one domain, prepared for many passes.
#[derive(Debug)]
pub(crate) struct SingleFrozen {
    isa: Isa,
    shared: Arc<Shared>,
    network: Network,
    program: Program,
    forward: Weights,
    backward: Weights,
    readers: Vec<Option<(usize, usize)>>,
    kept: Kept,
    stages: Vec<Stage>,
    tile: usize,
    /// What of it can be computed in part.
    head: Option<Head>,
    /// For the forwards of a session that remembers; packed when the first one does.
    near: OnceLock<Weights>,
}

impl SingleFrozen {
    /// Packs on the current pool.
    pub(crate) fn new(
        engine: &CpuEngine,
        network: &Network,
        domain: Domain,
    ) -> Result<Self, EngineError> {
        engine.shared.begin(&network.graph);
        let network = network::fold::fold(network, domain)?;
        let program = Program::new(&network)?;
        let readers = program.readers();
        let stages = stages(&program, &readers);
        let tile = stages.last().map_or(1, |stage| stage.images);
        Ok(Self {
            isa: engine.isa,
            shared: Arc::clone(&engine.shared),
            forward: Weights::fastest(&network, &program, Direction::Forward),
            backward: Weights::fastest(&network, &program, Direction::BackwardData),
            kept: Kept::all(&program, Weighted::No),
            head: Head::of(&program, &readers),
            near: OnceLock::new(),
            stages,
            tile,
            readers,
            network,
            program,
        })
    }

    /// The forward's weights where parts of it are computed.
    fn near(&self, head: Head) -> &Weights {
        self.near.get_or_init(|| Weights::local(&self.network, &self.program, head.steps))
    }

    fn context<'a>(
        &'a self,
        weights: &'a Weights,
        buffers: &'a BufferPool,
        keep: Keep<'a>,
    ) -> Context<'a> {
        Context {
            isa: self.isa,
            network: &self.network,
            half: None,
            program: &self.program,
            weights,
            buffers,
            readers: &self.readers,
            domains: &[],
            batch: &[],
            keep,
        }
    }
}

impl Frozen for SingleFrozen {
    type Session<'a> = SingleSession<'a>;

    fn session(&self) -> SingleSession<'_> {
        let buffers = self.shared.sessions().pop().unwrap_or_default();
        SingleSession { frozen: self, buffers, scratch: self.shared.scratch(), memory: None }
    }

    fn tile(&self) -> usize {
        self.tile
    }

    fn input(&self) -> Shape {
        self.program.input_shape
    }

    fn classes(&self) -> usize {
        self.program.classes
    }
}

/// One thread over a frozen network; what it worked in is handed on to later sessions.
#[derive(Debug)]
pub(crate) struct SingleSession<'a> {
    frozen: &'a SingleFrozen,
    buffers: BufferPool,
    scratch: Scratch,
    memory: Option<Memory>,
}

impl Drop for SingleSession<'_> {
    fn drop(&mut self) {
        let shared = &self.frozen.shared;
        shared.sessions().push(std::mem::take(&mut self.buffers));
        shared.return_scratch(std::mem::take(&mut self.scratch));
    }
}

impl SingleSession<'_> {
    /// The logits of whole forwards with these weights.
    fn whole(&mut self, weights: &Weights, images: ImagesView<'_>) -> Result<Logits, EngineError> {
        border::check_images("logits", &self.frozen.program, images)?;
        let mut logits = Logits::zeros(images.count, self.frozen.program.classes);
        let tile = self.frozen.tile;
        let rows = logits.values.chunks_mut(tile * logits.classes);
        for (pixels, rows) in images.pixels.chunks(tile * images.shape.len()).zip(rows) {
            let chunks = self.forward(weights, pixels, rows, Keep::Nothing, &mut Unobserved);
            self.free(chunks);
        }
        Ok(logits)
    }

    /// The forward of one tile, stage by stage; what it leaves is by stage.
    fn forward(
        &mut self,
        weights: &Weights,
        pixels: &[f32],
        logits: &mut [f32],
        keep: Keep<'_>,
        observer: &mut dyn StepObserver,
    ) -> Vec<Vec<Chunk<'static>>> {
        let frozen = self.frozen;
        let program = &frozen.program;
        let context = frozen.context(weights, &self.buffers, keep);
        let count = pixels.len() / program.input_shape.len();
        let mut done: Vec<Vec<Chunk<'static>>> = Vec::new();
        for stage in &frozen.stages {
            let mut chunks = Vec::new();
            for first in (0..count).step_by(stage.images) {
                let mut chunk = Chunk::new(program, first, stage.images.min(count - first));
                match (stage.entry, done.last_mut()) {
                    (Some(entry), Some(before)) => {
                        let own = |part: &&mut Chunk<'_>| stage.holds(first, part.first);
                        let parts = before.iter_mut().filter(own);
                        chunk.gather(&context, entry, stage.images, parts);
                    }
                    _ => load(&context, &mut chunk, stage.images, pixels),
                }
                for index in stage.steps.clone() {
                    observer.before(Way::Forward, index);
                    chunk.forward(&context, index, stage.images, &mut self.scratch);
                    observer.after(Way::Forward, index);
                }
                chunks.push(chunk);
            }
            done.push(chunks);
        }
        for chunk in done.last().into_iter().flatten() {
            let rows =
                &mut logits[chunk.first * program.classes..][..chunk.count * program.classes];
            border::store_dense(chunk.value(program, program.output), program.classes, rows);
        }
        done
    }

    fn backward(
        &mut self,
        done: &[Vec<Chunk<'_>>],
        logit_gradient: &Logits,
        pixels: &mut [f32],
        observer: &mut dyn StepObserver,
    ) {
        let frozen = self.frozen;
        let program = &frozen.program;
        let mut backward = Backward {
            context: frozen.context(&frozen.backward, &self.buffers, Keep::Nothing),
            chunk_images: frozen.tile,
            wanted: wanted(program, Wants::Input),
            parameters: false,
            statistics: Statistics::Running,
            norms: vec![Vec::new(); program.steps.len()],
        };
        // The gradient by what a stage read, for the stage before it, by this one's runs of images.
        let mut by_entry: Vec<Vec<f32>> = Vec::new();
        let mut after: Option<&Stage> = None;
        for (stage, chunks) in frozen.stages.iter().zip(done).rev() {
            backward.chunk_images = stage.images;
            let mut by_own_entry = Vec::new();
            for chunk in chunks {
                let mut reverse = match after {
                    None => backward.start(chunk, logit_gradient),
                    Some(after) => {
                        let exit = after.entry.expect("only the first stage reads the images");
                        let (run, position) =
                            (chunk.first / after.images, chunk.first % after.images);
                        let from = position * program.values[exit].gradient_len();
                        backward.resume(chunk, exit, &by_entry[run][from..])
                    }
                };
                for index in stage.steps.clone().rev() {
                    observer.before(Way::Backward, index);
                    backward.reduce(chunk, &mut reverse, index);
                    backward.apply(chunk, &mut reverse, index, &mut self.scratch);
                    observer.after(Way::Backward, index);
                }
                match stage.entry {
                    Some(entry) => by_own_entry.push(std::mem::take(&mut reverse.gradients[entry])),
                    None => {
                        let image = program.input_shape.len();
                        let classes = program.classes;
                        border::store_input_gradient(
                            program,
                            &reverse.gradients[program.input],
                            &logit_gradient.values[chunk.first * classes..],
                            &mut pixels[chunk.first * image..][..chunk.count * image],
                        );
                    }
                }
                reverse.gradients.into_iter().for_each(|buffer| self.buffers.give(buffer));
            }
            by_entry.into_iter().for_each(|buffer| self.buffers.give(buffer));
            by_entry = by_own_entry;
            after = Some(stage);
        }
    }

    /// Forward and input gradient, a tile at a time.
    fn tiles(
        &mut self,
        images: ImagesView<'_>,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
        observer: &mut dyn StepObserver,
    ) -> Result<(Logits, Vec<f32>), EngineError> {
        border::check_images("input_gradient", &self.frozen.program, images)?;
        let classes = self.frozen.program.classes;
        let frozen = self.frozen;
        let keep = Keep::ForBackward(&frozen.kept);
        let mut all = Logits::zeros(images.count, classes);
        let mut gradient = vec![0.0; images.pixels.len()];
        let length = self.frozen.tile * images.shape.len();
        let tiles = images.pixels.chunks(length).zip(gradient.chunks_mut(length));
        for (position, (pixels, gradient)) in tiles.enumerate() {
            let count = pixels.len() / images.shape.len();
            let first = position * self.frozen.tile;
            let mut logits = Logits::zeros(count, classes);
            let chunks = self.forward(&frozen.forward, pixels, &mut logits.values, keep, observer);
            let mut by_logits = Logits::zeros(count, classes);
            loss(&logits, first, &mut by_logits);
            border::check_logits("input_gradient", &by_logits, count, classes)?;
            self.backward(&chunks, &by_logits, gradient, observer);
            self.free(chunks);
            all.values[first * classes..][..count * classes].copy_from_slice(&logits.values);
        }
        Ok((all, gradient))
    }

    fn free(&self, chunks: Vec<Vec<Chunk<'_>>>) {
        chunks.into_iter().flatten().for_each(|chunk| chunk.free(&self.buffers));
    }
}

impl Session for SingleSession<'_> {
    fn logits(&mut self, images: ImagesView<'_>) -> Result<Logits, EngineError> {
        let frozen = self.frozen;
        self.whole(&frozen.forward, images)
    }

    fn input_gradient(
        &mut self,
        images: ImagesView<'_>,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
    ) -> Result<(Logits, Vec<f32>), EngineError> {
        self.tiles(images, loss, &mut Unobserved)
    }

    fn remember(&mut self, images: ImagesView<'_>) -> Result<Logits, EngineError> {
        self.memory = None;
        let frozen = self.frozen;
        let Some(head) = frozen.head else { return self.logits(images) };
        border::check_images("remember", &frozen.program, images)?;
        let mut memory = Memory::new(&frozen.program, head, images.count);
        let context = frozen.context(frozen.near(head), &self.buffers, Keep::Nothing);
        let (own, beyond) = images.pixels.split_at(memory.count() * images.shape.len());
        let mut logits = Logits::zeros(images.count, frozen.program.classes);
        let (first, last) = logits.values.split_at_mut(memory.count() * logits.classes);
        memory.begin(&context, head, own, &mut self.scratch);
        first.copy_from_slice(memory.logits());
        let count = images.count - memory.count();
        let beyond = ImagesView { count, pixels: beyond, ..images };
        let whole = self.whole(frozen.near(head), beyond)?;
        last.copy_from_slice(&whole.values);
        self.memory = Some(memory);
        Ok(logits)
    }

    fn logits_near(
        &mut self,
        near: &[usize],
        images: ImagesView<'_>,
    ) -> Result<Logits, EngineError> {
        border::check_images("logits_near", &self.frozen.program, images)?;
        if near.len() != images.count {
            return Err(EngineError::Shape {
                operation: "logits_near",
                expected: format!("a position for each of {} images", images.count),
                found: near.len().to_string(),
            });
        }
        let frozen = self.frozen;
        let (Some(head), Some(mut memory)) = (frozen.head, self.memory.take()) else {
            return self.logits(images);
        };
        let length = images.shape.len();
        let mut logits = Logits::zeros(images.count, frozen.program.classes);
        // Images beyond what may be remembered are computed whole.
        let is_held = |row: &usize| near[*row] < memory.count();
        let (held, beyond): (Vec<usize>, Vec<usize>) = (0..images.count).partition(is_held);
        let gather = |rows: &[usize]| -> Vec<f32> {
            rows.iter().flat_map(|row| &images.pixels[row * length..][..length]).copied().collect()
        };
        let positions: Vec<usize> = held.iter().map(|&row| near[row]).collect();
        let context = frozen.context(frozen.near(head), &self.buffers, Keep::Nothing);
        let found = memory.ask(&context, head, (&positions, &gather(&held)), &mut self.scratch);
        self.memory = Some(memory);
        let pixels = gather(&beyond);
        let whole = ImagesView { count: beyond.len(), pixels: &pixels, ..images };
        let whole = self.whole(frozen.near(head), whole)?;
        let (rows, found) = (held.into_iter().chain(beyond), found.into_iter().chain(whole.values));
        let found: Vec<f32> = found.collect();
        for (row, values) in rows.zip(found.chunks_exact(logits.classes)) {
            logits.row_mut(row).copy_from_slice(values);
        }
        Ok(logits)
    }

    fn accept(&mut self, near: &[usize]) {
        if let Some(memory) = &mut self.memory {
            memory.accept(&self.frozen.program, near);
        }
    }
}

impl Observable for SingleFrozen {
    fn steps(&self) -> Vec<StepDescription> {
        describe::steps(&self.network, &self.program, size_of::<f32>() as u64)
    }

    fn observed_input_gradient(
        session: &mut SingleSession<'_>,
        images: ImagesView<'_>,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
        observer: &mut dyn StepObserver,
    ) -> Result<(Logits, Vec<f32>), EngineError> {
        session.tiles(images, loss, observer)
    }
}
