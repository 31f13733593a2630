//! Between the sums and memory: addend, activation, mask, rounding.

use super::block::Sums;
use super::table::RowCells;
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

/// Calls `$function::<ADD, MODE>($pending, ...)` for the kind of `$pending`.
#[cfg(target_arch = "x86_64")]
macro_rules! with_kind {
    ($pending:expr, $($function:ident)::+ $(, $argument:expr)*) => {
        match ($pending.kind.add, $pending.kind.mode) {
            (false, $crate::half::epilogue::Mode::Plain) => $($function)::+::<false, 0>($pending $(, $argument)*),
            (false, $crate::half::epilogue::Mode::Relu) => $($function)::+::<false, 1>($pending $(, $argument)*),
            (false, $crate::half::epilogue::Mode::ReluMask) => $($function)::+::<false, 2>($pending $(, $argument)*),
            (false, $crate::half::epilogue::Mode::Keep) => $($function)::+::<false, 3>($pending $(, $argument)*),
            (true, $crate::half::epilogue::Mode::Plain) => $($function)::+::<true, 0>($pending $(, $argument)*),
            (true, $crate::half::epilogue::Mode::Relu) => $($function)::+::<true, 1>($pending $(, $argument)*),
            (true, $crate::half::epilogue::Mode::ReluMask) => $($function)::+::<true, 2>($pending $(, $argument)*),
            (true, $crate::half::epilogue::Mode::Keep) => $($function)::+::<true, 3>($pending $(, $argument)*),
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use with_kind;

/// The rows of one tile for one cell of 32 channels, as pointers to row 0 and distances in cells.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub valid: u16,
    /// Whether the second panel was computed; its channels are zero otherwise.
    pub panels: usize,
    pub target: *mut u16,
    pub target_rows: &'a RowCells,
    pub add: *const u16,
    pub add_rows: &'a RowCells,
    pub mask: *mut u32,
    pub mask_rows: &'a RowCells,
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

/// Sums of a block that wait to be written.
#[derive(Clone, Copy)]
pub(crate) struct Pending<'a> {
    pub kind: Kind,
    pub sums: &'a Sums,
    /// By tile; the first `tiles` of them.
    pub rows: [Rows<'a>; 2],
    pub tiles: usize,
}

impl Pending<'_> {
    /// Writes all of it.
    ///
    /// # Safety
    /// Every valid row must be writable at the target and readable at what `kind` uses; the processor must have `isa`.
    pub unsafe fn write(&self, isa: Isa) {
        // SAFETY: by the caller's promise.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512Bf16 | Isa::Amx => with_kind!(self, fast::write),
                _ => {
                    for (tile, rows) in self.rows[..self.tiles].iter().enumerate() {
                        let sums = &self.sums.0[2 * tile * TILE * LANES..][..2 * TILE * LANES];
                        portable(self.kind, sums, rows);
                    }
                }
            }
        }
    }
}

