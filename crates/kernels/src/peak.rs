//! What the processor could do at most: a known number of floating-point operations that touch no memory.

#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};
use crate::vector::{Portable, Vector};
use crate::{Isa, LANES};

/// Runs `rounds` of multiply-adds in registers and returns how many floating-point operations those were.
///
/// The caller takes the time: operations by seconds is the bound that a convolution is held against. The numbers have
/// dense bits, because the clock of a processor depends on its data.
pub fn multiply_add(isa: Isa, rounds: usize) -> u64 {
    assert!(isa.is_available(), "{isa} kernels on a processor without them");
    // SAFETY: the processor has the instructions.
    let (sums, chains) = unsafe {
        match isa {
            Isa::Portable => (chains::<Portable, 3>(rounds), 3),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => (avx2(rounds), 6),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => (avx512(rounds), 12),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    };
    std::hint::black_box(sums);
    (rounds * chains * LANES * 2) as u64
}

/// # Safety
/// Needs AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(rounds: usize) -> [f32; LANES] {
    // SAFETY: by the caller's promise.
    unsafe { chains::<Avx2, 6>(rounds) }
}

/// # Safety
/// Needs AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(rounds: usize) -> [f32; LANES] {
    // SAFETY: by the caller's promise.
    unsafe { chains::<Avx512, 12>(rounds) }
}

/// `C` independent chains: enough to hide the latency of one operation on two ports, few enough for the registers.
///
/// # Safety
/// Needs `V`'s instructions.
#[inline(always)]
unsafe fn chains<V: Vector, const C: usize>(rounds: usize) -> [f32; LANES] {
    let numbers: [f32; 3 * LANES] =
        std::array::from_fn(|i| 0.1 + 0.017 * ((i * 37 + 11) % 48) as f32);
    let numbers = std::hint::black_box(numbers);
    let mut result = [0.0; LANES];
    // SAFETY: by the caller's promise; every array has the lanes that are read or written.
    unsafe {
        let left = V::load(numbers.as_ptr().add(LANES));
        let right = V::load(numbers.as_ptr().add(2 * LANES));
        let mut sums = [V::zero(); C];
        for (c, sum) in sums.iter_mut().enumerate() {
            // All different, or the compiler may see that all chains are one.
            *sum = V::load(numbers.as_ptr().add(c));
        }
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = sum.multiply_add(left, right);
            }
        }
        let mut total = V::zero();
        for sum in sums {
            total = total.add(sum);
        }
        total.store(result.as_mut_ptr());
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_grows_with_the_rounds() {
        for isa in Isa::available() {
            assert_eq!(multiply_add(isa, 200), 2 * multiply_add(isa, 100));
        }
    }
}
