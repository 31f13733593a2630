//! What this machine can do at most, measured beside what it does.

use super::timing::{median, most};
use engine::Precision;
use engine::cpu::{Isa, peak};
use serde::Serialize;
use std::time::Instant;

/// Bounds in GFLOP/s, all threads at once.
#[derive(Debug, Serialize)]
pub struct Peaks {
    /// Single-precision multiply-adds in registers.
    pub multiply_add: Bound,
    /// Products of bf16 pairs with single-precision sums (AVX-512).
    pub bf16_pairs: Option<Bound>,
    /// Products of bf16 tiles with single-precision sums (AMX).
    pub bf16_tiles: Option<Bound>,
}

/// One bound.
#[derive(Debug, Serialize)]
pub struct Bound {
    /// The most that was measured.
    pub gflops: f64,
    /// The middle of all measurements: far below the most, the machine was busy.
    pub median_gflops: f64,
}

/// Measures on all threads of the current pool what `isa` allows.
pub fn measure(isa: Isa) -> Peaks {
    let bf16 = |of: Isa| {
        let allowed = isa >= of && of.is_available();
        allowed.then(|| bound(|rounds| peak::bf16_multiply_add(of, rounds).unwrap_or(0)))
    };
    Peaks {
        multiply_add: bound(|rounds| peak::multiply_add(isa, rounds)),
        bf16_pairs: bf16(Isa::Avx512Bf16),
        bf16_tiles: bf16(Isa::Amx),
    }
}

impl Peaks {
    /// What `precision` is held against.
    pub fn of(&self, precision: Precision) -> f64 {
        match precision {
            Precision::F32 => self.multiply_add.gflops,
            Precision::Bf16 => {
                let best = self.bf16_tiles.as_ref().or(self.bf16_pairs.as_ref());
                best.unwrap_or(&self.multiply_add).gflops
            }
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("f32 {:.0} GFLOP/s", self.multiply_add.gflops);
        for (name, bound) in [("bf16 pairs", &self.bf16_pairs), ("bf16 tiles", &self.bf16_tiles)] {
            if let Some(bound) = bound {
                text.push_str(&format!(", {name} {:.0}", bound.gflops));
            }
        }
        text
    }
}

/// `work` does a number of rounds and tells its floating-point operations.
fn bound(work: impl Fn(usize) -> u64 + Sync) -> Bound {
    const MEASUREMENTS: usize = 9;
    const SECONDS: f64 = 0.03;
    let gflops = |rounds: usize| {
        let start = Instant::now();
        let flops: u64 = rayon::broadcast(|_| work(rounds)).into_iter().sum();
        (flops as f64 / start.elapsed().as_secs_f64() / 1e9, start.elapsed().as_secs_f64())
    };
    let mut rounds = 1000;
    // Long enough that starting the threads does not count, short enough that a busy machine leaves it alone once.
    while gflops(rounds).1 < SECONDS {
        rounds *= 2;
    }
    let samples: Vec<f64> = (0..MEASUREMENTS).map(|_| gflops(rounds).0).collect();
    Bound { gflops: most(&samples), median_gflops: median(&samples) }
}
