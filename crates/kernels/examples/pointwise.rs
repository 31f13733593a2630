//! Prints what normalisation, activation and pooling cost for each value, beside a plain copy.
//!
//! `cargo run --release -p kernels --example pointwise [isa]`: best of several runs on random data.

use kernels::activation::{self, Function};
use kernels::norm::{self, BackwardCoefficients};
use kernels::{Isa, Relu, pooling};
use std::time::Instant;

const RUNS: usize = 15;
const STRIDE: usize = 64;
const PIXELS: usize = 1024;

fn main() {
    let only = std::env::args().nth(1);
    for isa in Isa::available() {
        if only.as_ref().is_none_or(|name| name == isa.name()) {
            table(isa);
        }
    }
}

fn table(isa: Isa) {
    println!("{isa}: picoseconds for each of {PIXELS} x {STRIDE} values, best of {RUNS}");
    let (x, dy) = (random(1), random(2));
    let mut y = random(3);
    let (mut first, mut second) = (vec![0.0; STRIDE], vec![0.0; STRIDE]);
    let (mean, deviation) = (vec![0.1; STRIDE], vec![1.7; STRIDE]);
    let factor = random(4)[..STRIDE].to_vec();
    let affine = norm::Affine { centre: &factor, factor: &factor, shift: &factor };
    let mut mask = vec![0; y.len() / 16];
    report("copy", || y.copy_from_slice(&x));
    report("norm: sums", || norm::sums(isa, &x, &mut first));
    report("norm: centred squares", || norm::centred_squares(isa, &x, &mean, &mut second));
    report("norm: apply", || {
        norm::apply(isa, &x, affine, None, Relu::No, None, &mut y);
    });
    report("norm: apply, add, ReLU, mask", || {
        norm::apply(isa, &x, affine, Some(&dy), Relu::Yes, Some(&mut mask), &mut y);
    });
    report("norm: backward sums", || {
        norm::backward_sums(isa, &x, &dy, &mean, &deviation, &mut first, &mut second);
    });
    let coefficients =
        BackwardCoefficients::batch(&factor, &mean, &deviation, &first, &second, PIXELS);
    report("norm: backward apply", || norm::backward_apply(isa, &coefficients, &x, &dy, &mut y));
    for function in [
        Function::Relu,
        Function::Silu,
        Function::SmoothRelu { beta: 10.0 },
        Function::Gelu,
        Function::Elu,
    ] {
        report(&format!("{function:?}"), || {
            activation::forward(isa, function, STRIDE, STRIDE, &x, &mut y);
        });
        report(&format!("{function:?}: backward"), || {
            activation::backward(isa, function, &x, &dy, &mut y);
        });
    }
    report("mask", || activation::apply_mask(isa, &mask, &mut y));
    report("average pool", || pooling::average_forward(isa, PIXELS, STRIDE, &x, &mut y[..STRIDE]));
}

fn report(name: &str, mut work: impl FnMut()) {
    let mut seconds = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        work();
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    println!("  {name:36}{:>8.0}", seconds * 1e12 / (PIXELS * STRIDE) as f64);
}

fn random(seed: u64) -> Vec<f32> {
    let mut state = seed;
    (0..PIXELS * STRIDE)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 22) as f32 - 2.0
        })
        .collect()
}
