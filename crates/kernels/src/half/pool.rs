//! Maximum over windows, on cells.

// Constant trip counts and plain indices: the compiler turns them into vectors.
#![allow(clippy::needless_range_loop)]

use super::{CELL, CellLayout, from_f32, to_f32};
use crate::Isa;

/// A maximum over square windows between two layouts; padding never wins.
#[derive(Clone, Debug)]
pub struct Pool {
    kernel: usize,
    stride: usize,
    padding: usize,
    input: Cells,
    output: Cells,
    input_gradient: Cells,
    output_gradient: Cells,
}

/// A layout with the cell of every pixel of image 0 in block 0.
#[derive(Clone, Debug)]
struct Cells {
    layout: CellLayout,
    pixels: Vec<usize>,
}

impl Cells {
    fn new(layout: CellLayout) -> Self {
        let pixels = 0..layout.height * layout.width;
        let cell =
            |pixel: usize| layout.cell(pixel / layout.width, (pixel % layout.width) as isize, 0);
        Self { layout, pixels: pixels.map(cell).collect() }
    }

    /// Where block `block` of image `image` begins.
    fn start(&self, image: usize, block: usize) -> usize {
        self.layout.image_cells(image) + block * self.layout.plane_cells()
    }

    /// The numbers of a pixel.
    fn at(&self, start: usize, pixel: usize) -> std::ops::Range<usize> {
        let cell = start + self.pixels[pixel];
        cell * CELL..(cell + 1) * CELL
    }
}

/// First images of the operands of one call.
#[derive(Clone, Copy, Debug)]
pub struct Firsts {
    /// In the value or gradient read.
    pub read: usize,
    /// In the value or gradient written.
    pub written: usize,
    /// In winners and masks.
    pub kept: usize,
}

impl Pool {
    /// Prepares; `gradients` are the layouts of the gradients by input and output.
    pub fn new(
        (kernel, stride, padding): (usize, usize, usize),
        input: CellLayout,
        output: CellLayout,
        gradients: (CellLayout, CellLayout),
    ) -> Self {
        assert!(padding < kernel, "a window that lies in the padding has no maximum");
        Self {
            kernel,
            stride,
            padding,
            input: Cells::new(input),
            output: Cells::new(output),
            input_gradient: Cells::new(gradients.0),
            output_gradient: Cells::new(gradients.1),
        }
    }

    /// Bytes of the winners of one image.
    pub fn winners(&self) -> usize {
        self.output.pixels.len() * self.output.layout.blocks() * CELL
    }

    /// The part of a window that lies inside, and the offset of its first place in the window.
    fn window(&self, position: usize, length: usize) -> (std::ops::Range<usize>, usize) {
        let start = position * self.stride;
        let first = start.saturating_sub(self.padding);
        (first..(start + self.kernel - self.padding).min(length), first + self.padding - start)
    }

    /// Maximum of every window of `images` images; `winners` says which place of the window won: among equals the first in
    /// row, column order, as in PyTorch, and NaN over all.
    pub fn forward(
        &self,
        isa: Isa,
        images: usize,
        firsts: Firsts,
        input: &[u16],
        output: &mut [u16],
        winners: &mut [u8],
    ) {
        let (from, to) = (self.input.layout, self.output.layout);
        for image in 0..images {
            for block in 0..to.blocks() {
                let read = self.input.start(firsts.read + image, block);
                let written = self.output.start(firsts.written + image, block);
                let kept = ((firsts.kept + image) * to.blocks() + block) * self.output.pixels.len();
                for row in 0..to.height {
                    let (rows, down) = self.window(row, from.height);
                    for column in 0..to.width {
                        let (columns, right) = self.window(column, from.width);
                        let mut best = Best {
                            keys: [i16::MIN; CELL],
                            places: [0; CELL],
                            values: [0xff80; CELL],
                        };
                        for (dy, y) in rows.clone().enumerate() {
                            for (dx, x) in columns.clone().enumerate() {
                                let place = ((down + dy) * self.kernel + right + dx) as u8;
                                let cell = &input[self.input.at(read, y * from.width + x)];
                                challenge(isa, cell, place, &mut best);
                            }
                        }
                        let pixel = row * to.width + column;
                        output[self.output.at(written, pixel)].copy_from_slice(&best.values);
                        winners[(kept + pixel) * CELL..][..CELL].copy_from_slice(&best.places);
                    }
                }
            }
        }
    }

    /// Every input's gradient is the sum of those of the windows it won, in their order; then the mask is applied.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        isa: Isa,
        images: usize,
        firsts: Firsts,
        gradient: &[u16],
        winners: &[u8],
        adds: super::Adds,
        mask: Option<&[u32]>,
        input_gradient: &mut [u16],
    ) {
        let (from, to) = (self.input_gradient.layout, self.output_gradient.layout);
        for image in 0..images {
            for block in 0..from.blocks() {
                let read = self.output_gradient.start(firsts.read + image, block);
                let written = self.input_gradient.start(firsts.written + image, block);
                let masked = self.input_gradient.start(firsts.kept + image, block);
                let kept = ((firsts.kept + image) * to.blocks() + block) * self.output.pixels.len();
                for row in 0..from.height {
                    let rows = self.windows_over(row, to.height);
                    for column in 0..from.width {
                        let columns = self.windows_over(column, to.width);
                        let pixel = row * from.width + column;
                        let target = &mut input_gradient[self.input_gradient.at(written, pixel)];
                        let mut sum = [0.0_f32; CELL];
                        if adds == super::Adds::ToWhatIsThere {
                            sum.iter_mut().zip(&*target).for_each(|(sum, &x)| *sum = to_f32(x));
                        }
                        for y in rows.clone() {
                            let down = row + self.padding - y * self.stride;
                            for x in columns.clone() {
                                let right = column + self.padding - x * self.stride;
                                let place = (down * self.kernel + right) as u8;
                                let window = y * to.width + x;
                                let dy = &gradient[self.output_gradient.at(read, window)];
                                let won = &winners[(kept + window) * CELL..][..CELL];
                                collect(isa, dy, won, place, &mut sum);
                            }
                        }
                        let bits = mask.map_or(u32::MAX, |mask| {
                            mask[masked + self.input_gradient.pixels[pixel]]
                        });
                        finish(isa, &sum, bits, target);
                    }
                }
            }
        }
    }

    /// Windows that contain a position.
    fn windows_over(&self, position: usize, windows: usize) -> std::ops::Range<usize> {
        let end = (position + self.padding) / self.stride + 1;
        let first = (position + self.padding + 1).saturating_sub(self.kernel).div_ceil(self.stride);
        first..end.min(windows)
    }
}

