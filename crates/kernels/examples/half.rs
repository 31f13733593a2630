//! Share of the tile peak that one half-precision convolution reaches alone on one thread.
//!
//! `cargo run --release -p kernels --example half -- IMAGES GROUP CHANNELS OUTPUTS SIDE KERNEL STRIDE`

use kernels::half::*;
use kernels::{ConvolutionShape, Isa, Relu};
use std::time::Instant;

fn main() {
    let arguments: Vec<usize> =
        std::env::args().skip(1).map(|text| text.parse().expect("a number")).collect();
    let [images, group, inputs, outputs, side, kernel, stride] = arguments[..] else {
        panic!("IMAGES GROUP CHANNELS OUTPUTS SIDE KERNEL STRIDE");
    };
    let isa = Isa::best().expect("ADAMANT_ISA");
    let shape = ConvolutionShape {
        in_channels: inputs,
        in_stride: inputs,
        height: side,
        width: side,
        out_channels: outputs,
        kernel,
        stride,
        padding: kernel / 2,
    };
    let random = |count: usize| -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 7919 + i / 3 * 104_729) % 10_007) as f32 / 10_007.0 - 0.5)
            .collect()
    };
    let layout = |channels, side, columns, images| CellLayout {
        channels,
        height: side,
        width: side,
        images,
        border: usize::from(images < 16),
        columns,
    };
    let columns = if stride == 2 { Columns::Apart } else { Columns::Together };
    let source = layout(inputs, side, columns, group);
    let out = shape.out_height();
    let target = layout(outputs, out, Columns::Together, group);
    let pass = forward_pass(&shape).on(isa, &source, outputs);
    let algorithm = pass.algorithm;
    let table = Table::new(&pass, Source::Cells(source), target, target, target).expect("suits");
    let weights = random(outputs * inputs * kernel * kernel);
    let packed = pack(isa, &shape, &weights, &pass, Direction::Forward, Source::Cells(source));
    let mut read = Lines::zeros(source.len(images));
    narrow(isa, &random(read.len()), &mut read);
    let mut written = Lines::zeros(target.len(images));
    let mut mask = vec![0; target.groups(images) * target.group_cells()];
    let mut workspace = Workspace::default();
    let bias = random(outputs);
    let mut best = f64::MAX;
    for _ in 0..200 {
        let start = Instant::now();
        convolve(
            isa,
            &Convolve {
                table: &table,
                weights: Weights::Packed(&packed),
                bias: Some(&bias),
                images,
                first: 0,
                firsts: [0; 3],
                source: &read,
                ahead: Ahead::default(),
            },
            Destination::Cells {
                target: &mut written,
                add: Addend::Nothing,
                epilogue: Epilogue::Activate { relu: Relu::Yes, mask: Some(&mut mask) },
            },
            &mut workspace,
        );
        best = best.min(start.elapsed().as_secs_f64());
    }
    let executed = 2.0 * table.multiply_adds(outputs) as f64 * images as f64;
    let nominal = 2.0 * (images * out * out * outputs * inputs * kernel * kernel) as f64;
    println!(
        "{isa}, {algorithm:?}: {:.3} ms, executed {:.0} GFLOP/s, nominal {:.0} GFLOP/s",
        1e3 * best,
        executed / best / 1e9,
        nominal / best / 1e9
    );
}
