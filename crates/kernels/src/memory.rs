//! How this process's allocator treats large blocks.

/// Makes blocks of 1 MiB and more go back to the system as soon as they are freed, for the whole process.
///
/// glibc raises that limit to the size of the largest block freed so far, up to 32 MiB; from then on what one phase of
/// a training step frees stays behind as holes that the next phase's blocks do not fit into. ResNet-638 planned 7.9 GiB
/// and took 9.4 so. Other C libraries are left as they are.
pub fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        const M_MMAP_THRESHOLD: i32 = -3;
        // SAFETY: glibc's `mallopt` has this signature, may be called at any time and from any thread, and changes only
        // where later blocks come from. It refuses what it cannot do, which leaves everything as it was.
        unsafe {
            mallopt(M_MMAP_THRESHOLD, 1 << 20);
        }
    }
}
