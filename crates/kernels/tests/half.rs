//! Half-precision convolutions against plain sums in f64, over odd sizes, layouts and instruction sets.

mod half_support;

use half_support::*;
use kernels::half::*;
use kernels::{Isa, Relu, padded};

fn assert_close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-3_f64, |m, x| m.max(x.abs()));
    for (i, (&f, &e)) in found.iter().zip(expected).enumerate() {
        // Results are rounded to bf16: eight bits.
        assert!(
            (f64::from(f) - e).abs() <= e.abs() / 256.0 + 1e-5 * scale,
            "{what}: {f} for {e} at {i}"
        );
    }
}

/// Interleaving and order of columns of source and target.
const LAYOUTS: [(usize, Columns, usize, Columns); 6] = [
    (1, Columns::Together, 1, Columns::Together),
    (2, Columns::Together, 4, Columns::Together),
    (4, Columns::Together, 2, Columns::Apart),
    (16, Columns::Together, 16, Columns::Together),
    (2, Columns::Apart, 2, Columns::Together),
    (1, Columns::Apart, 8, Columns::Apart),
];

/// Inputs, outputs, rows and columns, kernel, stride.
type Case = (usize, usize, (usize, usize), usize, usize);

const SHAPES: [Case; 8] = [
    (32, 32, (8, 8), 3, 1),
    (40, 72, (5, 7), 3, 1),
    (16, 16, (6, 18), 3, 1),
    (64, 48, (4, 4), 3, 2),
    (33, 20, (7, 7), 3, 2),
    (32, 64, (6, 6), 1, 1),
    (64, 130, (8, 7), 1, 2),
    (12, 17, (9, 9), 5, 2),
];

#[test]
fn forwards_agree_with_sums_in_f64_for_every_layout_and_instruction_set() {
    let images = 5;
    let mut compared = 0;
    for (case, (inputs, outputs, side, kernel, stride)) in SHAPES.into_iter().enumerate() {
        let shape = shape(inputs, outputs, side, kernel, stride);
        let input = numbers(images * side.0 * side.1 * inputs, case as u32);
        let weights = numbers(outputs * inputs * kernel * kernel, 100 + case as u32);
        let bias = numbers(outputs, 200);
        let out_side = (shape.out_height(), shape.out_width());
        let mut expected = forward_f64(&shape, images, &input, &weights);
        expected.iter_mut().enumerate().for_each(|(i, x)| *x += f64::from(bias[i % outputs]));
        for (from, columns, to, out_columns) in LAYOUTS {
            let source = cells(inputs, side, from, 2, columns);
            let target = cells(outputs, out_side, to, 1, out_columns);
            let pass = forward_pass(&shape);
            let Some(table) = Table::new(&pass, Source::Cells(source), target, target, target)
            else {
                continue;
            };
            let packed = pack(
                Isa::Portable,
                &shape,
                &weights,
                &pass,
                Direction::Forward,
                Source::Cells(source),
            );
            let read = filled(&source, images, &input);
            for isa in Isa::available() {
                let mut written = vec![0; target.len(16)];
                convolve(
                    isa,
                    &Convolve { bias: Some(&bias), ..all(&table, &packed, images, &read) },
                    Destination::Cells {
                        target: &mut written,
                        add: Addend::Nothing,
                        epilogue: Epilogue::Activate { relu: Relu::No, mask: None },
                    },
                    &mut Workspace::default(),
                );
                let mut found = vec![0.0; expected.len()];
                from_cells(isa, &target, images, outputs, &written, &mut found);
                assert_close(&found, &expected, &format!("{shape:?} {source:?} {isa}"));
                compared += 1;
            }
        }
    }
    assert!(compared >= 24 * Isa::available().len(), "{compared} comparisons");
}

