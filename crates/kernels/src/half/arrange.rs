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

/// Writes gradients, channels last, into cells: added to what is there if `adds`, zero where a mask's bit is not set.
///
/// Shapes: `rows` as in [`to_cells`]; `mask` a word for each cell of the layout.
pub fn gradient_to_cells(
    layout: &CellLayout,
    images: usize,
    stride: usize,
    rows: &[f32],
    adds: Adds,
    mask: Option<&[u32]>,
    cells: &mut [u16],
) {
    each_pixel(layout, images, |index, block, cell| {
        let channels = block * CELL..((block + 1) * CELL).min(layout.channels);
        let from = &rows[index * stride..][channels];
        let to = &mut cells[cell * CELL..][..CELL];
        // Loops of one thing each, which the compiler turns into vectors.
        match adds {
            Adds::ToWhatIsThere => {
                to.iter_mut().zip(from).for_each(|(to, &x)| *to = from_f32(to_f32(*to) + x));
            }
            Adds::Nothing => to.iter_mut().zip(from).for_each(|(to, &x)| *to = from_f32(x)),
        }
        if let Some(mask) = mask {
            keep_cell(mask[cell], to);
        }
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

/// Sets a bit for each number above zero; masks have the order of `mask_layout`.
pub fn mask_of_cells(
    layout: &CellLayout,
    images: usize,
    cells: &[u16],
    mask_layout: &CellLayout,
    mask: &mut [u32],
) {
    let mut words = Vec::new();
    each_pixel(layout, images, |_, _, cell| {
        let numbers = &cells[cell * CELL..][..CELL];
        let bit = |(channel, &x): (usize, &u16)| u32::from(to_f32(x) > 0.0) << channel;
        words.push(numbers.iter().enumerate().map(bit).sum::<u32>());
    });
    let mut words = words.into_iter();
    each_pixel(mask_layout, images, |_, _, cell| {
        mask[cell] = words.next().expect("layouts of one shape have as many cells");
    });
}

/// Zeroes numbers whose bit is not set.
pub fn keep(mask: &[u32], cells: &mut [u16]) {
    assert_eq!(mask.len() * CELL, cells.len(), "a word for each cell");
    for (&bits, cell) in mask.iter().zip(cells.chunks_exact_mut(CELL)) {
        keep_cell(bits, cell);
    }
}

fn keep_cell(bits: u32, cell: &mut [u16]) {
    const OWN: [u16; CELL / 2] = {
        let mut own = [0; CELL / 2];
        let mut channel = 0;
        while channel < own.len() {
            own[channel] = 1 << channel;
            channel += 1;
        }
        own
    };
    for (half, bits) in cell.chunks_exact_mut(OWN.len()).zip([bits as u16, (bits >> 16) as u16]) {
        for (number, own) in half.iter_mut().zip(OWN) {
            *number = if bits & own == own { *number } else { 0 };
        }
    }
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
