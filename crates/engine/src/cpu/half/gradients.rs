//! How gradients go back: for every step, which passes run, what they add to, and which mask completes a gradient.

use super::super::lower::{Operation, Program};
use super::plan::{Room, Slots, backward, convolution_shape, depth};
use super::stages::Kind;
use super::values::{Place, Scope, Uses};
use kernels::Isa;
use kernels::half::{CellLayout, Source, Table, pointwise_pass};
use network::Activation;

/// One piece of a step's backward.
#[derive(Debug)]
pub(crate) enum Backward {
    /// Through a convolution.
    Convolution {
        /// By remainder of the position by the stride; `None` if nothing would change.
        tables: Vec<Option<Table>>,
        /// Buffers.
        from: usize,
        to: To,
    },
    /// The gradient times a factor per channel, or as it is.
    Pointwise { table: Box<Table>, factors: Factors, from: usize, to: To },
    /// A gradient that has changed its name only is complete: its mask.
    Keep { value: usize, slot: usize },
    /// Through a maximum over windows.
    Pool { from: usize, to: To },
    /// The gradient in this buffer times the slope of the step's activation, in place.
    Smooth { at: usize },
    /// Through a group norm.
    Norm { from: usize, to: To },
    /// In f32.
    Wide { from: Option<usize>, to: Vec<To> },
}

/// Which factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Factors {
    /// Those of the step's scale.
    OfStep,
    /// None: the gradient itself.
    Ones,
}

/// Where a gradient goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct To {
    pub value: usize,
    /// `None` for the gradient by the images of a strip, which is f32.
    pub slot: Option<usize>,
    pub adds: bool,
    /// Whether the value's mask is applied.
    pub keeps: bool,
    /// Whether it was applied to all that is there: then what adds nothing to a pixel may leave it.
    pub kept: bool,
}

struct Planner<'a> {
    program: &'a Program,
    uses: &'a Uses,
    places: &'a [Place],
    /// By value: the buffer of the gradient so far.
    slots: Vec<Option<usize>>,
    /// By value: how far its gradient's buffer reaches.
    scopes: Vec<Scope>,
    /// By value: whether its mask was applied to the gradient so far.
    kept: Vec<bool>,
}

/// What is decided about gradients.
pub(crate) struct Gradients {
    /// By step: what its backward does.
    pub actions: Vec<Vec<Backward>>,
    /// By value: the scope of its gradient, which may have come to it from a value that lives longer.
    pub scopes: Vec<Scope>,
    /// The buffer of the gradient by the images, if that lies in cells.
    pub by_images: Option<usize>,
}

#[allow(clippy::too_many_arguments)]
pub(crate) fn plan(
    isa: Isa,
    program: &Program,
    uses: &Uses,
    places: &[Place],
    kinds: &[Kind],
    of: &[usize],
    room: &impl Fn(Scope, usize) -> usize,
    slots: &mut Slots,
) -> Gradients {
    let mut planner = Planner {
        program,
        uses,
        places,
        slots: vec![None; program.values.len()],
        scopes: places.iter().map(|place| place.gradient_scope).collect(),
        kept: vec![false; program.values.len()],
    };
    let size = |value: usize, scope: Scope| {
        let stage = uses.producer[value].map_or(0, |index| of[index]);
        let layout = Source::Cells(places[value].gradient);
        Room { layout, images: room(scope, stage), scope }
    };
    let mut actions: Vec<Vec<Backward>> = Vec::new();
    let mut leaving: Vec<(usize, usize)> = Vec::new();
    for (index, step) in program.steps.iter().enumerate().rev() {
        let own = planner.slots[step.output].take();
        let mut found = Vec::new();
        let mut renamed = false;
        match kinds[index] {
            Kind::Convolution => {
                let from = own.expect("the gradient of a convolution's result");
                let to = planner.to(index, step.input, step.add, &size, slots);
                let depth = depth(program, places, step);
                let shape = depth
                    .as_ref()
                    .map_or_else(|| convolution_shape(program, step), |depth| depth.shape);
                let target = depth.map_or(places[step.input].gradient, |depth| depth.layout());
                let passes = backward(isa, &shape, places[step.output].gradient);
                let tables = passes.into_iter().map(|pass| {
                    // Where no tap leads, zeros are added to what is there, or written.
                    let idle = pass.taps.is_empty() && to.adds && (to.kept || !to.keeps);
                    (!idle).then(|| table(&pass, places[step.output].gradient, target))
                });
                found.push(Backward::Convolution { tables: tables.collect(), from, to });
            }
            Kind::Pointwise | Kind::Smooth => {
                let from = own.expect("the gradient of a pointwise step's result");
                let scales = matches!(step.operation, Operation::Scale { .. });
                let may_rename = !scales && step.add.is_none();
                if kinds[index] == Kind::Smooth {
                    found.push(Backward::Smooth { at: from });
                }
                renamed = planner.pass_on(
                    index, step.input, step.add, from, may_rename, scales, &size, slots, &mut found,
                );
            }
            Kind::Pool => {
                let from = own.expect("the gradient of a pool's result");
                let to = planner.to(index, step.input, None, &size, slots);
                found.push(Backward::Pool { from, to });
            }
            Kind::Norm => {
                let from = own.expect("the gradient of a norm's result");
                let to = planner.to(index, step.input, step.add, &size, slots);
                found.push(Backward::Norm { from, to });
            }
            Kind::Wide => {
                let inputs = [Some(step.input), step.add.filter(|&add| add != step.input)];
                let to = inputs.into_iter().flatten().filter(|&value| places[value].forms.cells);
                let to = to.map(|value| planner.to(index, value, None, &size, slots)).collect();
                found.push(Backward::Wide { from: own, to });
            }
        }
        if kinds[index] != Kind::Wide
            && let Some(add) = step.add
        {
            let from = own.expect("the gradient of a sum");
            renamed =
                planner.pass_on(index, add, None, from, true, false, &size, slots, &mut found);
        }
        if let Some(slot) = own.filter(|_| !renamed) {
            leaving.push((step.output, slot));
        }
        leaving.retain(|&(value, slot)| {
            let within = planner.scopes[value] == Scope::Stage;
            if within {
                slots.give(size(value, Scope::Stage), slot);
            }
            !within
        });
        if index == 0 || of[index - 1] != of[index] {
            for (value, slot) in leaving.drain(..) {
                slots.give(size(value, Scope::Tile), slot);
            }
        }
        actions.push(found);
    }
    actions.reverse();
    let by_images = planner.slots[program.input];
    Gradients { actions, scopes: planner.scopes, by_images }
}

