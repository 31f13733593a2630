//! Runs a [`Table`] over groups of images.

use super::block::{self, Block, Extent, Fetch, Sums};
use super::epilogue::{Pending, Rows};
use super::filter::{Patches, fill};
use super::job::{Convolve, Destination, Pointers, Weights};
use super::pack::PANEL;
use super::source::Inputs;
use super::table::{Member, OPERANDS, TOGETHER, Tile};
use super::{CELL, Lines, TILE, to_f32};
use crate::{Isa, LANES};

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

impl Workspace {
    fn set_bias(&mut self, job: &Convolve<'_>) {
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
    workspace.set_bias(job);
    let pointers = Pointers::new(job, &mut destination);
    #[cfg(target_arch = "x86_64")]
    let _tiles = (isa == Isa::Amx).then(crate::amx::Tiles::configure);
    let Inputs::Transformed(layout) = &job.table.inputs else {
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
    let group_numbers = table.inputs.group();
    let algorithm = table.inputs.algorithm();
    let mut waiting: Option<Waiting> = None;
    let blocks: usize = job.rounds().map(|(_, together)| table.pairs[together - 1].len()).sum();
    let mut turn = 0;
    let mut values_soon = Soon::new(job.ahead.values, blocks * panels.div_ceil(2));
    for panel in (0..panels).step_by(2) {
        let width = (panels - panel).min(2);
        let mut weights_soon = Soon::weights(job, panel + width, blocks);
        for (first, together) in job.rounds() {
            let operand_starts = std::array::from_fn(|group| {
                let image = (first + group) * table.inputs.images() - job.first;
                std::array::from_fn(|operand| {
                    let layout = &table.operands[operand];
                    let block = panel / 2 * layout.plane_cells();
                    block + layout.image_cells(job.firsts[operand] + image)
                })
            });
            for &pair in &table.pairs[together - 1] {
                let tiles = pair.map(|member| &table.tiles[member.tile as usize]);
                let rows = tiles.map(Tile::rows);
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
                                rows,
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
