//! The attack pass layer by layer, so that the next slow one is always visible.
//!
//! All threads run tiles of the batch at once, as an attack does; each step's time is the sum over threads of the time
//! between its beginning and its end, so a rate by threads compares with the peak of all threads.

use super::parts::cross_entropy;
use super::subject::Subject;
use super::timing::median;
use crate::output::{percent, table};
use adamant::image::Logits;
use engine::cpu::CpuEngine;
use engine::{Direction, Engine, ImagesView, Observable, Precision, StepObserver};
use serde::Serialize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// One fused step of the frozen network, for the whole batch.
#[derive(Debug, Serialize)]
pub struct Layer {
    /// Name of the node that produces the value.
    pub name: String,
    /// What it computes.
    pub operation: String,
    /// Shape of one image's result.
    pub shape: String,
    /// Thread-milliseconds by threads, medians.
    pub forward_milliseconds: f64,
    /// As forward.
    pub backward_milliseconds: f64,
    /// Of both directions; 0 where nothing multiplies.
    pub gflops: f64,
    /// Of the forward.
    pub forward_gflops: f64,
    /// Of the backward.
    pub backward_gflops: f64,
    /// Filled in once the peak is known.
    pub share_of_peak: f64,
    /// Share of the time of all layers.
    pub share_of_time: f64,
    /// Values that one forward of the batch reads and writes.
    pub value_bytes: u64,
    /// Weights that one direction reads.
    pub weight_bytes: u64,
}

/// Measures every step `runs` times, after one unmeasured run.
///
/// Errors: the engine's.
pub fn measure(
    subject: &Subject,
    engine: &CpuEngine,
    precision: Precision,
    runs: usize,
) -> anyhow::Result<Vec<Layer>> {
    let frozen = engine.freeze(&subject.network, subject.domain, precision)?;
    let steps = frozen.steps();
    let mut samples = vec![Vec::new(); 2 * steps.len()];
    for run in 0..=runs {
        let seconds = one_run(&frozen, subject)?;
        if run > 0 {
            samples.iter_mut().zip(seconds).for_each(|(samples, time)| samples.push(1e3 * time));
        }
    }
    let medians: Vec<f64> = samples.iter().map(|samples| median(samples)).collect();
    let total: f64 = medians.iter().sum();
    let images = subject.batch.images.count as u64;
    let layers = steps.into_iter().zip(medians.chunks_exact(2)).map(|(step, times)| {
        let gflop = 2.0 * (step.macs * images) as f64 / 1e9;
        Layer {
            name: step.name,
            operation: step.operation,
            shape: step.output.to_string(),
            forward_milliseconds: times[0],
            backward_milliseconds: times[1],
            gflops: 2.0 * gflop / (times[0] + times[1]) * 1e3,
            forward_gflops: gflop / times[0] * 1e3,
            backward_gflops: gflop / times[1] * 1e3,
            share_of_peak: 0.0,
            share_of_time: (times[0] + times[1]) / total,
            value_bytes: step.value_bytes * images,
            weight_bytes: step.weight_bytes,
        }
    });
    Ok(layers.collect())
}

/// Seconds of each step, forward then backward, summed over threads, by the number of threads.
fn one_run<F: Observable>(frozen: &F, subject: &Subject) -> anyhow::Result<Vec<f64>> {
    let images = &subject.batch.images;
    let threads = rayon::current_num_threads();
    let tile = frozen.tile().min(images.count.div_ceil(threads)).max(1);
    let length = images.shape.len();
    let next = AtomicUsize::new(0);
    let per_thread = rayon::broadcast(|_| {
        let mut stopwatch = Stopwatch::new(frozen.steps().len());
        let mut session = frozen.session();
        loop {
            let first = next.fetch_add(tile, Ordering::Relaxed);
            if first >= images.count {
                return Ok(stopwatch.seconds);
            }
            let count = tile.min(images.count - first);
            let pixels = &images.pixels[first * length..(first + count) * length];
            let view = ImagesView { count, shape: images.shape, pixels };
            let labels = &subject.batch.labels[first..];
            let mut loss = |logits: &Logits, at: usize, gradient: &mut Logits| {
                cross_entropy(logits, &labels[at..], gradient);
            };
            F::observed_input_gradient(&mut session, view, &mut loss, &mut stopwatch)?;
        }
    });
    let mut sum = vec![0.0; 2 * frozen.steps().len()];
    for seconds in per_thread {
        let seconds = seconds.map_err(|error: engine::EngineError| error)?;
        sum.iter_mut().zip(seconds).for_each(|(sum, time)| *sum += time / threads as f64);
    }
    Ok(sum)
}

/// One thread's time by step and direction.
struct Stopwatch {
    seconds: Vec<f64>,
    start: Instant,
}

impl Stopwatch {
    fn new(steps: usize) -> Self {
        Self { seconds: vec![0.0; 2 * steps], start: Instant::now() }
    }
}

impl StepObserver for Stopwatch {
    fn before(&mut self, _: Direction, _: usize) {
        self.start = Instant::now();
    }

    fn after(&mut self, direction: Direction, step: usize) {
        let position = 2 * step + usize::from(direction == Direction::Backward);
        self.seconds[position] += self.start.elapsed().as_secs_f64();
    }
}

/// For people.
pub fn text(layers: &[Layer]) -> String {
    let mut rows = vec![
        ["layer", "computes", "shape", "forward ms", "backward ms", "time", "GFLOP/s", "of peak"]
            .into_iter()
            .chain(["MB values", "MB weights"])
            .map(str::to_string)
            .collect::<Vec<_>>(),
    ];
    let megabytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1e6);
    for layer in layers {
        let multiplies = layer.gflops > 0.0;
        let known = |text: String| if multiplies { text } else { String::new() };
        rows.push(vec![
            layer.name.clone(),
            layer.operation.clone(),
            layer.shape.clone(),
            format!("{:.3}", layer.forward_milliseconds),
            format!("{:.3}", layer.backward_milliseconds),
            percent(layer.share_of_time),
            known(format!("{:.0}", layer.gflops)),
            known(percent(layer.share_of_peak)),
            megabytes(layer.value_bytes),
            megabytes(layer.weight_bytes),
        ]);
    }
    table(&rows)
}
