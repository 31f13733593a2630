//! Per-channel statistics and affine maps: what batch, group and instance norm are made of.
//!
//! Sums start from zero and run over the pixels they are given, in order, in f64. Whoever splits the work calls them
//! once per image and adds the images' results in index order: then neither threads nor tiles change a bit.

use crate::{LANES, Relu};

per_isa! {
    /// Sum of every channel over the pixels; the mean is this by the count.
    ///
    /// Shapes: `input` `[pixels, stride]`, `sums` `[stride]`, overwritten.
    pub fn sums(input: &[f32], sums: &mut [f64]) {
        for panel in panels(input, sums.len()) {
            let mut total = [0.0_f64; LANES];
            for row in PanelRows::new(input, sums.len(), panel) {
                for (total, &x) in total.iter_mut().zip(row) {
                    *total += f64::from(x);
                }
            }
            sums[panel..panel + LANES].copy_from_slice(&total);
        }
    }
}

per_isa! {
    /// Sum of `(x - mean)^2` of every channel over the pixels: the second of two passes, exact also at a large mean (G21).
    ///
    /// Shapes: `input` `[pixels, stride]`, `mean` and `squares` `[stride]`; `squares` is overwritten.
    pub fn centred_squares(input: &[f32], mean: &[f64], squares: &mut [f64]) {
        assert_eq!(mean.len(), squares.len(), "mean and centred squares");
        for panel in panels(input, squares.len()) {
            let centre: [f64; LANES] = mean[panel..panel + LANES].try_into().expect("one panel");
            let mut total = [0.0_f64; LANES];
            for row in PanelRows::new(input, squares.len(), panel) {
                for ((total, &x), centre) in total.iter_mut().zip(row).zip(centre) {
                    let distance = f64::from(x) - centre;
                    *total += distance * distance;
                }
            }
            squares[panel..panel + LANES].copy_from_slice(&total);
        }
    }
}

/// `(x - centre[c]) * factor[c] + shift[c]`, all `[stride]`, factor and shift zero in padded channels.
///
/// Centred first: folded into `x * factor + shift`, a channel of little variance would lose the digits in which its
/// values differ (G21).
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// Subtracted first.
    pub centre: &'a [f32],
    /// Multiplies the rest.
    pub factor: &'a [f32],
    /// Added last.
    pub shift: &'a [f32],
}

per_isa! {
    /// `output = affine(input) (+ add)`, then ReLU where asked; the mask tells where the result is above zero.
    ///
    /// Shapes: `input`, `output`, `add` `[pixels, stride]`; `mask` `[pixels, stride / 16]`.
    pub fn apply(input: &[f32], affine: Affine<'_>, add: Option<&[f32]>, relu: Relu,
                 mask: Option<&mut [u16]>, output: &mut [f32]) {
        let Affine { centre, factor, shift } = affine;
        let stride = factor.len();
        assert!(stride > 0 && stride.is_multiple_of(LANES), "a stride of {stride} is no multiple of 16");
        assert!([centre.len(), shift.len()] == [stride; 2], "centre and shift");
        assert_eq!(input.len(), output.len(), "norm input and output");
        assert_eq!(input.len() % stride, 0, "norm input and stride");
        assert!(add.is_none_or(|add| add.len() == input.len()), "norm input and addend");
        assert!(mask.as_ref().is_none_or(|mask| mask.len() * LANES == output.len()), "norm mask");
        let mut mask = mask;
        let mut channel = 0;
        for panel in 0..output.len() / LANES {
            let at = panel * LANES;
            // SAFETY: the body runs only where `V` does; every array was checked to hold sixteen values at `at`, the
            // per-channel ones at `channel`.
            unsafe {
                // Onto zero the product is rounded once: the same bits with and without fused multiply-adds.
                let centred = V::load(input.as_ptr().add(at)).subtract(V::load(centre.as_ptr().add(channel)));
                let mut value = V::zero()
                    .multiply_add(centred, V::load(factor.as_ptr().add(channel)))
                    .add(V::load(shift.as_ptr().add(channel)));
                if let Some(add) = add {
                    value = value.add(V::load(add.as_ptr().add(at)));
                }
                if relu == Relu::Yes {
                    value = value.relu();
                }
                if let Some(mask) = &mut mask {
                    *mask.get_unchecked_mut(panel) = value.positive();
                }
                value.store(output.as_mut_ptr().add(at));
            }
            channel = if channel + LANES < stride { channel + LANES } else { 0 };
        }
    }
}