/// The largest so far of 32 channels.
struct Best {
    /// In the order of the numbers, as whole numbers.
    keys: [i16; CELL],
    places: [u8; CELL],
    values: [u16; CELL],
}

per_isa! {
    fn challenge(cell: &[u16], place: u8, best: &mut Best) {
        let cell: &[u16; CELL] = cell.try_into().expect("a cell");
        for channel in 0..CELL {
            let bits = cell[channel] as i16;
            let key = if bits & 0x7fff > 0x7f80 { i16::MAX } else { bits ^ ((bits >> 15) & 0x7fff) };
            let wins = key > best.keys[channel];
            best.keys[channel] = if wins { key } else { best.keys[channel] };
            best.places[channel] = if wins { place } else { best.places[channel] };
            best.values[channel] = if wins { cell[channel] } else { best.values[channel] };
        }
    }
}

per_isa! {
    fn collect(gradient: &[u16], winners: &[u8], place: u8, sum: &mut [f32; CELL]) {
        let gradient: &[u16; CELL] = gradient.try_into().expect("a cell");
        let winners: &[u8; CELL] = winners.try_into().expect("a cell's winners");
        for channel in 0..CELL {
            let kept = if winners[channel] == place { gradient[channel] } else { 0 };
            sum[channel] += f32::from_bits(u32::from(kept) << 16);
        }
    }
}

per_isa! {
    fn finish(sum: &[f32; CELL], bits: u32, target: &mut [u16]) {
        for (channel, to) in target.iter_mut().enumerate() {
            let kept = 0_u16.wrapping_sub((bits >> channel & 1) as u16);
            *to = from_f32(sum[channel]) & kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Adds, Columns, from_cells, to_cells};
    use super::*;
    use crate::pooling::{PoolingShape, max_backward, max_forward};

    #[test]
    fn it_agrees_with_the_single_precision_pool_in_values_and_gradients() {
        for (kernel, stride, padding, side) in
            [(3, 2, 1, (9, 8)), (2, 2, 0, (6, 6)), (3, 1, 1, (5, 7))]
        {
            let (channels, images) = (48, 3);
            let shape = PoolingShape {
                channel_stride: channels,
                height: side.0,
                width: side.1,
                kernel,
                stride,
                padding,
            };
            let out = (shape.out_height(), shape.out_width());
            let layout = |side: (usize, usize), images| CellLayout {
                channels,
                height: side.0,
                width: side.1,
                images,
                border: 1,
                columns: Columns::Together,
            };
            let numbers = |count: usize, step: usize| -> Vec<f32> {
                (0..count).map(|i| ((i * step) % 29) as f32 - 14.0).collect()
            };
            let input = numbers(images * side.0 * side.1 * channels, 7);
            let gradient = numbers(images * out.0 * out.1 * channels, 11);
            let mut expected = vec![0.0; gradient.len()];
            let mut winners = vec![0; gradient.len()];
            max_forward(&shape, &input, &mut expected, &mut winners);
            let mut expected_gradient = vec![0.0; input.len()];
            max_backward(&shape, &gradient, &winners, &mut expected_gradient);
            let (from, to) = (layout(side, 2), layout(out, 4));
            let pool = Pool::new(
                (kernel, stride, padding),
                from,
                to,
                (to_layout(from, 1), to_layout(to, 2)),
            );
            let mut cells = vec![0; from.len(images)];
            to_cells(Isa::Portable, &from, images, channels, &input, &mut cells);
            for isa in Isa::available() {
                let firsts = Firsts { read: 0, written: 0, kept: 0 };
                let mut output = vec![0; to.len(images)];
                let mut won = vec![0; images * pool.winners()];
                pool.forward(isa, images, firsts, &cells, &mut output, &mut won);
                let mut found = vec![0.0; expected.len()];
                from_cells(isa, &to, images, channels, &output, &mut found);
                assert_eq!(found, expected, "{isa}");
                let own = to_layout(to, 2);
                let mut dy = vec![0; own.len(images)];
                to_cells(isa, &own, images, channels, &gradient, &mut dy);
                let back = to_layout(from, 1);
                let mut dx = vec![7; back.len(images)];
                pool.backward(isa, images, firsts, &dy, &won, Adds::Nothing, None, &mut dx);
                let mut found = vec![0.0; input.len()];
                from_cells(isa, &back, images, channels, &dx, &mut found);
                assert_eq!(found, expected_gradient, "{isa}");
            }
        }
    }

    fn to_layout(layout: CellLayout, images: usize) -> CellLayout {
        CellLayout { images, ..layout }
    }
}
