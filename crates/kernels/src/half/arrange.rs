//! Between cells, strips and plain channels-last numbers.

use super::{CELL, CellLayout, StripLayout, from_f32, to_f32};

/// Writes channels-last numbers into cells; borders and channels beyond the last stay as they are.
///
/// Shapes: `rows` `[images, height, width, stride]` with `stride >= channels`.
pub fn to_cells(
    layout: &CellLayout,
    images: usize,
    stride: usize,
    rows: &[f32],
    cells: &mut [u16],
) {
    each_pixel(layout, images, |index, block, cell| {
        let channels = block * CELL..((block + 1) * CELL).min(layout.channels);
        let from = &rows[index * stride..][channels];
        for (to, &x) in cells[cell * CELL..].iter_mut().zip(from) {
            *to = from_f32(x);
        }
    });
}

/// Writes cells as channels-last numbers; numbers beyond the last channel become zero.
///
/// Shapes: `rows` `[images, height, width, stride]` with `stride >= channels`.
pub fn from_cells(
    layout: &CellLayout,
    images: usize,
    stride: usize,
    cells: &[u16],
    rows: &mut [f32],
) {
    rows.fill(0.0);
    each_pixel(layout, images, |index, block, cell| {
        let channels = block * CELL..((block + 1) * CELL).min(layout.channels);
        let to = &mut rows[index * stride..][channels];
        for (to, &x) in to.iter_mut().zip(&cells[cell * CELL..]) {
            *to = to_f32(x);
        }
    });
}

/// Every pixel of every image: its index in `[images, height, width]`, each block, the cell.
pub fn each_pixel(layout: &CellLayout, images: usize, mut visit: impl FnMut(usize, usize, usize)) {
    let pixels = layout.height * layout.width;
    for image in 0..images {
        let start = layout.image_cells(image);
        for block in 0..layout.blocks() {
            for pixel in 0..pixels {
                let cell = layout.cell(pixel / layout.width, (pixel % layout.width) as isize, 0);
                visit(image * pixels + pixel, block, start + block * layout.plane_cells() + cell);
            }
        }
    }
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
