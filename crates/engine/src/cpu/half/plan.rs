//! What a session does with a tile of images, decided from shapes alone and kept from freeze to freeze.

use super::super::lower::{Operation, Program, Step};
use super::gradients::{self, Backward};
use super::stages::{Kind, Stage, kind, stages};
use super::values::{Place, Scope, Uses, places, read_again};
use kernels::half::{
    CellLayout, HalfPass, Pool, Source, SpaceToDepth, Table, backward_passes, forward_pass,
    pointwise_pass,
};
use kernels::{ConvolutionShape, Isa};
use network::Activation;
use std::collections::HashMap;

/// Everything about a network's passes over up to `images` images that does not depend on weights.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Images of one tile at most.
    pub images: usize,
    pub stages: Vec<Stage>,

    /// By value.
    pub places: Vec<Place>,
    /// By step.
    pub kinds: Vec<Kind>,
    /// By value: the buffer of its cells.
    pub slots: Vec<Option<usize>>,
    /// By step that runs over cells: its table.
    pub forward: Vec<Option<Table>>,
    /// By step that is a maximum over windows.
    pub pools: Vec<Option<Pool>>,
    /// By step: what its backward does.
    pub backward: Vec<Vec<Backward>>,
    /// By value: how far its gradient's buffer reaches.
    pub gradient_scopes: Vec<Scope>,
    /// Numbers of every buffer.
    pub buffers: Vec<usize>,
    /// How the gradient by images of a strip lies, if not pixel by pixel.
    pub depth: Option<SpaceToDepth>,
    /// The buffer of the gradient by images that lie in cells.
    pub input_gradient: Option<usize>,
    /// By value made by a ReLU over cells: words of its mask.
    pub masks: Vec<Option<usize>>,
}

impl Plan {
    /// `images` is a power of two.
    pub fn new(isa: Isa, program: &Program, images: usize) -> Self {
        let mut stages = stages(program, images);
        let uses = Uses::new(program);
        let places = places(program, &stages, &uses);
        for stage in &mut stages {
            for step in &program.steps[stage.first..stage.end] {
                let read = places[step.input].value.images();
                stage.images = stage.images.max(read).max(places[step.output].gradient.images);
            }
        }
        let kinds: Vec<Kind> = program.steps.iter().map(|step| kind(program, step)).collect();
        let mut slots = Slots::default();
        let of = super::values::stage_of(&stages);
        let room = |scope: Scope, stage: usize| match scope {
            Scope::Tile => images,
            Scope::Stage => stages[stage].images,
        };
        let value_slots = forward_slots(program, &uses, &places, &kinds, &of, &room, &mut slots);
        let gradients =
            gradients::plan(isa, program, &uses, &places, &kinds, &of, &room, &mut slots);
        let forward = program.steps.iter().zip(&kinds);
        let forward = forward.map(|(step, kind)| forward_table(isa, program, &places, step, *kind));
        let mask = |value: usize| {
            let made = uses.producer[value].map(|index| &program.steps[index])?;
            let place = &places[value];
            let masked = made.activation == Some(Activation::Relu) && place.forms.cells;
            masked.then(|| {
                place.gradient.groups(images.next_multiple_of(16)) * place.gradient.group_cells()
            })
        };
        let first = |step: &&Step| step.input == program.input;
        let mut reading = program.steps.iter().filter(first);
        Self {
            images,
            depth: reading.find_map(|step| depth(program, &places, step)),
            forward: forward.collect(),
            pools: program.steps.iter().map(|step| pool(program, &places, step)).collect(),
            masks: (0..program.values.len()).map(mask).collect(),
            slots: value_slots,
            backward: gradients.actions,
            gradient_scopes: gradients.scopes,
            input_gradient: gradients.by_images,
            buffers: slots.lengths,
            stages,

            places,
            kinds,
        }
    }

    /// The buffer of a value in cells.
    pub fn slot(&self, value: usize) -> usize {
        self.slots[value].expect("a value in cells has a buffer")
    }
}

/// The convolution that a step is; keeping every `stride`-th pixel is one with weights of one and zero.
pub(crate) fn convolution_shape(program: &Program, step: &Step) -> ConvolutionShape {
    let (from, to) = (program.values[step.input].shape, program.values[step.output].shape);
    match &step.operation {
        Operation::Convolution { shape, .. } => *shape,
        Operation::Subsample { stride, .. } => ConvolutionShape {
            in_channels: from.channels,
            in_stride: from.channels,
            height: from.height,
            width: from.width,
            out_channels: to.channels,
            kernel: 1,
            stride: *stride,
            padding: 0,
        },
        other => panic!("{other:?} is no convolution"),
    }
}

/// The convolution in whose place a first step goes back to the images, if that needs fewer passes.
pub(crate) fn depth(program: &Program, places: &[Place], step: &Step) -> Option<SpaceToDepth> {
    let strip = matches!(places[step.input].value, Source::Strip(_));
    strip.then(|| SpaceToDepth::of(&convolution_shape(program, step))).flatten()
}

/// The forward of a convolution from a value that lies so.
pub(crate) fn forward(isa: Isa, shape: &ConvolutionShape, source: Source) -> HalfPass {
    let pass = forward_pass(shape);
    match source {
        Source::Cells(layout) => pass.on(isa, &layout, shape.out_channels),
        Source::Strip(_) => pass,
    }
}

