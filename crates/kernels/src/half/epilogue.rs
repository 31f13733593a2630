//! Between the sums and memory: addend, activation, mask, rounding.

use super::block::Sums;
use super::{CELL, TILE, from_f32, to_f32};
use crate::{Isa, LANES, Relu};

/// What happens to results before they are rounded and written.
#[derive(Debug)]
pub enum Epilogue<'a> {
    /// Forward.
    Activate {
        /// ReLU or nothing.
        relu: Relu,
        /// Receives a bit for each channel of each cell, set where the result is above zero; with [`Relu::Yes`].
        mask: Option<&'a mut [u32]>,
    },
    /// Backward: results whose bit is not set become zero.
    Keep {
        /// Bits as the forward wrote them.
        mask: Option<&'a [u32]>,
    },
}

/// The rows of one tile for one cell of 32 channels, as pointers to row 0 and distances in cells.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub valid: u16,
    /// Whether the second panel was computed; its channels are zero otherwise.
    pub panels: usize,
    pub target: *mut u16,
    pub target_rows: &'a [u32; TILE],
    pub add: *const u16,
    pub add_rows: &'a [u32; TILE],
    pub mask: *mut u32,
    pub mask_rows: &'a [u32; TILE],
}

/// What is done; a constant of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub add: bool,
    pub mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    Relu,
    ReluMask,
    Keep,
}

impl Kind {
    pub fn new(add: bool, epilogue: &Epilogue<'_>) -> Self {
        let mode = match epilogue {
            Epilogue::Activate { relu: Relu::No, mask: None } => Mode::Plain,
            Epilogue::Activate { relu: Relu::Yes, mask: None } => Mode::Relu,
            Epilogue::Activate { relu: Relu::Yes, mask: Some(_) } => Mode::ReluMask,
            Epilogue::Activate { relu: Relu::No, mask: Some(_) } => {
                panic!("a mask is what a ReLU leaves")
            }
            Epilogue::Keep { mask: None } => Mode::Plain,
            Epilogue::Keep { mask: Some(_) } => Mode::Keep,
        };
        Self { add, mode }
    }
}

/// Writes tile `tile` of `sums`.
///
/// # Safety
/// Every valid row must be writable at the target and readable at what `kind` uses; the processor must have `isa`.
pub(crate) unsafe fn write(isa: Isa, kind: Kind, sums: &Sums, tile: usize, rows: &Rows<'_>) {
    let sums = &sums.0[2 * tile * TILE * LANES..][..2 * TILE * LANES];
    // SAFETY: by the caller's promise.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 | Isa::Amx => match (kind.add, kind.mode) {
                (false, Mode::Plain) => fast::rows::<false, 0>(sums, rows),
                (false, Mode::Relu) => fast::rows::<false, 1>(sums, rows),
                (false, Mode::ReluMask) => fast::rows::<false, 2>(sums, rows),
                (false, Mode::Keep) => fast::rows::<false, 3>(sums, rows),
                (true, Mode::Plain) => fast::rows::<true, 0>(sums, rows),
                (true, Mode::Relu) => fast::rows::<true, 1>(sums, rows),
                (true, Mode::ReluMask) => fast::rows::<true, 2>(sums, rows),
                (true, Mode::Keep) => fast::rows::<true, 3>(sums, rows),
            },
            _ => portable(kind, sums, rows),
        }
    }
}

/// # Safety
/// As [`write`].
unsafe fn portable(kind: Kind, sums: &[f32], rows: &Rows<'_>) {
    for row in (0..TILE).filter(|row| rows.valid >> row & 1 == 1) {
        // SAFETY: by the caller's promise.
        unsafe {
            let target = rows.target.add(rows.target_rows[row] as usize * CELL);
            let add = rows.add.wrapping_add(rows.add_rows[row] as usize * CELL);
            let mask = rows.mask.wrapping_add(rows.mask_rows[row] as usize);
            let mut bits = 0;
            for channel in 0..CELL {
                let panel = channel / LANES;
                let mut x = match panel < rows.panels {
                    true => sums[(panel * TILE + row) * LANES + channel % LANES],
                    false => 0.0,
                };
                if kind.add {
                    x += to_f32(*add.add(channel));
                }
                // Not `max`: NaN must pass.
                if matches!(kind.mode, Mode::Relu | Mode::ReluMask) && x < 0.0 {
                    x = 0.0;
                }
                let mut rounded = from_f32(x);
                if kind.mode == Mode::Keep && *mask >> channel & 1 == 0 {
                    rounded = 0;
                }
                bits |= u32::from(to_f32(rounded) > 0.0) << channel;
                *target.add(channel) = rounded;
            }
            if kind.mode == Mode::ReluMask {
                *mask = bits;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod fast {
    use super::{CELL, LANES, Rows, TILE};
    use std::arch::x86_64::*;

    /// # Safety
    /// As [`super::write`]; the processor has AVX-512 with bf16.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    pub unsafe fn rows<const ADD: bool, const MODE: u8>(sums: &[f32], rows: &Rows<'_>) {
        let zero = _mm512_setzero_ps();
        let sums = sums.as_ptr();
        let second = rows.panels == 2;
        for row in 0..TILE {
            if rows.valid >> row & 1 == 0 {
                continue;
            }
            // SAFETY: by the caller's promise; `sums` holds two panels of 16 rows.
            unsafe {
                let mut low = _mm512_load_ps(sums.add(row * LANES));
                let mut high = zero;
                if second {
                    high = _mm512_load_ps(sums.add((TILE + row) * LANES));
                }
                if ADD {
                    let add = rows.add.add(rows.add_rows[row] as usize * CELL);
                    let widen = |half| {
                        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)))
                    };
                    low = _mm512_add_ps(low, widen(_mm256_loadu_si256(add.cast())));
                    high = _mm512_add_ps(high, widen(_mm256_loadu_si256(add.add(16).cast())));
                }
                if MODE == 1 || MODE == 2 {
                    // The maximum gives its second operand where one is NaN, so that a broken network is seen.
                    low = _mm512_max_ps(zero, low);
                    high = _mm512_max_ps(zero, high);
                }
                let packed = _mm512_cvtne2ps_pbh(high, low);
                let mut packed = std::mem::transmute::<__m512bh, __m512i>(packed);
                if MODE == 2 {
                    let positive = _mm512_cmpgt_epi16_mask(packed, _mm512_setzero_si512());
                    *rows.mask.add(rows.mask_rows[row] as usize) = positive;
                }
                if MODE == 3 {
                    let keep = *rows.mask.add(rows.mask_rows[row] as usize);
                    packed = _mm512_maskz_mov_epi16(keep, packed);
                }
                let target = rows.target.add(rows.target_rows[row] as usize * CELL);
                _mm512_storeu_si512(target.cast(), packed);
            }
        }
    }
}
