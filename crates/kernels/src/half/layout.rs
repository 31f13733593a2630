//! Where the numbers of a value lie.

use super::CELL;

/// Whether even and odd columns lie beside each other or apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Columns {
    /// In order.
    Together,
    /// All even columns of a row, then all odd ones: what a convolution of stride 2 reads is then consecutive.
    Apart,
}

/// Cells of 32 channels: `[group of images][channels / 32][row][column][image of the group]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CellLayout {
    /// Channels in meaning; those up to the next multiple of 32 hold zeros.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Images interleaved, a power of two up to 16.
    pub images: usize,
    /// Zero columns before and after each row, or each half of it.
    pub border: usize,
    /// Order of the columns.
    pub columns: Columns,
}

impl CellLayout {
    /// Cells of one pixel.
    pub fn blocks(&self) -> usize {
        self.channels.div_ceil(CELL)
    }

    /// Cells from one row to the next.
    pub fn row_cells(&self) -> usize {
        self.images
            * match self.columns {
                Columns::Together => self.width + 2 * self.border,
                Columns::Apart => 2 * self.half(),
            }
    }

    /// Columns of one parity with their border.
    fn half(&self) -> usize {
        self.width.div_ceil(2) + 2 * self.border
    }

    /// Cells from one block of channels to the next.
    pub fn plane_cells(&self) -> usize {
        self.height * self.row_cells()
    }

    /// Cells of one group of images.
    pub fn group_cells(&self) -> usize {
        self.blocks() * self.plane_cells()
    }

    /// Groups that `images` images fill.
    pub fn groups(&self, images: usize) -> usize {
        images.div_ceil(self.images)
    }

    /// Numbers of a buffer for `images` images, the slack included.
    pub fn len(&self, images: usize) -> usize {
        self.groups(images) * self.group_cells() * CELL + super::SLACK
    }

    /// The cell of a pixel in block 0 of the first group, from its start; columns may lie in the border.
    pub fn cell(&self, row: usize, column: isize, image: usize) -> usize {
        let column = match self.columns {
            Columns::Together => column + self.border as isize,
            Columns::Apart => {
                let odd = column.rem_euclid(2) as usize;
                column.div_euclid(2) + (self.border + odd * self.half()) as isize
            }
        };
        assert!(column >= 0, "a column left of the border of {self:?}");
        row * self.row_cells() + column as usize * self.images + image
    }

    /// Where image `image` of all images begins: cells to add to [`CellLayout::cell`] of image 0.
    pub fn image_cells(&self, image: usize) -> usize {
        image / self.images * self.group_cells() + image % self.images
    }
}

/// Pixels of few channels side by side, for first layers: `[image][row][column + border][channel]`, unpadded.
///
/// A row of a kernel's window is then consecutive numbers, and one step multiplies all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StripLayout {
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Zero columns before each row; after it so many that a step never reads another row's pixels.
    pub border: usize,
}

impl StripLayout {
    /// Numbers from one row to the next.
    pub fn row(&self) -> usize {
        (self.width + self.border) * self.channels + CELL
    }

    /// Numbers of one image.
    pub fn image(&self) -> usize {
        self.height * self.row()
    }

    /// Numbers of a buffer for `images` images, the slack included.
    pub fn len(&self, images: usize) -> usize {
        images * self.image() + super::SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_has_a_cell_of_its_own() {
        for columns in [Columns::Together, Columns::Apart] {
            for (height, width, images) in [(3, 5, 2), (4, 4, 4), (7, 7, 16), (2, 8, 1)] {
                let layout = CellLayout { channels: 40, height, width, images, border: 1, columns };
                let mut seen = vec![false; layout.plane_cells()];
                for row in 0..height {
                    for column in 0..width {
                        for image in 0..images {
                            let cell = layout.cell(row, column as isize, image);
                            assert!(!std::mem::replace(&mut seen[cell], true), "{layout:?}");
                        }
                    }
                }
                assert_eq!(layout.group_cells(), 2 * layout.plane_cells());
            }
        }
    }
}
