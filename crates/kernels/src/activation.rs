//! Pointwise nonlinearities and their derivatives.

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
            Function::Gelu => map(input, output, |x| (f64::from(x) * normal_distribution(f64::from(x))) as f32),
            Function::Elu => map(input, output, |x| if x > 0.0 { x } else { x.exp_m1() }),
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
                let x = f64::from(x);
                let density = (-0.5 * x * x).exp() * 0.398_942_280_401_432_7;
                dy * (normal_distribution(x) + x * density) as f32
            }),
            Function::Elu => {
                zip(input, output_gradient, input_gradient, |x, dy| if x > 0.0 { dy } else { dy * x.exp() });
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
        for (&bits, lanes) in mask.iter().zip(gradient.chunks_exact_mut(crate::LANES)) {
            for (lane, value) in lanes.iter_mut().enumerate() {
                *value = if bits >> lane & 1 == 1 { *value } else { 0.0 };
            }
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
    1.0 / (1.0 + (-x).exp())
}

/// `ln(1 + exp(x))` that neither overflows nor loses small values.
#[inline(always)]
fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The normal distribution function, relative error below 1.3e-7 everywhere: finer than f32 itself in the tail.
///
/// Source: Press et al., Numerical Recipes, 2nd edition, `erfcc`.
#[inline(always)]
fn normal_distribution(x: f64) -> f64 {
    let z = x.abs() * std::f64::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * z);
    const COEFFICIENTS: [f64; 10] = [
        0.17087277,
        -0.82215223,
        1.48851587,
        -1.13520398,
        0.27886807,
        -0.18628806,
        0.09678418,
        0.37409196,
        1.00002368,
        -1.26551223,
    ];
    let polynomial = COEFFICIENTS.into_iter().fold(0.0, |sum, c| sum * t + c);
    let tail = 0.5 * t * (polynomial - z * z).exp();
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
                assert!((y - expected).abs() <= 2e-7, "{function:?}({x}) = {y}, not {expected}");
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
