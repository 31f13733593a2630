//! Which cells of a value a kernel visits: some images, one block of channels, no border.

use crate::half::{CELL, CellLayout, Columns};
use std::ops::Range;

/// Cells in rows of `count`: [`Plane::row`] and [`Plane::column`] add up to a cell. Columns lie in order or, even ones and odd
/// ones, apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plane {
    pub first: usize,
    pub rows: usize,
    pub row_cells: usize,
    /// Cells from a column to the next but one.
    pub pair: usize,
    /// Cells from an even column to the odd one after it.
    pub odd: usize,
    pub count: usize,
}

impl Plane {
    /// One image's cells of a block of 32 channels.
    pub fn image(layout: &CellLayout, block: usize, image: usize) -> Self {
        let start = layout.cell(0, 0, 0);
        Self {
            first: start + block * layout.plane_cells() + layout.image_cells(image),
            rows: layout.height,
            row_cells: layout.row_cells(),
            pair: layout.cell(0, 2, 0) - start,
            odd: layout.cell(0, 1, 0) - start,
            count: layout.width,
        }
    }

    /// A group's cells of a block of 32 channels, all images.
    pub fn group(layout: &CellLayout, block: usize, group: usize) -> Self {
        assert_eq!(layout.columns, Columns::Together, "cells whose columns lie in order");
        Self {
            pair: 2,
            odd: 1,
            count: layout.width * layout.images,
            ..Self::image(layout, block, group * layout.images)
        }
    }

    /// The cell at which a row begins.
    #[inline(always)]
    pub fn row(&self, row: usize) -> usize {
        self.first + row * self.row_cells
    }

    /// Cells from there to a column.
    #[inline(always)]
    pub fn column(&self, column: usize) -> usize {
        column / 2 * self.pair + column % 2 * self.odd
    }

    /// How many even columns (`parity` 0) or odd ones there are.
    #[inline(always)]
    pub fn columns(&self, parity: usize) -> usize {
        (self.count + 1 - parity) / 2
    }

    /// Panics unless `length` numbers hold every cell; what is unsafe in the kernels rests on it.
    pub fn check(&self, length: usize) {
        if self.rows > 0 && self.count > 0 {
            // The last odd column may lie behind the last even one or before it.
            let columns = self.column(self.count - 1).max(self.column(self.count.max(2) - 2));
            assert!(
                (self.row(self.rows - 1) + columns + 1) * CELL <= length,
                "cells beyond a value"
            );
        }
    }
}

/// One image of a value, which may lie otherwise than those it is computed with.
#[derive(Clone, Copy, Debug)]
pub struct ImageCells<T> {
    /// Where its numbers lie.
    pub layout: CellLayout,
    /// Its place among the images there.
    pub image: usize,
    /// All numbers.
    pub values: T,
}

impl<T> ImageCells<T> {
    pub(super) fn plane(&self, block: usize, length: usize) -> Plane {
        let plane = Plane::image(&self.layout, block, self.image);
        plane.check(length);
        plane
    }

    pub(super) fn assert_shape(&self, layout: &CellLayout) {
        let shape = |layout: &CellLayout| (layout.channels, layout.height, layout.width);
        assert_eq!(shape(&self.layout), shape(layout), "values of one shape");
    }
}

/// The planes of `images`, whole groups at once where they can be, with their block of channels.
pub(super) fn planes(layout: &CellLayout, images: Range<usize>) -> Vec<(usize, Plane)> {
    let mut all = Vec::new();
    for block in 0..layout.blocks() {
        let mut image = images.start;
        while image < images.end {
            let whole = image.is_multiple_of(layout.images) && image + layout.images <= images.end;
            if whole {
                all.push((block, Plane::group(layout, block, image / layout.images)));
                image += layout.images;
            } else {
                all.push((block, Plane::image(layout, block, image)));
                image += 1;
            }
        }
    }
    all
}

/// Zeroes the cells before and after every row: what convolutions read outside the image.
pub fn clear_borders(layout: &CellLayout, values: &mut [u16]) {
    let (row, border) = (layout.row_cells() * CELL, layout.border * layout.images * CELL);
    if border > 0 {
        for row in values.chunks_exact_mut(row) {
            row[..border].fill(0);
            let end = row.len() - border;
            row[end..].fill(0);
        }
    }
}