/// The backward by data of a convolution from gradients that lie so.
pub(crate) fn backward(isa: Isa, shape: &ConvolutionShape, source: CellLayout) -> Vec<HalfPass> {
    let passes = backward_passes(shape).into_iter();
    passes.map(|pass| pass.on(isa, &source, shape.in_channels)).collect()
}

fn pool(program: &Program, places: &[Place], step: &Step) -> Option<Pool> {
    let Operation::MaxPool { kernel, stride, padding } = step.operation else { return None };
    let own = kind(program, step) == Kind::Pool;
    let (from, to) = (&places[step.input], &places[step.output]);
    own.then(|| {
        let gradients = (from.gradient, to.gradient);
        Pool::new((kernel, stride, padding), from.cells(), to.cells(), gradients)
    })
}

fn forward_table(
    isa: Isa,
    program: &Program,
    places: &[Place],
    step: &Step,
    kind: Kind,
) -> Option<Table> {
    let pass: HalfPass = match kind {
        Kind::Wide | Kind::Pool | Kind::Norm | Kind::Smooth => return None,
        Kind::Convolution => {
            forward(isa, &convolution_shape(program, step), places[step.input].value)
        }
        Kind::Pointwise => {
            let shape = program.values[step.output].shape;
            pointwise_pass(shape.height, shape.width)
        }
    };
    let target = places[step.output].cells();
    let add = step.add.map_or(target, |add| places[add].cells());
    let table =
        Table::new(&pass, places[step.input].value, target, add, places[step.output].gradient);
    Some(table.expect("a value lies as the steps that read it need"))
}

/// What a value needs of a buffer.
///
/// A value of a whole tile never takes the buffer of one that lives within a stage: a stage runs again for its next images,
/// and writes that buffer from its first image on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Room {
    pub layout: Source,
    pub images: usize,
    pub scope: Scope,
}

impl Room {
    /// Whole groups of sixteen, whoever writes them.
    fn whole(self) -> Self {
        match self.layout {
            Source::Cells(_) => Self { images: self.images.next_multiple_of(16), ..self },
            Source::Strip(_) => self,
        }
    }
}

/// Buffers, shared by values of one layout that do not live at the same time: a buffer's border stays zero.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// Numbers of every buffer.
    pub lengths: Vec<usize>,
    free: HashMap<Room, Vec<usize>>,
}

impl Slots {
    /// A buffer with this room.
    pub fn take(&mut self, room: Room) -> usize {
        let room = room.whole();
        if let Some(slot) = self.free.get_mut(&room).and_then(Vec::pop) {
            return slot;
        }
        self.lengths.push(match room.layout {
            Source::Cells(cells) => cells.len(room.images),
            Source::Strip(strip) => strip.len(room.images),
        });
        self.lengths.len() - 1
    }

    /// Gives it back.
    pub fn give(&mut self, room: Room, slot: usize) {
        self.free.entry(room.whole()).or_default().push(slot);
    }
}

/// Buffers of forward values: one lives from the step that computes it to the last that reads it, or for good if the backward
/// reads it too. A sum may be written over a summand that nobody reads again.
fn forward_slots(
    program: &Program,
    uses: &Uses,
    places: &[Place],
    kinds: &[Kind],
    of: &[usize],
    room: &impl Fn(Scope, usize) -> usize,
    slots: &mut Slots,
) -> Vec<Option<usize>> {
    let mut living: Vec<bool> = vec![false; program.values.len()];
    let size = |value: usize| {
        let stage = uses.producer[value].map_or(0, |index| of[index]);
        let Place { value: layout, scope, .. } = places[value];
        Room { layout, images: room(scope, stage), scope }
    };
    let mut leaving: Vec<usize> = Vec::new();
    let mut of_value: Vec<Option<usize>> = vec![None; program.values.len()];
    if places[program.input].forms.cells {
        of_value[program.input] = Some(slots.take(size(program.input)));
        living[program.input] = !read_again(program, uses, program.input);
    }
    for (index, step) in program.steps.iter().enumerate() {
        let ends = |value: usize| uses.readers[value].last() == Some(&index);
        let over = step.add.filter(|&add| {
            !matches!(kinds[index], Kind::Wide | Kind::Norm | Kind::Smooth)
                && add != step.input
                && ends(add)
                && places[add].scope == Scope::Stage
                && size(add) == size(step.output)
        });
        if places[step.output].forms.cells {
            let summand = over.and_then(|add| of_value[add]);
            let slot = summand.unwrap_or_else(|| slots.take(size(step.output)));
            of_value[step.output] = Some(slot);
            living[step.output] = !read_again(program, uses, step.output);
        }
        for read in [Some(step.input), step.add].into_iter().flatten() {
            if !ends(read) || !std::mem::take(&mut living[read]) || over == Some(read) {
                continue;
            }
            match places[read].scope {
                Scope::Stage => {
                    slots.give(size(read), of_value[read].expect("a living value has a buffer"));
                }
                // A stage runs for some images after others: what came from before it is read until its end.
                Scope::Tile => leaving.push(read),
            }
        }
        if of.get(index + 1) != Some(&of[index]) {
            for value in leaving.drain(..) {
                slots.give(size(value), of_value[value].expect("a living value has a buffer"));
            }
        }
    }
    for value in (0..living.len()).filter(|&value| living[value]) {
        slots.give(size(value), of_value[value].expect("a living value has a buffer"));
    }
    of_value
}