#[test]
fn backwards_agree_with_sums_in_f64_for_every_layout_and_instruction_set() {
    let images = 5;
    for (case, (inputs, outputs, side, kernel, stride)) in SHAPES.into_iter().enumerate() {
        let shape = shape(inputs, outputs, side, kernel, stride);
        let out_side = (shape.out_height(), shape.out_width());
        let gradient = numbers(images * out_side.0 * out_side.1 * outputs, case as u32);
        let weights = numbers(outputs * inputs * kernel * kernel, 100 + case as u32);
        let expected = backward_f64(&shape, images, &gradient, &weights);
        for (from, to) in [(1, 1), (4, 2), (16, 16), (2, 4)] {
            let source = cells(outputs, out_side, from, 2, Columns::Together);
            let target = cells(inputs, side, to, 1, Columns::Together);
            let read = filled(&source, images, &gradient);
            for isa in Isa::available() {
                let mut written = vec![0; target.len(16)];
                for pass in backward_passes(&shape) {
                    let table = Table::new(&pass, Source::Cells(source), target, target, target)
                        .expect("windows at distance 1 over columns together");
                    let packed = pack(
                        isa,
                        &shape,
                        &weights,
                        &pass,
                        Direction::Backward,
                        Source::Cells(source),
                    );
                    convolve(
                        isa,
                        &all(&table, &packed, images, &read),
                        Destination::Cells {
                            target: &mut written,
                            add: Addend::Nothing,
                            epilogue: Epilogue::Keep { mask: None },
                        },
                        &mut Workspace::default(),
                    );
                }
                let mut found = vec![0.0; expected.len()];
                from_cells(isa, &target, images, inputs, &written, &mut found);
                assert_close(&found, &expected, &format!("{shape:?} {source:?} {isa}"));
            }
        }
    }
}

#[test]
fn strips_agree_with_sums_in_f64() {
    let images = 3;
    for (inputs, side, kernel, stride) in [
        (3, (8, 20), 3, 1),
        (1, (9, 9), 3, 1),
        (3, (17, 34), 7, 2),
        (4, (5, 5), 3, 2),
        (2, (6, 6), 1, 1),
    ] {
        let outputs = 24;
        let shape = shape(inputs, outputs, side, kernel, stride);
        let input = numbers(images * side.0 * side.1 * inputs, 3);
        let weights = numbers(outputs * inputs * kernel * kernel, 4);
        let expected = forward_f64(&shape, images, &input, &weights);
        let strip =
            StripLayout { channels: inputs, height: side.0, width: side.1, border: kernel / 2 };
        let mut planes = vec![0.0; input.len()];
        kernels::layout::nhwc_to_nchw(inputs, side.0 * side.1, inputs, &input, &mut planes);
        let mut read = vec![0; strip.len(images)];
        to_strip(&strip, &planes, &vec![1.0; inputs], &vec![0.0; inputs], &mut read);
        let target =
            cells(outputs, (shape.out_height(), shape.out_width()), 2, 1, Columns::Together);
        let pass = forward_pass(&shape);
        let source = Source::Strip(strip);
        let table = Table::new(&pass, source, target, target, target).expect("a strip suits");
        let packed = pack(Isa::Portable, &shape, &weights, &pass, Direction::Forward, source);
        for isa in Isa::available() {
            let mut written = vec![0; target.len(16)];
            convolve(
                isa,
                &all(&table, &packed, images, &read),
                Destination::Cells {
                    target: &mut written,
                    add: Addend::Nothing,
                    epilogue: Epilogue::Activate { relu: Relu::No, mask: None },
                },
                &mut Workspace::default(),
            );
            let mut found = vec![0.0; expected.len()];
            from_cells(isa, &target, images, outputs, &written, &mut found);
            assert_close(&found, &expected, &format!("{shape:?} {isa}"));
        }
    }
}

#[test]
fn the_epilogue_adds_activates_masks_and_keeps() {
    let (images, side) = (3, (4, 6));
    let shape = shape(32, 48, side, 3, 1);
    let input = numbers(images * 24 * 32, 1);
    let weights = numbers(48 * 32 * 9, 2);
    let other = numbers(images * 24 * 48, 3);
    let source = cells(32, side, 2, 1, Columns::Together);
    let target = cells(48, side, 4, 1, Columns::Apart);
    let add = cells(48, side, 1, 0, Columns::Together);
    let mask_layout = cells(48, side, 8, 0, Columns::Together);
    let mut expected = forward_f64(&shape, images, &input, &weights);
    expected.iter_mut().zip(&other).for_each(|(x, &y)| *x = (*x + f64::from(y)).max(0.0));
    let pass = forward_pass(&shape);
    let table = Table::new(&pass, Source::Cells(source), target, add, mask_layout).expect("suits");
    let packed =
        pack(Isa::Portable, &shape, &weights, &pass, Direction::Forward, Source::Cells(source));
    let (read, addend) = (filled(&source, images, &input), filled(&add, images, &other));
    for isa in Isa::available() {
        let job = all(&table, &packed, images, &read);
        let mut written = vec![0; target.len(16)];
        let mut mask = vec![0; mask_layout.groups(4) * mask_layout.group_cells()];
        let epilogue = Epilogue::Activate { relu: Relu::Yes, mask: Some(&mut mask) };
        let to = Destination::Cells { target: &mut written, add: Addend::Other(&addend), epilogue };
        convolve(isa, &job, to, &mut Workspace::default());
        let mut found = vec![0.0; expected.len()];
        from_cells(isa, &target, images, 48, &written, &mut found);
        assert_close(&found, &expected, &isa.to_string());

        let mut kept = vec![0; target.len(16)];
        let to = Destination::Cells {
            target: &mut kept,
            add: Addend::Other(&addend),
            epilogue: Epilogue::Keep { mask: Some(&mask) },
        };
        convolve(isa, &job, to, &mut Workspace::default());
        assert_eq!(
            kept, written,
            "what a mask keeps of the same sums is what the ReLU let through: {isa}"
        );
    }
}

