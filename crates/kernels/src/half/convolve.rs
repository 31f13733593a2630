//! Runs a [`Table`] over groups of images.

use super::block::{self, Block, Extent, Fetch, Sums};
use super::epilogue::{Epilogue, Kind, Pending, Rows};
use super::filter::{Patches, fill};
use super::pack::{PANEL, PackedHalf};
use super::table::{Member, OPERANDS, Reads, TOGETHER, Table, Tile};
use super::{CELL, Lines, TILE, to_f32};
use crate::{Isa, LANES};
use std::ops::Range;

/// Where sums wait for their epilogue; one a thread.
#[derive(Debug)]
pub struct Workspace {
    sums: Box<[Sums; 2]>,
    bias: Lines<f32>,
    /// Transformed inputs of filtered passes.
    patches: Patches,
}

impl Default for Workspace {
    fn default() -> Self {
        Self {
            sums: Box::new([const { Sums([0.0; 1024]) }; 2]),
            bias: Lines::zeros(0),
            patches: Patches::default(),
        }
    }
}

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

impl Workspace {
    /// Takes over a job's bias.
    fn start_from(&mut self, job: &Convolve<'_>) {
        let outputs = job.panels().next_multiple_of(2) * LANES;
        if self.bias.len() < outputs {
            self.bias = Lines::zeros(outputs);
        }
        self.bias.fill(0.0);
        let bias = job.bias.unwrap_or(&[]);
        assert!(bias.len() <= job.panels() * LANES, "bias of {} outputs", bias.len());
        self.bias.iter_mut().zip(bias).for_each(|(start, &bias)| *start = sum_start(bias));
    }
}

impl<'a> Convolve<'a> {
    /// The same job in parts of so many images that their patches, of `group` numbers for a group, stay in the second-level
    /// cache; weights that do not are read again for each part, so that its patches are as much as they.
    fn parts(&self, group: usize) -> impl Iterator<Item = Convolve<'a>> {
        /// Numbers, a quarter of the smallest second-level cache with bf16 products.
        const NEAR: usize = 1 << 17;
        let weights = match self.weights {
            Weights::Packed(weights) => weights.values.len(),
            Weights::Channels(_) => 0,
        };
        let each = (weights.max(NEAR) / group).max(1) * self.table.reads.images();
        let job = *self;
        (0..self.images).step_by(each).map(move |done| Convolve {
            images: each.min(job.images - done),
            first: job.first + done,
            firsts: job.firsts.map(|first| first + done),
            ..job
        })
    }

    /// Groups of the source.
    fn groups(&self) -> Range<usize> {
        let each = self.table.reads.images();
        self.first / each..self.first / each + self.images.div_ceil(each)
    }

    /// Groups computed together: the first of them and how many.
    fn rounds(&self) -> impl Iterator<Item = (usize, usize)> {
        let groups = self.groups();
        groups.clone().step_by(TOGETHER).map(move |first| (first, TOGETHER.min(groups.end - first)))
    }

    /// Panels of 16 outputs.
    fn panels(&self) -> usize {
        match self.weights {
            Weights::Packed(weights) => weights.panels,
            Weights::Channels(factors) => factors.len() / LANES,
        }
    }

    /// Asserts what everything unsafe below rests on.
    fn check(&self) {
        let (groups, each) = (self.groups(), self.table.reads.images());
        assert_eq!(self.first % each, 0, "an image within its group");
        let group = self.table.reads.group() as i64;
        let (first, last) = (groups.start as i64 * group, (groups.end as i64 - 1) * group);
        assert!(first + self.table.reach.0 >= 0, "a tile begins before its source");
        assert!(
            groups.is_empty() || last + self.table.reach.1 <= self.source.len() as i64,
            "a tile ends beyond its source"
        );
        let (_, each) = self.table.reads.products();
        let highest = self.table.steps.iter().map(|step| step.weights as usize + each).max();
        match self.weights {
            Weights::Packed(weights) => {
                assert!(highest.unwrap_or(0) <= weights.steps, "weights of another pass");
                assert_eq!(weights.values.len(), weights.panels * weights.steps * PANEL);
            }
            Weights::Channels(factors) => {
                assert_eq!(factors.len() % CELL, 0, "factors of whole cells");
                let blocks = factors.len() / CELL;
                let whole = self.table.classes.iter().all(|steps| steps.len() == blocks);
                assert!(whole, "factors for a table of another pass");
            }
        }
    }

    /// Asserts that an operand has all cells that the groups touch, each of `numbers` numbers.
    fn check_operand(&self, operand: usize, length: usize, numbers: usize) {
        let layout = self.table.operands[operand];
        let images = self.firsts[operand] + self.groups().len() * self.table.reads.images();
        assert!(
            layout.groups(images) * layout.group_cells() * numbers <= length,
            "operand {operand} of a convolution: {length} numbers for {images} images of {layout:?}"
        );
        assert!(self.panels().div_ceil(2) <= layout.blocks(), "channels of operand {operand}");
        // Rows of a group that spreads over several of the operand's were listed from a group's start.
        let spreads = self.table.reads.images() > layout.images;
        let aligned = if spreads { layout.images } else { self.table.reads.images() };
        assert_eq!(self.firsts[operand] % aligned, 0, "first image of operand {operand}");
    }
}