/// # Safety
/// As [`Pending::write`].
unsafe fn portable(kind: Kind, sums: &[f32], rows: &Rows<'_>) {
    for row in (0..TILE).filter(|row| rows.valid >> row & 1 == 1) {
        // SAFETY: by the caller's promise.
        unsafe {
            let target = rows.target.add(rows.target_rows.cells[row] as usize * CELL);
            let add = rows.add.wrapping_add(rows.add_rows.cells[row] as usize * CELL);
            let mask = rows.mask.wrapping_add(rows.mask_rows.cells[row] as usize);
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
pub(crate) mod fast {
    use super::{CELL, LANES, Pending, RowCells, Rows, TILE};
    use std::arch::x86_64::*;

    /// Writes row after row, so that it can be done in pieces; `ADD` and `MODE` are [`super::Kind`]'s.
    ///
    /// Only for tiles of sixteen evenly spaced rows.
    pub(crate) struct Writer<'a, const ADD: bool, const MODE: u8> {
        /// The tile after this one.
        second: Option<&'a Rows<'a>>,
        row: Row,
        pitch: [usize; 3],
        left: usize,
    }

    impl<'a, const ADD: bool, const MODE: u8> Writer<'a, ADD, MODE> {
        /// `None` where some row stands out of line.
        pub fn new(pending: &'a Pending<'a>) -> Option<Self> {
            let tiles = &pending.rows[..pending.tiles];
            let even = |rows: &Rows<'_>| {
                rows.valid == u16::MAX && rows.panels == 2 && pitches(rows).is_some()
            };
            let second = tiles.get(1);
            let alike = second.is_none_or(|second| pitches(second) == pitches(&tiles[0]));
            (tiles.iter().all(even) && alike).then(|| Self {
                second,
                row: Row::first(&tiles[0], pending.sums.0.as_ptr()),
                pitch: pitches(&tiles[0]).expect("rows are even"),
                left: TILE,
            })
        }

        /// Writes at most `count` further rows.
        ///
        /// # Safety
        /// As [`Pending::write`]; the processor has AVX-512 with bf16.
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
        #[inline]
        pub unsafe fn write(&mut self, count: usize) {
            for _ in 0..count {
                if self.left == 0 {
                    let Some(second) = self.second.take() else { return };
                    self.row = Row::first(second, self.row.sums.wrapping_add(TILE * LANES));
                    self.left = TILE;
                }
                // SAFETY: by the caller's promise.
                unsafe { write_row::<ADD, MODE, 2>(&self.row) };
                self.row = self.row.next(self.pitch);
                self.left -= 1;
            }
        }
    }

    fn pitches(rows: &Rows<'_>) -> Option<[usize; 3]> {
        let pitch = |cells: &RowCells| cells.pitch.map(|pitch| pitch as usize);
        Some([pitch(rows.target_rows)?, pitch(rows.add_rows)?, pitch(rows.mask_rows)?])
    }

    /// One row of a tile.
    #[derive(Clone, Copy)]
    struct Row {
        sums: *const f32,
        target: *mut u16,
        add: *const u16,
        mask: *mut u32,
    }

    impl Row {
        fn first(rows: &Rows<'_>, sums: *const f32) -> Self {
            Self { sums, target: rows.target, add: rows.add, mask: rows.mask }
        }

        /// So many cells from here.
        fn at(self, [target, add, mask]: [usize; 3]) -> Self {
            Self {
                sums: self.sums,
                target: self.target.wrapping_add(target * CELL),
                add: self.add.wrapping_add(add * CELL),
                mask: self.mask.wrapping_add(mask),
            }
        }

        fn next(self, pitch: [usize; 3]) -> Self {
            Self { sums: self.sums.wrapping_add(LANES), ..self.at(pitch) }
        }
    }

    /// # Safety
    /// As [`Pending::write`]; the processor has AVX-512 with bf16.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    pub unsafe fn write<const ADD: bool, const MODE: u8>(pending: &Pending<'_>) {
        let tiles = pending.rows[..pending.tiles].iter();
        for (rows, sums) in tiles.zip(pending.sums.0.chunks_exact(2 * TILE * LANES)) {
            for row in (0..TILE).filter(|row| rows.valid >> row & 1 == 1) {
                let lists = [rows.target_rows, rows.add_rows, rows.mask_rows];
                let cells = lists.map(|list| list.cells[row] as usize);
                let row = Row::first(rows, sums[row * LANES..].as_ptr()).at(cells);
                // SAFETY: by the caller's promise.
                unsafe {
                    match rows.panels {
                        2 => write_row::<ADD, MODE, 2>(&row),
                        _ => write_row::<ADD, MODE, 1>(&row),
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`Pending::write`]; the processor has AVX-512 with bf16. The sums of the second panel lie a tile further on.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    #[inline]
    unsafe fn write_row<const ADD: bool, const MODE: u8, const PANELS: usize>(row: &Row) {
        let zero = _mm512_setzero_ps();
        // SAFETY: by the caller's promise.
        unsafe {
            let mut low = _mm512_load_ps(row.sums);
            let mut high = zero;
            if PANELS == 2 {
                high = _mm512_load_ps(row.sums.add(TILE * LANES));
            }
            if ADD {
                let widen = |half| {
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)))
                };
                low = _mm512_add_ps(low, widen(_mm256_loadu_si256(row.add.cast())));
                high = _mm512_add_ps(high, widen(_mm256_loadu_si256(row.add.add(16).cast())));
            }
            if MODE == 1 || MODE == 2 {
                // The maximum gives its second operand where one is NaN, so that a broken network is seen.
                low = _mm512_max_ps(zero, low);
                high = _mm512_max_ps(zero, high);
            }
            let packed = _mm512_cvtne2ps_pbh(high, low);
            let mut packed = std::mem::transmute::<__m512bh, __m512i>(packed);
            if MODE == 2 {
                *row.mask = _mm512_cmpgt_epi16_mask(packed, _mm512_setzero_si512());
            }
            if MODE == 3 {
                packed = _mm512_maskz_mov_epi16(*row.mask, packed);
            }
            _mm512_storeu_si512(row.target.cast(), packed);
        }
    }
}
