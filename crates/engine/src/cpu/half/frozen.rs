//! A network frozen in half precision, and one thread's session over it.

use super::super::border;
use super::super::buffers::BufferPool;
use super::super::describe;
use super::super::lower::{Fuse, Program};
use super::super::{CpuEngine, Shared};
use super::forward::{Leaves, Tile};
use super::plan::Plan;
use super::plans::Plans;
use super::weights::{StepWeights, pack_all};
use super::wide::{Wide, WideSteps};
use super::workplace::Workplace;
use crate::{EngineError, ImagesView, Logits, StepDescription, StepObserver};
use kernels::Isa;
use kernels::convolution::Scratch;
use kernels::half::Source;
use network::{Domain, Network, Shape};
use std::sync::Arc;

/// A network with the running statistics of one domain, folded and packed in bf16.
#[derive(Debug)]
pub(crate) struct HalfFrozen {
    pub isa: Isa,
    shared: Arc<Shared>,
    plans: Arc<Plans>,
    pub network: Network,
    pub program: Program,
    pub weights: Vec<StepWeights>,
    pub wide: WideSteps,
    /// Images one session best takes at a time.
    tile: usize,
}

impl HalfFrozen {
    /// Packs on the current pool.
    pub fn new(engine: &CpuEngine, network: &Network, domain: Domain) -> Result<Self, EngineError> {
        engine.shared.begin(&network.graph);
        let plans = engine.shared.half_plans(engine.isa, &network.graph);
        let network =
            network::fold::fold_in(network, domain, |length| engine.shared.buffers.take(length))?;
        let program = Program::fused(&network, Fuse::Relus)?;
        let tile = images(&program);
        let plan = plans.plan(&program, tile);
        Ok(Self {
            isa: engine.isa,
            shared: Arc::clone(&engine.shared),
            plans,
            weights: pack_all(engine.isa, &network, &program, &plan, &engine.shared.buffers),
            wide: WideSteps::new(&network, &program, &plan),
            tile,
            network,
            program,
        })
    }

    pub fn session(&self) -> HalfSession<'_> {
        let buffers = self.shared.sessions().pop().unwrap_or_default();
        HalfSession { frozen: self, buffers, scratch: self.shared.scratch(), place: None }
    }

    pub fn tile(&self) -> usize {
        self.tile
    }

    pub fn input(&self) -> Shape {
        self.program.input_shape
    }

    pub fn classes(&self) -> usize {
        self.program.classes
    }

    pub fn steps(&self) -> Vec<StepDescription> {
        describe::steps(&self.network, &self.program, size_of::<u16>() as u64)
    }
}

impl Drop for HalfFrozen {
    fn drop(&mut self) {
        let weights = std::mem::take(&mut self.weights);
        weights.into_iter().for_each(|weights| weights.free(&self.shared.buffers));
        for parameter in self.network.parameters.iter_mut() {
            self.shared.buffers.give(std::mem::take(&mut parameter.values));
        }
    }
}

/// Images of one tile: late weights are read once for all of them, while their values between stages fit in memory that
/// the third-level cache holds.
fn images(program: &Program) -> usize {
    const MOST: usize = 32;
    const NUMBERS: usize = 1 << 25;
    let largest = program.values.iter().map(|value| value.len()).max().unwrap_or(1);
    1 << (NUMBERS / largest).clamp(1, MOST).ilog2()
}

/// One thread over a [`HalfFrozen`].
#[derive(Debug)]
pub(crate) struct HalfSession<'a> {
    frozen: &'a HalfFrozen,
    buffers: BufferPool,
    scratch: Scratch,
    place: Option<(Arc<Plan>, Workplace)>,
}

impl Drop for HalfSession<'_> {
    fn drop(&mut self) {
        let shared = &self.frozen.shared;
        shared.sessions().push(std::mem::take(&mut self.buffers));
        shared.return_scratch(std::mem::take(&mut self.scratch));
        if let Some((_, place)) = self.place.take() {
            self.frozen.plans.give(place);
        }
    }
}