/// Computes all outputs of some images.
///
/// Panics where an array is too short or was made for another pass.
pub fn convolve(
    isa: Isa,
    job: &Convolve<'_>,
    mut destination: Destination<'_>,
    workspace: &mut Workspace,
) {
    assert!(isa.is_available(), "{isa} kernels on a processor without them");
    workspace.start_from(job);
    let pointers = Pointers::new(job, &mut destination);
    #[cfg(target_arch = "x86_64")]
    let _tiles = (isa == Isa::Amx).then(crate::amx::Tiles::configure);
    let Reads::Patches(layout) = &job.table.reads else {
        job.check();
        // SAFETY: all arrays were checked against the table, the processor has the instructions, tiles are configured.
        return unsafe { sweep(isa, job, &pointers, workspace) };
    };
    let cells = layout.cells.group_cells() * CELL;
    let mut patches = std::mem::take(&mut workspace.patches);
    for part in job.parts(layout.group()) {
        let groups = part.groups();
        fill(isa, layout, &job.source[groups.start * cells..groups.end * cells], &mut patches);
        let part = Convolve { source: &patches.transformed, first: 0, ..part };
        part.check();
        // SAFETY: as above; a part's operands are the job's.
        unsafe { sweep(isa, &part, &pointers, workspace) };
    }
    workspace.patches = patches;
}

/// A sum that starts at `+0` never becomes `-0`, so that a step of zeros left out changes no bit; and AMX takes numbers
/// below the normal range for zero.
fn sum_start(bias: f32) -> f32 {
    if bias.is_subnormal() || bias == 0.0 { 0.0 } else { bias }
}

/// Checked arrays of the operands; `kind` is `None` for bare lanes.
struct Pointers {
    kind: Option<Kind>,
    bases: [*mut u8; OPERANDS],
}

