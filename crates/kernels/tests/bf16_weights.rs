//! The weight gradient in half precision against f64, over odd sizes and on every instruction set.

use kernels::bf16::{
    Inputs, WeightGradient, WeightScratch, unpack_weight_sums, weight_gradient, weight_sums_len,
};
use kernels::half::{CELL, CellLayout, Columns, from_f32, to_f32};
use kernels::{ConvolutionShape, Isa};

/// bf16 numbers, so that rounding is no part of the comparison.
fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            to_f32(from_f32((state >> 40) as f32 / (1 << 23) as f32 - 1.0))
        })
        .collect()
}

fn layout(channels: usize, height: usize, width: usize, images: usize) -> CellLayout {
    CellLayout { channels, height, width, images, border: 1, columns: Columns::Together }
}

/// `[images, channels, height, width]` in cells; everything else stays zero.
fn cells(layout: CellLayout, images: usize, values: &[f32]) -> Vec<u16> {
    let mut cells = vec![0; layout.len(images)];
    let mut values = values.iter();
    for image in 0..images {
        for channel in 0..layout.channels {
            for row in 0..layout.height {
                for column in 0..layout.width {
                    let cell = layout.cell(row, column as isize, 0)
                        + layout.image_cells(image)
                        + channel / CELL * layout.plane_cells();
                    cells[cell * CELL + channel % CELL] = from_f32(*values.next().unwrap());
                }
            }
        }
    }
    cells
}

fn reference(s: &ConvolutionShape, images: usize, x: &[f32], dy: &[f32]) -> Vec<f64> {
    let mut dw = vec![0.0; s.weight_len()];
    let (oh, ow, k) = (s.out_height(), s.out_width(), s.kernel);
    for n in 0..images {
        for (w, sum) in dw.iter_mut().enumerate() {
            let (o, c, ky, kx) =
                (w / (s.in_channels * k * k), w / (k * k) % s.in_channels, w / k % k, w % k);
            for y in 0..oh {
                let iy = (y * s.stride + ky).wrapping_sub(s.padding);
                for ox in 0..ow {
                    let ix = (ox * s.stride + kx).wrapping_sub(s.padding);
                    if iy < s.height && ix < s.width {
                        let x = x[((n * s.in_channels + c) * s.height + iy) * s.width + ix];
                        let dy = dy[((n * s.out_channels + o) * oh + y) * ow + ox];
                        *sum += f64::from(x) * f64::from(dy);
                    }
                }
            }
        }
    }
    dw
}

fn shape(
    (in_channels, out_channels): (usize, usize),
    (height, width): (usize, usize),
    (kernel, stride, padding): (usize, usize, usize),
) -> ConvolutionShape {
    ConvolutionShape {
        in_channels,
        in_stride: in_channels,
        height,
        width,
        out_channels,
        kernel,
        stride,
        padding,
    }
}

fn shapes() -> Vec<(ConvolutionShape, usize)> {
    vec![
        (shape((1, 16), (7, 5), (3, 1, 1)), 3),
        (shape((3, 40), (9, 9), (7, 2, 3)), 2),
        (shape((16, 16), (28, 28), (3, 1, 1)), 2),
        (shape((48, 33), (4, 4), (3, 1, 1)), 9),
        (shape((20, 70), (8, 8), (3, 2, 1)), 5),
        (shape((64, 17), (7, 7), (1, 1, 0)), 35),
        (shape((32, 64), (5, 6), (1, 2, 0)), 1),
        (shape((17, 31), (3, 40), (3, 3, 0)), 4),
        (shape((16, 64), (1, 1), (1, 1, 0)), 70),
    ]
}

/// f32 chains of up to 3,000 products of values up to 1.
const TOLERANCE: f64 = 2e-4;

