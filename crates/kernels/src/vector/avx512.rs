//! One AVX-512 register.

use super::Vector;
use std::arch::x86_64::*;

/// One AVX-512 register.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

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
}
