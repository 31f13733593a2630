//! Normalisation over cells: what [`crate::norm`] does, in half precision.
//!
//! Statistics are those of the rounded values, since they are what is normalised. Sums are taken image by image, in runs
//! of up to 64 pixels in f32 and from there on in f64; values are bf16, so f32 keeps more digits of such a run than they
//! have.

use super::plane::{ImageCells, Plane, planes};
use crate::half::{Adds, CELL, CellLayout};
use crate::norm::{Affine, BackwardCoefficients};
use crate::{Isa, LANES, Relu};
use std::ops::Range;

/// Pixels summed in f32.
const RUN: usize = 64;

/// 32 channels of a per-channel array, zeros beyond its end.
pub(super) fn block_of(values: &[f32], block: usize) -> [f32; CELL] {
    let mut own = [0.0; CELL];
    let rest = &values[(block * CELL).min(values.len())..];
    let count = rest.len().min(CELL);
    own[..count].copy_from_slice(&rest[..count]);
    own
}

/// Halves of a block's cells that hold channels; what lies beyond the last channel is zero and stays so.
pub(super) fn halves(layout: &CellLayout, block: usize) -> usize {
    (layout.channels - block * CELL).div_ceil(LANES).min(CELL / LANES)
}

/// Mean and sum of centred squares of every channel of one image.
///
/// Shapes: `means` and `squares` `[channels in memory]`, overwritten.
pub fn moments(isa: Isa, image: ImageCells<&[u16]>, means: &mut [f64], squares: &mut [f64]) {
    let ImageCells { layout, values, .. } = image;
    let count = (layout.height * layout.width) as f64;
    for block in 0..layout.blocks() {
        let plane = image.plane(block, values.len());
        let (mut sum, mut square) = ([0.0; CELL], [0.0; CELL]);
        // Distances from any value of the channel lose no digits to a large mean (G21); the first is at hand.
        let pivot: [f32; CELL] = std::array::from_fn(|channel| {
            crate::half::to_f32(values[plane.first * CELL + channel])
        });
        distances(isa, values, &pivot, halves(&layout, block), plane, &mut sum, &mut square);
        let own = block * CELL..means.len().min((block + 1) * CELL);
        for (channel, at) in own.enumerate() {
            let distance = sum[channel] / count;
            means[at] = f64::from(pivot[channel]) + distance;
            squares[at] = (square[channel] - sum[channel] * distance).max(0.0);
        }
    }
}

per_isa! {
    /// Sums of `x - pivot` and of its squares.
    fn distances(values: &[u16], pivot: &[f32; CELL], halves: usize, plane: Plane, sums: &mut [f64; CELL],
                 squares: &mut [f64; CELL]) {
        for half in 0..halves {
            // SAFETY: the body runs only where `V` does; the plane was checked.
            unsafe {
                let pivot = V::load(pivot.as_ptr().add(half * LANES));
                let (mut first, mut second) = (V::zero(), V::zero());
                let mut run = 0;
                for row in 0..plane.rows {
                    let start = plane.row(row);
                    for column in 0..plane.count {
                        let cell = start + plane.column(column);
                        let x = V::load_half(values.as_ptr().add(cell * CELL + half * LANES)).subtract(pivot);
                        first = first.add(x);
                        second = second.multiply_add(x, x);
                        run += 1;
                        if run == RUN {
                            flush(first, sums, half);
                            flush(second, squares, half);
                            (first, second, run) = (V::zero(), V::zero(), 0);
                        }
                    }
                }
                flush(first, sums, half);
                flush(second, squares, half);
            }
        }
    }
}

/// Adds sixteen sums to those in f64.
///
/// # Safety
/// Needs `V`'s instructions.
#[inline(always)]
unsafe fn flush<V: crate::vector::Vector>(part: V, sums: &mut [f64; CELL], half: usize) {
    let mut lanes = [0.0; LANES];
    // SAFETY: by the caller's promise.
    unsafe { part.store(lanes.as_mut_ptr()) };
    for (sum, lane) in sums[half * LANES..].iter_mut().zip(lanes) {
        *sum += f64::from(lane);
    }
}

/// What one application reads and writes besides its input; all of the input's layout.
#[derive(Debug)]
pub struct Apply<'a> {
    /// Per channel.
    pub affine: Affine<'a>,
    /// Added next.
    pub add: Option<&'a [u16]>,
    /// Then.
    pub relu: Relu,
    /// One word a cell: which results are above zero.
    pub mask: Option<&'a mut [u32]>,
}

