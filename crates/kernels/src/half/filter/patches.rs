//! Where transformed inputs lie, and how they get there.

use super::{POSITIONS, RESULTS, STRIPS, transform};
use crate::half::{CELL, CellLayout, TILE};
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};
use crate::vector::{Portable, Vector};
use crate::{Isa, LANES};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Transformed cells: `[group of images][channels / 32][row][strip of the row][image of the group][position]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PatchLayout {
    /// What is transformed.
    pub cells: CellLayout,
    /// Results of a row.
    pub width: usize,
    /// The first column that the first strip reads: -1 where windows are centred.
    pub first: isize,
}

impl PatchLayout {
    /// Strips of one row of all interleaved images.
    pub fn strips(&self) -> usize {
        self.width.div_ceil(RESULTS) * self.cells.images
    }

    /// Numbers from one row to the next.
    pub fn row(&self) -> usize {
        self.strips() * POSITIONS * CELL
    }

    /// Numbers from one block of channels to the next.
    pub fn plane(&self) -> usize {
        self.cells.height * self.row()
    }

    /// Numbers of one group of images.
    pub fn group(&self) -> usize {
        self.cells.blocks() * self.plane()
    }

    /// The number at which a tile of a row begins.
    pub fn tile(&self, row: usize, tile: usize) -> usize {
        row * self.row() + tile * STRIPS * POSITIONS * CELL
    }

    /// Column and image of a tile's results, strip by strip; they may lie beyond the grid.
    pub fn pixels(&self, tile: usize) -> [(usize, usize); TILE] {
        std::array::from_fn(|result| {
            let strip = tile * STRIPS + result / RESULTS;
            let column = strip / self.cells.images * RESULTS + result % RESULTS;
            (column, strip % self.cells.images)
        })
    }

    /// Numbers of a buffer for `groups` groups: the last tile of the last row may have fewer strips than it reads.
    pub fn len(&self, groups: usize) -> usize {
        groups * self.group() + (STRIPS - 1) * POSITIONS * CELL
    }
}

/// Transforms the groups that begin with `source`.
pub(crate) fn fill(isa: Isa, layout: &PatchLayout, source: &[u16], patches: &mut [u16]) {
    assert!(isa.is_available(), "{isa} kernels on a processor without them");
    let groups = patches.len() / layout.group();
    let numbers = groups * layout.cells.group_cells() * CELL;
    let (source, patches) = (&source[..numbers], &mut patches[..groups * layout.group()]);
    // SAFETY: the processor has the instructions.
    unsafe {
        match isa {
            Isa::Portable => rows(layout, source, patches, plain::<Portable>),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => rows(layout, source, patches, avx2),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => rows(layout, source, patches, avx512),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 | Isa::Amx => rows(layout, source, patches, avx512_bf16),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }
}

/// Six neighbouring cells and the strip that they become, `[position][channel]`.
type Strip = unsafe fn(from: [&[u16; CELL]; POSITIONS], to: &mut [u16; POSITIONS * CELL]);

#[inline(always)]
unsafe fn rows(layout: &PatchLayout, source: &[u16], patches: &mut [u16], strip: Strip) {
    let PatchLayout { cells, first, .. } = *layout;
    let from = source.chunks_exact(cells.row_cells() * CELL);
    for (from, to) in from.zip(patches.chunks_exact_mut(layout.row())) {
        let mut strips = to.chunks_exact_mut(POSITIONS * CELL);
        for start in (0..layout.width).step_by(RESULTS) {
            let columns: [isize; POSITIONS] =
                std::array::from_fn(|position| (start + position) as isize + first);
            for image in 0..cells.images {
                let six = columns.map(|column| {
                    if column < 0 || column >= cells.width as isize {
                        return &[0; CELL];
                    }
                    let at = cells.cell(0, column, image) * CELL;
                    from[at..at + CELL].try_into().expect("a cell")
                });
                let to = strips.next().expect("a strip for every four results");
                // SAFETY: by the caller's promise.
                unsafe { strip(six, to.try_into().expect("a strip")) };
            }
        }
    }
}

/// # Safety
/// The processor must have the instructions of `V`.
#[inline(always)]
unsafe fn plain<V: Vector>(from: [&[u16; CELL]; POSITIONS], to: &mut [u16; POSITIONS * CELL]) {
    for lane in (0..CELL).step_by(LANES) {
        // SAFETY: by the caller's promise; a cell has 32 numbers.
        unsafe {
            let mut d = [V::zero(); POSITIONS];
            for (d, cell) in d.iter_mut().zip(from) {
                *d = V::load_half(cell[lane..].as_ptr());
            }
            for (value, to) in transform(d).into_iter().zip(to.chunks_exact_mut(CELL)) {
                value.store_half(to[lane..].as_mut_ptr());
            }
        }
    }
}

/// # Safety
/// The processor must have these instructions.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(from: [&[u16; CELL]; POSITIONS], to: &mut [u16; POSITIONS * CELL]) {
    // SAFETY: by the caller's promise.
    unsafe { plain::<Avx2>(from, to) }
}

/// # Safety
/// The processor must have these instructions.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(from: [&[u16; CELL]; POSITIONS], to: &mut [u16; POSITIONS * CELL]) {
    // SAFETY: by the caller's promise.
    unsafe { plain::<Avx512>(from, to) }
}

/// Both halves are rounded by one instruction.
///
/// # Safety
/// The processor must have these instructions.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn avx512_bf16(from: [&[u16; CELL]; POSITIONS], to: &mut [u16; POSITIONS * CELL]) {
    // SAFETY: by the caller's promise; a cell has 32 numbers.
    unsafe {
        let (mut low, mut high) = ([Avx512::zero(); POSITIONS], [Avx512::zero(); POSITIONS]);
        for (position, cell) in from.into_iter().enumerate() {
            low[position] = Avx512::load_half(cell.as_ptr());
            high[position] = Avx512::load_half(cell[LANES..].as_ptr());
        }
        let values = transform(low).into_iter().zip(transform(high));
        for ((low, high), to) in values.zip(to.chunks_exact_mut(CELL)) {
            let packed = _mm512_cvtne2ps_pbh(high.0, low.0);
            let packed = std::mem::transmute::<__m512bh, __m512i>(packed);
            _mm512_storeu_si512(to.as_mut_ptr().cast(), packed);
        }
    }
}
