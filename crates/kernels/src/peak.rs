//! What the processor could do at most: a known number of floating-point operations that touch no memory.
//!
//! The caller takes the time: operations by seconds is the bound that a convolution is held against. All numbers have
//! dense bits, because the clock of a processor depends on its data: never zeros.

#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};
use crate::vector::{Portable, Vector};
use crate::{Isa, LANES};

/// Runs `rounds` of multiply-adds in registers and returns how many floating-point operations those were.
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

/// Runs `rounds` of the widest bf16 products with f32 sums that `isa` has, in registers, and returns how many
/// floating-point operations those were; `None` if it has none.
pub fn bf16_multiply_add(isa: Isa, rounds: usize) -> Option<u64> {
    assert!(isa.is_available(), "{isa} kernels on a processor without them");
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16 => {
            // SAFETY: the processor has the instructions, asserted above.
            std::hint::black_box(unsafe { bf16_pairs(rounds) });
            Some((rounds * BF16_CHAINS * 2 * LANES * 2) as u64)
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Amx => {
            std::hint::black_box(bf16_tiles(rounds));
            Some((rounds * 4 * 16 * 16 * 32 * 2) as u64)
        }
        _ => None,
    }
}

/// Independent chains of bf16 products: the latency is longer than that of a multiply-add.
#[cfg(target_arch = "x86_64")]
const BF16_CHAINS: usize = 16;

/// # Safety
/// Needs AVX-512 with bf16.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn bf16_pairs(rounds: usize) -> [f32; LANES] {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_ps,
        _mm512_setzero_ps, _mm512_storeu_ps,
    };
    let numbers = std::hint::black_box(dense_bf16::<64>());
    let mut result = [0.0; LANES];
    // SAFETY: by the caller's promise; `numbers` has two vectors of 32 and `result` one of 16. The cast changes the
    // type of 512 bits, not the bits.
    unsafe {
        let load = |at: usize| {
            std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(
                numbers.as_ptr().add(at).cast(),
            ))
        };
        let (left, right) = (load(0), load(32));
        let mut sums = [_mm512_setzero_ps(); BF16_CHAINS];
        for (chain, sum) in sums.iter_mut().enumerate() {
            // All different, or the compiler may see that all chains are one.
            *sum = _mm512_set1_ps(std::hint::black_box(0.1 + chain as f32));
        }
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, left, right);
            }
        }
        let mut total = _mm512_setzero_ps();
        for sum in sums {
            total = _mm512_add_ps(total, sum);
        }
        _mm512_storeu_ps(result.as_mut_ptr(), total);
    }
    result
}

/// Two by two tiles of sums, as a matrix product holds them: four independent chains hide the latency.
#[cfg(target_arch = "x86_64")]
fn bf16_tiles(rounds: usize) -> [f32; 256] {
    let numbers = std::hint::black_box(dense_bf16::<2048>());
    let mut result = [0.0; 256];
    let _tiles = crate::amx::Tiles::configure();
    // SAFETY: the tiles are configured as 16 rows of 64 bytes, 1 KiB each; `numbers` has four of them and `result` one.
    // Tile registers carry nothing in or out of the block.
    unsafe {
        std::arch::asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tileloadd tmm4, [{numbers} + {pitch}]",
            "tileloadd tmm5, [{numbers} + {pitch} + 1024]",
            "tileloadd tmm6, [{numbers} + {pitch} + 2048]",
            "tileloadd tmm7, [{numbers} + {pitch} + 3072]",
            "test {rounds}, {rounds}",
            "jz 3f",
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "dec {rounds}",
            "jnz 2b",
            "3:",
            "tilestored [{result} + {pitch}], tmm0",
            numbers = in(reg) numbers.as_ptr(),
            result = in(reg) result.as_mut_ptr(),
            pitch = in(reg) 64_usize,
            rounds = inout(reg) rounds => _,
            options(nostack),
        );
    }
    result
}

/// Numbers in [-1, -0.5] and [0.5, 1] whose bits look random.
#[cfg(target_arch = "x86_64")]
fn dense_bf16<const N: usize>() -> [u16; N] {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let bits = (state >> 48) as u16;
        0x3f00 | (bits & 0x807f)
    })
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
            let (many, few) = (bf16_multiply_add(isa, 200), bf16_multiply_add(isa, 100));
            assert_eq!(many, few.map(|few| 2 * few));
            assert_eq!(few.is_some(), isa >= Isa::Avx512Bf16);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_numbers_of_the_peak_are_dense_and_what_is_multiplied_is_not_lost() {
        let numbers = dense_bf16::<2048>();
        let distinct: std::collections::BTreeSet<u16> = numbers.into_iter().collect();
        assert!(distinct.len() > 200, "{} different numbers of 256", distinct.len());
        if Isa::Amx.is_available() {
            let sums = bf16_tiles(3);
            assert!(sums.iter().filter(|sum| **sum != 0.0).count() > 250, "{sums:?}");
        }
    }
}