impl HalfSession<'_> {
    /// The plan for `count` images, and buffers for it.
    fn prepare(&mut self, count: usize) -> (Arc<Plan>, Workplace) {
        let images = count.max(1).next_power_of_two();
        match self.place.take() {
            Some((plan, place)) if plan.images == images => (plan, place),
            other => {
                if let Some((_, place)) = other {
                    self.frozen.plans.give(place);
                }
                let plan = self.frozen.plans.plan(&self.frozen.program, images);
                let pixels = self.frozen.program.values[self.frozen.program.input].pixels();
                let place = self.frozen.plans.workplace(&plan, pixels);
                (plan, place)
            }
        }
    }

    pub fn logits(&mut self, images: ImagesView<'_>) -> Result<Logits, EngineError> {
        border::check_images("logits", &self.frozen.program, images)?;
        let mut all = Logits::zeros(images.count, self.frozen.program.classes);
        let length = self.frozen.tile * images.shape.len();
        let rows = all.values.chunks_mut(self.frozen.tile * all.classes);
        for (pixels, rows) in images.pixels.chunks(length).zip(rows) {
            let (plan, mut place) = self.prepare(pixels.len() / images.shape.len());
            let count = pixels.len() / images.shape.len();
            let tile = Tile { frozen: self.frozen, plan: &plan, count };
            let mut wide = Wide::new(&tile, &self.buffers, &mut self.scratch);
            tile.forward(pixels, &mut place, &mut wide, Leaves::Logits, &mut crate::Unobserved);
            store_logits(&tile, &wide, rows);
            wide.free();
            self.place = Some((plan, place));
        }
        Ok(all)
    }

    pub fn input_gradient(
        &mut self,
        images: ImagesView<'_>,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
        observer: &mut dyn StepObserver,
    ) -> Result<(Logits, Vec<f32>), EngineError> {
        border::check_images("input_gradient", &self.frozen.program, images)?;
        let program = &self.frozen.program;
        let classes = program.classes;
        let mut all = Logits::zeros(images.count, classes);
        let mut gradient = vec![0.0; images.pixels.len()];
        let length = self.frozen.tile * images.shape.len();
        let tiles = images.pixels.chunks(length).zip(gradient.chunks_mut(length));
        for (position, (pixels, gradient)) in tiles.enumerate() {
            let count = pixels.len() / images.shape.len();
            let first = position * self.frozen.tile;
            let (plan, mut place) = self.prepare(count);
            let tile = Tile { frozen: self.frozen, plan: &plan, count };
            let mut wide = Wide::new(&tile, &self.buffers, &mut self.scratch);
            tile.forward(pixels, &mut place, &mut wide, Leaves::Masks, observer);
            let mut logits = Logits::zeros(count, classes);
            store_logits(&tile, &wide, &mut logits.values);
            let mut by_logits = Logits::zeros(count, classes);
            loss(&logits, first, &mut by_logits);
            border::check_logits("input_gradient", &by_logits, count, classes)?;
            wide.begin(&tile, &by_logits);
            tile.backward(&mut place, &mut wide, observer);
            store_gradient(&tile, &place, &wide, &by_logits, gradient);
            wide.free();
            self.place = Some((plan, place));
            all.values[first * classes..][..count * classes].copy_from_slice(&logits.values);
        }
        Ok((all, gradient))
    }
}

fn store_logits(tile: &Tile<'_>, wide: &Wide<'_>, rows: &mut [f32]) {
    let program = &tile.frozen.program;
    border::store_dense(wide.chunk.value(program, program.output), program.classes, rows);
}

fn store_gradient(
    tile: &Tile<'_>,
    place: &Workplace,
    wide: &Wide<'_>,
    by_logits: &Logits,
    pixels: &mut [f32],
) {
    let program = &tile.frozen.program;
    let input = program.input;
    let length = tile.count * program.values[input].gradient_len();
    let own = &tile.plan.places[input];
    match own.value {
        Source::Strip(_) => match &tile.plan.depth {
            None => {
                let rows = &place.lanes[..length];
                border::store_input_gradient(program, rows, &by_logits.values, pixels);
            }
            Some(depth) => {
                let squares = depth.shape.height * depth.shape.width * kernels::LANES;
                border::store_planes(
                    program,
                    &by_logits.values,
                    pixels,
                    |image, channel, plane| {
                        depth.plane(&place.lanes[image * squares..][..squares], channel, plane);
                    },
                );
            }
        },
        Source::Cells(_) if own.forms.cells => {
            let slot = tile.plan.input_gradient.expect("the gradient by the images has a buffer");
            let mut rows = vec![0.0; length];
            let stride = kernels::padded(program.values[input].shape.channels);
            let cells = &place.buffers[slot];
            kernels::half::from_cells(
                tile.frozen.isa,
                &own.gradient,
                tile.count,
                stride,
                cells,
                &mut rows,
            );
            border::store_input_gradient(program, &rows, &by_logits.values, pixels);
        }
        Source::Cells(_) => {
            let rows = &wide.reverse.gradients[input];
            border::store_input_gradient(program, rows, &by_logits.values, pixels);
        }
    }
}
