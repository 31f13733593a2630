//! A cache line of pairs: what a row of a tile is.

use crate::LANES;

/// Sixteen pairs of bf16, the first of a pair in the lower half: one row of a tile, one cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line(pub [u32; LANES]);

impl Line {
    pub const ZERO: Self = Self([0; LANES]);
}

/// At least `length` lines, not cleared.
pub(crate) fn lines(storage: &mut Vec<Line>, length: usize) -> &mut [Line] {
    if storage.len() < length {
        storage.resize(length, Line::ZERO);
    }
    &mut storage[..length]
}
