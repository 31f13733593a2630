//! Sixteen f32 lanes, however many registers they take.

use crate::LANES;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use portable::Portable;

/// Sixteen f32 lanes and what a convolution does with them.
///
/// # Safety
/// Every method needs the instructions of its implementor; `load` and `store` touch 16 values at the pointer.
pub(crate) trait Vector: Copy {
    /// All lanes zero.
    unsafe fn zero() -> Self;
    /// Sixteen values at `pointer`.
    unsafe fn load(pointer: *const f32) -> Self;
    /// Writes sixteen values to `pointer`.
    unsafe fn store(self, pointer: *mut f32);
    /// The value at `pointer` in all lanes.
    unsafe fn splat(pointer: *const f32) -> Self;
    /// `self + left * right`, rounded once where the processor can.
    unsafe fn multiply_add(self, left: Self, right: Self) -> Self;
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// `self - other`.
    unsafe fn subtract(self, other: Self) -> Self;
    /// `max(x, 0)`; NaN stays NaN, so that a broken network is seen.
    unsafe fn relu(self) -> Self;
    /// Bit `l` says whether lane `l` is above zero.
    unsafe fn positive(self) -> u16;
    /// Zero in the lanes whose bit is not set.
    unsafe fn keep(self, mask: u16) -> Self;
    /// Sixteen bf16 at `pointer`; exact.
    #[inline(always)]
    unsafe fn load_half(pointer: *const u16) -> Self {
        // SAFETY: the caller promises the instructions and sixteen readable values.
        unsafe {
            let half = pointer.cast::<[u16; LANES]>().read_unaligned();
            Self::load(half.map(|x| f32::from_bits(u32::from(x) << 16)).as_ptr())
        }
    }
    /// Writes sixteen bf16 to `pointer`, rounded to nearest even; NaN stays NaN.
    #[inline(always)]
    unsafe fn store_half(self, pointer: *mut u16) {
        let mut lanes = [0.0_f32; LANES];
        // SAFETY: the caller promises the instructions and sixteen writable values; an array of u16 needs no alignment.
        unsafe {
            self.store(lanes.as_mut_ptr());
            pointer.cast::<[u16; LANES]>().write_unaligned(lanes.map(crate::half::from_f32));
        }
    }
    /// Sum of all lanes: halves are added until one lane is left.
    #[inline(always)]
    unsafe fn total(self) -> f32 {
        let mut lanes = [0.0_f32; LANES];
        // SAFETY: `lanes` has sixteen values; the caller promises the instructions.
        unsafe { self.store(lanes.as_mut_ptr()) };
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
            half /= 2;
        }
        lanes[0]
    }
}