fn table(pass: &kernels::half::HalfPass, source: CellLayout, target: CellLayout) -> Table {
    Table::new(pass, Source::Cells(source), target, target, target)
        .expect("gradients lie with columns together")
}

impl Planner<'_> {
    /// Whether step `index` is the last to add to a value's gradient; `after` is what it will add to later.
    fn completes(&self, index: usize, value: usize, after: Option<usize>) -> bool {
        self.uses.readers[value].first() == Some(&index) && after != Some(value)
    }

    fn masked(&self, value: usize) -> bool {
        let producer = self.uses.producer[value];
        producer.is_some_and(|index| self.program.steps[index].activation == Some(Activation::Relu))
    }

    /// Where step `index` writes the gradient by `value`.
    fn to(
        &mut self,
        index: usize,
        value: usize,
        after: Option<usize>,
        size: &impl Fn(usize, Scope) -> Room,
        slots: &mut Slots,
    ) -> To {
        let adds = self.slots[value].is_some();
        let strip = matches!(self.places[value].value, Source::Strip(_));
        if !adds && !strip {
            self.slots[value] = Some(slots.take(size(value, self.scopes[value])));
        }
        // A mask of a sum is the sum of masked parts.
        let kept = adds && self.kept[value];
        let keeps = self.masked(value) && (!adds || kept || self.completes(index, value, after));
        self.kept[value] = keeps && (!adds || kept);
        To { value, slot: self.slots[value], adds, keeps, kept }
    }

    /// Gives a gradient on as it is, or scaled; says whether the buffer only changed its name.
    #[allow(clippy::too_many_arguments)]
    fn pass_on(
        &mut self,
        index: usize,
        value: usize,
        after: Option<usize>,
        from: usize,
        may_rename: bool,
        scales: bool,
        size: &impl Fn(usize, Scope) -> Room,
        slots: &mut Slots,
        found: &mut Vec<Backward>,
    ) -> bool {
        let output = self.program.steps[index].output;
        // Within a stage a gradient may stay in the buffer that all images have: the stage takes its images one after
        // another, and each finds its own part.
        let scope = self.scopes[output];
        let reaches = scope == Scope::Tile || self.places[value].gradient_scope == Scope::Stage;
        let alike = self.places[value].gradient == self.places[output].gradient && reaches;
        let same_room = size(value, scope) == size(output, scope);
        if may_rename && alike && same_room && self.slots[value].is_none() {
            self.slots[value] = Some(from);
            self.scopes[value] = scope;
            self.kept[value] = false;
            if self.masked(value) && self.completes(index, value, after) {
                found.push(Backward::Keep { value, slot: from });
            }
            return true;
        }
        let to = self.to(index, value, after, size, slots);
        let (source, target) = (self.places[output].gradient, self.places[value].gradient);
        let pass = pointwise_pass(source.height, source.width);
        let factors = if scales { Factors::OfStep } else { Factors::Ones };
        let table = Box::new(table(&pass, source, target));
        found.push(Backward::Pointwise { table, factors, from, to });
        false
    }
}
