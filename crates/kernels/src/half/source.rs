//! What passes read: values as they lie, or transformed.

use super::filter::{COLUMNS, DOWN, PATCHES, PatchLayout, ROWS};
use super::pack::fits_strip;
use super::{Algorithm, CELL, CellLayout, StripLayout, TILE};
use crate::ConvolutionShape;

/// What a pass reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Cells of 32 channels.
    Cells(CellLayout),
    /// Pixels of few channels side by side.
    Strip(StripLayout),
}

impl Source {
    /// Images of one group.
    pub fn images(&self) -> usize {
        match self {
            Self::Cells(layout) => layout.images,
            Self::Strip(_) => 1,
        }
    }

    /// Numbers of one group.
    pub fn group(&self) -> usize {
        match self {
            Self::Cells(layout) => layout.group_cells() * CELL,
            Self::Strip(layout) => layout.image(),
        }
    }

    /// Whether a convolution of this shape may read a strip.
    pub fn strip_suits(shape: &ConvolutionShape) -> bool {
        fits_strip(shape)
    }
}

/// What the products of a pass read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inputs {
    AsTheyLie(Source),
    Transformed(PatchLayout),
}

impl Inputs {
    /// Images of one group.
    pub fn images(&self) -> usize {
        match self {
            Self::AsTheyLie(source) => source.images(),
            Self::Transformed(layout) => layout.cells.images,
        }
    }

    /// Numbers of one group.
    pub fn group(&self) -> usize {
        match self {
            Self::AsTheyLie(source) => source.group(),
            Self::Transformed(layout) => layout.group(),
        }
    }

    /// How they are multiplied.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::AsTheyLie(_) => Algorithm::Direct,
            Self::Transformed(_) => Algorithm::Filtered,
        }
    }

    /// Rows of 32 inputs that one step of a tile multiplies.
    pub fn rows_of_a_step(&self) -> usize {
        match self {
            Self::AsTheyLie(_) => TILE,
            // Two tiles share what a step multiplies.
            Self::Transformed(_) => PATCHES * ROWS * COLUMNS / DOWN,
        }
    }

    /// Steps of [`super::PackedHalf`] that one step of a tile takes.
    pub fn weights_of_a_step(&self) -> usize {
        match self {
            Self::AsTheyLie(_) => 1,
            Self::Transformed(_) => ROWS * COLUMNS,
        }
    }
}
