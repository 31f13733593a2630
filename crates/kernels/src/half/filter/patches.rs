//! Transforms inputs.

use super::{ACROSS, COLUMNS, DOWN, PatchLayout, ROWS, transform_column};
use crate::filtering::inputs_of_four;
use crate::half::CELL;
use crate::lines::Lines;
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};
use crate::vector::{Portable, Vector};
use crate::{Isa, LANES};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Transformed cells, and what is needed on the way.
#[derive(Debug, Default)]
pub(crate) struct Patches {
    /// The rows of the input that a row of patches reads, with zeros where there are none.
    rows: Lines<u16>,
    /// As a [`PatchLayout`] says.
    pub transformed: Lines<u16>,
}

/// Transforms the groups of images that `source` is.
pub(crate) fn fill(isa: Isa, layout: &PatchLayout, source: &[u16], patches: &mut Patches) {
    assert!(isa.is_available(), "{isa} kernels on a processor without them");
    let groups = source.len() / (layout.cells.group_cells() * CELL);
    patches.transformed.reserve(layout.len(groups));
    patches.rows.reserve(ROWS * layout.padded_row());
    let halves = layout.cells.channels.div_ceil(LANES).min(CELL / LANES);
    // SAFETY: the processor has the instructions.
    unsafe {
        match isa {
            Isa::Portable => each(layout, source, patches, halves, plain::<Portable>),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => each(layout, source, patches, halves, avx2),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => each(layout, source, patches, halves, avx512),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 | Isa::Amx if halves == 1 => {
                each(layout, source, patches, halves, avx512_bf16::<1>);
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 | Isa::Amx => each(layout, source, patches, halves, avx512_bf16::<2>),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }
}

/// One patch: cells of the input, and where they go.
struct Patch<'a> {
    from: &'a [u16],
    /// Numbers from one row of the input to the next, and from one column to the next.
    between: (usize, usize),
    to: &'a mut [u16],
    /// Numbers from one row of the patch to the next.
    row: usize,
    /// Halves of the cells that hold channels; nothing reads what lies beyond.
    halves: usize,
}

/// Row by row of patches: what they read is copied with zeros around it, so that none has a border.
///
/// # Safety
/// The processor must have the instructions of `transform`.
#[inline(always)]
unsafe fn each(
    layout: &PatchLayout,
    source: &[u16],
    patches: &mut Patches,
    halves: usize,
    transform: unsafe fn(Patch<'_>),
) {
    let PatchLayout { cells, first, .. } = *layout;
    let (right, length) = (cells.images * CELL, layout.padded_row());
    let before = -first.1 as usize * right;
    let end = (before + cells.width * right).min(length);
    let Patches { rows, transformed } = patches;
    let (rows, groups) = (&mut rows[..ROWS * length], source.len() / (cells.group_cells() * CELL));
    let transformed = &mut transformed[..groups * layout.group()];
    let planes = source.chunks_exact(cells.plane_cells() * CELL);
    for (plane, to) in planes.zip(transformed.chunks_exact_mut(layout.plane())) {
        for (pair, to) in to.chunks_exact_mut(ROWS * layout.row()).enumerate() {
            for (row, padded) in rows.chunks_exact_mut(length).enumerate() {
                let row = (DOWN * pair + row) as isize + first.0;
                if (0..cells.height as isize).contains(&row) {
                    padded[..before].fill(0);
                    padded[end..].fill(0);
                    let at = row as usize * cells.row_cells() + cells.cell(0, 0, 0);
                    padded[before..end].copy_from_slice(&plane[at * CELL..][..end - before]);
                } else {
                    padded.fill(0);
                }
            }
            for patch in 0..layout.patches() {
                let (column, image) = (patch / cells.images * ACROSS, patch % cells.images);
                let from = &rows[column * right + image * CELL..];
                let to = &mut to[patch * COLUMNS * CELL..];
                let between = (length, right);
                // SAFETY: by the caller's promise.
                unsafe { transform(Patch { from, between, to, row: layout.row(), halves }) };
            }
        }
    }
}

/// Sixteen channels from `lane` on, transformed from row to row.
///
/// # Safety
/// The processor must have the instructions of `V`.
#[inline(always)]
unsafe fn columns<V: Vector>(patch: &Patch<'_>, lane: usize) -> [[V; COLUMNS]; ROWS] {
    let (down, right) = patch.between;
    assert!(
        (ROWS - 1) * down + (COLUMNS - 1) * right + CELL <= patch.from.len(),
        "cells of a patch"
    );
    // SAFETY: by the caller's promise; the last number of the last cell is there.
    unsafe {
        let mut rows = [[V::zero(); COLUMNS]; ROWS];
        for column in 0..COLUMNS {
            let mut own = [V::zero(); ROWS];
            for (row, d) in own.iter_mut().enumerate() {
                *d = V::load_half(patch.from.as_ptr().add(row * down + column * right + lane));
            }
            for (row, value) in rows.iter_mut().zip(transform_column(own)) {
                row[column] = value;
            }
        }
        rows
    }
}

/// # Safety
/// The processor must have the instructions of `V`.
#[inline(always)]
unsafe fn plain<V: Vector>(patch: Patch<'_>) {
    for half in 0..patch.halves {
        // SAFETY: by the caller's promise; sixteen numbers of a cell are written.
        unsafe {
            let rows = columns::<V>(&patch, half * LANES);
            for (values, to) in rows.into_iter().zip(patch.to.chunks_mut(patch.row)) {
                for (value, to) in inputs_of_four(values).into_iter().zip(to.chunks_exact_mut(CELL))
                {
                    value.store_half(to[half * LANES..][..LANES].as_mut_ptr());
                }
            }
        }
    }
}

/// # Safety
/// The processor must have these instructions.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(patch: Patch<'_>) {
    // SAFETY: by the caller's promise.
    unsafe { plain::<Avx2>(patch) }
}

/// # Safety
/// The processor must have these instructions.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(patch: Patch<'_>) {
    // SAFETY: by the caller's promise.
    unsafe { plain::<Avx512>(patch) }
}

/// Both halves of a cell are rounded by one instruction.
///
/// # Safety
/// The processor must have these instructions.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn avx512_bf16<const HALVES: usize>(patch: Patch<'_>) {
    // SAFETY: by the caller's promise; a cell has 32 numbers.
    unsafe {
        let low = columns::<Avx512>(&patch, 0);
        let high = match HALVES {
            1 => [[Avx512::zero(); COLUMNS]; ROWS],
            _ => columns::<Avx512>(&patch, LANES),
        };
        for ((low, high), to) in low.into_iter().zip(high).zip(patch.to.chunks_mut(patch.row)) {
            let values = inputs_of_four(low).into_iter().zip(inputs_of_four(high));
            for ((low, high), to) in values.zip(to.chunks_exact_mut(CELL)) {
                let packed = _mm512_cvtne2ps_pbh(high.0, low.0);
                let packed = std::mem::transmute::<__m512bh, __m512i>(packed);
                _mm512_storeu_si512(to.as_mut_ptr().cast(), packed);
            }
        }
    }
}
