//! Cells from cells: copies, sums, masks and means.

use super::plane::{ImageCells, Plane};
use crate::half::{CELL, CellLayout, from_f32};
use crate::{Isa, LANES};

/// Copies images into another layout of the same shape; its borders become zeros.
pub fn copy_cells(
    from: &CellLayout,
    images: usize,
    values: &[u16],
    to: &CellLayout,
    copy: &mut [u16],
) {
    let shape = |layout: &CellLayout| (layout.channels, layout.height, layout.width);
    assert_eq!(shape(from), shape(to), "cells of one shape");
    copy.fill(0);
    for image in 0..images {
        for block in 0..from.blocks() {
            let source = from.image_cells(image) + block * from.plane_cells();
            let target = to.image_cells(image) + block * to.plane_cells();
            for row in 0..from.height {
                for column in 0..from.width as isize {
                    let source = (source + from.cell(row, column, 0)) * CELL;
                    let target = (target + to.cell(row, column, 0)) * CELL;
                    copy[target..][..CELL].copy_from_slice(&values[source..][..CELL]);
                }
            }
        }
    }
}

per_isa! {
    /// `sum += other`, rounded; of one layout, borders included.
    pub fn add(other: &[u16], sum: &mut [u16]) {
        assert_eq!(other.len(), sum.len(), "as many summands");
        for at in 0..sum.len() / LANES {
            // SAFETY: the body runs only where `V` does; both hold sixteen numbers there.
            unsafe {
                let to = sum.as_mut_ptr().add(at * LANES);
                V::load_half(to).add(V::load_half(other.as_ptr().add(at * LANES))).store_half(to);
            }
        }
    }
}

/// Zeroes the cells of `images` images where their bits are not set.
pub fn keep(isa: Isa, layout: &CellLayout, images: usize, mask: &[u32], values: &mut [u16]) {
    let cells = layout.groups(images) * layout.group_cells();
    crate::half::keep(isa, &mask[..cells], &mut values[..cells * CELL]);
}

/// Mean of every channel over the pixels of one image.
///
/// Shapes: `means` `[channels in memory]`, overwritten.
pub fn average(isa: Isa, layout: &CellLayout, values: &[u16], image: usize, means: &mut [f32]) {
    let (mut mean, mut squares) = (vec![0.0; means.len()], vec![0.0; means.len()]);
    let image = ImageCells { layout: *layout, image, values };
    super::norm::moments(isa, image, &mut mean, &mut squares);
    means.iter_mut().zip(mean).for_each(|(to, mean)| *to = mean as f32);
}

/// The gradient of [`average`]: every pixel gets its share.
pub fn spread_average(layout: &CellLayout, image: usize, gradient: &[f32], values: &mut [u16]) {
    let share = 1.0 / (layout.height * layout.width) as f32;
    for block in 0..layout.blocks() {
        let plane = Plane::image(layout, block, image);
        let mut cell = [0; CELL];
        for (to, x) in cell.iter_mut().zip(&gradient[block * CELL..]) {
            *to = from_f32(x * share);
        }
        for row in 0..plane.rows {
            for at in 0..plane.count {
                let to = plane.row(row) + plane.column(at);
                values[to * CELL..][..CELL].copy_from_slice(&cell);
            }
        }
    }
}