per_isa! {
    /// What the backward of a normalisation needs of a batch: `sum(dy)` and `sum(dy * xhat)` per channel, with
    /// `xhat = (x - mean) * inverse_deviation`. They are also the gradients of shift and factor.
    ///
    /// Shapes: `input`, `output_gradient` `[pixels, stride]`; the others `[stride]`; both sums are overwritten.
    pub fn backward_sums(input: &[f32], output_gradient: &[f32], mean: &[f64], inverse_deviation: &[f64],
                         gradient_sums: &mut [f64], product_sums: &mut [f64]) {
        let stride = gradient_sums.len();
        assert_eq!(input.len(), output_gradient.len(), "norm input and output gradient");
        assert!([mean.len(), inverse_deviation.len(), product_sums.len()] == [stride; 3], "norm channels");
        for panel in panels(input, stride) {
            let centre: [f64; LANES] = mean[panel..panel + LANES].try_into().expect("one panel");
            let mut gradient = [0.0_f64; LANES];
            let mut product = [0.0_f64; LANES];
            for (row, dy) in PanelRows::new(input, stride, panel).zip(output_gradient.chunks_exact(stride)) {
                let dy = &dy[panel..panel + LANES];
                for lane in 0..LANES {
                    let dy = f64::from(dy[lane]);
                    gradient[lane] += dy;
                    product[lane] += dy * (f64::from(row[lane]) - centre[lane]);
                }
            }
            gradient_sums[panel..panel + LANES].copy_from_slice(&gradient);
            for lane in 0..LANES {
                product_sums[panel + lane] = product[lane] * inverse_deviation[panel + lane];
            }
        }
    }
}

/// Per-channel numbers of `dx = gradient_factor * dy + input_factor * (x - mean) + shift`, all `[stride]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BackwardCoefficients {
    /// Multiplies `dy`.
    pub gradient_factor: Vec<f32>,
    /// Multiplies `x - mean`.
    pub input_factor: Vec<f32>,
    /// The mean that `x` is centred by: without it `input_factor * x` would cancel at a large mean.
    pub mean: Vec<f32>,
    /// Summand.
    pub shift: Vec<f32>,
}

impl BackwardCoefficients {
    /// The coefficients of normalisation by the statistics of the `count` values themselves.
    ///
    /// Shapes: all `[stride]`; `gamma` zero in padded channels. The sums are those of [`backward_sums`] over the whole
    /// set that shares the statistics.
    /// Source: Ioffe & Szegedy 2015, `dx = gamma / std * (dy - mean(dy) - xhat * mean(dy * xhat))`.
    pub fn batch(
        gamma: &[f32],
        mean: &[f64],
        inverse_deviation: &[f64],
        gradient_sums: &[f64],
        product_sums: &[f64],
        count: usize,
    ) -> Self {
        let scale = 1.0 / count as f64;
        let mut all = Self::default();
        for (c, &gamma) in gamma.iter().enumerate() {
            let factor = f64::from(gamma) * inverse_deviation[c];
            all.gradient_factor.push(factor as f32);
            all.input_factor
                .push((-factor * inverse_deviation[c] * product_sums[c] * scale) as f32);
            all.mean.push(mean[c] as f32);
            // The mean was rounded to f32: the rest of it belongs to the summand.
            let rest = mean[c] - f64::from(mean[c] as f32);
            let slope = -factor * inverse_deviation[c] * product_sums[c] * scale;
            all.shift.push((-factor * gradient_sums[c] * scale - slope * rest) as f32);
        }
        all
    }
}

per_isa! {
    /// `input_gradient = gradient_factor * dy + input_factor * (x - mean) + shift`, per channel.
    ///
    /// Shapes: `input`, `output_gradient`, `input_gradient` `[pixels, stride]`.
    pub fn backward_apply(coefficients: &BackwardCoefficients, input: &[f32], output_gradient: &[f32],
                          input_gradient: &mut [f32]) {
        let stride = coefficients.mean.len();
        assert!(stride > 0, "a normalisation without channels");
        assert_eq!(input.len(), output_gradient.len(), "norm input and output gradient");
        assert_eq!(input.len(), input_gradient.len(), "norm input and input gradient");
        assert_eq!(input.len() % stride, 0, "norm input and stride");
        let BackwardCoefficients { gradient_factor, input_factor, mean, shift } = coefficients;
        let (gradient_factor, input_factor, mean, shift) =
            (&gradient_factor[..stride], &input_factor[..stride], &mean[..stride], &shift[..stride]);
        let rows = input.chunks_exact(stride).zip(output_gradient.chunks_exact(stride));
        for ((x, dy), dx) in rows.zip(input_gradient.chunks_exact_mut(stride)) {
            for c in 0..stride {
                dx[c] = gradient_factor[c] * dy[c] + input_factor[c] * (x[c] - mean[c]) + shift[c];
            }
        }
    }
}

/// The first channel of every panel.
#[inline(always)]
fn panels(input: &[f32], stride: usize) -> std::iter::StepBy<std::ops::Range<usize>> {
    assert!(
        stride > 0 && stride.is_multiple_of(LANES),
        "a stride of {stride} is no multiple of 16"
    );
    assert_eq!(input.len() % stride, 0, "pixels and stride");
    (0..stride).step_by(LANES)
}

/// One panel of every pixel.
struct PanelRows<'a> {
    rows: std::slice::ChunksExact<'a, f32>,
    panel: usize,
}

impl<'a> PanelRows<'a> {
    #[inline(always)]
    fn new(input: &'a [f32], stride: usize, panel: usize) -> Self {
        Self { rows: input.chunks_exact(stride), panel }
    }
}

