//! What a pass computes and where results go; every array is checked before anything unsafe touches it.

use super::epilogue::{Epilogue, Kind};
use super::pack::{PANEL, PackedHalf};
use super::table::{OPERANDS, TOGETHER, Table};
use super::{Algorithm, CELL};
use crate::LANES;
use std::ops::Range;

/// What a pass computes.
#[derive(Clone, Copy, Debug)]
pub struct Convolve<'a> {
    /// Tiles and steps.
    pub table: &'a Table,
    /// What inputs are multiplied with.
    pub weights: Weights<'a>,
    /// Starts of the sums, one for each output channel.
    pub bias: Option<&'a [f32]>,
    /// How many images are computed, rounded up to whole groups of the source.
    pub images: usize,
    /// The first of them in the source; a multiple of its group.
    pub first: usize,
    /// The first of them in target, addend and mask.
    pub firsts: [usize; OPERANDS],
    /// The source, all images of it.
    pub source: &'a [u16],
    /// What will be read after this pass.
    pub ahead: Ahead<'a>,
}

/// What is fetched into the second-level cache meanwhile; it changes no result.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ahead<'a> {
    /// The next pass's first weights: while this one's last panels are computed.
    pub weights: &'a [u16],
    /// Values: all the time, evenly.
    pub values: &'a [u16],
}

/// What inputs are multiplied with.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// A convolution.
    Packed(&'a PackedHalf),
    /// One factor a channel, up to whole cells; the table is that of a 1x1 pass from as many channels to as many.
    Channels(&'a [f32]),
}

/// Where results go.
#[derive(Debug)]
pub enum Destination<'a> {
    /// Rounded to bf16.
    Cells {
        /// All groups of the target.
        target: &'a mut [u16],
        /// What is added.
        add: Addend<'a>,
        /// The rest.
        epilogue: Epilogue<'a>,
    },
    /// Bare sums of at most 16 channels, 16 numbers for each cell of the target's layout.
    Lanes(&'a mut [f32]),
}

/// What is added to the sums.
#[derive(Clone, Copy, Debug)]
pub enum Addend<'a> {
    /// Nothing.
    Nothing,
    /// What the target held.
    Target,
    /// Another value.
    Other(&'a [u16]),
}

impl<'a> Convolve<'a> {
    /// The same job in parts of so many images that their patches, of `group` numbers for a group, stay in the second-level
    /// cache; weights that do not are read again for each part, so that its patches are as much as they.
    pub(super) fn parts(&self, group: usize) -> impl Iterator<Item = Convolve<'a>> {
        /// Numbers, a quarter of the smallest second-level cache with bf16 products.
        const NEAR: usize = 1 << 17;
        let weights = match self.weights {
            Weights::Packed(weights) => weights.values.len(),
            Weights::Channels(_) => 0,
        };
        let each = (weights.max(NEAR) / group).max(1) * self.table.inputs.images();
        let job = *self;
        (0..self.images).step_by(each).map(move |done| Convolve {
            images: each.min(job.images - done),
            first: job.first + done,
            firsts: job.firsts.map(|first| first + done),
            ..job
        })
    }

    /// Groups of the source.
    pub(super) fn groups(&self) -> Range<usize> {
        let each = self.table.inputs.images();
        self.first / each..self.first / each + self.images.div_ceil(each)
    }

    /// Groups computed together: the first of them and how many.
    pub(super) fn rounds(&self) -> impl Iterator<Item = (usize, usize)> {
        let groups = self.groups();
        groups.clone().step_by(TOGETHER).map(move |first| (first, TOGETHER.min(groups.end - first)))
    }

    /// Panels of 16 outputs.
    pub(super) fn panels(&self) -> usize {
        match self.weights {
            Weights::Packed(weights) => weights.panels,
            Weights::Channels(factors) => factors.len() / LANES,
        }
    }

    /// Asserts what everything unsafe below rests on.
    pub(super) fn check(&self) {
        let (groups, each) = (self.groups(), self.table.inputs.images());
        assert_eq!(self.first % each, 0, "an image within its group");
        let group = self.table.inputs.group() as i64;
        let (first, last) = (groups.start as i64 * group, (groups.end as i64 - 1) * group);
        assert!(first + self.table.reach.0 >= 0, "a tile begins before its source");
        assert!(
            groups.is_empty() || last + self.table.reach.1 <= self.source.len() as i64,
            "a tile ends beyond its source"
        );
        let each = self.table.inputs.weights_of_a_step();
        let highest = self.table.steps.iter().map(|step| step.weights as usize + each).max();
        match self.weights {
            Weights::Packed(weights) => {
                assert_eq!(
                    weights.algorithm,
                    self.table.inputs.algorithm(),
                    "weights of another pass"
                );
                assert!(highest.unwrap_or(0) <= weights.steps, "weights of another pass");
                assert_eq!(weights.values.len(), weights.panels * weights.steps * PANEL);
            }
            Weights::Channels(factors) => {
                assert_eq!(factors.len() % CELL, 0, "factors of whole cells");
                let blocks = factors.len() / CELL;
                let whole = self.table.classes.iter().all(|steps| steps.len() == blocks);
                let direct = self.table.inputs.algorithm() == Algorithm::Direct;
                assert!(whole && direct, "factors for a table of another pass");
            }
        }
    }

    /// Asserts that an operand has all cells that the groups touch, each of `numbers` numbers.
    fn check_operand(&self, operand: usize, length: usize, numbers: usize) {
        let layout = self.table.operands[operand];
        let images = self.firsts[operand] + self.groups().len() * self.table.inputs.images();
        assert!(
            layout.groups(images) * layout.group_cells() * numbers <= length,
            "operand {operand} of a convolution: {length} numbers for {images} images of {layout:?}"
        );
        assert!(self.panels().div_ceil(2) <= layout.blocks(), "channels of operand {operand}");
        // Rows of a group that spreads over several of the operand's were listed from a group's start.
        let spreads = self.table.inputs.images() > layout.images;
        let aligned = if spreads { layout.images } else { self.table.inputs.images() };
        assert_eq!(self.firsts[operand] % aligned, 0, "first image of operand {operand}");
    }
}

