//! Between cells, strips and plain channels-last numbers.

use super::{CELL, CellLayout, StripLayout, from_f32, to_f32};
use crate::{Isa, LANES};

/// Writes channels-last numbers into cells; borders and channels beyond the last stay as they are.
///
/// Shapes: `rows` `[images, height, width, stride]` with `stride >= channels`.
pub fn to_cells(
    isa: Isa,
    layout: &CellLayout,
    images: usize,
    stride: usize,
    rows: &[f32],
    cells: &mut [u16],
) {
    let columns = columns(layout);
    each_row(layout, images, |pixel, block, row| {
        let rows = &rows[pixel * stride + block * CELL..];
        let channels = channels(layout, block);
        narrow_row(isa, rows, stride, channels, Adds::Nothing, None, &columns, row, cells);
    });
}

/// Writes gradients, channels last, into cells: added to what is there if `adds`, zero where a mask's bit is not set.
///
/// Shapes: `rows` as in [`to_cells`]; `mask` a word for each cell of the layout.
#[allow(clippy::too_many_arguments)]
pub fn gradient_to_cells(
    isa: Isa,
    layout: &CellLayout,
    images: usize,
    stride: usize,
    rows: &[f32],
    adds: Adds,
    mask: Option<&[u32]>,
    cells: &mut [u16],
) {
    let columns = columns(layout);
    each_row(layout, images, |pixel, block, row| {
        let rows = &rows[pixel * stride + block * CELL..];
        let channels = channels(layout, block);
        narrow_row(isa, rows, stride, channels, adds, mask, &columns, row, cells);
    });
}

/// Whether results are added or take the place of what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adds {
    /// Added.
    ToWhatIsThere,
    /// In its place.
    Nothing,
}

per_isa! {
    /// Pixels of one row, `stride` numbers apart, to the cells at `row + column`.
    fn narrow_row(rows: &[f32], stride: usize, channels: usize, adds: Adds, mask: Option<&[u32]>,
                  columns: &[usize], row: usize, cells: &mut [u16]) {
        for (pixel, &column) in columns.iter().enumerate() {
            let from = &rows[pixel * stride..][..channels];
            let to = &mut cells[(row + column) * CELL..][..CELL];
            let bits = mask.map_or(u32::MAX, |mask| mask[row + column]);
            for (half, (from, to)) in from.chunks(LANES).zip(to.chunks_exact_mut(LANES)).enumerate() {
                let bits = (bits >> (half * LANES)) as u16;
                if from.len() == LANES {
                    // SAFETY: the body runs only where `V` does; both slices have sixteen numbers.
                    unsafe {
                        let mut value = V::load(from.as_ptr());
                        if adds == Adds::ToWhatIsThere {
                            value = V::load_half(to.as_ptr()).add(value);
                        }
                        value.keep(bits).store_half(to.as_mut_ptr());
                    }
                } else {
                    for (lane, (to, &x)) in to.iter_mut().zip(from).enumerate() {
                        let sum = if adds == Adds::ToWhatIsThere { to_f32(*to) + x } else { x };
                        *to = if bits >> lane & 1 == 1 { from_f32(sum) } else { 0 };
                    }
                }
            }
        }
    }
}

/// Sets a bit for each number above zero; masks have the order of `mask_layout`.
pub fn mask_of_cells(
    isa: Isa,
    layout: &CellLayout,
    images: usize,
    cells: &[u16],
    mask_layout: &CellLayout,
    mask: &mut [u32],
) {
    let mut rows = Vec::new();
    each_row(layout, images, |_, _, row| rows.push(row));
    let mut rows = rows.into_iter();
    let (columns, mask_columns) = (columns(layout), columns(mask_layout));
    each_row(mask_layout, images, |_, _, mask_row| {
        let row = rows.next().expect("layouts of one shape have as many rows");
        positive_row(isa, cells, &columns, row, &mask_columns, mask_row, mask);
    });
}

per_isa! {
    fn positive_row(cells: &[u16], columns: &[usize], row: usize, mask_columns: &[usize], mask_row: usize,
                    mask: &mut [u32]) {
        for (&column, &mask_column) in columns.iter().zip(mask_columns) {
            let cell = &cells[(row + column) * CELL..][..CELL];
            // SAFETY: the body runs only where `V` does; a cell has twice sixteen numbers.
            let [low, high] = unsafe {
                [V::load_half(cell.as_ptr()), V::load_half(cell.as_ptr().add(LANES))]
                    .map(|numbers| u32::from(numbers.positive()))
            };
            mask[mask_row + mask_column] = low | high << LANES;
        }
    }
}

