//! Where transformed inputs lie.

use super::{ACROSS, COLUMNS, DOWN, PATCHES, ROWS, WINDOW};
use crate::half::{CELL, CellLayout, TILE};

/// Transformed cells: `[group of images][channels / 32][two rows of results][row of the patches][patch][image of the
/// group][column of the patch]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PatchLayout {
    /// What is transformed.
    pub cells: CellLayout,
    /// Rows of results.
    pub height: usize,
    /// Results of a row.
    pub width: usize,
    /// The first row and column that the first patch reads: -1 both where windows are centred; the column is no higher than 0.
    pub first: (isize, isize),
}

impl PatchLayout {
    /// Patches beside each other, those of all interleaved images.
    pub fn patches(&self) -> usize {
        self.width.div_ceil(ACROSS) * self.cells.images
    }

    /// Numbers from one row of the patches to the next.
    pub fn row(&self) -> usize {
        self.patches() * COLUMNS * CELL
    }

    /// Numbers of a row of the input with all that its patches read beside it.
    pub fn padded_row(&self) -> usize {
        (self.width.next_multiple_of(ACROSS) + WINDOW - 1) * self.cells.images * CELL
    }

    /// Numbers from one block of channels to the next.
    pub fn plane(&self) -> usize {
        self.height.div_ceil(DOWN) * ROWS * self.row()
    }

    /// Numbers of one group of images.
    pub fn group(&self) -> usize {
        self.cells.blocks() * self.plane()
    }

    /// Numbers of a buffer for `groups` groups: the last tile may have fewer patches than it reads.
    pub fn len(&self, groups: usize) -> usize {
        groups * self.group() + (PATCHES - 1) * COLUMNS * CELL
    }

    /// The number at which a tile of the row of results `row` begins.
    pub fn tile(&self, row: usize, tile: usize) -> usize {
        row / DOWN * ROWS * self.row() + tile * PATCHES * COLUMNS * CELL
    }

    /// Column and image of a tile's results, patch by patch; they may lie beyond the grid.
    pub fn pixels(&self, tile: usize) -> [(usize, usize); TILE] {
        std::array::from_fn(|result| {
            let patch = tile * PATCHES + result / ACROSS;
            let column = patch / self.cells.images * ACROSS + result % ACROSS;
            (column, patch % self.cells.images)
        })
    }
}
