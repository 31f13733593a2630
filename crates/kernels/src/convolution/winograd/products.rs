//! The matrix products between the transforms: one for each position of a patch.

use super::super::product::product;
use super::Patches;
use crate::LANES;
use crate::vector::Vector;

/// The matrix products of some positions.
#[derive(Clone, Copy)]
pub(super) struct Products {
    pub positions: usize,
    pub channels: usize,
    pub panels: usize,
    pub tiles: usize,
}

/// A matrix product for each position. Panels are the outer loop, so that a panel's weights stay in the first two
/// caches while all groups pass.
///
/// # Safety
/// `patches` must be sized for the tiles, `positions` times `panels` panels of weights readable.
#[inline(always)]
pub(super) unsafe fn multiply<V: Vector, const P: usize, const H: usize, const N: usize>(
    of: Products,
    weights: *const f32,
    patches: &mut Patches,
) {
    let Products { positions, channels, panels, tiles } = of;
    let groups = tiles.div_ceil(P);
    let panel_len = channels * LANES;
    for position in 0..positions {
        // SAFETY: by the caller's promise.
        unsafe {
            let inputs = patches.inputs.as_ptr().add(position * groups * channels * P);
            let products =
                patches.products.as_mut_ptr().add(position * groups * panels * P * LANES);
            let weights = weights.add(position * panels * panel_len);
            let mut panel = 0;
            while panel + N <= panels {
                let weights = weights.add(panel * panel_len);
                sweep_groups::<V, P, H, N>(of, panel, weights, inputs, products);
                panel += N;
            }
            while panel < panels {
                let weights = weights.add(panel * panel_len);
                sweep_groups::<V, P, H, 1>(of, panel, weights, inputs, products);
                panel += 1;
            }
        }
    }
}

/// All groups times the `N` panels from `panel`.
///
/// # Safety
/// As [`multiply`]; `weights` points at the first of the panels.
#[inline(always)]
unsafe fn sweep_groups<V: Vector, const P: usize, const H: usize, const N: usize>(
    of: Products,
    panel: usize,
    weights: *const f32,
    inputs: *const f32,
    products: *mut f32,
) {
    let Products { channels, panels, tiles, .. } = of;
    for group in 0..tiles.div_ceil(P) {
        // SAFETY: by the caller's promise.
        unsafe {
            let rows = inputs.add(group * channels * P);
            let out = products.add((group * panels + panel) * P * LANES);
            if tiles - group * P <= H {
                store_products::<V, P, H, N>(channels, rows, weights, out);
            } else {
                store_products::<V, P, P, N>(channels, rows, weights, out);
            }
        }
    }
}

/// The first `Q` rows of one group times `N` panels.
///
/// # Safety
/// As [`multiply`]; `out` points at the products of the group with the first panel.
#[inline(always)]
unsafe fn store_products<V: Vector, const P: usize, const Q: usize, const N: usize>(
    channels: usize,
    rows: *const f32,
    weights: *const f32,
    out: *mut f32,
) {
    // SAFETY: by the caller's promise.
    unsafe {
        let sums = product::<V, P, Q, N>(rows, weights, channels * LANES, channels / LANES);
        for (q, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                sum.store(out.add((n * P + q) * LANES));
            }
        }
    }
}