/// Checked arrays of the operands; `kind` is `None` for bare lanes.
pub(super) struct Pointers {
    pub kind: Option<Kind>,
    pub bases: [*mut u8; OPERANDS],
}

impl Pointers {
    /// Panics where an array is too short for the job.
    pub fn new(job: &Convolve<'_>, destination: &mut Destination<'_>) -> Self {
        let mut pointers = Pointers { kind: None, bases: [std::ptr::null_mut(); OPERANDS] };
        match destination {
            Destination::Lanes(target) => {
                assert!(job.panels() == 1, "at most 16 channels are written as lanes");
                job.check_operand(0, target.len(), LANES);
                pointers.bases[0] = target.as_mut_ptr().cast();
            }
            Destination::Cells { target, add, epilogue } => {
                job.check_operand(0, target.len(), CELL);
                pointers.bases[0] = target.as_mut_ptr().cast();
                match *add {
                    Addend::Nothing => {}
                    Addend::Target => {
                        assert_eq!(
                            job.table.operands[0], job.table.operands[1],
                            "an addend in the target's place"
                        );
                        pointers.bases[1] = pointers.bases[0];
                    }
                    Addend::Other(other) => {
                        job.check_operand(1, other.len(), CELL);
                        pointers.bases[1] = other.as_ptr().cast_mut().cast();
                    }
                }
                pointers.kind = Some(Kind::new(!matches!(add, Addend::Nothing), epilogue));
                let (mask, length): (*mut u32, usize) = match epilogue {
                    Epilogue::Activate { mask: Some(mask), .. } => (mask.as_mut_ptr(), mask.len()),
                    Epilogue::Keep { mask: Some(mask) } => (mask.as_ptr().cast_mut(), mask.len()),
                    _ => (std::ptr::null_mut(), usize::MAX),
                };
                if !mask.is_null() {
                    job.check_operand(2, length, 1);
                }
                pointers.bases[2] = mask.cast();
            }
        }
        pointers
    }
}
