//! What the weight gradient multiplies: inputs in pairs of images, output gradients in pairs and transposed.
//!
//! The sum runs over pixels, so a tile instruction wants pixels inside: sixteen *places* of two images. Both images of a
//! pair are at the same pixel, so a tap is a shift by whole places and needs no copy of its own. Places run along a row,
//! over several pairs where the row is short: 4x4 maps fill tiles as 32x32 maps do.

use super::line::{Line, lines};
use super::transpose::transpose;
use crate::half::{CELL, CellLayout, TILE, from_f32};
use crate::{ConvolutionShape, Isa, LANES};

/// What a convolution has read, run by run of images.
#[derive(Clone, Copy, Debug)]
pub enum Inputs<'a> {
    /// Cells, whole groups of images.
    Cells {
        /// Where they lie.
        layout: CellLayout,
        /// The numbers of every run.
        runs: &'a [&'a [u16]],
    },
    /// Images as they came, `[images, height, width, in_stride]`; rounded on the way.
    Pixels(&'a [&'a [f32]]),
}

/// Nothing is read for this place.
const NONE: usize = usize::MAX;

/// An image: its run and its place there.
#[derive(Clone, Copy)]
struct Image {
    run: usize,
    place: usize,
}

/// Places of a block of images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub shape: ConvolutionShape,
    /// The first image of the block.
    pub first: usize,
    /// Images of the block.
    pub images: usize,
    /// Images of every run but perhaps the last.
    pub run: usize,
    /// Pairs of images side by side.
    pub pairs: usize,
    /// Groups of that many pairs.
    pub groups: usize,
}

impl Grid {
    /// Groups as many pairs as waste the fewest places.
    pub fn new(shape: &ConvolutionShape, first: usize, images: usize, run: usize) -> Self {
        let grid = |pairs: usize| {
            let groups = images.div_ceil(2 * pairs);
            Self { shape: *shape, first, images, run, pairs, groups }
        };
        let cost = |grid: &Self| grid.groups * grid.row_tiles();
        [1, 2, 4, 8, 16].map(grid).into_iter().min_by_key(cost).expect("five candidates")
    }

    /// Tiles that a row of outputs fills.
    pub fn row_tiles(&self) -> usize {
        (self.shape.out_width() * self.pairs).div_ceil(TILE)
    }

    /// Tiles of one panel of output channels.
    pub fn gradient_tiles(&self) -> usize {
        self.groups * self.shape.out_height() * self.row_tiles()
    }

    /// Places of one remainder by the stride in a row of inputs.
    fn half_row(&self) -> usize {
        (self.shape.out_width() + (self.shape.kernel - 1) / self.shape.stride) * self.pairs
    }

    /// Lines of a row of inputs: columns of the same remainder by the stride lie together.
    fn row_lines(&self) -> usize {
        self.half_row() * self.shape.stride.min(self.shape.kernel)
    }

    /// Lines of one panel of input channels; the last tile of a row may read past it.
    pub fn panel_lines(&self) -> usize {
        self.groups * self.shape.height * self.row_lines() + TILE
    }

    /// The line of an input row's first place.
    pub fn row(&self, group: usize, row: usize) -> usize {
        (group * self.shape.height + row) * self.row_lines()
    }

    /// Lines from an output's place to what the taps of a kernel column read.
    pub fn shift(&self, column: usize) -> usize {
        let stride = self.shape.stride;
        column % stride * self.half_row() + column / stride * self.pairs
    }

    /// The input row that a tap reads for an output row, if it is inside.
    pub fn input_row(&self, output: usize, tap: usize) -> Option<usize> {
        let row = (output * self.shape.stride + tap).checked_sub(self.shape.padding)?;
        (row < self.shape.height).then_some(row)
    }

    /// Whether any tap reads an input row.
    fn is_read(&self, row: usize) -> bool {
        (row + self.shape.padding) % self.shape.stride < self.shape.kernel
    }

    /// By place of a row of inputs: its column in the image, [`NONE`] in the border.
    fn columns(&self) -> Vec<usize> {
        let stride = self.shape.stride;
        let half = self.half_row() / self.pairs;
        let column = |at: usize| {
            let padded = at % half * stride + at / half;
            let column = padded.wrapping_sub(self.shape.padding);
            if column < self.shape.width { column } else { NONE }
        };
        (0..self.row_lines() / self.pairs).map(column).collect()
    }

