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
pub(crate) enum Reads {
    /// The source as it lies.
    Source(Source),
    /// Its cells, transformed.
    Patches(PatchLayout),
}

impl Reads {
    /// Images of one group.
    pub fn images(&self) -> usize {
        match self {
            Self::Source(source) => source.images(),
            Self::Patches(layout) => layout.cells.images,
        }
    }

    /// Numbers of one group.
    pub fn group(&self) -> usize {
        match self {
            Self::Source(source) => source.group(),
            Self::Patches(layout) => layout.group(),
        }
    }

    /// How they are multiplied.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Source(_) => Algorithm::Direct,
            Self::Patches(_) => Algorithm::Filtered,
        }
    }

    /// Rows of inputs that one step multiplies, and the steps of [`super::PackedHalf`] that it takes.
    pub fn products(&self) -> (usize, usize) {
        match self {
            Self::Source(_) => (TILE, 1),
            // Each of the two tiles that are computed together has half of what both multiply.
            Self::Patches(_) => (PATCHES * ROWS * COLUMNS / DOWN, ROWS * COLUMNS),
        }
    }
}
