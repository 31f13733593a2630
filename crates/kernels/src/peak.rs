//! What the processor could do at most: a known number of floating-point operations that touch no memory.

use crate::Isa;

/// Runs `rounds` of fused multiply-adds in registers and returns how many floating-point operations those were.
///
/// The caller takes the time: operations by seconds is the bound that a convolution is held against. The operands are
/// dense random-like numbers, because the clock of a processor depends on its data.
pub fn multiply_add(isa: Isa, rounds: usize) -> u64 {
    let mut sums = [[0.3_f32; 16]; CHAINS];
    chains(isa, rounds, &mut sums);
    std::hint::black_box(&sums);
    (rounds * CHAINS * 16 * 2) as u64
}

/// Independent chains: enough to hide the latency of one operation on two ports.
const CHAINS: usize = 12;

per_isa! {
    fn chains(rounds: usize, sums: &mut [[f32; 16]; CHAINS]) {
        let mut local = *sums;
        for _ in 0..rounds {
            for sum in &mut local {
                for lane in sum.iter_mut() {
                    *lane = *lane * 0.618_034 + 0.381_966;
                }
            }
        }
        *sums = local;
    }
}