/// `output = relu(affine(input) (+ add))` for `images`; borders are left alone.
pub fn apply(
    isa: Isa,
    layout: &CellLayout,
    images: Range<usize>,
    input: &[u16],
    mut job: Apply<'_>,
    output: &mut [u16],
) {
    let Affine { centre, factor, shift } = job.affine;
    for (block, plane) in planes(layout, images) {
        plane.check(input.len());
        plane.check(output.len());
        plane.check(job.add.map_or(usize::MAX, <[u16]>::len));
        plane.check(job.mask.as_ref().map_or(usize::MAX, |mask| mask.len() * CELL));
        let own = [centre, factor, shift].map(|values| block_of(values, block));
        let (halves, mask) = (halves(layout, block), job.mask.as_deref_mut());
        apply_plane(isa, input, &own, job.add, job.relu, mask, halves, output, &[plane; 4]);
    }
}

per_isa! {
    /// `planes` are those of input, addend, mask and output.
    pub(super) fn apply_plane(input: &[u16], affine: &[[f32; CELL]; 3], add: Option<&[u16]>, relu: Relu,
                   mask: Option<&mut [u32]>, halves: usize, output: &mut [u16], planes: &[Plane; 4]) {
        let mask = mask.map(|mask| mask.as_mut_ptr());
        let add = add.map(|add| add.as_ptr());
        // SAFETY: the body runs only where `V` does; each plane was checked against its array.
        unsafe {
            let load = [V::load(affine[0].as_ptr()), V::load(affine[0].as_ptr().add(LANES))];
            let centre = load;
            let factor = [V::load(affine[1].as_ptr()), V::load(affine[1].as_ptr().add(LANES))];
            let shift = [V::load(affine[2].as_ptr()), V::load(affine[2].as_ptr().add(LANES))];
            // Even columns, then odd ones: each run has one distance.
            for (row, parity) in (0..planes[0].rows).flat_map(|row| [(row, 0), (row, 1)]) {
                let mut cells = planes.map(|plane| plane.row(row) + parity * plane.odd);
                for _ in 0..planes[0].columns(parity) {
                    let to = output.as_mut_ptr().add(cells[3] * CELL);
                    let mut bits = 0;
                    if halves == 1 {
                        V::zero().store_half(to.add(LANES));
                    }
                    for half in 0..halves {
                        let x = V::load_half(input.as_ptr().add(cells[0] * CELL + half * LANES));
                        let mut value = shift[half].multiply_add(x.subtract(centre[half]), factor[half]);
                        if let Some(add) = add {
                            value = value.add(V::load_half(add.add(cells[1] * CELL + half * LANES)));
                        }
                        if relu == Relu::Yes {
                            value = value.relu();
                        }
                        bits |= u32::from(value.positive()) << (half * LANES);
                        value.store_half(to.add(half * LANES));
                    }
                    if let Some(mask) = mask {
                        *mask.add(cells[2]) = bits;
                    }
                    cells.iter_mut().zip(planes).for_each(|(cell, plane)| *cell += plane.pair);
                }
            }
        }
    }
}

/// `sum(dy)` and `sum(dy * xhat)` of every channel of one image, as [`crate::norm::backward_sums`].
///
/// Shapes: all per-channel arrays `[channels in memory]`; both sums are overwritten.
pub fn backward_sums(
    isa: Isa,
    input: ImageCells<&[u16]>,
    output_gradient: ImageCells<&[u16]>,
    mean: &[f64],
    inverse_deviation: &[f64],
    gradient_sums: &mut [f64],
    product_sums: &mut [f64],
) {
    let layout = &input.layout;
    output_gradient.assert_shape(layout);
    for block in 0..layout.blocks() {
        let planes = [
            input.plane(block, input.values.len()),
            output_gradient.plane(block, output_gradient.values.len()),
        ];
        let own = block * CELL..mean.len().min((block + 1) * CELL);
        let mut centre = [0.0; CELL];
        for (centre, &mean) in centre.iter_mut().zip(&mean[own.clone()]) {
            *centre = mean as f32;
        }
        let (mut gradient, mut product) = ([0.0; CELL], [0.0; CELL]);
        let halves = halves(layout, block);
        let (x, dy) = (input.values, output_gradient.values);
        products(isa, x, dy, &centre, halves, &planes, &mut gradient, &mut product);
        for (channel, at) in own.enumerate() {
            // The mean was rounded to f32: the rest of it is subtracted here.
            let rest = mean[at] - f64::from(centre[channel]);
            gradient_sums[at] = gradient[channel];
            product_sums[at] =
                (product[channel] - rest * gradient[channel]) * inverse_deviation[at];
        }
    }
}

