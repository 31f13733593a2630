//! Normalisation over cells against the f32 kernels on the same numbers, over odd sizes and interleaved images.

use kernels::activation::{self, Function};
use kernels::bf16::activation::{Rows, Summands};
use kernels::bf16::{self, ImageCells, image_norm, norm as half};
use kernels::half::{Adds, CellLayout, Columns, from_cells, from_f32, to_cells, to_f32};
use kernels::norm::{self, Affine, BackwardCoefficients};
use kernels::{Isa, Relu, padded};

fn random(n: usize, seed: u64, offset: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            to_f32(from_f32((state >> 40) as f32 / (1 << 23) as f32 - 1.0 + offset))
        })
        .collect()
}

/// Images in cells and the same channels last, padded channels zero.
struct Values {
    layout: CellLayout,
    images: usize,
    stride: usize,
    cells: Vec<u16>,
    rows: Vec<f32>,
}

impl Values {
    fn new(layout: CellLayout, images: usize, seed: u64, offset: f32) -> Self {
        let stride = padded(layout.channels);
        let pixels = images * layout.height * layout.width;
        let mut rows = random(pixels * stride, seed, offset);
        for row in rows.chunks_exact_mut(stride) {
            row[layout.channels..].fill(0.0);
        }
        let mut cells = vec![0; layout.len(images)];
        to_cells(Isa::Portable, &layout, images, stride, &rows, &mut cells);
        Self { layout, images, stride, cells, rows }
    }

    fn image(&self, image: usize) -> &[f32] {
        let length = self.layout.height * self.layout.width * self.stride;
        &self.rows[image * length..][..length]
    }

    fn one(&self, image: usize) -> ImageCells<&[u16]> {
        ImageCells { layout: self.layout, image, values: &self.cells }
    }

    /// The same images in another layout.
    fn within(&self, layout: CellLayout) -> Self {
        let mut cells = vec![0; layout.len(self.images)];
        to_cells(Isa::Portable, &layout, self.images, self.stride, &self.rows, &mut cells);
        Self { layout, cells, rows: self.rows.clone(), ..*self }
    }

    fn rows_of(&self, cells: &[u16]) -> Vec<f32> {
        let mut rows = vec![0.0; self.rows.len()];
        from_cells(Isa::Portable, &self.layout, self.images, self.stride, cells, &mut rows);
        rows
    }
}

fn layouts() -> Vec<(CellLayout, usize)> {
    let layout = |channels, (height, width), images, border| CellLayout {
        channels,
        height,
        width,
        images,
        border,
        columns: Columns::Together,
    };
    vec![
        (layout(5, (3, 7), 1, 1), 2),
        (layout(16, (4, 4), 4, 1), 6),
        (layout(40, (1, 1), 16, 0), 3),
        (layout(96, (9, 5), 2, 2), 5),
        (layout(33, (16, 17), 1, 1), 1),
    ]
}

fn close(found: &[f32], expected: &[f32], what: &str) {
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        // One rounding to bf16.
        let tolerance = expected.abs() / 128.0 + 1e-5;
        assert!((found - expected).abs() <= tolerance, "{what}, {at}: {found} {expected}");
    }
}

