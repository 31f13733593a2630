//! A convolution as data: where each tile begins, and which steps it takes.

use super::source::{Inputs, Source};
use super::{Algorithm, CELL, CellLayout, Columns, HalfPass, TILE};
use std::collections::HashMap;

/// One step of a tile: both in bytes, from the tile's first number and from the panel's first weight.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub input: i32,
    pub weights: u32,
}

/// Sixteen pixels of one group of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// First number read, from the group's start, before a step's shift.
    pub source: i32,
    /// Which steps.
    pub class: u16,
    /// Bit for every row that is a pixel.
    pub valid: u16,
    /// By operand: cell of row 0 from the group's start, and which list of distances the other rows have.
    pub places: [Place; OPERANDS],
}

impl Tile {
    /// Rows up to the last that is a pixel.
    pub fn rows(&self) -> usize {
        TILE - self.valid.leading_zeros() as usize
    }
}

/// Groups of images computed together.
pub(crate) const TOGETHER: usize = 2;

/// A tile of one of the groups that are computed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub group: u32,
    pub tile: u32,
}

/// Where the rows of a tile lie in one operand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub cell: u32,
    pub rows: u32,
}

/// Cells from row 0 of a tile to each of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowCells {
    pub cells: [u32; TILE],
    /// The distance between any two neighbours, where there is one.
    pub pitch: Option<u32>,
}

impl RowCells {
    fn new(cells: [u32; TILE]) -> Self {
        let pitch = cells[1];
        let even = (0..TILE as u32).all(|row| cells[row as usize] == row.wrapping_mul(pitch));
        Self { cells, pitch: even.then_some(pitch) }
    }
}

/// A step has 32 inputs, of which a strip uses a kernel's row and narrow cells their channels. The rest meets zeros, which
/// change no sum (see [`super`]); AMX, whose instruction takes all 32 at once, multiplies them too.
fn input_pairs(pass: &HalfPass, inputs: Inputs) -> usize {
    let used = match inputs {
        Inputs::AsTheyLie(Source::Cells(layout)) => layout.channels,
        Inputs::Transformed(layout) => layout.cells.channels,
        Inputs::AsTheyLie(Source::Strip(layout)) => {
            let columns = pass.taps.iter().map(|tap| tap.weight.1 + 1).max().unwrap_or(0);
            columns * layout.channels
        }
    };
    used.min(CELL).div_ceil(2)
}

/// What a tile touches besides its source: the target, the addend, the mask.
pub(crate) const OPERANDS: usize = 3;

/// A pass over fixed layouts.
#[derive(Clone, Debug)]
pub struct Table {
    pub(crate) inputs: Inputs,
    /// Layouts of target, addend and mask.
    pub(crate) operands: [CellLayout; OPERANDS],
    /// Bytes between two rows of a tile.
    pub(crate) pitch: usize,
    pub(crate) steps: Vec<Step>,
    /// Of a step's 16 pairs of inputs, those that hold anything.
    pub(crate) input_pairs: usize,
    /// By class: its steps.
    pub(crate) classes: Vec<std::ops::Range<usize>>,
    pub(crate) tiles: Vec<Tile>,
    /// By how many groups are computed together, less one: tiles of one class two by two; a lone one stands twice.
    pub(crate) pairs: [Vec<[Member; 2]>; TOGETHER],
    /// Distances from row 0 to each row, those that occur.
    pub(crate) rows: Vec<RowCells>,
    /// Numbers read before and beyond a group's start at most.
    pub(crate) reach: (i64, i64),
}

