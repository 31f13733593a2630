//! Every instruction set against a plain loop in f64, over odd sizes; and the same bits in every batch.

use kernels::convolution::{
    Add, Algorithm, Direction, Epilogue, GradientEpilogue, Packed, Scratch, backward_data,
    backward_weight, forward, pack, unpack_weight_gradient,
};
use kernels::layout::{nchw_to_nhwc, nhwc_to_nchw};
use kernels::{ConvolutionShape, Isa, Relu, padded};

/// Sums of up to 7*7*48 products of values up to 1: f32 chains stay within 1e-5 of f64 (n * 2^-24 at worst, less by
/// chance); the weight gradient sums 405 pixels.
const TOLERANCE: f64 = 2e-5;

fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// A case in PyTorch's layout: `x` `[images, in, h, w]`, `weight` `[out, in, k, k]`, `dy` `[images, out, oh, ow]`.
struct Case {
    shape: ConvolutionShape,
    algorithm: Algorithm,
    images: usize,
    x: Vec<f32>,
    weight: Vec<f32>,
    dy: Vec<f32>,
}

impl Case {
    fn new(shape: ConvolutionShape, images: usize) -> Self {
        let outputs = shape.out_channels * shape.out_height() * shape.out_width();
        Self {
            shape,
            algorithm: Algorithm::Direct,
            images,
            x: random(images * shape.in_channels * shape.height * shape.width, 1),
            weight: random(shape.weight_len(), 2),
            dy: random(images * outputs, 3),
        }
    }

    fn fastest(shape: ConvolutionShape, images: usize) -> Self {
        Self { algorithm: Algorithm::fastest(&shape), ..Self::new(shape, images) }
    }

    fn packed(&self, direction: Direction) -> Packed {
        pack(&self.shape, &self.weight, direction, self.algorithm)
    }