impl Pointers {
    /// Panics where an array is too short for the job.
    fn new(job: &Convolve<'_>, destination: &mut Destination<'_>) -> Self {
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

/// A block whose sums wait to be written.
#[derive(Clone, Copy)]
struct Waiting {
    extent: Extent,
    pair: [Member; 2],
    /// By group and operand: the cell at which its group of images and block of channels begins.
    starts: [[usize; OPERANDS]; TOGETHER],
}

/// # Safety
/// The arrays of `job` and `pointers` must have been checked, the processor must have `isa`, tiles must be configured.
unsafe fn sweep(isa: Isa, job: &Convolve<'_>, pointers: &Pointers, workspace: &mut Workspace) {
    let table = job.table;
    let panels = job.panels();
    let group_numbers = table.reads.group();
    let algorithm = table.reads.algorithm();
    let mut waiting: Option<Waiting> = None;
    let blocks: usize = job.rounds().map(|(_, together)| table.pairs[together - 1].len()).sum();
    let mut turn = 0;
    let mut values_soon = Soon::new(job.ahead.values, blocks * panels.div_ceil(2));
    for panel in (0..panels).step_by(2) {
        let width = (panels - panel).min(2);
        let mut weights_soon = Soon::weights(job, panel + width, blocks);
        for (first, together) in job.rounds() {
            let operand_starts = std::array::from_fn(|group| {
                let image = (first + group) * table.reads.images() - job.first;
                std::array::from_fn(|operand| {
                    let layout = &table.operands[operand];
                    let block = panel / 2 * layout.plane_cells();
                    block + layout.image_cells(job.firsts[operand] + image)
                })
            });
            for &pair in &table.pairs[together - 1] {
                let tiles = pair.map(|member| &table.tiles[member.tile as usize]);
                let extent = Extent::new(if pair[0] == pair[1] { 1 } else { 2 }, width);
                let starts = pair.map(|Member { group, tile }| {
                    let start = (first + group as usize) * group_numbers;
                    let tile = table.tiles[tile as usize].source as isize;
                    job.source.as_ptr().wrapping_add(start).wrapping_offset(tile)
                });
                let steps = &table.steps[table.classes[tiles[0].class as usize].clone()];
                let bias = &workspace.bias[panel * LANES..];
                let [even, odd] = &mut *workspace.sums;
                let (sums, before) = if turn == 0 { (even, &*odd) } else { (odd, &*even) };
                let before = waiting.and_then(|done| pending(job, pointers, before, done));
                // SAFETY: by the caller's promise.
                unsafe {
                    match job.weights {
                        Weights::Packed(packed) => {
                            let weights = &packed.values[panel * packed.steps * PANEL..];
                            let fetch = [&mut weights_soon, &mut values_soon]
                                .map(|soon| soon.some(steps.len()));
                            let (pitch, bias) = (table.pitch, bias.as_ptr());
                            let (tiles, weights) = (starts, weights.as_ptr());
                            let block = Block {
                                tiles,
                                pitch,
                                steps,
                                algorithm,
                                input_pairs: table.input_pairs,
                                outputs: packed.outputs,
                                weights,
                                bias,
                                fetch,
                            };
                            match &before {
                                Some(before) => {
                                    block::run_while(isa, &block, extent, sums, before);
                                }
                                None => block::run(isa, &block, extent, sums),
                            }
                        }
                        Weights::Channels(factors) => {
                            let factors = &factors[panel * LANES..];
                            for (tile, start) in starts.into_iter().enumerate().take(extent.tiles())
                            {
                                let start = start.byte_offset(steps[panel / 2].input as isize);
                                let pitch = table.pitch / size_of::<u16>();
                                let length = (TILE - 1) * pitch + CELL;
                                let cells = std::slice::from_raw_parts(start, length);
                                let sums = &mut sums.0[2 * tile * TILE * LANES..];
                                scale(isa, cells, pitch, factors, bias, sums);
                            }
                            if let Some(before) = before {
                                before.write(isa);
                            }
                        }
                    }
                }
                let done = Waiting { extent, pair, starts: operand_starts };
                if pointers.kind.is_none() {
                    // SAFETY: by the caller's promise.
                    unsafe { write_lanes(job, pointers, &workspace.sums[turn], done) };
                }
                waiting = Some(done);
                turn = 1 - turn;
            }
        }
    }
    let last = &workspace.sums[1 - turn];
    if let Some(last) = waiting.and_then(|done| pending(job, pointers, last, done)) {
        // SAFETY: by the caller's promise.
        unsafe { last.write(isa) };
    }
}

/// Something that a number of blocks fetch in equal parts.
struct Soon<'a> {
    rest: &'a [u16],
    /// Numbers that one block fetches.
    each: usize,
}

impl<'a> Soon<'a> {
    fn new(all: &'a [u16], blocks: usize) -> Self {
        Self { rest: all, each: all.len().div_ceil(blocks.max(1)) }
    }

