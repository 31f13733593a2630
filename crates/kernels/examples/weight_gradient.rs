//! Prints how fast weight gradients in half precision are, for the layers of ResNet-18 on 32x32 images.
//!
//! `cargo run --release -p kernels --example weight_gradient [images]`: one thread, best of several runs, random data.

use kernels::bf16::{Inputs, WeightGradient, WeightScratch, weight_gradient, weight_sums_len};
use kernels::half::{CellLayout, Columns, from_f32};
use kernels::{ConvolutionShape, Isa};
use std::time::Instant;

const RUNS: usize = 40;

fn main() {
    let images: usize = std::env::args().nth(1).map_or(64, |n| n.parse().expect("a number"));
    let isa = Isa::best().expect("an instruction set");
    println!("{isa}, {images} images, best of {RUNS}, one thread");
    for (channels, out, side, kernel, stride) in [
        (3, 64, 32, 3, 1),
        (64, 64, 32, 3, 1),
        (64, 128, 32, 3, 2),
        (64, 128, 32, 1, 2),
        (128, 128, 16, 3, 1),
        (256, 256, 8, 3, 1),
        (512, 512, 4, 3, 1),
        (16, 16, 28, 3, 1),
        (256, 64, 28, 1, 1),
    ] {
        let shape = ConvolutionShape {
            in_channels: channels,
            in_stride: channels,
            height: side,
            width: side,
            out_channels: out,
            kernel,
            stride,
            padding: kernel / 2,
        };
        let layout = |channels: usize, width: usize| CellLayout {
            channels,
            height: width,
            width,
            images: (16 / width).clamp(1, 16).next_power_of_two(),
            border: 1,
            columns: Columns::Together,
        };
        let (from, to) = (layout(channels, side), layout(out, shape.out_width()));
        let (values, gradient) = (random(from.len(images), 1), random(to.len(images), 2));
        let job = WeightGradient {
            shape,
            images,
            run: images,
            inputs: Inputs::Cells { layout: from, runs: &[&values] },
            layout: to,
            gradients: &[&gradient],
        };
        let panels = 0..shape.out_panels();
        let mut sums = vec![0.0; weight_sums_len(&shape, panels.len())];
        let mut scratch = WeightScratch::default();
        let seconds = (0..RUNS)
            .map(|_| {
                let start = Instant::now();
                weight_gradient(isa, &job, panels.clone(), &mut sums, &mut scratch);
                start.elapsed().as_secs_f64()
            })
            .fold(f64::INFINITY, f64::min);
        let rate = shape.flops() as f64 * images as f64 / seconds / 1e9;
        println!(
            "{channels:4} -> {out:4} at {side:2}, {kernel}x{kernel} / {stride}: {:8.3} ms {rate:6.0} GFLOP/s",
            seconds * 1e3
        );
    }
}

fn random(n: usize, seed: u64) -> Vec<u16> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            from_f32((state >> 40) as f32 / (1 << 23) as f32 - 1.0)
        })
        .collect()
}