#[test]
fn an_image_has_the_same_bits_alone_and_among_others() {
    let side = (7, 7);
    let shape = shape(40, 40, side, 3, 1);
    let input = numbers(6 * 49 * 40, 1);
    let weights = numbers(40 * 40 * 9, 2);
    let run = |(isa, algorithm), rows: &[f32], images: usize, group: usize| {
        let layout = cells(40, side, group, 1, Columns::Together);
        let pass = HalfPass { algorithm, ..forward_pass(&shape) };
        let table =
            Table::new(&pass, Source::Cells(layout), layout, layout, layout).expect("suits");
        let packed =
            pack(Isa::Portable, &shape, &weights, &pass, Direction::Forward, Source::Cells(layout));
        // What lies where no image is must not matter.
        let mut read = filled(&layout, images, rows);
        if images == 1 {
            each_pixel(&layout, group, |index, _, cell| {
                if index >= 49 {
                    read[cell * CELL..][..CELL].fill(0x7fc0);
                }
            });
        }
        rows_of(isa, &all(&table, &packed, images, &read), &layout, Relu::Yes)
    };
    let both = |isa| [Algorithm::Direct, Algorithm::Filtered].map(|algorithm| (isa, algorithm));
    for how in Isa::available().into_iter().flat_map(both) {
        let together = run(how, &input, 6, 16);
        for group in [1, 2, 4, 16] {
            for image in 0..6 {
                let of = |channels: usize| image * 49 * channels..(image + 1) * 49 * channels;
                let alone = run(how, &input[of(40)], 1, group);
                assert!(alone == together[of(48)], "image {image}, groups of {group}, {how:?}");
            }
        }
    }
    assert_eq!(padded(40), 48);
}

#[test]
fn a_first_layer_with_stride_goes_back_in_one_pass() {
    let images = 2;
    for (case, (inputs, outputs, side, kernel)) in
        [(3, 40, (14, 10), 7), (3, 32, (8, 12), 3), (1, 33, (6, 6), 5), (4, 64, (10, 8), 2)]
            .into_iter()
            .enumerate()
    {
        let shape = shape(inputs, outputs, side, kernel, 2);
        let (rows, columns) = (shape.out_height(), shape.out_width());
        let gradient = numbers(images * rows * columns * outputs, case as u32);
        let weights = numbers(outputs * inputs * kernel * kernel, 50 + case as u32);
        let expected = backward_f64(&shape, images, &gradient, &weights);
        let depth = SpaceToDepth::of(&shape).expect("few channels and even sides");
        let source = cells(outputs, (rows, columns), 1, 3, Columns::Together);
        let read = filled(&source, images, &gradient);
        let target = depth.layout();
        let [pass] = &backward_passes(&depth.shape)[..] else { panic!("stride 1 has one pass") };
        let table = Table::new(pass, Source::Cells(source), target, target, target)
            .expect("windows at distance 1 over columns together");
        let own = depth.weights(&weights);
        let packed = pack(
            Isa::Portable,
            &depth.shape,
            &own,
            pass,
            Direction::Backward,
            Source::Cells(source),
        );
        for isa in Isa::available() {
            let squares = target.plane_cells() * 16;
            let mut lanes = vec![0.0; images * squares];
            let job = all(&table, &packed, images, &read);
            let mut workspace = Workspace::default();
            convolve(isa, &job, Destination::Lanes(&mut lanes), &mut workspace);
            let mut found = vec![0.0; expected.len()];
            for (image, lanes) in lanes.chunks_exact(squares).enumerate() {
                for channel in 0..inputs {
                    let mut plane = vec![0.0; side.0 * side.1];
                    depth.plane(lanes, channel, &mut plane);
                    for (pixel, x) in plane.into_iter().enumerate() {
                        found[(image * side.0 * side.1 + pixel) * inputs + channel] = x;
                    }
                }
            }
            assert_close(&found, &expected, &format!("{shape:?} {isa}"));
        }
    }
}

