//! Pointwise nonlinearities and their derivatives.

use crate::exponential::{exp, exp_m1, ln_1p};

/// A pointwise nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// `max(x, 0)`; its derivative at 0 is 0.
    Relu,
    /// `x * sigmoid(x)`.
    Silu,
    /// `ln(1 + exp(beta x)) / beta`.
    SmoothRelu {
        /// Sharpness of the bend at zero.
        beta: f32,
    },
    /// `x * Phi(x)` with the exact normal distribution function.
    Gelu,
    /// `x` for positive `x`, else `exp(x) - 1`.
    Elu,
}

per_isa! {
    /// Applies `function` to every value; padded channels become zeros (softplus of zero is not).
    ///
    /// Shapes: `input` and `output` `[pixels, stride]` with `channels <= stride` in use.
    pub fn forward(function: Function, channels: usize, stride: usize, input: &[f32], output: &mut [f32]) {
        assert_eq!(input.len(), output.len(), "activation input and output");
        match function {
            Function::Relu => map(input, output, |x| if x < 0.0 { 0.0 } else { x }),
            Function::Silu => map(input, output, |x| x * sigmoid(x)),
            Function::SmoothRelu { beta } => map(input, output, |x| softplus(beta * x) / beta),
            Function::Gelu => map(input, output, |x| x * normal_distribution(x)),
            Function::Elu => map(input, output, |x| if x > 0.0 { x } else { exp_m1(x) }),
        }
        if channels < stride {
            for pixel in output.chunks_exact_mut(stride) {
                pixel[channels..].fill(0.0);
            }
        }
    }
}

per_isa! {
    /// Multiplies the gradient by the derivative at `input`, the value *before* the activation.
    ///
    /// Shapes: all three of one length.
    pub fn backward(function: Function, input: &[f32], output_gradient: &[f32], input_gradient: &mut [f32]) {
        assert_eq!(input.len(), output_gradient.len(), "activation input and output gradient");
        assert_eq!(input.len(), input_gradient.len(), "activation input and input gradient");
        match function {
            // NaN above is not positive: the derivative is 0, and the loss itself is NaN already.
            Function::Relu => zip(input, output_gradient, input_gradient, |x, dy| if x > 0.0 { dy } else { 0.0 }),
            Function::Silu => zip(input, output_gradient, input_gradient, |x, dy| {
                let s = sigmoid(x);
                dy * (s * (1.0 + x * (1.0 - s)))
            }),
            Function::SmoothRelu { beta } => {
                zip(input, output_gradient, input_gradient, |x, dy| dy * sigmoid(beta * x));
            }
            Function::Gelu => zip(input, output_gradient, input_gradient, |x, dy| {
                let density = exp(-0.5 * x * x) * 0.398_942_3;
                dy * (normal_distribution(x) + x * density)
            }),
            Function::Elu => {
                zip(input, output_gradient, input_gradient, |x, dy| if x > 0.0 { dy } else { dy * exp(x) });
            }
        }
    }
}

per_isa! {
    /// Zeroes the gradient where the mask's bit is not set.
    ///
    /// Shapes: `gradient` `[pixels, stride]`, `mask` `[pixels, stride / 16]`, bit `l` for channel `16 panel + l`.
    pub fn apply_mask(mask: &[u16], gradient: &mut [f32]) {
        assert_eq!(mask.len() * crate::LANES, gradient.len(), "mask and gradient");
        for (&bits, lanes) in mask.iter().zip(gradient.as_chunks_mut::<{ crate::LANES }>().0) {
            // SAFETY: there are sixteen lanes, and the body runs only where `V` does.
            unsafe { V::load(lanes.as_ptr()).keep(bits).store(lanes.as_mut_ptr()) };
        }
    }
}

per_isa! {
    /// `sum += term`, value by value.
    pub fn add(term: &[f32], sum: &mut [f32]) {
        assert_eq!(term.len(), sum.len(), "terms of an addition");
        for (sum, &term) in sum.iter_mut().zip(term) {
            *sum += term;
        }
    }
}