#[test]
fn weight_gradients_agree_with_f64_over_odd_sizes() {
    for (s, images) in shapes() {
        let x = random(images * s.in_channels * s.height * s.width, 1);
        let dy = random(images * s.out_channels * s.out_height() * s.out_width(), 2);
        let expected = reference(&s, images, &x, &dy);
        let out = layout(s.out_channels, s.out_height(), s.out_width(), 4);
        let gradient = cells(out, images, &dy);
        for isa in Isa::available() {
            for interleaved in [1, 2, 8] {
                let layout = layout(s.in_channels, s.height, s.width, interleaved);
                let values = cells(layout, images, &x);
                let inputs = Inputs::Cells { layout, runs: &[&values] };
                let job = WeightGradient {
                    shape: s,
                    images,
                    run: images,
                    inputs,
                    layout: out,
                    gradients: &[&gradient],
                };
                let mut scratch = WeightScratch::default();
                let mut weights = vec![0.0; s.weight_len()];
                let middle = s.out_panels() / 2;
                for panels in [0..middle, middle..s.out_panels()] {
                    let mut sums = vec![0.0; weight_sums_len(&s, panels.len())];
                    weight_gradient(isa, &job, panels.clone(), &mut sums, &mut scratch);
                    let row = s.in_channels * s.kernel * s.kernel;
                    let rows = panels.start * 16 * row..(panels.end * 16 * row).min(weights.len());
                    unpack_weight_sums(isa, &s, panels.len(), &sums, &mut weights[rows]);
                }
                for (at, (found, expected)) in weights.iter().zip(&expected).enumerate() {
                    assert!(
                        (f64::from(*found) - expected).abs() < TOLERANCE,
                        "{isa}, {interleaved} images, {s:?}, weight {at}: {found} {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn images_that_were_never_cells_give_the_same_bits() {
    let s = shape((3, 32), (6, 7), (3, 1, 1));
    let images = 5;
    let x = random(images * 3 * 42, 1);
    let mut pixels = vec![0.0; x.len()];
    kernels::layout::nchw_to_nhwc(3, 42, &x, 3, &mut pixels);
    let out = layout(32, 6, 7, 1);
    let gradient = cells(out, images, &random(images * 32 * 42, 2));
    let layout = layout(3, 6, 7, 1);
    let values = cells(layout, images, &x);
    for isa in Isa::available() {
        let all = [Inputs::Cells { layout, runs: &[&values] }, Inputs::Pixels(&[&pixels])];
        let sums = all.map(|inputs| {
            let gradients = &[&gradient[..]];
            let job =
                WeightGradient { shape: s, images, run: images, inputs, layout: out, gradients };
            let mut sums = vec![0.0; weight_sums_len(&s, 2)];
            weight_gradient(isa, &job, 0..2, &mut sums, &mut WeightScratch::default());
            sums
        });
        assert_eq!(sums[0], sums[1], "{isa}");
    }
}

#[test]
fn runs_of_images_give_the_bits_of_one_run() {
    let s = shape((40, 48), (4, 5), (3, 1, 1));
    let images = 7;
    let (x, dy) = (random(images * 40 * 20, 1), random(images * 48 * 20, 2));
    let (from, to) = (layout(40, 4, 5, 2), layout(48, 4, 5, 1));
    for isa in Isa::available() {
        let sums = [7, 3].map(|run| {
            let cut = |layout: CellLayout, values: &[f32]| -> Vec<Vec<u16>> {
                let runs = values.chunks(run * values.len() / images);
                runs.map(|one| cells(layout, one.len() * images / values.len(), one)).collect()
            };
            let (inputs, gradients) = (cut(from, &x), cut(to, &dy));
            let inputs: Vec<&[u16]> = inputs.iter().map(Vec::as_slice).collect();
            let gradients: Vec<&[u16]> = gradients.iter().map(Vec::as_slice).collect();
            let inputs = Inputs::Cells { layout: from, runs: &inputs };
            let gradients = &gradients[..];
            let job = WeightGradient { shape: s, images, run, inputs, layout: to, gradients };
            let mut sums = vec![0.0; weight_sums_len(&s, 3)];
            weight_gradient(isa, &job, 0..3, &mut sums, &mut WeightScratch::default());
            sums
        });
        assert_eq!(sums[0], sums[1], "{isa}");
    }
}
