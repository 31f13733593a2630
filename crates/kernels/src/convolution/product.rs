//! The product of packed rows by packed panels: one pointer each, constant distances, nothing but multiply-adds.

// Constant trip counts and plain indices: the compiler unrolls them, and arrays become registers.
#![allow(clippy::needless_range_loop)]

use crate::LANES;
use crate::vector::Vector;

/// `sum[p][n] = sum over k of rows[k / 16][p][k % 16] * panel n[k]`, in the order of `k`, from zero.
///
/// Of a group of `P` rows the first `Q` are taken. A group lies as `[depth / 16][P][16]`: every broadcast is then a constant distance from one pointer,
/// where rows at a distance known only at run time would need more address registers than there are.
///
/// # Safety
/// `P * 16 * chunks` values must be readable at `rows`, `N` panels of `panel_len >= 256 * chunks` at `weights`; the
/// processor must have `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn product<V: Vector, const P: usize, const Q: usize, const N: usize>(
    mut rows: *const f32,
    mut weights: *const f32,
    panel_len: usize,
    chunks: usize,
) -> [[V; N]; Q] {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut sums = [[V::zero(); N]; Q];
        for _ in 0..chunks {
            for k in 0..LANES {
                let mut own = [V::zero(); N];
                for n in 0..N {
                    own[n] = V::load(weights.add(n * panel_len + k * LANES));
                }
                for p in 0..Q {
                    let input = V::splat(rows.add(p * LANES + k));
                    for n in 0..N {
                        sums[p][n] = sums[p][n].multiply_add(input, own[n]);
                    }
                }
            }
            rows = rows.add(P * LANES);
            weights = weights.add(LANES * LANES);
        }
        sums
    }
}
