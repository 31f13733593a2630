//! Runs a [`Table`] over groups of images.

use super::block::{self, Block, Extent, Sums};
use super::epilogue::{self, Epilogue, Kind, Rows};
use super::pack::{PANEL, PackedHalf};
use super::table::{OPERANDS, Table, Tile};
use super::{CELL, Lines, TILE};
use crate::{Isa, LANES};
use std::ops::Range;

/// Where sums wait for their epilogue; one a thread.
#[derive(Debug)]
pub struct Workspace {
    sums: Box<[Sums; 2]>,
    bias: Lines<f32>,
}

impl Default for Workspace {
    fn default() -> Self {
        Self { sums: Box::new([const { Sums([0.0; 1024]) }; 2]), bias: Lines::zeros(0) }
    }
}

/// What a pass computes.
#[derive(Clone, Copy, Debug)]
pub struct Convolve<'a> {
    /// Tiles and steps.
    pub table: &'a Table,
    /// Weights of the same pass.
    pub weights: &'a PackedHalf,
    /// Starts of the sums, one for each output channel.
    pub bias: Option<&'a [f32]>,
    /// Groups of the source that are computed.
    pub groups: (usize, usize),
    /// The source, all groups of it.
    pub source: &'a [u16],
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

impl Convolve<'_> {
    fn range(&self) -> Range<usize> {
        self.groups.0..self.groups.1
    }

    /// Asserts what everything unsafe below rests on.
    fn check(&self) {
        let group = self.table.source.group() as i64;
        let (first, last) = (self.groups.0 as i64 * group, (self.groups.1 as i64 - 1) * group);
        assert!(first + self.table.reach.0 >= 0, "a tile begins before its source");
        assert!(
            self.range().is_empty() || last + self.table.reach.1 <= self.source.len() as i64,
            "a tile ends beyond its source"
        );
        let highest = self.table.steps.iter().map(|step| step.weights as usize + 1).max();
        assert!(highest.unwrap_or(0) <= self.weights.steps, "weights of another pass");
        assert_eq!(self.weights.values.len(), self.weights.panels * self.weights.steps * PANEL);
    }

    /// Asserts that an operand has all cells that the groups touch, each of `numbers` numbers.
    fn check_operand(&self, operand: usize, length: usize, numbers: usize, panels: usize) {
        let layout = self.table.operands[operand];
        let images = self.groups.1 * self.table.source.images();
        assert!(
            layout.groups(images) * layout.group_cells() * numbers <= length,
            "operand {operand} of a convolution"
        );
        assert!(panels.div_ceil(2) <= layout.blocks(), "channels of operand {operand}");
    }
}

/// Computes all outputs of some groups of images.
///
/// Panics where an array is too short or was made for another pass.
pub fn convolve(
    isa: Isa,
    job: &Convolve<'_>,
    mut destination: Destination<'_>,
    workspace: &mut Workspace,
) {
    assert!(isa.is_available(), "{isa} kernels on a processor without them");
    job.check();
    let panels = job.weights.panels;
    let outputs = panels.next_multiple_of(2) * LANES;
    if workspace.bias.len() < outputs {
        workspace.bias = Lines::zeros(outputs);
    }
    workspace.bias.fill(0.0);
    let bias = job.bias.unwrap_or(&[]);
    assert!(bias.len() <= panels * LANES, "bias of {} outputs", bias.len());
    workspace.bias.iter_mut().zip(bias).for_each(|(start, &bias)| *start = sum_start(bias));
    let mut pointers = Pointers { kind: None, bases: [std::ptr::null_mut(); OPERANDS] };
    match &mut destination {
        Destination::Lanes(target) => {
            assert!(panels == 1, "at most 16 channels are written as lanes");
            job.check_operand(0, target.len(), LANES, panels);
            pointers.bases[0] = target.as_mut_ptr().cast();
        }
        Destination::Cells { target, add, epilogue } => {
            job.check_operand(0, target.len(), CELL, panels);
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
                    job.check_operand(1, other.len(), CELL, panels);
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
                job.check_operand(2, length, 1, panels);
            }
            pointers.bases[2] = mask.cast();
        }
    }
    #[cfg(target_arch = "x86_64")]
    let _tiles = (isa == Isa::Amx).then(crate::amx::Tiles::configure);
    // SAFETY: all arrays were checked against the table, the processor has the instructions, tiles are configured.
    unsafe { sweep(isa, job, &pointers, workspace) }
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