per_isa! {
    /// `planes` are those of input and gradient.
    fn products(input: &[u16], output_gradient: &[u16], centre: &[f32; CELL], halves: usize,
                planes: &[Plane; 2], gradients: &mut [f64; CELL], products: &mut [f64; CELL]) {
        let [x_plane, dy_plane] = planes;
        for half in 0..halves {
            // SAFETY: the body runs only where `V` does; each plane was checked against its array.
            unsafe {
                let centre = V::load(centre.as_ptr().add(half * LANES));
                let (mut first, mut second) = (V::zero(), V::zero());
                let mut run = 0;
                for row in 0..x_plane.rows {
                    let (x_start, dy_start) = (x_plane.row(row), dy_plane.row(row));
                    for column in 0..x_plane.count {
                        let x = (x_start + x_plane.column(column)) * CELL + half * LANES;
                        let dy = (dy_start + dy_plane.column(column)) * CELL + half * LANES;
                        let x = V::load_half(input.as_ptr().add(x)).subtract(centre);
                        let dy = V::load_half(output_gradient.as_ptr().add(dy));
                        first = first.add(dy);
                        second = second.multiply_add(x, dy);
                        run += 1;
                        if run == RUN {
                            flush(first, gradients, half);
                            flush(second, products, half);
                            (first, second, run) = (V::zero(), V::zero(), 0);
                        }
                    }
                }
                flush(first, gradients, half);
                flush(second, products, half);
            }
        }
    }
}

/// `input_gradient = gradient_factor * dy + input_factor * (x - mean) + shift` for `images`; borders are left alone.
#[allow(clippy::too_many_arguments)]
pub fn backward_apply(
    isa: Isa,
    layout: &CellLayout,
    images: Range<usize>,
    coefficients: &BackwardCoefficients,
    input: &[u16],
    output_gradient: &[u16],
    input_gradient: &mut [u16],
) {
    let BackwardCoefficients { gradient_factor, input_factor, mean, shift } = coefficients;
    for (block, plane) in planes(layout, images) {
        plane.check(input.len());
        plane.check(output_gradient.len());
        plane.check(input_gradient.len());
        let own =
            [gradient_factor, input_factor, mean, shift].map(|values| block_of(values, block));
        let halves = halves(layout, block);
        let (x, dy, adds) = (input, output_gradient, Adds::Nothing);
        backward_plane(isa, x, dy, &own, halves, adds, None, input_gradient, &[plane; 4]);
    }
}

per_isa! {
    /// `planes` are those of input, gradient, mask and result.
    pub(super) fn backward_plane(input: &[u16], output_gradient: &[u16], coefficients: &[[f32; CELL]; 4], halves: usize,
                      adds: Adds, keeps: Option<&[u32]>, input_gradient: &mut [u16], planes: &[Plane; 4]) {
        for (row, parity) in (0..planes[0].rows).flat_map(|row| [(row, 0), (row, 1)]) {
            let mut cells = planes.map(|plane| plane.row(row) + parity * plane.odd);
            for _ in 0..planes[0].columns(parity) {
                // SAFETY: the body runs only where `V` does; each plane was checked against its array.
                unsafe {
                    let to = input_gradient.as_mut_ptr().add(cells[3] * CELL);
                    let bits = keeps.map_or(u32::MAX, |words| *words.as_ptr().add(cells[2]));
                    if halves == 1 {
                        V::zero().store_half(to.add(LANES));
                    }
                    for half in 0..halves {
                        let numbers = |values: &[u16], operand: usize| {
                            V::load_half(values.as_ptr().add(cells[operand] * CELL + half * LANES))
                        };
                        let channels = |of: usize| V::load(coefficients[of].as_ptr().add(half * LANES));
                        let mut dx = channels(3)
                            .multiply_add(numbers(input, 0).subtract(channels(2)), channels(1))
                            .multiply_add(numbers(output_gradient, 1), channels(0));
                        let to = to.add(half * LANES);
                        if adds == Adds::ToWhatIsThere {
                            dx = dx.add(V::load_half(to));
                        }
                        dx.keep((bits >> (half * LANES)) as u16).store_half(to);
                    }
                }
                cells.iter_mut().zip(planes).for_each(|(cell, plane)| *cell += plane.pair);
            }
        }
    }
}
