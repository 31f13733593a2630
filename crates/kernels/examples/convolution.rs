//! Prints GFLOP/s and the share of this thread's own multiply-add peak for the convolutions of common networks.
//!
//! `cargo run --release -p kernels --example convolution [images] [isa] [part of a row's name]`: best of several runs on random data (never on
//! zeros: the clock depends on the data). `ALGORITHM=direct` or `local` in the environment takes another. FLOPs are nominal, taps in the border included.

use kernels::convolution::{
    Algorithm, Direction, Epilogue, GradientEpilogue, Scratch, backward_data, backward_weight,
    forward, pack,
};
use kernels::{ConvolutionShape, Isa, padded, peak};
use std::time::Instant;

/// Unless `RUNS` in the environment says otherwise; a shared machine needs more of them.
const RUNS: usize = 9;
/// Milliseconds of work at most.
const PEAK_ROUNDS: usize = 200_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let images = arguments.first().map_or(8, |n| n.parse().expect("images is a number"));
    for isa in Isa::available() {
        if arguments.get(1).is_none_or(|name| name == isa.name()) {
            table(isa, images, arguments.get(2).map_or("", String::as_str));
        }
    }
}

fn table(isa: Isa, images: usize, only: &str) {
    let bound = best(isa, || ()).peak / 1e9;
    println!("{isa}: peak {bound:.0} GFLOP/s, {images} images, one thread, best of {}", runs());
    println!("{:34}{:>16}{:>16}{:>16}", "", "forward", "by data", "by weight");
    for shape in shapes() {
        let flops = (shape.flops() * images as u64) as f64;
        let ConvolutionShape { in_channels, out_channels, height, kernel, stride, .. } = shape;
        let name = format!(
            "{in_channels:>4} -> {out_channels:<4} @{height:<3} {kernel}x{kernel}/{stride}"
        );
        if !name.contains(only) {
            continue;
        }
        let timings = measure(isa, &shape, images);
        let cells = timings.map(|timing| {
            let rate = flops / timing.seconds;
            format!("{:>8.1} {:>5.1}% ", rate / 1e9, 100.0 * rate / timing.peak)
        });
        println!("{name:34}{}", cells.join(" "));
    }
}

/// ResNet-18 with the CIFAR stem, then narrow networks on 28x28 and 32x32 images.
fn shapes() -> Vec<ConvolutionShape> {
    let square = |in_channels, out_channels, side, kernel, stride| ConvolutionShape {
        in_channels,
        in_stride: padded(in_channels),
        height: side,
        width: side,
        out_channels,
        kernel,
        stride,
        padding: kernel / 2,
    };
    vec![
        square(3, 64, 32, 3, 1),
        square(64, 64, 32, 3, 1),
        square(64, 128, 32, 3, 2),
        square(64, 128, 32, 1, 2),
        square(128, 128, 16, 3, 1),
        square(128, 256, 16, 3, 2),
        square(256, 256, 8, 3, 1),
        square(256, 512, 8, 3, 2),
        square(256, 512, 8, 1, 2),
        square(512, 512, 4, 3, 1),
        square(256, 64, 32, 1, 1),
        square(64, 256, 32, 1, 1),
        square(1024, 256, 8, 1, 1),
        square(512, 2048, 4, 1, 1),
        square(3, 64, 224, 7, 2),
        square(1, 16, 28, 3, 1),
        square(16, 16, 28, 3, 1),
        square(16, 16, 32, 3, 1),
        square(16, 32, 32, 3, 2),
        square(32, 32, 16, 3, 1),
        square(64, 64, 8, 3, 1),
    ]
}

fn measure(isa: Isa, shape: &ConvolutionShape, images: usize) -> [Timing; 3] {
    let input = random(images * shape.input_len());
    let gradient = random(images * shape.output_len());
    let weights = random(shape.weight_len());
    let mut output = random(images * shape.output_len());
    let mut input_gradient = random(images * shape.input_gradient_len());
    let mut sums = random(shape.out_panels() * shape.panel_len());
    let (ahead, back) = {
        let algorithm = match std::env::var("ALGORITHM").as_deref() {
            Ok("direct") => Algorithm::Direct,
            Ok("local") => Algorithm::local(shape),
            Ok(other) => panic!("ALGORITHM is {other}: direct, local or unset, the fastest"),
            Err(_) => Algorithm::fastest(shape),
        };
        (
            pack(shape, &weights, Direction::Forward, algorithm),
            pack(shape, &weights, Direction::BackwardData, algorithm),
        )
    };
    let scratch = &mut Scratch::new();
    [
        best(isa, || {
            forward(isa, shape, images, &input, &ahead, &mut output, Epilogue::NONE, scratch)
        }),
        best(isa, || {
            let bare = GradientEpilogue::NONE;
            backward_data(isa, shape, images, &gradient, &back, &mut input_gradient, bare, scratch);
        }),
        best(isa, || {
            let panels = 0..shape.out_panels();
            backward_weight(isa, shape, images, &input, &gradient, panels, &mut sums, scratch);
        }),
    ]
}

/// Seconds of the fastest of several runs of the work, and of the peak loop beside each of them: other work on the
/// machine can only add time, and the clock wanders.
fn best(isa: Isa, mut work: impl FnMut()) -> Timing {
    let mut timing = Timing { seconds: f64::INFINITY, peak: 0.0 };
    for _ in 0..runs() {
        let start = Instant::now();
        let flops = peak::multiply_add(isa, PEAK_ROUNDS);
        timing.peak = timing.peak.max(flops as f64 / start.elapsed().as_secs_f64());
        let start = Instant::now();
        work();
        timing.seconds = timing.seconds.min(start.elapsed().as_secs_f64());
    }
    timing
}

fn runs() -> usize {
    std::env::var("RUNS").map_or(RUNS, |text| text.parse().expect("RUNS is a number"))
}

struct Timing {
    seconds: f64,
    peak: f64,
}

fn random(n: usize) -> Vec<f32> {
    let mut state = n as u64;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}