#[test]
fn arranging_gives_the_same_bits_on_every_instruction_set() {
    let (side, images) = ((5, 7), 3);
    for (channels, stride) in [(16, 16), (32, 32), (40, 40), (40, 48), (3, 16), (80, 80)] {
        for (interleaved, border, columns) in
            [(1, 1, Columns::Together), (2, 0, Columns::Together), (1, 1, Columns::Apart)]
        {
            let layout = cells(channels, side, interleaved, border, columns);
            let other = cells(channels, side, interleaved, 0, Columns::Together);
            let pixels = images * side.0 * side.1;
            let mut rows = numbers(pixels * stride, 5);
            rows.iter_mut().step_by(11).for_each(|x| *x = -0.0);
            rows.iter_mut().step_by(97).for_each(|x| *x = f32::NAN);
            let run = |isa| {
                let mut written = vec![0; layout.len(images)];
                to_cells(isa, &layout, images, stride, &rows, &mut written);
                let mut mask = vec![0; layout.len(images) / CELL];
                mask_of_cells(isa, &layout, images, &written, &layout, &mut mask);
                let mut moved = vec![0; other.len(images) / CELL];
                mask_of_cells(isa, &layout, images, &written, &other, &mut moved);
                let mut sums = written.clone();
                let (adds, bits) = (Adds::ToWhatIsThere, Some(&mask[..]));
                gradient_to_cells(isa, &layout, images, stride, &rows, adds, bits, &mut sums);
                let mut kept = written.clone();
                keep(isa, &mask, &mut kept[..mask.len() * CELL]);
                let mut back = vec![7.0; rows.len()];
                from_cells(isa, &layout, images, stride, &written, &mut back);
                let back: Vec<u32> = back.into_iter().map(f32::to_bits).collect();
                (written, mask, moved, sums, kept, back)
            };
            let expected = run(Isa::Portable);
            for isa in Isa::available() {
                assert_eq!(run(isa), expected, "{channels} channels, {layout:?}, {isa}");
            }
            // What each means, number by number.
            let (written, mask, _, sums, kept, back) = expected;
            each_pixel(&layout, images, |pixel, block, cell| {
                for lane in 0..(channels - block * CELL).min(CELL) {
                    let x = to_f32(from_f32(rows[pixel * stride + block * CELL + lane]));
                    let (at, own) = (cell * CELL + lane, mask[cell] >> lane & 1 == 1);
                    assert_eq!(written[at], from_f32(x));
                    assert_eq!(own, x > 0.0);
                    assert_eq!(kept[at], if own { from_f32(x) } else { 0 });
                    assert_eq!(to_f32(sums[at]), if own { 2.0 * x } else { 0.0 });
                    let found = f32::from_bits(back[pixel * stride + block * CELL + lane]);
                    assert!(found == x || found.is_nan() && x.is_nan(), "{found} for {x}");
                }
            });
            for row in back.chunks_exact(stride) {
                assert!(row[channels..].iter().all(|&bits| bits == 0), "zeros beyond {channels}");
            }
        }
    }
}

#[test]
fn an_output_has_the_same_bits_however_many_there_are() {
    let (inputs, side, images, most) = (40, (6, 9), 3, 48);
    let weights = numbers(most * inputs * 9, 3);
    let source = cells(inputs, side, 1, 1, Columns::Together);
    let read = filled(&source, images, &numbers(images * side.0 * side.1 * inputs, 4));
    for isa in Isa::available() {
        let run = |outputs: usize| {
            let shape = shape(inputs, outputs, side, 3, 1);
            let pass = forward_pass(&shape);
            let target = cells(outputs, side, 1, 1, Columns::Together);
            let table = Table::new(&pass, Source::Cells(source), target, target, target)
                .expect("windows at distance 1 over columns together");
            let own = &weights[..outputs * inputs * 9];
            let packed = pack(isa, &shape, own, &pass, Direction::Forward, Source::Cells(source));
            rows_of(isa, &all(&table, &packed, images, &read), &target, Relu::No)
        };
        let expected = run(most);
        assert!(expected.iter().any(|&x| x != 0.0));
        for outputs in [1, 3, 4, 5, 16, 17, 32] {
            let found = run(outputs);
            let rows = found.chunks_exact(padded(outputs)).zip(expected.chunks_exact(padded(most)));
            for (found, expected) in rows {
                assert_eq!(found[..outputs], expected[..outputs], "{outputs} outputs, {isa}");
                assert!(found[outputs..].iter().all(|&x| x == 0.0), "beyond {outputs}, {isa}");
            }
        }
    }
}
