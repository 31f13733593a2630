//! Exponential and logarithm that vectorise: the standard library's are calls, one value at a time.

use std::f32::consts::LOG2_E;

/// `exp(x)` within 2 units in the last place for `x` in `[-87, 88]`; clamped outside, NaN stays NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let (power, rest) = split(x);
    power + power * rest
}

/// `exp(x) - 1`, also exact near zero.
#[inline(always)]
pub(crate) fn exp_m1(x: f32) -> f32 {
    let (power, rest) = split(x);
    power * rest + (power - 1.0)
}

/// `exp(x)` as `power * (1 + rest)` with a power of two.
///
/// Source: the classic reduction and the degree-5 polynomial of Cephes `expf`.
#[inline(always)]
fn split(x: f32) -> (f32, f32) {
    // Comparisons, not `clamp` or `max`: they would turn NaN into a number.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts: the first times a small integer is exact.
    let r = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let polynomial = [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5]
        .into_iter()
        .fold(0.0, |sum, c| sum * r + c);
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    (power, r + r * r * polynomial)
}

/// `ln(1 + x)` for `x` in `[0, 1]`.
///
/// Source: `2 atanh(x / (2 + x))`; eight terms of the series leave less than 2e-9 of the value.
#[inline(always)]
pub(crate) fn ln_1p(x: f32) -> f32 {
    let s = x / (2.0 + x);
    let square = s * s;
    let series = [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0_f32]
        .into_iter()
        .fold(0.0, |sum, odd| (sum + 1.0 / odd) * square);
    2.0 * (s + s * series)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tolerance: two units in the last place, 2.4e-7 relative.
    #[test]
    fn values_agree_with_double_precision() {
        for i in -8700..=8800 {
            let x = i as f32 * 0.01;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 2.4e-7, "exp({x}) = {}", exp(x));
        }
        for i in -4000..=100 {
            let x = i as f32 * 0.001;
            let exact = f64::from(x).exp_m1();
            let error = (f64::from(exp_m1(x)) - exact).abs();
            assert!(error <= 2.4e-7 * exact.abs(), "exp_m1({x}) = {}", exp_m1(x));
        }
        for i in 0..=1000 {
            let x = i as f32 * 0.001;
            let exact = f64::from(x).ln_1p();
            let error = (f64::from(ln_1p(x)) - exact).abs();
            assert!(error <= 2.4e-7 * exact, "ln_1p({x}) = {}", ln_1p(x));
        }
    }

    #[test]
    fn the_ends_saturate_and_nan_stays() {
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::INFINITY) > 1e38);
        assert!(exp(f32::NAN).is_nan() && exp_m1(f32::NAN).is_nan() && ln_1p(f32::NAN).is_nan());
    }
}
