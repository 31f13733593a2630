//! The reference beside every fast path.

use super::Vector;
use crate::LANES;

/// Plain Rust: the compiler takes what the base processor has.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; LANES]);

impl Vector for Portable {
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; LANES])
    }
    #[inline(always)]
    unsafe fn load(pointer: *const f32) -> Self {
        // SAFETY: the caller promises sixteen readable values; an array of f32 has the alignment of one.
        Self(unsafe { pointer.cast::<[f32; LANES]>().read() })
    }
    #[inline(always)]
    unsafe fn store(self, pointer: *mut f32) {
        // SAFETY: the caller promises sixteen writable values.
        unsafe { pointer.cast::<[f32; LANES]>().write(self.0) }
    }
    #[inline(always)]
    unsafe fn splat(pointer: *const f32) -> Self {
        // SAFETY: the caller promises one readable value.
        Self([unsafe { *pointer }; LANES])
    }
    #[inline(always)]
    unsafe fn multiply_add(mut self, left: Self, right: Self) -> Self {
        for ((sum, left), right) in self.0.iter_mut().zip(left.0).zip(right.0) {
            *sum += left * right;
        }
        self
    }
    #[inline(always)]
    unsafe fn add(mut self, other: Self) -> Self {
        for (sum, other) in self.0.iter_mut().zip(other.0) {
            *sum += other;
        }
        self
    }
    #[inline(always)]
    unsafe fn subtract(mut self, other: Self) -> Self {
        for (difference, other) in self.0.iter_mut().zip(other.0) {
            *difference -= other;
        }
        self
    }
    #[inline(always)]
    unsafe fn relu(mut self) -> Self {
        for value in &mut self.0 {
            *value = if *value < 0.0 { 0.0 } else { *value };
        }
        self
    }
    #[inline(always)]
    unsafe fn positive(self) -> u16 {
        let mut bits = 0;
        for (lane, value) in self.0.into_iter().enumerate() {
            bits |= u16::from(value > 0.0) << lane;
        }
        bits
    }
    #[inline(always)]
    unsafe fn keep(mut self, mask: u16) -> Self {
        let mask = u32::from(mask);
        for (lane, value) in self.0.iter_mut().enumerate() {
            // Without a branch and without a variable shift, so that it vectorises everywhere.
            let keep = u32::from(mask & (1 << lane) == 0).wrapping_sub(1);
            *value = f32::from_bits(value.to_bits() & keep);
        }
        self
    }
}
