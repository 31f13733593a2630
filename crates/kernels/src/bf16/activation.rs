//! Smooth activations over cells: row by row through f32, where [`crate::activation`] computes them.

use super::plane::{ImageCells, Plane};
use crate::activation::{self, Function};
use crate::half::CELL;
use crate::{Isa, LANES};

/// What was or is activated: one image of a value, or of the sum of two.
#[derive(Clone, Copy, Debug)]
pub struct Summands<'a> {
    /// The first.
    pub input: ImageCells<&'a [u16]>,
    /// The second.
    pub add: Option<ImageCells<&'a [u16]>>,
}

impl Summands<'_> {
    /// Their planes of a block of channels; without a second summand the first one's twice.
    fn planes(&self, block: usize) -> [Plane; 2] {
        let first = self.input.plane(block, self.input.values.len());
        let second = self.add.map_or(first, |add| add.plane(block, add.values.len()));
        [first, second]
    }

    /// Channels of a block in use, and the numbers of a pixel's row in f32 that hold them.
    fn channels(&self, block: usize) -> (usize, usize) {
        let channels = (self.input.layout.channels - block * CELL).min(CELL);
        (channels, channels.next_multiple_of(LANES))
    }

    fn assert_shape<T>(&self, other: &ImageCells<T>) {
        other.assert_shape(&self.input.layout);
        self.add.iter().for_each(|add| add.assert_shape(&self.input.layout));
    }

    /// One row of the sum.
    fn load(&self, isa: Isa, planes: &[Plane; 2], row: usize, sums: &mut [f32]) {
        load_row(isa, self.input.values, self.add.map(|add| add.values), planes, row, sums);
    }
}

/// Rows in f32, kept from call to call.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    before: Vec<f32>,
    gradient: Vec<f32>,
    after: Vec<f32>,
}

impl Rows {
    fn resize(&mut self, length: usize) {
        for row in [&mut self.before, &mut self.gradient, &mut self.after] {
            row.resize(length, 0.0);
        }
    }
}

/// `output = function(input (+ add))` of one image; borders are left alone.
pub fn forward(
    isa: Isa,
    function: Function,
    summands: Summands<'_>,
    output: ImageCells<&mut [u16]>,
    rows: &mut Rows,
) {
    summands.assert_shape(&output);
    for block in 0..output.layout.blocks() {
        let planes = summands.planes(block);
        let to = output.plane(block, output.values.len());
        let (channels, stride) = summands.channels(block);
        rows.resize(to.count * stride);
        for row in 0..to.rows {
            summands.load(isa, &planes, row, &mut rows.before);
            activation::forward(isa, function, channels, stride, &rows.before, &mut rows.after);
            store_row(isa, &rows.after, &to, row, output.values);
        }
    }
}

/// `gradient *= function'(input (+ add))` of one image; borders are left alone.
pub fn backward(
    isa: Isa,
    function: Function,
    summands: Summands<'_>,
    gradient: ImageCells<&mut [u16]>,
    rows: &mut Rows,
) {
    summands.assert_shape(&gradient);
    for block in 0..gradient.layout.blocks() {
        let planes = summands.planes(block);
        let own = gradient.plane(block, gradient.values.len());
        rows.resize(own.count * summands.channels(block).1);
        for row in 0..own.rows {
            summands.load(isa, &planes, row, &mut rows.before);
            load_row(isa, gradient.values, None, &[own; 2], row, &mut rows.gradient);
            activation::backward(isa, function, &rows.before, &rows.gradient, &mut rows.after);
            store_row(isa, &rows.after, &own, row, gradient.values);
        }
    }
}

per_isa! {
    /// The cells of one row, or of the sum of two, in f32, one or both halves; `planes` were checked against `values` and `add`.
    fn load_row(values: &[u16], add: Option<&[u16]>, planes: &[Plane; 2], row: usize, sums: &mut [f32]) {
        let count = planes[0].count;
        let halves = sums.len() / LANES / count;
        assert!(sums.len() == count * halves * LANES && halves * LANES <= CELL, "a row");
        for column in 0..count {
            let [first, second] = planes.map(|plane| (plane.row(row) + plane.column(column)) * CELL);
            for half in (0..halves).map(|half| half * LANES) {
                // SAFETY: the body runs only where `V` does; the planes were checked, a row holds all columns.
                unsafe {
                    let mut sum = V::load_half(values.as_ptr().add(first + half));
                    if let Some(add) = add {
                        sum = sum.add(V::load_half(add.as_ptr().add(second + half)));
                    }
                    sum.store(sums.as_mut_ptr().add(column * halves * LANES + half));
                }
            }
        }
    }
}

per_isa! {
    /// Rounds one row into its cells, zeros beyond; `plane` was checked against `values`.
    fn store_row(from: &[f32], plane: &Plane, row: usize, values: &mut [u16]) {
        let halves = from.len() / LANES / plane.count;
        assert!(from.len() == plane.count * halves * LANES && halves * LANES <= CELL, "a row");
        for column in 0..plane.count {
            let cell = (plane.row(row) + plane.column(column)) * CELL;
            for half in 0..CELL / LANES {
                // SAFETY: the body runs only where `V` does; the plane was checked, a row holds all columns.
                unsafe {
                    let mut x = V::zero();
                    if half < halves {
                        x = V::load(from.as_ptr().add((column * halves + half) * LANES));
                    }
                    x.store_half(values.as_mut_ptr().add(cell + half * LANES));
                }
            }
        }
    }
}