    /// The weights of the panels from `panel` on, or after the last panel those of the next pass.
    fn weights(job: &Convolve<'a>, panel: usize, blocks: usize) -> Self {
        match job.weights {
            Weights::Packed(packed) if panel < packed.panels => {
                let end = (panel + 2).min(packed.panels);
                let all = &packed.values[panel * packed.steps * PANEL..end * packed.steps * PANEL];
                Self::new(all, blocks)
            }
            _ => Self::new(job.ahead.weights, blocks),
        }
    }

    /// What the next block fetches.
    fn some(&mut self, steps: usize) -> Fetch {
        let from = self.rest.as_ptr().cast();
        let some = self.each.min(self.rest.len());
        self.rest = &self.rest[some..];
        Fetch { from, lines: some.div_ceil(CELL * steps.max(1)) }
    }
}

per_isa! {
    /// `factor * x + start` of one cell of each of a tile's pixels; `cells` begins at the first, the next is `pitch` numbers on.
    fn scale(cells: &[u16], pitch: usize, factors: &[f32], bias: &[f32], sums: &mut [f32]) {
        let (factors, bias) = (&factors[..CELL], &bias[..CELL]);
        for row in 0..TILE {
            let cell = &cells[row * pitch..][..CELL];
            for panel in 0..CELL / LANES {
                let channels = panel * LANES..(panel + 1) * LANES;
                let own = &mut sums[(panel * TILE + row) * LANES..][..LANES];
                let constants = factors[channels.clone()].iter().zip(&bias[channels.clone()]);
                for ((sum, &x), (factor, bias)) in own.iter_mut().zip(&cell[channels]).zip(constants) {
                    *sum = factor * to_f32(x) + bias;
                }
            }
        }
    }
}

/// What is to be done with a block's sums; `None` if they become bare lanes.
fn pending<'a>(
    job: &'a Convolve<'_>,
    pointers: &Pointers,
    sums: &'a Sums,
    done: Waiting,
) -> Option<Pending<'a>> {
    let table = job.table;
    let rows = |index: usize| {
        let Member { group, tile } = done.pair[index];
        let tile: &Tile = &table.tiles[tile as usize];
        let starts = &done.starts[group as usize];
        let cell = |operand: usize| tile.places[operand].cell as usize + starts[operand];
        let list = |operand: usize| &table.rows[tile.places[operand].rows as usize];
        Rows {
            valid: tile.valid,
            panels: done.extent.panels(),
            target: pointers.bases[0].cast::<u16>().wrapping_add(cell(0) * CELL),
            target_rows: list(0),
            add: pointers.bases[1].cast::<u16>().wrapping_add(cell(1) * CELL),
            add_rows: list(1),
            mask: pointers.bases[2].cast::<u32>().wrapping_add(cell(2)),
            mask_rows: list(2),
        }
    };
    let kind = pointers.kind?;
    Some(Pending { kind, sums, rows: [rows(0), rows(1)], tiles: done.extent.tiles() })
}

/// # Safety
/// As [`sweep`].
unsafe fn write_lanes(job: &Convolve<'_>, pointers: &Pointers, sums: &Sums, done: Waiting) {
    let table = job.table;
    for (index, &Member { group, tile }) in done.pair.iter().enumerate().take(done.extent.tiles()) {
        let tile: &Tile = &table.tiles[tile as usize];
        let [place, ..] = tile.places;
        let cell = place.cell as usize + done.starts[group as usize][0];
        let target = pointers.bases[0].cast::<f32>().wrapping_add(cell * LANES);
        for row in (0..TILE).filter(|row| tile.valid >> row & 1 == 1) {
            let own = &sums.0[(2 * index * TILE + row) * LANES..][..LANES];
            // SAFETY: by the caller's promise.
            unsafe {
                let to = target.add(table.rows[place.rows as usize].cells[row] as usize * LANES);
                std::ptr::copy_nonoverlapping(own.as_ptr(), to, LANES);
            }
        }
    }
}
