//! Rows to columns: sixteen by sixteen pairs.

use super::line::Line;
use crate::{Isa, LANES};

/// `to[i][j] = from[j][i]`.
pub(crate) fn transpose(isa: Isa, from: &[Line; LANES], to: &mut [Line; LANES]) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => {
            assert!(isa.is_available(), "{isa} kernels on a processor without them");
            // SAFETY: the processor has the instructions.
            unsafe { avx512(from, to) }
        }
        _ => {
            for (row, to) in to.iter_mut().enumerate() {
                for (to, from) in to.0.iter_mut().zip(from) {
                    *to = from.0[row];
                }
            }
        }
    }
}

/// Pairs of rows, then of pairs, then the four quarters of each register: 64 shuffles.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(from: &[Line; LANES], to: &mut [Line; LANES]) {
    use std::arch::x86_64::*;
    let mut a = [_mm512_setzero_si512(); LANES];
    for (a, line) in a.iter_mut().zip(from) {
        // SAFETY: a line is 64 bytes.
        *a = unsafe { _mm512_load_si512(line.0.as_ptr().cast()) };
    }
    let mut b = a;
    for i in 0..8 {
        b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
    }
    // a[4 i + j]: column j of every quarter, rows 4 i to 4 i + 3.
    for i in 0..4 {
        a[4 * i] = _mm512_unpacklo_epi64(b[4 * i], b[4 * i + 2]);
        a[4 * i + 1] = _mm512_unpackhi_epi64(b[4 * i], b[4 * i + 2]);
        a[4 * i + 2] = _mm512_unpacklo_epi64(b[4 * i + 1], b[4 * i + 3]);
        a[4 * i + 3] = _mm512_unpackhi_epi64(b[4 * i + 1], b[4 * i + 3]);
    }
    for j in 0..4 {
        let (low, high) = (
            _mm512_shuffle_i32x4::<0x88>(a[j], a[4 + j]),
            _mm512_shuffle_i32x4::<0xdd>(a[j], a[4 + j]),
        );
        let (low2, high2) = (
            _mm512_shuffle_i32x4::<0x88>(a[8 + j], a[12 + j]),
            _mm512_shuffle_i32x4::<0xdd>(a[8 + j], a[12 + j]),
        );
        let columns = [
            _mm512_shuffle_i32x4::<0x88>(low, low2),
            _mm512_shuffle_i32x4::<0x88>(high, high2),
            _mm512_shuffle_i32x4::<0xdd>(low, low2),
            _mm512_shuffle_i32x4::<0xdd>(high, high2),
        ];
        for (quarter, column) in columns.into_iter().enumerate() {
            // SAFETY: a line is 64 bytes.
            unsafe { _mm512_store_si512(to[4 * quarter + j].0.as_mut_ptr().cast(), column) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns_on_every_instruction_set() {
        let mut from = [Line::ZERO; LANES];
        for (row, line) in from.iter_mut().enumerate() {
            line.0 = std::array::from_fn(|column| (row * 100 + column) as u32);
        }
        for isa in Isa::available() {
            let mut to = [Line::ZERO; LANES];
            transpose(isa, &from, &mut to);
            for (row, line) in to.iter().enumerate() {
                for (column, &value) in line.0.iter().enumerate() {
                    assert_eq!(value, (column * 100 + row) as u32, "{isa}");
                }
            }
        }
    }
}
