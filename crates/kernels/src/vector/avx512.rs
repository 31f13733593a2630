//! One AVX-512 register.

use super::Vector;
use std::arch::x86_64::*;

/// One AVX-512 register.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(pub __m512);

impl Vector for Avx512 {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe { Self(_mm512_setzero_ps()) }
    }
    #[inline(always)]
    unsafe fn load(pointer: *const f32) -> Self {
        // SAFETY: the caller promises the instructions and sixteen readable values.
        unsafe { Self(_mm512_loadu_ps(pointer)) }
    }
    #[inline(always)]
    unsafe fn store(self, pointer: *mut f32) {
        // SAFETY: the caller promises the instructions and sixteen writable values.
        unsafe { _mm512_storeu_ps(pointer, self.0) }
    }
    #[inline(always)]
    unsafe fn splat(pointer: *const f32) -> Self {
        // SAFETY: the caller promises the instructions and one readable value.
        unsafe { Self(_mm512_set1_ps(*pointer)) }
    }
    #[inline(always)]
    unsafe fn multiply_add(self, left: Self, right: Self) -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe { Self(_mm512_fmadd_ps(left.0, right.0, self.0)) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe { Self(_mm512_add_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn subtract(self, other: Self) -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // SAFETY: the caller promises the instructions. The maximum gives its second operand where one is NaN.
        unsafe { Self(_mm512_max_ps(_mm512_setzero_ps(), self.0)) }
    }
    #[inline(always)]
    unsafe fn positive(self) -> u16 {
        // SAFETY: the caller promises the instructions.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, _mm512_setzero_ps()) }
    }
    #[inline(always)]
    unsafe fn keep(self, mask: u16) -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe { Self(_mm512_maskz_mov_ps(mask, self.0)) }
    }
    #[inline(always)]
    unsafe fn load_half(pointer: *const u16) -> Self {
        // SAFETY: the caller promises the instructions and sixteen readable values.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(pointer.cast()));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
        }
    }
    #[inline(always)]
    unsafe fn store_half(self, pointer: *mut u16) {
        // SAFETY: the caller promises the instructions and sixteen writable values.
        unsafe {
            let bits = _mm512_castps_si512(self.0);
            let high = _mm512_srli_epi32::<16>(bits);
            // Half of the last kept bit, less one where that bit is even: ties go to even.
            let odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
            let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
            let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, half));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
            let quiet = _mm512_set1_epi32(0x40);
            let rounded = _mm512_mask_or_epi32(rounded, nan, high, quiet);
            _mm256_storeu_si256(pointer.cast(), _mm512_cvtepi32_epi16(rounded));
        }
    }
}
