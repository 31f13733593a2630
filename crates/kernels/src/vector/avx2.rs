//! Two AVX registers.

use super::Vector;
use std::arch::x86_64::*;

/// Two AVX registers.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256, __m256);

/// All ones in the lanes whose bit among the lowest eight is set.
///
/// # Safety
/// Needs AVX2.
#[inline(always)]
unsafe fn lanes(mask: u16) -> __m256 {
    // SAFETY: the caller promises the instructions.
    unsafe {
        let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        let own = _mm256_and_si256(_mm256_set1_epi32(i32::from(mask)), bits);
        _mm256_castsi256_ps(_mm256_cmpeq_epi32(own, bits))
    }
}

impl Vector for Avx2 {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe { Self(_mm256_setzero_ps(), _mm256_setzero_ps()) }
    }
    #[inline(always)]
    unsafe fn load(pointer: *const f32) -> Self {
        // SAFETY: the caller promises the instructions and sixteen readable values.
        unsafe { Self(_mm256_loadu_ps(pointer), _mm256_loadu_ps(pointer.add(8))) }
    }
    #[inline(always)]
    unsafe fn store(self, pointer: *mut f32) {
        // SAFETY: the caller promises the instructions and sixteen writable values.
        unsafe {
            _mm256_storeu_ps(pointer, self.0);
            _mm256_storeu_ps(pointer.add(8), self.1);
        }
    }
    #[inline(always)]
    unsafe fn splat(pointer: *const f32) -> Self {
        // SAFETY: the caller promises the instructions and one readable value.
        unsafe {
            let all = _mm256_broadcast_ss(&*pointer);
            Self(all, all)
        }
    }
    #[inline(always)]
    unsafe fn multiply_add(self, left: Self, right: Self) -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe {
            Self(_mm256_fmadd_ps(left.0, right.0, self.0), _mm256_fmadd_ps(left.1, right.1, self.1))
        }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe { Self(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn subtract(self, other: Self) -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe { Self(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // SAFETY: the caller promises the instructions. The maximum gives its second operand where one is NaN.
        unsafe {
            let zero = _mm256_setzero_ps();
            Self(_mm256_max_ps(zero, self.0), _mm256_max_ps(zero, self.1))
        }
    }
    #[inline(always)]
    unsafe fn positive(self) -> u16 {
        // SAFETY: the caller promises the instructions.
        unsafe {
            let zero = _mm256_setzero_ps();
            let low = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, zero));
            let high = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.1, zero));
            (low | high << 8) as u16
        }
    }
    #[inline(always)]
    unsafe fn keep(self, mask: u16) -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe { Self(_mm256_and_ps(self.0, lanes(mask)), _mm256_and_ps(self.1, lanes(mask >> 8))) }
    }
}
