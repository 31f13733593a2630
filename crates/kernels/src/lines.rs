//! Memory that begins at a cache line, so that no vector of sixteen and no row of a tile lies across two.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Zeroed numbers that begin at a cache line: a tile's row that crosses two lines takes twice as long to read.
///
/// Buffers of a large page or more begin at one, so that the system may back them with large pages.
pub struct Lines<T: Number> {
    start: NonNull<T>,
    length: usize,
}

/// Plain numbers for which all bits zero is zero.
pub trait Number: Copy + Send + Sync + 'static {}
impl Number for u16 {}
impl Number for u32 {}
impl Number for f32 {}

impl<T: Number> Lines<T> {
    /// `length` zeros.
    pub fn zeros(length: usize) -> Self {
        if length == 0 {
            return Self { start: NonNull::dangling(), length };
        }
        let layout = Self::layout(length);
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        prefer_large_pages(start, layout);
        // SAFETY: the allocation has this size; all bits zero is a number.
        unsafe { start.write_bytes(0, layout.size()) };
        Self { start: start.cast(), length }
    }

    /// Makes room for `length` numbers; what was there is kept, what is new is zero.
    pub fn reserve(&mut self, length: usize) {
        if self.length < length {
            let mut more = Self::zeros(length);
            more[..self.length].copy_from_slice(self);
            *self = more;
        }
    }

    fn layout(length: usize) -> Layout {
        let bytes = length.checked_mul(size_of::<T>()).expect("a length in memory");
        let align = if bytes >= LARGE_PAGE / 2 { LARGE_PAGE } else { LINE };
        let bytes = bytes.checked_next_multiple_of(align).expect("a length in memory");
        Layout::from_size_align(bytes, align).expect("a length in memory")
    }
}

const LINE: usize = 64;
const LARGE_PAGE: usize = 2 << 20;

/// Asks Linux to back a large buffer with large pages; it may refuse, and nothing depends on it but speed.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn prefer_large_pages(start: NonNull<u8>, layout: Layout) {
    const MADVISE: i64 = 28;
    const MADV_HUGEPAGE: u64 = 14;
    if layout.align() < LARGE_PAGE {
        return;
    }
    // SAFETY: the advice covers our own allocation only and changes no content; the kernel clobbers rcx and r11.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") MADVISE => _,
            in("rdi") start.as_ptr(),
            in("rsi") layout.size(),
            in("rdx") MADV_HUGEPAGE,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn prefer_large_pages(_: NonNull<u8>, _: Layout) {}

impl<T: Number> Drop for Lines<T> {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: allocated in `zeros` with this layout.
            unsafe { dealloc(self.start.as_ptr().cast(), Self::layout(self.length)) };
        }
    }
}

impl<T: Number> Default for Lines<T> {
    fn default() -> Self {
        Self::zeros(0)
    }
}

impl<T: Number> Clone for Lines<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.length);
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Number + PartialEq> PartialEq for Lines<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Number> Deref for Lines<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `length` initialised numbers, owned by this value.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T: Number> DerefMut for Lines<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: `length` initialised numbers, owned by this value.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl<T: Number> std::fmt::Debug for Lines<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} numbers in lines", self.length)
    }
}

// SAFETY: it owns its numbers, as a `Vec` does.
unsafe impl<T: Number> Send for Lines<T> {}
// SAFETY: shared access only reads.
unsafe impl<T: Number> Sync for Lines<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_at_a_line_and_are_zero() {
        for length in [0, 1, 31, 1000, 3 << 20] {
            let mut lines = Lines::<u16>::zeros(length);
            assert_eq!(lines.len(), length);
            assert!(length == 0 || (lines.as_ptr() as usize).is_multiple_of(64));
            assert!(lines.iter().all(|&x| x == 0));
            lines.fill(7);
            assert!(lines.iter().all(|&x| x == 7));
        }
    }
}
