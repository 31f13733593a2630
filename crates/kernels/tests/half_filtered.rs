//! Filtered convolutions in half precision: against sums in f64, their precision beside plain ones, and which are filtered.

mod half_support;

use half_support::*;
use kernels::Relu;
use kernels::half::*;
use kernels::{ConvolutionShape, Isa};

/// Inputs, outputs, rows and columns: whole patches, parts of them, less than one.
const SHAPES: [(usize, usize, (usize, usize)); 7] = [
    (32, 32, (8, 8)),
    (40, 72, (5, 7)),
    (16, 16, (6, 18)),
    (64, 48, (4, 4)),
    (33, 20, (3, 9)),
    (7, 5, (6, 3)),
    (16, 130, (1, 11)),
];

/// Interleaving of source and target.
const INTERLEAVED: [(usize, usize); 5] = [(1, 1), (2, 4), (4, 2), (16, 16), (1, 16)];

fn filtered(pass: HalfPass) -> HalfPass {
    HalfPass { algorithm: Algorithm::Filtered, ..pass }
}

/// The root mean square of the errors, as a share of that of what is expected.
fn error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let squares = |x: f64| x * x;
    let errors: f64 = found.iter().zip(expected).map(|(&f, &e)| squares(f64::from(f) - e)).sum();
    (errors / expected.iter().map(|&e| squares(e)).sum::<f64>()).sqrt()
}

/// Runs `pass` on each instruction set; the results lie by image, row, column and channel.
fn each_isa(
    shape: &ConvolutionShape,
    (pass, direction): (&HalfPass, Direction),
    (source, target): (CellLayout, CellLayout),
    weights: &[f32],
    (images, read): (usize, &[u16]),
    mut check: impl FnMut(Isa, Vec<f32>),
) {
    let from = Source::Cells(source);
    let table = Table::new(pass, from, target, target, target).expect("columns together");
    for isa in Isa::available() {
        let packed = pack(isa, shape, weights, pass, direction, from);
        let mut written = vec![0; target.len(16)];
        let epilogue = Epilogue::Activate { relu: Relu::No, mask: None };
        let job = all(&table, &packed, images, read);
        let to = Destination::Cells { target: &mut written, add: Addend::Nothing, epilogue };
        convolve(isa, &job, to, &mut Workspace::default());
        let mut found = vec![0.0; images * target.height * target.width * target.channels];
        from_cells(isa, &target, images, target.channels, &written, &mut found);
        check(isa, found);
    }
}

#[test]
fn both_directions_agree_with_sums_in_f64_for_every_layout_and_instruction_set() {
    let images = 5;
    for (case, (inputs, outputs, side)) in SHAPES.into_iter().enumerate() {
        let shape = shape(inputs, outputs, side, 3, 1);
        let weights = numbers(outputs * inputs * 9, 100 + case as u32);
        let forward = filtered(forward_pass(&shape));
        let [backward] = &backward_passes(&shape)[..] else { panic!("stride 1 has one pass") };
        let backward = filtered(backward.clone());
        let passes = [
            (forward, Direction::Forward, inputs, outputs),
            (backward, Direction::Backward, outputs, inputs),
        ];
        for (pass, direction, from, to) in passes {
            let rows = numbers(images * side.0 * side.1 * from, case as u32);
            let expected = match direction {
                Direction::Forward => forward_f64(&shape, images, &rows, &weights),
                Direction::Backward => backward_f64(&shape, images, &rows, &weights),
            };
            let scale = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            for (own, other) in INTERLEAVED {
                let source = cells(from, side, own, usize::from(own < 16), Columns::Together);
                let target = cells(to, side, other, 1, Columns::Together);
                let read = filled(&source, images, &rows);
                let lies = (source, target);
                each_isa(
                    &shape,
                    (&pass, direction),
                    lies,
                    &weights,
                    (images, &read),
                    |isa, found| {
                        let error = error(&found, &expected);
                        let what = format!("{shape:?} {direction:?} {source:?} {isa}");
                        assert!(error < 0.009, "{what}: {error:.4}");
                        // One wrong result among thousands would be lost in the mean.
                        for (at, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
                            let apart = (f64::from(found) - expected).abs();
                            assert!(
                                apart < 0.025 * scale,
                                "{what}: {found} for {expected} at {at}"
                            );
                        }
                    },
                );
            }
        }
    }
}

#[test]
fn the_error_is_below_three_times_that_of_plain_sums() {
    let (inputs, outputs, side, images) = (128, 64, (8, 8), 4);
    let shape = shape(inputs, outputs, side, 3, 1);
    // As behind a ReLU; weights that bf16 does not hold.
    let rows: Vec<f32> = numbers(images * 64 * inputs, 1).into_iter().map(|x| x.max(0.0)).collect();
    let weights: Vec<f32> = (0..outputs * inputs * 9).map(|at| (at as f32 * 1.7).sin()).collect();
    let expected = forward_f64(&shape, images, &rows, &weights);
    let source = cells(inputs, side, 2, 1, Columns::Together);
    let target = cells(outputs, side, 2, 1, Columns::Together);
    let read = filled(&source, images, &rows);
    let plain = forward_pass(&shape);
    for (pass, bounds) in [(plain.clone(), 0.0015..0.0030), (filtered(plain), 0.0045..0.0065)] {
        let both = (&pass, Direction::Forward);
        each_isa(&shape, both, (source, target), &weights, (images, &read), |isa, found| {
            let error = error(&found, &expected);
            assert!(bounds.contains(&error), "{:?} on {isa}: {error:.5}", pass.algorithm);
        });
    }
}

#[test]
fn windows_of_three_at_distance_one_are_filtered_where_that_is_fewer_products() {
    let chosen = |isa, inputs, outputs, side, kernel, stride, columns| {
        let shape = shape(inputs, outputs, (side, side), kernel, stride);
        let source = cells(inputs, (side, side), 1, 1, columns);
        forward_pass(&shape).on(isa, &source, outputs).algorithm
    };
    let (isa, together) = (Isa::Avx512Bf16, Columns::Together);
    for side in [4, 5, 7, 8, 14, 32, 224] {
        assert_eq!(chosen(isa, 16, 16, side, 3, 1, together), Algorithm::Filtered, "{side}");
    }
    for (inputs, outputs, side, kernel, stride, columns) in [
        (16, 16, 8, 3, 2, Columns::Apart),
        (16, 16, 8, 1, 1, together),
        (16, 16, 8, 5, 1, together),
        (16, 3, 8, 3, 1, together),
        (12, 16, 8, 3, 1, together),
        (16, 16, 1, 3, 1, together),
        (16, 16, 3, 3, 1, together),
        (16, 16, 8, 3, 1, Columns::Apart),
    ] {
        let chosen = chosen(isa, inputs, outputs, side, kernel, stride, columns);
        assert_eq!(chosen, Algorithm::Direct, "{inputs} {outputs} {side} {kernel} {stride}");
    }
    assert_eq!(chosen(Isa::Amx, 64, 64, 32, 3, 1, together), Algorithm::Direct);
}
