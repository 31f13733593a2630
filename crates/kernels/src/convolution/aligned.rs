//! Memory that begins on a cache line, so that no vector of sixteen lies across two.

use crate::LANES;
use std::ops::{Deref, DerefMut};

/// One cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

/// A multiple of sixteen numbers; as a slice it is plain `f32`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lines(Vec<Line>);

impl Lines {
    /// `length` zeros; `length` must be a multiple of sixteen.
    pub fn zeros(length: usize) -> Self {
        assert_eq!(length % LANES, 0, "whole lines");
        Self(vec![Line([0.0; LANES]); length / LANES])
    }

    /// Makes room for `length` numbers; what was there is kept, what is new is zero.
    pub fn reserve(&mut self, length: usize) {
        let lines = length.div_ceil(LANES);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0.0; LANES]));
        }
    }
}

impl Deref for Lines {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a line is sixteen f32 without padding between or inside, and stricter aligned than one.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * LANES) }
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as for `deref`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * LANES) }
    }
}