impl<'a> Iterator for PanelRows<'a> {
    type Item = &'a [f32; LANES];
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        Some(row[self.panel..self.panel + LANES].try_into().expect("one panel"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    fn random(n: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 40) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    /// Batch norm of `[pixels, 16]` in f64, the plain way.
    fn reference(x: &[f32], gamma: &[f32]) -> Vec<f64> {
        let n = x.len() / 16;
        let mut y = vec![0.0; x.len()];
        for c in 0..16 {
            let column = |p: usize| f64::from(x[p * 16 + c]);
            let mean = (0..n).map(column).sum::<f64>() / n as f64;
            let variance = (0..n).map(|p| (column(p) - mean).powi(2)).sum::<f64>() / n as f64;
            for p in 0..n {
                y[p * 16 + c] = f64::from(gamma[c]) * (column(p) - mean) / (variance + 1e-5).sqrt();
            }
        }
        y
    }

    fn statistics(isa: Isa, x: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let n = (x.len() / 16) as f64;
        let (mut mean, mut squares) = (vec![0.0; 16], vec![0.0; 16]);
        sums(isa, x, &mut mean);
        mean.iter_mut().for_each(|m| *m /= n);
        centred_squares(isa, x, &mean, &mut squares);
        let inverse = squares.iter().map(|s| 1.0 / (s / n + 1e-5).sqrt()).collect();
        (mean, inverse)
    }

    #[test]
    fn g21_batch_norm_agrees_with_f64_also_at_a_large_mean() {
        for isa in Isa::available() {
            for (offset, tolerance) in [(0.0, 1e-5), (1e3, 1e-4)] {
                let x: Vec<f32> = random(37 * 16, 1).iter().map(|x| x + offset).collect();
                let gamma = random(16, 2);
                let (mean, inverse) = statistics(isa, &x);
                let factor: Vec<f32> =
                    gamma.iter().zip(&inverse).map(|(&g, i)| (f64::from(g) * i) as f32).collect();
                let centre: Vec<f32> = mean.iter().map(|&m| m as f32).collect();
                // What rounding took from the mean.
                let rest = mean.iter().zip(&centre).map(|(m, &c)| m - f64::from(c));
                let shift: Vec<f32> = factor
                    .iter()
                    .zip(rest)
                    .map(|(&f, rest)| (-f64::from(f) * rest) as f32)
                    .collect();
                let affine = Affine { centre: &centre, factor: &factor, shift: &shift };
                let mut y = vec![0.0; x.len()];
                apply(isa, &x, affine, None, Relu::No, None, &mut y);
                for (y, expected) in y.iter().zip(reference(&x, &gamma)) {
                    assert!((f64::from(*y) - expected).abs() < tolerance, "{isa}: {y} {expected}");
                }
            }
        }
    }

    #[test]
    fn g10_backward_agrees_with_central_differences_of_the_f64_reference() {
        let (x, dy, gamma) = (random(7 * 16, 3), random(7 * 16, 4), random(16, 5));
        let loss = |x: &[f32]| -> f64 {
            reference(x, &gamma).iter().zip(&dy).map(|(y, &dy)| y * f64::from(dy)).sum()
        };
        for isa in Isa::available() {
            let (mean, inverse) = statistics(isa, &x);
            let (mut s1, mut s2) = (vec![0.0; 16], vec![0.0; 16]);
            backward_sums(isa, &x, &dy, &mean, &inverse, &mut s1, &mut s2);
            let coefficients = BackwardCoefficients::batch(&gamma, &mean, &inverse, &s1, &s2, 7);
            let mut dx = vec![0.0; x.len()];
            backward_apply(isa, &coefficients, &x, &dy, &mut dx);
            for i in [0, 5, 40, 111] {
                // A step of 2^-10 is exact in f32; its h^2 term is the tolerance.
                let (mut up, mut down) = (x.clone(), x.clone());
                up[i] += 1.0 / 1024.0;
                down[i] -= 1.0 / 1024.0;
                let slope = (loss(&up) - loss(&down)) * 512.0;
                assert!((f64::from(dx[i]) - slope).abs() < 2e-5, "{isa} {i}: {} {slope}", dx[i]);
            }
        }
    }

    #[test]
    fn the_fused_add_relu_and_mask_agree() {
        let (x, add) = (random(3 * 32, 6), random(3 * 32, 7));
        let (centre, factor, shift) = (random(32, 10), random(32, 8), random(32, 9));
        let affine = Affine { centre: &centre, factor: &factor, shift: &shift };
        for isa in Isa::available() {
            let (mut y, mut mask) = (vec![0.0; x.len()], vec![0; 6]);
            apply(isa, &x, affine, Some(&add), Relu::Yes, Some(&mut mask), &mut y);
            for i in 0..x.len() {
                let c = i % 32;
                let plain = (x[i] - centre[c]) * factor[c] + shift[c] + add[i];
                assert_eq!(y[i], plain.max(0.0));
                assert_eq!(mask[i / 16] >> (i % 16) & 1 == 1, plain > 0.0);
            }
        }
    }
}