/// Zeroes numbers whose bit is not set.
///
/// Shapes: `mask` a word for each of `cells`.
pub fn keep(isa: Isa, mask: &[u32], cells: &mut [u16]) {
    assert_eq!(mask.len() * CELL, cells.len(), "a word for each cell");
    keep_cells(isa, mask, cells);
}

per_isa! {
    fn keep_cells(mask: &[u32], cells: &mut [u16]) {
        for (bits, cell) in mask.iter().zip(cells.chunks_exact_mut(CELL)) {
            for (channel, x) in cell.iter_mut().enumerate() {
                *x &= (((bits >> channel) & 1) as u16).wrapping_neg();
            }
        }
    }
}

/// Writes cells as channels-last numbers; numbers beyond the last channel become zero.
///
/// Shapes: `rows` `[images, height, width, stride]` with `stride >= channels`.
pub fn from_cells(
    isa: Isa,
    layout: &CellLayout,
    images: usize,
    stride: usize,
    cells: &[u16],
    rows: &mut [f32],
) {
    let columns = columns(layout);
    each_row(layout, images, |pixel, block, row| {
        let channels = channels(layout, block);
        // The last block's pixels are as long as the stride leaves them.
        let length = if block + 1 == layout.blocks() { stride - block * CELL } else { channels };
        let rows = &mut rows[pixel * stride + block * CELL..];
        widen_row(isa, cells, &columns, row, stride, channels, length, rows);
    });
}

per_isa! {
    /// The cells at `row + column` to pixels of one row, `stride` numbers apart.
    fn widen_row(cells: &[u16], columns: &[usize], row: usize, stride: usize, channels: usize, length: usize,
                 rows: &mut [f32]) {
        for (pixel, &column) in columns.iter().enumerate() {
            let from = &cells[(row + column) * CELL..][..channels];
            let (to, beyond) = rows[pixel * stride..][..length].split_at_mut(channels);
            for (to, from) in to.chunks_mut(LANES).zip(from.chunks(LANES)) {
                if to.len() == LANES {
                    // SAFETY: the body runs only where `V` does; both slices have sixteen numbers.
                    unsafe { V::load_half(from.as_ptr()).store(to.as_mut_ptr()) };
                } else {
                    to.iter_mut().zip(from).for_each(|(to, &x)| *to = to_f32(x));
                }
            }
            beyond.fill(0.0);
        }
    }
}

/// Every pixel of every image: its index in `[images, height, width]`, each block, the cell.
pub fn each_pixel(layout: &CellLayout, images: usize, mut visit: impl FnMut(usize, usize, usize)) {
    let columns = columns(layout);
    each_row(layout, images, |pixel, block, row| {
        for (index, column) in columns.iter().enumerate() {
            visit(pixel + index, block, row + column);
        }
    });
}

/// Every row of every image: its first pixel's index in `[images, height, width]`, each block, its first cell.
fn each_row(layout: &CellLayout, images: usize, mut visit: impl FnMut(usize, usize, usize)) {
    for image in 0..images {
        for block in 0..layout.blocks() {
            let start = layout.image_cells(image) + block * layout.plane_cells();
            for row in 0..layout.height {
                let pixel = (image * layout.height + row) * layout.width;
                visit(pixel, block, start + row * layout.row_cells());
            }
        }
    }
}

/// Cells from a row's first to each of its columns.
fn columns(layout: &CellLayout) -> Vec<usize> {
    (0..layout.width).map(|column| layout.cell(0, column as isize, 0)).collect()
}

/// Channels of a block.
fn channels(layout: &CellLayout, block: usize) -> usize {
    (layout.channels - block * CELL).min(CELL)
}

/// Writes images `[images, channels, height, width]` into a strip as `scale * pixel + shift` by channel.
pub fn to_strip(
    layout: &StripLayout,
    pixels: &[f32],
    scale: &[f32],
    shift: &[f32],
    strip: &mut [u16],
) {
    let plane = layout.height * layout.width;
    assert!(
        scale.len() == layout.channels && shift.len() == layout.channels,
        "scaling of {layout:?}"
    );
    let images = pixels.chunks_exact(layout.channels * plane);
    for (image, rows) in images.zip(strip.chunks_exact_mut(layout.image())) {
        for (channel, source) in image.chunks_exact(plane).enumerate() {
            let (scale, shift) = (scale[channel], shift[channel]);
            for (from, row) in
                source.chunks_exact(layout.width).zip(rows.chunks_exact_mut(layout.row()))
            {
                let first = layout.border * layout.channels + channel;
                let column = row[first..].iter_mut().step_by(layout.channels);
                for (to, &pixel) in column.zip(from) {
                    *to = from_f32(scale * pixel + shift);
                }
            }
        }
    }
}
