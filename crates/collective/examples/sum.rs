//! What a sum over ranks costs each of them: seconds until it is there, and seconds of computing, of all threads of a rank.
//!
//! `mpirun -n 2 target/release/examples/sum` with `--features mpi`; without a launcher two ranks that are threads. One line
//! of JSON for each way to travel, from rank 0. Linux only: the kernel counts the computing.

use collective::{Collective, Threads, Wire};
use std::time::{Duration, Instant};

/// As many numbers as ResNet-18 (CIFAR form) learns.
const NUMBERS: usize = 11_183_562;
const RUNS: usize = 7;

fn main() {
    let limit = Duration::from_secs(60);
    #[cfg(feature = "mpi")]
    if std::env::var_os("OMPI_COMM_WORLD_SIZE").is_some() {
        measure(&collective::Mpi::join(limit).expect("a world"));
        return;
    }
    std::thread::scope(|scope| {
        for rank in Threads::world(2, limit) {
            scope.spawn(move || measure(&rank));
        }
    });
}

fn measure(ranks: &dyn Collective) {
    for (name, wire) in [("f32", Wire::F32), ("bf16", Wire::Bf16)] {
        let mut values = vec![1.0_f32; NUMBERS];
        let (mut seconds, mut computing) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            ranks.barrier().expect("all come");
            let (began, before) = (Instant::now(), computed());
            ranks.sum(&mut values, wire).expect("a sum");
            seconds.push(began.elapsed().as_secs_f64());
            computing.push(computed() - before);
        }
        if ranks.rank() == 0 {
            let size = ranks.world_size();
            let (seconds, computing) = (median(seconds), median(computing));
            println!(
                "{{\"ranks\": {size}, \"wire\": \"{name}\", \"numbers\": {NUMBERS}, \"runs\": {RUNS}, \
                 \"seconds\": {seconds:.4}, \"computing_seconds\": {computing:.4}}}"
            );
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds that the threads of this process have run; ranks that are threads are counted together.
fn computed() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux");
    let nanoseconds = |thread: std::io::Result<std::fs::DirEntry>| -> f64 {
        let path = thread.expect("a thread").path().join("schedstat");
        // A thread may have ended meanwhile.
        let told = std::fs::read_to_string(path).unwrap_or_default();
        told.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
    };
    threads.map(nanoseconds).sum::<f64>() / 1e9
}