#[inline(always)]
fn map(input: &[f32], output: &mut [f32], function: impl Fn(f32) -> f32) {
    for (output, &x) in output.iter_mut().zip(input) {
        *output = function(x);
    }
}

#[inline(always)]
fn zip(input: &[f32], dy: &[f32], dx: &mut [f32], function: impl Fn(f32, f32) -> f32) {
    for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(input) {
        *dx = function(x, dy);
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `ln(1 + exp(x))` that neither overflows nor loses small values.
#[inline(always)]
fn softplus(x: f32) -> f32 {
    let positive = if x < 0.0 { 0.0 } else { x }; // unlike `max`, keeps NaN
    positive + ln_1p(exp(-x.abs()))
}

/// The normal distribution function, within 3e-7: the polynomial's own error is 1.2e-7 of the tail.
///
/// Source: Press et al., Numerical Recipes, 2nd edition, `erfcc`.
#[inline(always)]
fn normal_distribution(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * z);
    let polynomial = [
        0.170_872_77,
        -0.822_152_2,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ]
    .into_iter()
    .fold(0.0, |sum, c| sum * t + c);
    let tail = 0.5 * t * exp(polynomial - z * z);
    if x < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    const ALL: [Function; 5] = [
        Function::Relu,
        Function::Silu,
        Function::SmoothRelu { beta: 10.0 },
        Function::Gelu,
        Function::Elu,
    ];

    fn value(function: Function, x: f32) -> f32 {
        let mut y = [0.0];
        forward(Isa::Portable, function, 1, 1, &[x], &mut y);
        y[0]
    }

    /// The definitions in double precision at x = -1.5, -0.1 and 0.7 (Python's `math`).
    #[test]
    fn values_are_those_of_the_definitions() {
        let expected: [[f64; 3]; 5] = [
            [0.0, 0.0, 0.7],
            [-0.273638286, -0.0475020813, 0.467731441],
            [3.05902274e-08, 0.0313261688, 0.700091147],
            [-0.100210802, -0.0460172163, 0.530625443],
            [-0.776_869_84, -0.095162582, 0.7],
        ];
        for (function, expected) in ALL.into_iter().zip(expected) {
            for (x, expected) in [-1.5, -0.1, 0.7].into_iter().zip(expected) {
                let y = f64::from(value(function, x as f32));
                assert!((y - expected).abs() <= 3e-7, "{function:?}({x}) = {y}, not {expected}");
            }
        }
    }

    #[test]
    fn g10_derivatives_agree_with_central_differences() {
        for isa in Isa::available() {
            for function in ALL {
                for x in [-3.0_f32, -1.0, -0.2, 0.05, 0.6, 2.5] {
                    let h = 1e-2;
                    let slope = (value(function, x + h) - value(function, x - h)) / (2.0 * h);
                    let mut dx = [0.0];
                    backward(isa, function, &[x], &[2.0], &mut dx);
                    let bend = 2e-3; // h^2 f'''/6 for SmoothReLU(10) and rounding of f32 by 2h
                    assert!((dx[0] - 2.0 * slope).abs() < 2.0 * bend, "{function:?} at {x}");
                }
            }
        }
    }

    #[test]
    fn padded_channels_stay_zero_and_relu_keeps_nan() {
        let mut y = [9.0; 16];
        let input = [f32::NAN; 16];
        forward(Isa::Portable, Function::Relu, 3, 16, &input, &mut y);
        assert!(y[..3].iter().all(|y| y.is_nan()) && y[3..] == [0.0; 13]);
        forward(Isa::Portable, Function::SmoothRelu { beta: 1.0 }, 3, 16, &[0.0; 16], &mut y);
        assert!(y[0] > 0.69 && y[3..] == [0.0; 13]);
    }
}