    /// The images of a pair; none beyond the last.
    fn pair(&self, group: usize, pair: usize) -> [Option<Image>; 2] {
        let even = 2 * (group * self.pairs + pair);
        [even, even + 1].map(|image| {
            let at = self.first + image;
            (image < self.images).then_some(Image { run: at / self.run, place: at % self.run })
        })
    }

    /// Writes all panels of inputs: `[panel][group][row][place][16 channels][2 images]`.
    pub fn lay_out_inputs<'s>(
        &self,
        isa: Isa,
        inputs: Inputs<'_>,
        storage: &'s mut Vec<Line>,
    ) -> &'s [Line] {
        let panels = self.shape.in_channels.div_ceil(LANES);
        let all = lines(storage, panels * self.panel_lines());
        let columns = self.columns();
        for (block, own) in all.chunks_mut(2 * self.panel_lines()).enumerate() {
            let (low, high) = own.split_at_mut(self.panel_lines());
            // The last tile of the last row reads on; what it reads is multiplied by zero and must be a number.
            low[self.panel_lines() - TILE..].fill(Line::ZERO);
            let slack = high.len().saturating_sub(TILE);
            high[slack..].fill(Line::ZERO);
            for group in 0..self.groups {
                for row in (0..self.shape.height).filter(|&row| self.is_read(row)) {
                    for pair in 0..self.pairs {
                        let images = self.pair(group, pair);
                        let at = self.row(group, row) + pair;
                        let high = if high.is_empty() { &mut [] } else { &mut high[at..] };
                        let low = &mut low[at..];
                        match inputs {
                            Inputs::Cells { layout, runs } => {
                                let start = block * layout.plane_cells() + layout.cell(row, 0, 0);
                                let begins = begins(layout, start, images);
                                let values = images
                                    .map(|image| image.map_or(NO_CELLS, |image| runs[image.run]));
                                let step = layout.images * CELL;
                                pair_row(
                                    isa, values, begins, step, &columns, self.pairs, low, high,
                                );
                            }
                            Inputs::Pixels(runs) => {
                                self.pair_pixels(runs, images, row, 2 * block, &columns, low);
                                self.pair_pixels(runs, images, row, 2 * block + 1, &columns, high);
                            }
                        }
                    }
                }
            }
        }
        all
    }

    fn pair_pixels(
        &self,
        runs: &[&[f32]],
        images: [Option<Image>; 2],
        row: usize,
        panel: usize,
        columns: &[usize],
        to: &mut [Line],
    ) {
        let shape = &self.shape;
        let channels = panel * LANES..shape.in_channels.min((panel + 1) * LANES);
        let pixel = |image: Option<Image>, column: usize| match image {
            None => &[][..],
            Some(Image { run, place }) => {
                let at = ((place * shape.height + row) * shape.width + column) * shape.in_stride;
                &runs[run][at..][channels.clone()]
            }
        };
        for (&column, line) in columns.iter().zip(to.iter_mut().step_by(self.pairs)) {
            *line = Line::ZERO;
            if column != NONE {
                for (place, &x) in line.0.iter_mut().zip(pixel(images[0], column)) {
                    *place = u32::from(from_f32(x));
                }
                for (place, &x) in line.0.iter_mut().zip(pixel(images[1], column)) {
                    *place |= u32::from(from_f32(x)) << 16;
                }
            }
        }
    }

    /// Writes `panels` of the output gradients, run by run: `[panel][group][row][tile][16 channels][16
    /// places][2 images]`, zero in places that are no pixel.
    pub fn lay_out_gradients<'s>(
        &self,
        isa: Isa,
        layout: CellLayout,
        runs: &[&[u16]],
        panels: std::ops::Range<usize>,
        storage: &'s mut Vec<Line>,
    ) -> &'s [Line] {
        let (tiles, height) = (self.row_tiles(), self.shape.out_height());
        let panel_lines = self.gradient_tiles() * TILE;
        let all = lines(storage, panels.len() * panel_lines);
        let mut gathered = [[Line::ZERO; TILE]; 2];
        for block in panels.start / 2..panels.end.div_ceil(2) {
            let wanted = [2 * block, 2 * block + 1].map(|panel| panels.contains(&panel));
            for group in 0..self.groups {
                for tile in 0..tiles {
                    let (begins, values) = self.tile_begins(layout, runs, block, group, tile);
                    for row in 0..height {
                        let shift = row * layout.row_cells() * CELL;
                        gather_tile(isa, &values, &begins, shift, wanted, &mut gathered);
                        let at = ((group * height + row) * tiles + tile) * TILE;
                        for (half, _) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
                            let panel = 2 * block + half - panels.start;
                            let to = all[panel * panel_lines + at..].first_chunk_mut();
                            let to = to.expect("every tile has its place");
                            transpose(isa, &gathered[half], to);
                        }
                    }
                }
            }
        }
        all
    }

    /// Where a tile's places begin in the first row of outputs, for both images of the pair, and in which run.
    fn tile_begins<'r>(
        &self,
        layout: CellLayout,
        runs: &[&'r [u16]],
        block: usize,
        group: usize,
        tile: usize,
    ) -> ([[usize; 2]; TILE], [[&'r [u16]; 2]; TILE]) {
        let mut all = ([[NONE; 2]; TILE], [[NO_CELLS; 2]; TILE]);
        for place in 0..TILE {
            let at = tile * TILE + place;
            let (column, pair) = (at / self.pairs, at % self.pairs);
            if column < self.shape.out_width() {
                let start = layout.cell(0, column as isize, 0) + block * layout.plane_cells();
                let images = self.pair(group, pair);
                all.0[place] = begins(layout, start, images);
                all.1[place] = images.map(|image| image.map_or(NO_CELLS, |image| runs[image.run]));
            }
        }
        all
    }
}

const NO_CELLS: &[u16] = &[];

/// Where images have the cell that is `start` in the first.
fn begins(layout: CellLayout, start: usize, images: [Option<Image>; 2]) -> [usize; 2] {
    images.map(|image| match image {
        None => NONE,
        Some(image) => (start + layout.image_cells(image.place)) * CELL,
    })
}

/// A cell, zeros for [`NONE`].
#[inline(always)]
fn cell(values: &[u16], at: usize) -> &[u16; CELL] {
    if at == NONE {
        return &[0; CELL];
    }
    values[at..].first_chunk().expect("a cell has 32 numbers")
}

/// Half a cell of two images in pairs.
#[inline(always)]
fn interleave(even: &[u16; CELL], odd: &[u16; CELL], half: usize, to: &mut Line) {
    for channel in 0..LANES {
        let at = half * LANES + channel;
        to.0[channel] = u32::from(even[at]) | u32::from(odd[at]) << 16;
    }
}

per_isa! {
    /// Every column of a row of two images, 32 channels, as lines `pairs` apart; `high` may be empty.
    fn pair_row(values: [&[u16]; 2], begins: [usize; 2], step: usize, columns: &[usize], pairs: usize,
                low: &mut [Line], high: &mut [Line]) {
        for (place, &column) in columns.iter().enumerate() {
            let mut even = NONE;
            let mut odd = NONE;
            if column != NONE && begins[0] != NONE {
                even = begins[0] + column * step;
            }
            if column != NONE && begins[1] != NONE {
                odd = begins[1] + column * step;
            }
            let (even, odd) = (cell(values[0], even), cell(values[1], odd));
            interleave(even, odd, 0, &mut low[place * pairs]);
            if !high.is_empty() {
                interleave(even, odd, 1, &mut high[place * pairs]);
            }
        }
    }
}

per_isa! {
    /// Sixteen places, 32 channels each; of them those halves that are wanted.
    fn gather_tile(values: &[[&[u16]; 2]; TILE], begins: &[[usize; 2]; TILE], shift: usize,
                   wanted: [bool; 2], to: &mut [[Line; TILE]; 2]) {
        for place in 0..TILE {
            let [even, odd] = begins[place];
            let even = cell(values[place][0], if even == NONE { NONE } else { even + shift });
            let odd = cell(values[place][1], if odd == NONE { NONE } else { odd + shift });
            if wanted[0] {
                interleave(even, odd, 0, &mut to[0][place]);
            }
            if wanted[1] {
                interleave(even, odd, 1, &mut to[1][place]);
            }
        }
    }
}