    /// The seven loops: calls `visit(x index, weight index, y index)` for every product.
    fn products(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let s = &self.shape;
        let (oh, ow, k) = (s.out_height(), s.out_width(), s.kernel);
        for n in 0..self.images {
            for o in 0..s.out_channels {
                for y in 0..oh {
                    for x in 0..ow {
                        for c in 0..s.in_channels {
                            for ky in 0..k {
                                for kx in 0..k {
                                    let iy = (y * s.stride + ky) as isize - s.padding as isize;
                                    let ix = (x * s.stride + kx) as isize - s.padding as isize;
                                    if (0..s.height as isize).contains(&iy)
                                        && (0..s.width as isize).contains(&ix)
                                    {
                                        visit(
                                            ((n * s.in_channels + c) * s.height + iy as usize)
                                                * s.width
                                                + ix as usize,
                                            ((o * s.in_channels + c) * k + ky) * k + kx,
                                            ((n * s.out_channels + o) * oh + y) * ow + x,
                                        );
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// `(y, dx, dw)` in f64.
    fn reference(&self) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let mut y = vec![0.0; self.dy.len()];
        let mut dx = vec![0.0; self.x.len()];
        let mut dw = vec![0.0; self.weight.len()];
        let product = |a: f32, b: f32| f64::from(a) * f64::from(b);
        self.products(|i, w, o| {
            y[o] += product(self.x[i], self.weight[w]);
            dx[i] += product(self.dy[o], self.weight[w]);
            dw[w] += product(self.x[i], self.dy[o]);
        });
        (y, dx, dw)
    }

    fn input(&self) -> Vec<f32> {
        let s = &self.shape;
        let mut input = vec![0.0; self.images * s.input_len()];
        nchw_to_nhwc(s.in_channels, s.height * s.width, &self.x, s.in_stride, &mut input);
        input
    }

    fn output_gradient(&self) -> Vec<f32> {
        let s = &self.shape;
        let mut gradient = vec![0.0; self.images * s.output_len()];
        let pixels = s.out_height() * s.out_width();
        nchw_to_nhwc(s.out_channels, pixels, &self.dy, s.out_stride(), &mut gradient);
        gradient
    }

    /// Output of the bare convolution of images `range`, channels last.
    fn forward(&self, isa: Isa, range: std::ops::Range<usize>) -> Vec<f32> {
        let s = &self.shape;
        let input = &self.input()[range.start * s.input_len()..range.end * s.input_len()];
        let mut output = vec![f32::NAN; range.len() * s.output_len()];
        let packed = self.packed(Direction::Forward);
        let scratch = &mut Scratch::new();
        forward(isa, s, range.len(), input, &packed, &mut output, Epilogue::NONE, scratch);
        output
    }

    fn backward_data(&self, isa: Isa, range: std::ops::Range<usize>) -> Vec<f32> {
        let s = &self.shape;
        let dy = &self.output_gradient()[range.start * s.output_len()..range.end * s.output_len()];
        let mut dx = vec![f32::NAN; range.len() * s.input_gradient_len()];
        let packed = self.packed(Direction::BackwardData);
        let scratch = &mut Scratch::new();
        let bare = GradientEpilogue::NONE;
        backward_data(isa, s, range.len(), dy, &packed, &mut dx, bare, scratch);
        dx
    }

    /// The packed gradient, added onto zeros in calls of `per_call` images, by tasks of `panels_per_task` panels.
    fn backward_weight(&self, isa: Isa, per_call: usize, panels_per_task: usize) -> Vec<f32> {
        let s = &self.shape;
        let (input, dy) = (self.input(), self.output_gradient());
        let mut gradient = vec![0.0; s.out_panels() * s.panel_len()];
        let scratch = &mut Scratch::new();
        let tasks = gradient.chunks_mut(panels_per_task * s.panel_len());
        for (task, part) in tasks.enumerate() {
            let first = task * panels_per_task;
            let panels = first..first + part.len() / s.panel_len();
            for image in (0..self.images).step_by(per_call) {
                let n = per_call.min(self.images - image);
                let x = &input[image * s.input_len()..][..n * s.input_len()];
                let dy = &dy[image * s.output_len()..][..n * s.output_len()];
                backward_weight(isa, s, n, x, dy, panels.clone(), part, scratch);
            }
        }
        gradient
    }
}

fn shape(
    channels: (usize, usize),
    map: (usize, usize),
    window: (usize, usize, usize),
) -> ConvolutionShape {
    ConvolutionShape {
        in_channels: channels.0,
        in_stride: padded(channels.0),
        height: map.0,
        width: map.1,
        out_channels: channels.1,
        kernel: window.0,
        stride: window.1,
        padding: window.2,
    }
}

/// Channels, maps, kernels, strides, paddings and batches that are no multiple of anything.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let channels = [1, 3, 5, 16, 17, 33, 48, 2, 4];
    let windows = [
        (1, 1, 0),
        (1, 2, 0),
        (1, 3, 0),
        (1, 1, 1),
        (3, 1, 1),
        (3, 2, 1),
        (3, 3, 1),
        (3, 1, 0),
        (3, 2, 0),
        (5, 1, 2),
        (5, 2, 2),
        (5, 3, 1),
        (7, 2, 3),
        (7, 1, 3),
        (7, 3, 0),
        (3, 1, 2),
        (3, 2, 3),
        (2, 2, 0),
        (2, 1, 1),
    ];
    let maps = [(1, 1), (2, 2), (3, 5), (4, 4), (7, 6), (8, 8), (9, 9), (9, 4), (1, 9)];
    let mut index = 0;
    for window in windows {
        for (m, map) in maps.into_iter().enumerate() {
            let (kernel, _, padding) = window;
            if map.0 + 2 * padding < kernel || map.1 + 2 * padding < kernel {
                continue;
            }
            index += 1;
            let pair = (channels[index % 9], channels[(index * 5 + m) % 9]);
            let mut geometry = shape(pair, map, window);
            if index % 3 == 0 {
                geometry.in_stride = geometry.in_channels; // as the images of the first layer
            }
            cases.push(Case::new(geometry, 1 + index % 5));
        }
    }
    let channels = [(32, 48), (33, 64), (49, 40), (64, 32), (80, 37)];
    let narrow = [(16, 17), (31, 16), (16, 16), (40, 33), (17, 20)];
    for (m, map) in [(2, 1), (13, 27), (12, 8), (6, 7)].into_iter().chain(maps).enumerate() {
        for (channels, algorithm) in
            [(channels[m % 5], Algorithm::Winograd2), (narrow[m % 5], Algorithm::Winograd4)]
        {
            let shape = shape(channels, map, (3, 1, 1));
            cases.push(Case { algorithm, ..Case::new(shape, 1 + m % 4) });
        }
    }
    cases
}

fn assert_close(what: &str, case: &Case, isa: Isa, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1.0_f64, |max, x| max.max(x.abs()));
    for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let distance = (f64::from(found) - expected).abs() / scale;
        assert!(
            distance < TOLERANCE,
            "{what} {isa} {:?} images {}: [{i}] is {found}, not {expected}",
            case.shape,
            case.images
        );
    }
}

#[test]
fn g10_forward_and_both_backwards_agree_with_the_plain_loops_on_every_instruction_set() {
    for case in cases() {
        let (y, dx, dw) = case.reference();
        let s = &case.shape;
        for isa in Isa::available() {
            let output = case.forward(isa, 0..case.images);
            let mut planar = vec![0.0; y.len()];
            let pixels = s.out_height() * s.out_width();
            nhwc_to_nchw(s.out_channels, pixels, s.out_stride(), &output, &mut planar);
            assert_close("forward", &case, isa, &planar, &y);
            assert_padding_is_zero(&output, s.out_channels, s.out_stride());

            let gradient = case.backward_data(isa, 0..case.images);
            let mut planar = vec![0.0; dx.len()];
            let stride = s.input_gradient_stride();
            nhwc_to_nchw(s.in_channels, s.height * s.width, stride, &gradient, &mut planar);
            assert_close("backward data", &case, isa, &planar, &dx);
            assert_padding_is_zero(&gradient, s.in_channels, stride);

            let gradient = unpack_weight_gradient(s, &case.backward_weight(isa, 5, 1));
            assert_close("backward weight", &case, isa, &gradient, &dw);
        }
    }
}

fn assert_padding_is_zero(values: &[f32], channels: usize, stride: usize) {
    for pixel in values.chunks_exact(stride) {
        assert!(pixel[channels..].iter().all(|&x| x == 0.0), "padded channels must stay zero");
    }
}

#[test]
fn g7_an_image_alone_gives_the_bits_it_gives_in_a_batch_of_five() {
    for (channels, map, window) in [
        ((3, 17), (9, 9), (3, 1, 1)),
        ((17, 48), (5, 5), (3, 2, 1)),
        ((33, 16), (2, 2), (3, 1, 1)),
        ((48, 33), (7, 7), (1, 2, 0)),
        ((64, 64), (32, 32), (3, 1, 1)), // more than one tile
        ((33, 70), (7, 7), (3, 1, 1)),
    ] {
        let case = Case::fastest(shape(channels, map, window), 5);
        for isa in Isa::available() {
            let (together, gradients) = (case.forward(isa, 0..5), case.backward_data(isa, 0..5));
            for range in [0..1, 1..2, 2..4, 4..5] {
                let (first, last) = (range.start, range.end);
                let length = case.shape.output_len();
                assert!(
                    case.forward(isa, range.clone()) == together[first * length..last * length]
                );
                let length = case.shape.input_gradient_len();
                assert!(case.backward_data(isa, range) == gradients[first * length..last * length]);
            }
        }
    }
}

#[test]
fn g7_the_weight_gradient_has_the_same_bits_however_panels_and_images_are_split() {
    for (channels, map, window) in [
        ((3, 48), (9, 9), (3, 1, 1)),
        ((17, 48), (4, 4), (3, 1, 1)),
        ((16, 33), (2, 2), (3, 1, 1)),
        ((33, 64), (1, 1), (1, 1, 0)),
    ] {
        let case = Case::new(shape(channels, map, window), 5);
        for isa in Isa::available() {
            let whole = case.backward_weight(isa, 5, case.shape.out_panels());
            for (per_call, panels) in [(1, 1), (2, 2), (3, 1), (5, 2)] {
                assert!(case.backward_weight(isa, per_call, panels) == whole, "{isa} {channels:?}");
            }
        }
    }
}

#[test]
fn the_forward_epilogue_is_bias_then_addition_then_relu_then_mask() {
    for channels in [(5, 33), (34, 33)] {
        the_epilogue_of(&Case::fastest(shape(channels, (7, 5), (3, 1, 1)), 3));
    }
}

fn the_epilogue_of(case: &Case) {
    let s = &case.shape;
    let bias = random(s.out_channels, 7);
    let packed = case.packed(Direction::Forward);
    for isa in Isa::available() {
        let bare = case.forward(isa, 0..3);
        let other = random(bare.len(), 8);
        for add in [Add::Nothing, Add::Other(&other), Add::Output] {
            let mut output = other.clone();
            let mut mask = vec![0; output.len() / 16];
            let epilogue =
                Epilogue { bias: Some(&bias), add, relu: Relu::Yes, mask: Some(&mut mask) };
            let scratch = &mut Scratch::new();
            forward(isa, s, 3, &case.input(), &packed, &mut output, epilogue, scratch);
            for i in 0..bare.len() {
                let mut value = bare[i] + bias.get(i % s.out_stride()).unwrap_or(&0.0);
                if add != Add::Nothing {
                    value += other[i];
                }
                assert_eq!(output[i], value.max(0.0));
                assert_eq!(mask[i / 16] >> (i % 16) & 1 == 1, value > 0.0);
            }
        }
    }
}

#[test]
fn the_gradient_epilogue_is_addition_then_mask_also_where_a_stride_leaves_no_taps() {
    for (outs, window) in [(17, (3, 1, 1)), (35, (3, 1, 1)), (17, (3, 2, 1)), (17, (1, 2, 0))] {
        let case = Case::fastest(shape((33, outs), (7, 5), window), 3);
        let s = &case.shape;
        let packed = case.packed(Direction::BackwardData);
        for isa in Isa::available() {
            let bare = case.backward_data(isa, 0..3);
            let other = random(bare.len(), 8);
            let mask: Vec<u16> =
                random(bare.len() / 16, 9).iter().map(|x| x.to_bits() as u16).collect();
            for add in [Add::Nothing, Add::Other(&other), Add::Output] {
                let mut dx = other.clone();
                let epilogue = GradientEpilogue { add, mask: Some(&mask) };
                let scratch = &mut Scratch::new();
                backward_data(
                    isa,
                    s,
                    3,
                    &case.output_gradient(),
                    &packed,
                    &mut dx,
                    epilogue,
                    scratch,
                );
                for i in 0..bare.len() {
                    let sum = if add == Add::Nothing { bare[i] } else { bare[i] + other[i] };
                    let kept = mask[i / 16] >> (i % 16) & 1 == 1;
                    assert_eq!(dx[i], if kept { sum } else { 0.0 });
                }
            }
        }
    }
}

#[test]
fn a_network_that_broke_shows_its_nan_through_the_relu() {
    let mut case = Case::new(shape((3, 5), (4, 4), (3, 1, 1)), 1);
    case.x[0] = f32::NAN;
    let packed = case.packed(Direction::Forward);
    for isa in Isa::available() {
        let mut output = vec![0.0; case.shape.output_len()];
        let epilogue = Epilogue { relu: Relu::Yes, ..Epilogue::NONE };
        let scratch = &mut Scratch::new();
        forward(isa, &case.shape, 1, &case.input(), &packed, &mut output, epilogue, scratch);
        assert!(output[0].is_nan(), "{isa}");
    }
}

/// Root of the mean squared error in units of the results' own root mean square.
fn error_of(case: &Case, isa: Isa) -> f64 {
    let (y, _, _) = case.reference();
    let output = case.forward(isa, 0..case.images);
    let mut planar = vec![0.0; y.len()];
    let s = &case.shape;
    let pixels = s.out_height() * s.out_width();
    nhwc_to_nchw(s.out_channels, pixels, s.out_stride(), &output, &mut planar);
    let squares = planar.iter().zip(&y).map(|(&found, y)| (f64::from(found) - y).powi(2));
    (squares.sum::<f64>() / y.iter().map(|y| y * y).sum::<f64>()).sqrt()
}

#[test]
fn fewer_multiplications_are_no_less_exact_than_the_plain_sum_or_hardly() {
    let shape = shape((256, 48), (8, 8), (3, 1, 1));
    for isa in Isa::available() {
        let [plain, two, four] = [Algorithm::Direct, Algorithm::Winograd2, Algorithm::Winograd4]
            .map(|algorithm| error_of(&Case { algorithm, ..Case::new(shape, 1) }, isa));
        // The plain sum is one chain of 2304 products, the others sixteen or thirty-six of 256 that are then added up.
        assert!(two < plain, "{isa}: {two:e}, plain {plain:e}");
        assert!(four < 3.0 * plain, "{isa}: {four:e}, plain {plain:e}");
    }
}