#[test]
fn g21_moments_agree_with_two_passes_in_f64_also_at_a_large_mean() {
    for isa in Isa::available() {
        for ((layout, images), offset) in
            layouts().into_iter().flat_map(|case| [(case, 0.0), (case, 100.0)])
        {
            let x = Values::new(layout, images, 1, offset);
            for image in 0..images {
                let zeros = || vec![0.0; x.stride];
                let (mut mean, mut squares, mut found) = (zeros(), zeros(), (zeros(), zeros()));
                norm::sums(isa, x.image(image), &mut mean);
                mean.iter_mut().for_each(|m| *m /= (layout.height * layout.width) as f64);
                norm::centred_squares(isa, x.image(image), &mean, &mut squares);
                half::moments(isa, x.one(image), &mut found.0, &mut found.1);
                for channel in 0..x.stride {
                    let (m, s) = (found.0[channel], found.1[channel]);
                    assert!(
                        (m - mean[channel]).abs() < 1e-6 * (1.0 + offset as f64),
                        "{isa} {layout:?}"
                    );
                    assert!(
                        (s - squares[channel]).abs() <= 1e-5 * (1.0 + squares[channel]),
                        "{isa} {layout:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn applying_agrees_with_f32_and_leaves_the_mask_of_what_is_above_zero() {
    for isa in Isa::available() {
        for (layout, images) in layouts() {
            let (x, add) =
                (Values::new(layout, images, 1, 0.0), Values::new(layout, images, 2, 0.0));
            let channels = |seed| {
                let mut all = random(x.stride, seed, 0.0);
                all[layout.channels..].fill(0.0);
                all
            };
            let (centre, factor, shift) = (channels(3), channels(4), channels(5));
            let affine = Affine { centre: &centre, factor: &factor, shift: &shift };
            for (add, relu) in [(None, Relu::No), (None, Relu::Yes), (Some(&add), Relu::Yes)] {
                let mut expected = vec![0.0; x.rows.len()];
                norm::apply(
                    isa,
                    &x.rows,
                    affine,
                    add.map(|a| &a.rows[..]),
                    relu,
                    None,
                    &mut expected,
                );
                let mut cells = vec![0; x.cells.len()];
                let mut mask = vec![0; x.cells.len() / 32];
                // Two calls, so that groups are cut.
                for images in [0..images / 2, images / 2..images] {
                    let job = half::Apply {
                        affine,
                        add: add.map(|add| &add.cells[..]),
                        relu,
                        mask: Some(&mut mask),
                    };
                    half::apply(isa, &layout, images, &x.cells, job, &mut cells);
                }
                close(&x.rows_of(&cells), &expected, &format!("{isa}, {layout:?}"));
                let mut kept = cells.clone();
                bf16::keep(isa, &layout, images, &mask, &mut kept);
                let positive = |x: &u16| if to_f32(*x) > 0.0 { *x } else { 0 };
                assert_eq!(kept, cells.iter().map(positive).collect::<Vec<u16>>(), "{isa}");
            }
        }
    }
}

#[test]
fn g10_going_back_agrees_with_f32() {
    for isa in Isa::available() {
        for (layout, images) in layouts() {
            let (x, dy) =
                (Values::new(layout, images, 1, 3.0), Values::new(layout, images, 2, 0.0));
            let mean: Vec<f64> =
                random(x.stride, 3, 3.0).iter().map(|&m| f64::from(m) + 1e-9).collect();
            let inverse = vec![1.25; x.stride];
            let zeros = || vec![0.0; x.stride];
            for image in 0..images {
                let (mut expected, mut found) = ((zeros(), zeros()), (zeros(), zeros()));
                let (rows, gradient) = (x.image(image), dy.image(image));
                norm::backward_sums(
                    isa,
                    rows,
                    gradient,
                    &mean,
                    &inverse,
                    &mut expected.0,
                    &mut expected.1,
                );
                half::backward_sums(
                    isa,
                    x.one(image),
                    dy.one(image),
                    &mean,
                    &inverse,
                    &mut found.0,
                    &mut found.1,
                );
                for (found, expected) in [(found.0, expected.0), (found.1, expected.1)] {
                    for (found, expected) in found.iter().zip(&expected) {
                        assert!(
                            (found - expected).abs() < 1e-4,
                            "{isa} {layout:?}: {found} {expected}"
                        );
                    }
                }
            }
            let numbers = |seed| random(x.stride, seed, 0.0);
            let coefficients = BackwardCoefficients {
                gradient_factor: numbers(4),
                input_factor: numbers(5),
                mean: mean.iter().map(|&m| m as f32).collect(),
                shift: numbers(6),
            };
            let mut expected = vec![0.0; x.rows.len()];
            norm::backward_apply(isa, &coefficients, &x.rows, &dy.rows, &mut expected);
            for row in expected.chunks_exact_mut(x.stride) {
                row[layout.channels..].fill(0.0);
            }
            let mut cells = vec![0; x.cells.len()];
            half::backward_apply(
                isa,
                &layout,
                0..images,
                &coefficients,
                &x.cells,
                &dy.cells,
                &mut cells,
            );
            close(&x.rows_of(&cells), &expected, &format!("{isa}, {layout:?}"));
        }
    }
}

/// Other places for the same numbers: what is read, added and written need not lie alike.
fn elsewhere(layout: CellLayout) -> [CellLayout; 3] {
    [
        CellLayout { images: 2, border: 0, columns: Columns::Apart, ..layout },
        CellLayout { images: 8, border: 2, columns: Columns::Together, ..layout },
        CellLayout { images: 1, border: 1, columns: Columns::Apart, ..layout },
    ]
}

#[test]
fn one_image_between_layouts_has_the_bits_of_all_images_in_one() {
    for isa in Isa::available() {
        for (layout, images) in layouts() {
            let [first, second, third] = elsewhere(layout);
            let values = |seed| Values::new(layout, images, seed, 0.0);
            let (x, add, dy, before) = (values(1), values(2), values(3), values(4));
            let numbers = |seed| random(x.stride, seed, 0.0);
            let (centre, factor, shift) = (numbers(5), numbers(6), numbers(7));
            let affine = Affine { centre: &centre, factor: &factor, shift: &shift };
            let mut expected = vec![0; x.cells.len()];
            let mut mask = vec![0; x.cells.len() / 32];
            let job = half::Apply {
                affine,
                add: Some(&add.cells),
                relu: Relu::Yes,
                mask: Some(&mut mask),
            };
            half::apply(isa, &layout, 0..images, &x.cells, job, &mut expected);
            let (far, far_add) = (x.within(first), add.within(third));
            let (mut output, mut bits) =
                (vec![0; third.len(images)], vec![0; second.len(images) / 32]);
            for image in 0..images {
                let job = image_norm::Apply {
                    input: far.one(image),
                    affine,
                    add: Some(far_add.one(image)),
                    relu: Relu::Yes,
                    mask: Some(ImageCells { layout: second, image, values: &mut bits }),
                    output: ImageCells { layout: third, image, values: &mut output },
                };
                image_norm::apply(isa, job);
            }
            let what = format!("{isa} {layout:?}");
            assert_eq!(far_add.rows_of(&output), x.rows_of(&expected), "{what}");

            let coefficients = BackwardCoefficients {
                gradient_factor: numbers(8),
                input_factor: numbers(9),
                mean: numbers(10),
                shift: numbers(11),
            };
            let mut plain = vec![0; x.cells.len()];
            let (read, gradient) = (&x.cells, &dy.cells);
            half::backward_apply(
                isa,
                &layout,
                0..images,
                &coefficients,
                read,
                gradient,
                &mut plain,
            );
            let (far_dy, far_before) = (dy.within(third), before.within(second));
            for adds in [Adds::Nothing, Adds::ToWhatIsThere] {
                let mut found = far_before.cells.clone();
                for image in 0..images {
                    let job = image_norm::Backward {
                        input: far.one(image),
                        output_gradient: far_dy.one(image),
                        adds,
                        keeps: Some(ImageCells { layout: second, image, values: &bits }),
                        input_gradient: ImageCells { layout: second, image, values: &mut found },
                    };
                    image_norm::backward(isa, &coefficients, job);
                }
                let kept: Vec<f32> = x.rows_of(&expected);
                let plain = x.rows_of(&plain);
                for (at, found) in far_before.rows_of(&found).into_iter().enumerate() {
                    let sum = match adds {
                        Adds::Nothing => plain[at],
                        Adds::ToWhatIsThere => plain[at] + before.rows[at],
                    };
                    let sum = if kept[at] > 0.0 { sum } else { 0.0 };
                    // A sum is rounded once where `plain` was rounded by itself.
                    let tolerance = match adds {
                        Adds::Nothing => 0.0,
                        Adds::ToWhatIsThere => (plain[at].abs() + sum.abs()) / 128.0,
                    };
                    assert!((found - sum).abs() <= tolerance, "{what} {adds:?}: {found} {sum}");
                }
            }
        }
    }
}

#[test]
fn smooth_activations_agree_with_f32_between_layouts_and_leave_padded_channels_zero() {
    let functions =
        [Function::Silu, Function::SmoothRelu { beta: 2.0 }, Function::Gelu, Function::Elu];
    for isa in Isa::available() {
        for ((layout, images), function) in layouts().into_iter().zip(functions.into_iter().cycle())
        {
            let [first, second, third] = elsewhere(layout);
            let values = |seed| Values::new(layout, images, seed, 0.0);
            let (x, add, dy) = (values(1).within(first), values(2).within(second), values(3));
            for add in [None, Some(&add)] {
                let before: Vec<f32> = match add {
                    Some(add) => x.rows.iter().zip(&add.rows).map(|(x, y)| x + y).collect(),
                    None => x.rows.clone(),
                };
                let (mut expected, mut slope) = (x.rows.clone(), x.rows.clone());
                let channels = layout.channels;
                activation::forward(isa, function, channels, x.stride, &before, &mut expected);
                activation::backward(isa, function, &before, &dy.rows, &mut slope);
                let far_dy = dy.within(second);
                let (mut output, mut gradient) = (vec![0; third.len(images)], far_dy.cells.clone());
                let mut rows = Rows::default();
                for image in 0..images {
                    let summands =
                        Summands { input: x.one(image), add: add.map(|add| add.one(image)) };
                    let to = ImageCells { layout: third, image, values: &mut output[..] };
                    bf16::activation::forward(isa, function, summands, to, &mut rows);
                    let to = ImageCells { layout: second, image, values: &mut gradient[..] };
                    bf16::activation::backward(isa, function, summands, to, &mut rows);
                }
                let what = format!("{isa} {layout:?} {function:?}");
                let third = Values { layout: third, cells: Vec::new(), rows: expected, ..x };
                close(&third.rows_of(&output), &third.rows, &what);
                close(&far_dy.rows_of(&gradient), &slope, &what);
            }
        }
    }
}

#[test]
fn shortcuts_keep_every_second_pixel_and_bring_its_gradient_back() {
    for (layout, images) in layouts() {
        for (before, behind) in [(0, 0), (8, 8), (17, 3)] {
            let small = CellLayout {
                channels: layout.channels + before + behind,
                height: layout.height.div_ceil(2),
                width: layout.width.div_ceil(2),
                ..layout
            };
            let x = Values::new(layout, images, 1, 0.0);
            let dy = Values::new(small, images, 2, 0.0);
            let mut kept = vec![7; small.len(images)];
            let (read, written) = ((&layout, &x.cells[..]), (&small, &mut kept[..]));
            bf16::subsample(read, written, images, 2, before);
            let mut sums = x.cells.clone();
            bf16::add_spread((&small, &dy.cells), (&layout, &mut sums), images, 2, before);
            let (kept, sums) = (dy.rows_of(&kept), x.rows_of(&sums));
            let mut expected = x.rows.clone();
            for pixel in 0..kept.len() / dy.stride {
                let (row, column) = (pixel / small.width, pixel % small.width);
                let (image, row) = (row / small.height, row % small.height);
                let from = (image * layout.height + 2 * row) * layout.width + 2 * column;
                for channel in 0..small.channels {
                    let own = channel.checked_sub(before).filter(|&own| own < layout.channels);
                    let at = pixel * dy.stride + channel;
                    let source = own.map(|own| from * x.stride + own);
                    assert_eq!(kept[at], source.map_or(0.0, |source| x.rows[source]));
                    if let Some(source) = source {
                        expected[source] = to_f32(from_f32(x.rows[source] + dy.rows[at]));
                    }
                }
            }
            assert_eq!(sums, expected);
        }
    }
}

#[test]
fn copies_sums_and_averages_keep_the_numbers() {
    let isa = Isa::detected();
    for (layout, images) in layouts() {
        let x = Values::new(layout, images, 1, 0.0);
        for columns in [Columns::Together, Columns::Apart] {
            let other = CellLayout { images: 2, border: 3, columns, ..layout };
            let mut copy = vec![7; other.len(images)];
            bf16::copy_cells(&layout, images, &x.cells, &other, &mut copy);
            let mut rows = vec![0.0; x.rows.len()];
            from_cells(Isa::Portable, &other, images, x.stride, &copy, &mut rows);
            assert_eq!(rows, x.rows);
        }
        let mut twice = x.cells.clone();
        bf16::add(isa, &x.cells, &mut twice);
        let doubled: Vec<f32> = x.rows.iter().map(|x| 2.0 * x).collect();
        assert_eq!(x.rows_of(&twice), doubled);
        let mut means = vec![0.0; x.stride];
        let mut spread = vec![0; x.cells.len()];
        for image in 0..images {
            bf16::average(isa, &layout, &x.cells, image, &mut means);
            let pixels = layout.height * layout.width;
            let first = x.image(image).iter().step_by(x.stride).sum::<f32>() / pixels as f32;
            assert!((means[0] - first).abs() < 1e-5, "{} {first}", means[0]);
            bf16::spread_average(&layout, image, &means, &mut spread);
        }
        let share = means[0] / (layout.height * layout.width) as f32;
        let last = x.rows_of(&spread)[x.rows.len() - x.stride];
        assert!((last - share).abs() <= share.abs() / 128.0, "{last} {share}");
    }
}
