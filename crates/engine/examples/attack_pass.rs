//! Times the frozen attack pass (forward and input gradient) and a training step of an architecture.
//!
//! `cargo run --release -p engine --example attack_pass -- [ARCHITECTURE] [IMAGES] [SIDE] [CHANNELS]`, by default `resnet18-cifar 64 32 3`;
//! `THREADS`, `ADAMANT_ISA`, `PRECISION` (`bf16`) and `PART` (`attack`, `frozen` or `training`, for profiles) in the environment. Operations are nominal: two per multiply-add of every convolution and
//! linear layer, the attack pass counts them twice, the training step three times. The peak is measured in the same run.

use engine::cpu::{CpuEngine, CpuSettings};
use engine::{Engine, Frozen, ImagesView, Logits, Precision, Recording, Session, Wants};
use kernels::Isa;
use network::architecture::{Architecture, NormChoice};
use network::{Domain, Network, Pass};
use std::time::Instant;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or("resnet18-cifar".into());
    let mut number =
        |default: usize| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (count, side, channels) = (number(64), number(32), number(3));
    let threads = std::env::var("THREADS").map_or(2, |text| text.parse().expect("a number"));
    let isa = Isa::best().expect("a known instruction set");

    let mut architecture = Architecture::named(&name).expect("a known architecture");
    architecture.input = network::Shape::new(channels, side, side);
    architecture.norm = NormChoice::MIXTURE;
    let graph = architecture.graph().expect("a valid graph");
    let mut numbers = noise(1);
    let mut normals = |_: u32, values: &mut [f32]| {
        // The sum of three uniform numbers in [-1, 1] has variance one.
        values.iter_mut().for_each(|value| *value = (0..3).map(|_| numbers()).sum());
    };
    let mut network = Network::initialized(graph, &mut normals).expect("a valid network");
    for parameter in network.parameters.iter_mut() {
        if parameter.role == network::Role::Scale {
            parameter.values.fill(0.5);
        }
    }
    let mut numbers = noise(2);
    let pixels: Vec<f32> =
        (0..count * network.graph.input.len()).map(|_| 0.5 + 0.5 * numbers()).collect();
    let flops = 2.0 * macs(&network) * count as f64;

    let peak = peak(isa);
    println!("{name}, {count} images of {channels}x{side}x{side}, {threads} threads, {isa}");
    println!("peak of multiply-adds in registers: {peak:.0} GFLOP/s a thread");
    let report = |what: &str, time: Time, flops: f64| {
        let rate = flops / time.wall / 1e6;
        let share = 100.0 * rate / (peak * threads as f64);
        let Time { wall, processor } = time;
        let alone = 100.0 * flops / processor / 1e6 / peak;
        println!(
            "{what:<18} {wall:8.2} ms  {rate:7.1} GFLOP/s  {share:5.1} % of peak | processor \
             {processor:8.2} ms, {alone:5.1} %"
        );
    };

    let engine = CpuEngine::new(CpuSettings { threads, isa }).expect("threads start");
    let precision = match std::env::var("PRECISION").as_deref() {
        Ok("bf16") => Precision::Bf16,
        _ => Precision::F32,
    };
    let frozen = engine.freeze(&network, Domain::CLEAN, precision).expect("freezes");
    let image = network.graph.input.len();
    let mut sessions: Vec<_> = (0..threads).map(|_| frozen.session()).collect();
    let share = count.div_ceil(threads);
    let mut pass = |gradient: bool| {
        best(|| {
            engine.pool().scope(|scope| {
                for (session, pixels) in sessions.iter_mut().zip(pixels.chunks(share * image)) {
                    let images = ImagesView {
                        count: pixels.len() / image,
                        shape: network.graph.input,
                        pixels,
                    };
                    scope.spawn(move |_| match gradient {
                        true => drop(session.input_gradient(images, &mut ones).expect("runs")),
                        false => drop(session.logits(images).expect("runs")),
                    });
                }
            });
        })
    };
    let part = std::env::var("PART").unwrap_or_default();
    if part != "training" {
        if part == "attack" {
            return report("attack pass", pass(true), 2.0 * flops);
        }
        let freeze = best(|| drop(engine.freeze(&network, Domain::CLEAN, precision)));
        println!("{:<18} {:8.2} ms | processor {:8.2} ms", "freeze", freeze.wall, freeze.processor);
        println!("tile {}", frozen.tile());
        report("frozen forward", pass(false), flops);
        report("attack pass", pass(true), 2.0 * flops);
    }
    if part == "frozen" {
        return;
    }

    let images = ImagesView { count, shape: network.graph.input, pixels: &pixels };
    let batch = Pass::batch(Domain::CLEAN);
    let mut upstream = Logits::zeros(count, network.graph.classes);
    ones(&upstream.clone(), 0, &mut upstream);
    let mut bytes = 0;
    let forward = best(|| {
        let (_, recording) = engine.record(&network, images, &batch).expect("records");
        bytes = recording.bytes();
    });
    report("record", forward, flops);
    let step = best(|| {
        let (_, recording) = engine.record(&network, images, &batch).expect("records");
        drop(engine.backward(&network, &recording, &upstream, Wants::Parameters));
    });
    report("record and backward", step, 3.0 * flops);
    println!("kept for the backward: {:.1} MB", bytes as f64 / 1e6);
}

fn ones(_: &Logits, _: usize, gradient: &mut Logits) {
    for (index, value) in gradient.values.iter_mut().enumerate() {
        *value = if index % 3 == 0 { 1.0 } else { -0.5 };
    }
}

/// Milliseconds.
#[derive(Clone, Copy)]
struct Time {
    wall: f64,
    /// Of all threads together; tells more than the wall clock on a shared machine.
    processor: f64,
}

/// The best of at least five runs and at least half a second: the machine may be shared.
fn best(mut run: impl FnMut()) -> Time {
    let mut best = Time { wall: f64::INFINITY, processor: f64::INFINITY };
    let begin = Instant::now();
    for round in 0.. {
        let (start, used) = (Instant::now(), processor_milliseconds());
        run();
        best.wall = best.wall.min(start.elapsed().as_secs_f64() * 1e3);
        best.processor = best.processor.min(processor_milliseconds() - used);
        if round >= 4 && begin.elapsed().as_secs_f64() > 0.5 {
            break;
        }
    }
    best
}

/// What Linux says all living threads have used; elsewhere there is no such number.
fn processor_milliseconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let used = |task: std::fs::DirEntry| -> Option<f64> {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    tasks.filter_map(used).sum::<f64>() / 1e6
}

/// Of one thread, GFLOP/s.
fn peak(isa: Isa) -> f64 {
    let mut flops = 0;
    let time = best(|| flops = kernels::peak::multiply_add(isa, 20_000_000));
    flops as f64
        / time.wall.min(if time.processor > 0.0 { time.processor } else { time.wall })
        / 1e6
}

fn macs(network: &Network) -> f64 {
    let shapes = network.graph.shapes().expect("a valid graph");
    let nodes = network.graph.nodes.iter().zip(&shapes);
    let of = |(node, out): (&network::Node, &network::Shape)| match node.op {
        network::Op::Convolution(c) => out.len() * c.in_channels * c.kernel * c.kernel,
        network::Op::Linear { inputs, outputs } => inputs * outputs,
        _ => 0,
    };
    nodes.map(of).sum::<usize>() as f64
}

/// Uniform numbers in [-1, 1).
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}