impl Table {
    /// The table of a pass from `source` to cells; `None` if a tile's rows would not be evenly spaced in this source:
    /// interleaved images read at a distance need [`Columns::Apart`] for that distance, and columns apart suit no
    /// windows read at distance 1.
    pub fn new(
        pass: &HalfPass,
        source: Source,
        target: CellLayout,
        add: CellLayout,
        mask: CellLayout,
    ) -> Option<Self> {
        let operands = [target, add, mask];
        if let (Algorithm::Filtered, Source::Cells(layout)) = (pass.algorithm, source) {
            return (layout.columns == Columns::Together)
                .then(|| Self::filtered(pass, layout, operands));
        }
        let steps = pass.source_step;
        let spread = pass.taps.iter().any(|tap| tap.column != 0);
        let (runs, pitch) = match source {
            Source::Strip(layout) => (vec![(0, 1)], steps * layout.channels),
            Source::Cells(layout) => match (layout.columns, steps) {
                (Columns::Together, 1) => (vec![(0, 1)], CELL),
                (Columns::Together, _) if layout.images == 1 => (vec![(0, 1)], steps * CELL),
                (Columns::Apart, 1) if !spread => (vec![(0, 2), (1, 2)], CELL),
                (Columns::Apart, 2) => (vec![(0, 1)], CELL),
                _ => return None,
            },
        };
        let mut table = Self::empty(pass, Inputs::AsTheyLie(source), operands, pitch);
        let mut classes = HashMap::new();
        for row in 0..pass.height {
            for &(first, step) in &runs {
                table.row(pass, source, row, first, step, &mut classes);
            }
        }
        table.pairs = std::array::from_fn(|groups| table.pair(groups as u32 + 1));
        Some(table)
    }

    /// Without tiles; `pitch` is the distance of a tile's rows in numbers.
    pub(super) fn empty(
        pass: &HalfPass,
        inputs: Inputs,
        operands: [CellLayout; OPERANDS],
        pitch: usize,
    ) -> Self {
        Self {
            inputs,
            operands,
            pitch: 2 * pitch,
            steps: Vec::new(),
            input_pairs: input_pairs(pass, inputs),
            classes: Vec::new(),
            tiles: Vec::new(),
            pairs: std::array::from_fn(|_| Vec::new()),
            rows: Vec::new(),
            reach: (0, 0),
        }
    }

    /// Tiles over one row of the grid, or over every `step`-th column of it.
    fn row(
        &mut self,
        pass: &HalfPass,
        source: Source,
        row: usize,
        first: usize,
        step: usize,
        classes: &mut HashMap<Vec<bool>, u16>,
    ) {
        let images = source.images();
        let columns = (first..pass.width).step_by(step).count();
        let pixels = columns * images;
        for start in (0..pixels).step_by(TILE) {
            let pixel = |r: usize| {
                let at = start + r;
                (first + at / images * step, at % images)
            };
            let count = TILE.min(pixels - start);
            let seen: Vec<bool> = pass
                .taps
                .iter()
                .map(|tap| {
                    sees(pass, source, row, (0..count).map(|r| pixel(r).0), tap.row, tap.column)
                })
                .collect();
            let (column, image) = pixel(0);
            let begins = origin(pass, source, row, column, image);
            let next = classes.len() as u16;
            let class = *classes.entry(seen).or_insert_with_key(|seen| {
                let begin = self.steps.len();
                self.list(pass, source, column, seen);
                self.classes.push(begin..self.steps.len());
                next
            });
            let lists: Vec<i64> = self.steps[self.classes[class as usize].clone()]
                .iter()
                .map(|s| i64::from(s.input) / 2)
                .collect();
            for shift in lists {
                let from = begins as i64 + shift;
                self.reach.0 = self.reach.0.min(from);
                self.reach.1 = self
                    .reach
                    .1
                    .max(from + (TILE - 1) as i64 * self.pitch as i64 / 2 + CELL as i64);
            }
            let places = std::array::from_fn(|operand| {
                self.place(pass, operand, row, &(0..count).map(pixel).collect::<Vec<_>>())
            });
            let valid = if count == TILE { u16::MAX } else { (1 << count) - 1 };
            self.tiles.push(Tile { source: begins as i32, class, valid, places });
        }
    }

