//! The matrix tiles of recent Intel processors (AMX), reached from stable Rust by inline assembly.
//!
//! The compiler knows no tile registers, so no value of theirs crosses Rust code: whoever computes with tiles holds a
//! [`Tiles`] and keeps every tile instruction inside `asm!` blocks. All eight tiles are 16 rows of 64 bytes.

#[cfg(all(feature = "emulated-tiles", target_os = "linux"))]
mod emulated;

use std::arch::asm;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Whether this processor multiplies bf16 tiles and the operating system lets this process use them.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| (processor_has_tiles() && system_permits_tiles()) || emulates())
}

/// Whether tile instructions are done by software from now on: for tests, which have the feature `emulated-tiles` and ask for
/// AMX by name. The feature alone, as `--all-features` brings it, slows nobody down.
#[cfg(all(feature = "emulated-tiles", target_os = "linux"))]
fn emulates() -> bool {
    let asked = std::env::var_os("ADAMANT_ISA").is_some_and(|name| name == "amx");
    if asked {
        emulated::install();
    }
    asked
}

#[cfg(not(all(feature = "emulated-tiles", target_os = "linux")))]
fn emulates() -> bool {
    false
}

fn processor_has_tiles() -> bool {
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    let leaves = std::arch::x86_64::__cpuid(0).eax;
    let features = if leaves >= 7 { std::arch::x86_64::__cpuid_count(7, 0).edx } else { 0 };
    features & AMX_BF16 != 0 && features & AMX_TILE != 0
}

/// Asks Linux for the tile registers' state; a process has it from then on, threads included.
#[cfg(target_os = "linux")]
fn system_permits_tiles() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let result: i64;
    // SAFETY: the system call takes two numbers and touches no memory of ours; the kernel clobbers rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn system_permits_tiles() -> bool {
    false
}

/// What `ldtilecfg` reads: palette 1, eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static FULL_TILES: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// This thread's tiles, configured; given back when dropped, because tiles in use make every context switch save 8 KiB.
///
/// It does not leave its thread. Tiles nest: a [`Tiles`] within another releases nothing.
pub(crate) struct Tiles {
    outermost: bool,
    stays: PhantomData<*const ()>,
}

thread_local! {
    static CONFIGURED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl Tiles {
    /// Configures this thread's tiles.
    ///
    /// Panics where [`is_available`] does not hold.
    pub fn configure() -> Self {
        assert!(is_available(), "tiles on a processor or system without them");
        let outermost = !CONFIGURED.replace(true);
        if outermost {
            // SAFETY: the processor has tiles and the system permits them; the configuration is valid and lives forever.
            unsafe {
                asm!("ldtilecfg [{0}]", in(reg) &raw const FULL_TILES, options(nostack, readonly));
            }
        }
        Self { outermost, stays: PhantomData }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        if self.outermost {
            CONFIGURED.set(false);
            // SAFETY: tiles were configured on this thread, and nobody keeps anything in them.
            unsafe { asm!("tilerelease", options(nostack, nomem)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_of_two_tiles_is_what_plain_loops_give() {
        if !is_available() {
            return;
        }
        // Small whole numbers: exact in bf16 and in every order of the sum.
        let bf16 = |x: i32| ((x as f32).to_bits() >> 16) as u16;
        let left: Vec<i32> = (0..16 * 32).map(|i| (i * 7 + 3) % 11 - 5).collect();
        let right: Vec<i32> = (0..32 * 16).map(|i| (i * 5 + 1) % 13 - 6).collect();
        let a: Vec<u16> = left.iter().map(|&x| bf16(x)).collect();
        let mut b = vec![0_u16; 512];
        for k in 0..32 {
            for n in 0..16 {
                b[(k / 2) * 32 + 2 * n + k % 2] = bf16(right[k * 16 + n]);
            }
        }
        let mut c = vec![0.0_f32; 256];
        let _tiles = Tiles::configure();
        // SAFETY: every tile is 16 rows of 64 bytes at the given pointers, which have 1 KiB each.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tileloadd tmm1, [{a} + {pitch}]",
                "tileloadd tmm2, [{b} + {pitch}]",
                "tdpbf16ps tmm0, tmm1, tmm2",
                "tilestored [{c} + {pitch}], tmm0",
                a = in(reg) a.as_ptr(),
                b = in(reg) b.as_ptr(),
                c = in(reg) c.as_mut_ptr(),
                pitch = in(reg) 64_usize,
                options(nostack),
            );
        }
        for m in 0..16 {
            for n in 0..16 {
                let sum: i32 = (0..32).map(|k| left[m * 32 + k] * right[k * 16 + n]).sum();
                assert_eq!(c[m * 16 + n], sum as f32, "row {m}, column {n}");
            }
        }
    }
}