/// A block whose sums wait for their epilogue.
#[derive(Clone, Copy)]
struct Waiting {
    extent: Extent,
    pair: [u32; 2],
    panel: usize,
    group: usize,
}

/// # Safety
/// The arrays of `job` and `pointers` must have been checked, the processor must have `isa`, tiles must be configured.
unsafe fn sweep(isa: Isa, job: &Convolve<'_>, pointers: &Pointers, workspace: &mut Workspace) {
    let table = job.table;
    let panels = job.weights.panels;
    let group_numbers = table.source.group();
    let mut waiting: Option<Waiting> = None;
    let mut turn = 0;
    for panel in (0..panels).step_by(2) {
        let width = (panels - panel).min(2);
        let weights = &job.weights.values[panel * job.weights.steps * PANEL..];
        for group in job.range() {
            for &pair in &table.pairs {
                let tiles = pair.map(|tile| &table.tiles[tile as usize]);
                let extent = Extent::new(if pair[0] == pair[1] { 1 } else { 2 }, width);
                let block = Block {
                    tiles: tiles.map(|tile| {
                        job.source
                            .as_ptr()
                            .wrapping_add(group * group_numbers)
                            .wrapping_offset(tile.source as isize)
                    }),
                    pitch: table.pitch,
                    steps: &table.steps[table.classes[tiles[0].class as usize].clone()],
                    weights: weights.as_ptr(),
                    bias: workspace.bias[panel * LANES..].as_ptr(),
                    next: weights.as_ptr().wrapping_add(width * job.weights.steps * PANEL),
                };
                // SAFETY: by the caller's promise. The epilogue of the block before runs in the shadow of this one's
                // multiplications, which take longer and need other registers.
                unsafe {
                    block::run(isa, &block, extent, &mut workspace.sums[turn]);
                    if let Some(before) = waiting {
                        finish(isa, job, pointers, &workspace.sums[1 - turn], before);
                    }
                }
                waiting = Some(Waiting { extent, pair, panel, group });
                turn = 1 - turn;
            }
        }
    }
    if let Some(last) = waiting {
        // SAFETY: by the caller's promise.
        unsafe { finish(isa, job, pointers, &workspace.sums[1 - turn], last) };
    }
}

/// # Safety
/// As [`sweep`].
unsafe fn finish(isa: Isa, job: &Convolve<'_>, pointers: &Pointers, sums: &Sums, done: Waiting) {
    let table = job.table;
    let first_image = done.group * table.source.images();
    for index in 0..done.extent.tiles() {
        let tile: &Tile = &table.tiles[done.pair[index] as usize];
        let cell = |operand: usize| {
            let layout = &table.operands[operand];
            let place = tile.places[operand];
            place.cell as usize
                + done.panel / 2 * layout.plane_cells()
                + layout.image_cells(first_image)
        };
        let list = |operand: usize| &table.rows[tile.places[operand].rows as usize];
        match pointers.kind {
            Some(kind) => {
                let rows = Rows {
                    valid: tile.valid,
                    panels: done.extent.panels(),
                    target: pointers.bases[0].cast::<u16>().wrapping_add(cell(0) * CELL),
                    target_rows: list(0),
                    add: pointers.bases[1].cast::<u16>().wrapping_add(cell(1) * CELL),
                    add_rows: list(1),
                    mask: pointers.bases[2].cast::<u32>().wrapping_add(cell(2)),
                    mask_rows: list(2),
                };
                // SAFETY: by the caller's promise.
                unsafe { epilogue::write(isa, kind, sums, index, &rows) };
            }
            None => {
                let target = pointers.bases[0].cast::<f32>().wrapping_add(cell(0) * LANES);
                for row in (0..TILE).filter(|row| tile.valid >> row & 1 == 1) {
                    let own = &sums.0[(2 * index * TILE + row) * LANES..][..LANES];
                    // SAFETY: by the caller's promise.
                    unsafe {
                        let to = target.add(list(0)[row] as usize * LANES);
                        std::ptr::copy_nonoverlapping(own.as_ptr(), to, LANES);
                    }
                }
            }
        }
    }
}
