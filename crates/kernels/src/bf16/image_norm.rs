//! Normalisation of one image between values of different layouts, where [`super::norm`] takes many images of one.

use super::norm::{apply_plane, backward_plane, block_of, halves};
use super::plane::ImageCells;
use crate::half::{Adds, CELL};
use crate::norm::{Affine, BackwardCoefficients};
use crate::{Isa, Relu};

/// What one image's application reads and writes.
#[derive(Debug)]
pub struct Apply<'a> {
    /// Normalised.
    pub input: ImageCells<&'a [u16]>,
    /// Per channel.
    pub affine: Affine<'a>,
    /// Added next.
    pub add: Option<ImageCells<&'a [u16]>>,
    /// Then.
    pub relu: Relu,
    /// One word a cell: which results are above zero.
    pub mask: Option<ImageCells<&'a mut [u32]>>,
    /// Receives the results; borders are left alone.
    pub output: ImageCells<&'a mut [u16]>,
}

/// As [`super::norm::apply`], of one image between values of different layouts.
pub fn apply(isa: Isa, mut job: Apply<'_>) {
    let layout = &job.input.layout;
    job.output.assert_shape(layout);
    job.add.iter().for_each(|add| add.assert_shape(layout));
    job.mask.iter().for_each(|mask| mask.assert_shape(layout));
    let Affine { centre, factor, shift } = job.affine;
    for block in 0..layout.blocks() {
        let input = job.input.plane(block, job.input.values.len());
        let output = job.output.plane(block, job.output.values.len());
        let add = job.add.as_ref().map_or(input, |add| add.plane(block, add.values.len()));
        let mask = job.mask.as_ref();
        let mask = mask.map_or(input, |mask| mask.plane(block, mask.values.len() * CELL));
        apply_plane(
            isa,
            job.input.values,
            &[centre, factor, shift].map(|values| block_of(values, block)),
            job.add.as_ref().map(|add| add.values),
            job.relu,
            job.mask.as_mut().map(|mask| &mut *mask.values),
            halves(layout, block),
            job.output.values,
            &[input, add, mask, output],
        );
    }
}

/// What one image's way back reads and writes.
#[derive(Debug)]
pub struct Backward<'a> {
    /// What was normalised.
    pub input: ImageCells<&'a [u16]>,
    /// By the normalised, after its ReLU's mask.
    pub output_gradient: ImageCells<&'a [u16]>,
    /// What the result is added to.
    pub adds: Adds,
    /// One word a cell: results, with what they were added to, whose bit is not set become zero.
    pub keeps: Option<ImageCells<&'a [u32]>>,
    /// Receives the results; borders are left alone.
    pub input_gradient: ImageCells<&'a mut [u16]>,
}

/// As [`super::norm::backward_apply`], of one image between values of different layouts.
pub fn backward(isa: Isa, coefficients: &BackwardCoefficients, job: Backward<'_>) {
    let Backward { input, output_gradient, adds, keeps, input_gradient } = job;
    let BackwardCoefficients { gradient_factor, input_factor, mean, shift } = coefficients;
    let layout = &input.layout;
    output_gradient.assert_shape(layout);
    input_gradient.assert_shape(layout);
    keeps.iter().for_each(|keeps| keeps.assert_shape(layout));
    for block in 0..layout.blocks() {
        let x = input.plane(block, input.values.len());
        let dy = output_gradient.plane(block, output_gradient.values.len());
        let dx = input_gradient.plane(block, input_gradient.values.len());
        let bits = keeps.map_or(x, |keeps| keeps.plane(block, keeps.values.len() * CELL));
        let own =
            [gradient_factor, input_factor, mean, shift].map(|values| block_of(values, block));
        backward_plane(
            isa,
            input.values,
            output_gradient.values,
            &own,
            halves(layout, block),
            adds,
            keeps.map(|keeps| keeps.values),
            input_gradient.values,
            &[x, dy, bits, dx],
        );
    }
}
