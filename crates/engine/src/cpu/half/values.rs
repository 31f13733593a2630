//! Where forward values and their gradients lie.

use super::super::lower::{Operation, Program};
use super::stages::{Kind, Stage, StageKind, kind};
use kernels::half::{CellLayout, Columns, Source, StripLayout, TILE};

/// How far a value lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Within one stage: for its images at a time only.
    Stage,
    /// Beyond: for all images of the session's tile.
    Tile,
}

impl Scope {
    /// Where image `first` of the session's tile lies, if it is the first of the stage's present images.
    pub fn first(self, first: usize) -> usize {
        match self {
            Self::Stage => 0,
            Self::Tile => first,
        }
    }
}

/// Forms in which a value is needed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Forms {
    /// In cells or a strip.
    pub cells: bool,
    /// In f32 rows.
    pub wide: bool,
}

/// One value's places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub forms: Forms,
    pub scope: Scope,
    /// How far its gradient lives, unless it comes in a buffer that lives longer.
    pub gradient_scope: Scope,
    /// Forward.
    pub value: Source,
    /// Its gradient; its ReLU mask has this order too.
    pub gradient: CellLayout,
}

impl Place {
    /// The cells of a value that is no strip.
    pub fn cells(&self) -> CellLayout {
        match self.value {
            Source::Cells(layout) => layout,
            Source::Strip(layout) => panic!("only a first convolution reads {layout:?}"),
        }
    }
}

/// The stage of every step.
pub(crate) fn stage_of(stages: &[Stage]) -> Vec<usize> {
    let each = stages.iter().enumerate();
    each.flat_map(|(index, stage)| std::iter::repeat_n(index, stage.end - stage.first)).collect()
}

/// Who computes and who reads each value.
#[derive(Clone, Debug)]
pub(crate) struct Uses {
    /// By value: the step that computes it.
    pub producer: Vec<Option<usize>>,
    /// By value: the steps that read it, in order.
    pub readers: Vec<Vec<usize>>,
}

impl Uses {
    pub fn new(program: &Program) -> Self {
        let count = program.values.len();
        let mut uses = Self { producer: vec![None; count], readers: vec![Vec::new(); count] };
        for (index, step) in program.steps.iter().enumerate() {
            uses.producer[step.output] = Some(index);
            for read in [Some(step.input), step.add].into_iter().flatten() {
                if uses.readers[read].last() != Some(&index) {
                    uses.readers[read].push(index);
                }
            }
        }
        uses
    }
}

/// By value; those that no step computes are never looked at.
pub(crate) fn places(program: &Program, stages: &[Stage], uses: &Uses) -> Vec<Place> {
    let of = stage_of(stages);
    (0..program.values.len()).map(|value| place(program, stages, uses, &of, value)).collect()
}

fn place(program: &Program, stages: &[Stage], uses: &Uses, of: &[usize], value: usize) -> Place {
    let (readers, producer) = (&uses.readers[value], uses.producer[value]);
    let mut forms = Forms { cells: false, wide: producer.is_none() && readers.is_empty() };
    for &index in readers.iter().chain(&producer) {
        match kind(program, &program.steps[index]) {
            Kind::Wide => forms.wide = true,
            _ => forms.cells = true,
        }
    }
    // The last step's output is read by the caller, the images come from it.
    forms.wide |= value == program.output;
    let everyone = || readers.iter().chain(&producer).map(|&index| of[index]);
    let one_stage = everyone().all(|stage| Some(stage) == everyone().next())
        && producer.is_some()
        && value != program.output
        && everyone().all(|stage| stages[stage].kind == StageKind::Cells);
    let gradient_scope = if one_stage { Scope::Stage } else { Scope::Tile };
    let scope = if read_again(program, uses, value) { Scope::Tile } else { gradient_scope };

    let shape = program.values[value].shape;
    // (kernel, stride, padding) of the convolutions that read it.
    let windows: Vec<(usize, usize, usize, usize)> = readers
        .iter()
        .filter(|&&index| program.steps[index].input == value)
        .filter_map(|&index| {
            window(&program.steps[index].operation).map(|(k, s, p)| (index, k, s, p))
        })
        .collect();
    let base = CellLayout {
        channels: shape.channels,
        height: shape.height,
        width: shape.width,
        images: 1,
        border: 0,
        columns: Columns::Together,
    };
    // Read at a distance too, half a row must fill tiles: the stage behind has rows of that length.
    let reading = windows.iter().max_by_key(|w| (w.2, std::cmp::Reverse(w.0))).map(|w| w.0);
    let reading = reading.or(readers.first().copied());
    let interleaved = reading.map_or(1, |index| stages[of[index]].interleaved);
    let padding = windows.iter().map(|w| w.3).max().unwrap_or(0);
    let spread = |stride: usize| windows.iter().any(|w| w.2 == stride && w.1 > 1);
    let strided = windows.iter().any(|w| w.2 == 2);
    // Even spacing of a tile's rows: see `kernels::half::Table::new`. One image alone suits every stride.
    let (images, columns) = match windows.iter().map(|w| w.2).max() {
        Some(stride) if stride > 2 => (1, Columns::Together),
        _ if strided && spread(1) => (1, Columns::Together),
        _ if strided => (interleaved, Columns::Apart),
        _ => (interleaved, Columns::Together),
    };
    // A tile of sixteen images is one column, and columns outside the map are left out.
    let border = |columns: usize, images: usize| if images == TILE { 0 } else { columns };
    let value_layout = CellLayout { images, columns, border: border(padding, images), ..base };
    let strip = StripLayout {
        channels: shape.channels,
        height: shape.height,
        width: shape.width,
        border: padding,
    };
    let first = &windows[..];
    let is_strip = value == program.input
        && readers.len() == 1
        && matches!(first, [(index, ..)] if strip_suits(&program.steps[*index].operation));
    let (own, reach) = match producer {
        None => (1, 0),
        Some(index) => (
            stages[of[index]].interleaved,
            window(&program.steps[index].operation).map_or(0, |(kernel, _, padding)| {
                if 2 * padding + 1 == kernel { padding } else { kernel - 1 }
            }),
        ),
    };
    Place {
        forms,
        scope,
        gradient_scope,
        value: if is_strip { Source::Strip(strip) } else { Source::Cells(value_layout) },
        gradient: CellLayout { images: own, border: border(reach, own), ..base },
    }
}

/// Whether the backward reads a value: what a group norm has normalised, what was smoothly activated.
pub(crate) fn read_again(program: &Program, uses: &Uses, value: usize) -> bool {
    let mut readers = uses.readers[value].iter().map(|&index| &program.steps[index]);
    readers.any(|step| match kind(program, step) {
        Kind::Norm => step.input == value,
        Kind::Smooth => true,
        _ => false,
    })
}

fn strip_suits(operation: &Operation) -> bool {
    matches!(operation, Operation::Convolution { shape, .. } if Source::strip_suits(shape))
}

/// Kernel, stride and padding of what runs as a convolution.
fn window(operation: &Operation) -> Option<(usize, usize, usize)> {
    match operation {
        Operation::Convolution { shape, .. } => Some((shape.kernel, shape.stride, shape.padding)),
        Operation::Subsample { stride, .. } => Some((1, *stride, 0)),
        _ => None,
    }
}