    /// The steps of the taps that are seen: channel blocks outside, so that a tile stays in the nearest cache for all taps.
    fn list(&mut self, pass: &HalfPass, source: Source, column: usize, seen: &[bool]) {
        match source {
            Source::Cells(layout) => {
                let at = (column * pass.source_step) as isize;
                for block in 0..layout.blocks() {
                    for (index, tap) in
                        pass.taps.iter().enumerate().filter(|(index, _)| seen[*index])
                    {
                        let shift = layout.cell(0, at + tap.column, 0) as isize
                            - layout.cell(0, at, 0) as isize
                            + tap.row * layout.row_cells() as isize
                            + (block * layout.plane_cells()) as isize;
                        self.steps.push(Step {
                            input: (shift * 2 * CELL as isize) as i32,
                            weights: (block * pass.taps.len() + index) as u32,
                        });
                    }
                }
            }
            Source::Strip(layout) => {
                let rows: Vec<isize> = pass.taps.iter().map(|tap| tap.row).collect();
                let left = pass.taps.iter().map(|tap| tap.column).min().unwrap_or(0);
                let mut kernel_rows = rows.clone();
                kernel_rows.dedup();
                for (index, down) in kernel_rows.into_iter().enumerate() {
                    let any = rows.iter().zip(seen).any(|(&row, &seen)| row == down && seen);
                    if any {
                        let shift = down * layout.row() as isize + left * layout.channels as isize;
                        self.steps.push(Step { input: 2 * shift as i32, weights: index as u32 });
                    }
                }
            }
        }
    }

    /// Where pixels of a tile lie in an operand.
    pub(super) fn place(
        &mut self,
        pass: &HalfPass,
        operand: usize,
        row: usize,
        pixels: &[(usize, usize)],
    ) -> Place {
        let layout = self.operands[operand];
        let cell = |&(column, image): &(usize, usize)| {
            let (row, column) =
                (row * pass.target_step + pass.phase.0, column * pass.target_step + pass.phase.1);
            layout.cell(row, column as isize, 0) + layout.image_cells(image)
        };
        let first = cell(&pixels[0]);
        let mut list = [0; TILE];
        for (distance, pixel) in list.iter_mut().zip(pixels) {
            *distance = (cell(pixel) as i64 - first as i64) as u32;
        }
        let known = self.rows.iter().position(|rows| rows.cells == list);
        let rows = known.unwrap_or_else(|| {
            self.rows.push(RowCells::new(list));
            self.rows.len() - 1
        });
        Place { cell: first as u32, rows: rows as u32 }
    }

    /// Tiles of `groups` groups by twos of one class: what a border leaves alone in its group finds its like in the next.
    fn pair(&self, groups: u32) -> Vec<[Member; 2]> {
        let mut pairs: Vec<[Member; 2]> = Vec::new();
        let mut waiting: HashMap<u16, usize> = HashMap::new();
        for group in 0..groups {
            for (tile, Tile { class, .. }) in (0..).zip(&self.tiles) {
                let member = Member { group, tile };
                match waiting.remove(class) {
                    Some(at) => pairs[at][1] = member,
                    None => {
                        waiting.insert(*class, pairs.len());
                        pairs.push([member; 2]);
                    }
                }
            }
        }
        pairs
    }

    /// Multiply-adds of one image for `outputs` output channels, what a tile computes in vain included.
    pub fn multiply_adds(&self, outputs: usize) -> u64 {
        let steps: usize =
            self.tiles.iter().map(|tile| self.classes[tile.class as usize].len()).sum();
        let products = steps * self.inputs.rows_of_a_step() * CELL;
        (products * outputs.next_multiple_of(crate::LANES) / self.inputs.images()) as u64
    }
}

/// Whether a tap of this tile meets the image at all.
fn sees(
    pass: &HalfPass,
    source: Source,
    row: usize,
    mut columns: impl Iterator<Item = usize>,
    down: isize,
    right: isize,
) -> bool {
    let (height, width) = match source {
        Source::Cells(layout) => (layout.height, layout.width),
        Source::Strip(layout) => (layout.height, layout.width),
    };
    let inside = |at: isize, length: usize| at >= 0 && (at as usize) < length;
    inside((row * pass.source_step) as isize + down, height)
        && columns.any(|column| inside((column * pass.source_step) as isize + right, width))
}

/// The number at which a tile begins, before a step's shift.
fn origin(pass: &HalfPass, source: Source, row: usize, column: usize, image: usize) -> usize {
    let (row, column) = (row * pass.source_step, column * pass.source_step);
    match source {
        Source::Cells(layout) => {
            layout.cell(0, column as isize, image) * CELL + row * layout.row_cells() * CELL
        }
        Source::Strip(layout) => row * layout.row() + (column + layout.border) * layout.channels,
    }
}
