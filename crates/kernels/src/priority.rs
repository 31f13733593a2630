//! Threads that yield to others.

/// Lowers the priority of the calling thread, so that others on the same core go first; what they leave it still takes.
///
/// Linux only: there a niceness belongs to a thread. Elsewhere nothing happens, and results never depend on it.
pub fn lower_thread_priority() {
    #[cfg(target_os = "linux")]
    {
        unsafe extern "C" {
            fn setpriority(which: i32, who: u32, priority: i32) -> i32;
        }
        const PRIO_PROCESS: i32 = 0;
        /// A tenth of a core's time beside a thread of usual priority, all of it where there is none.
        const NICENESS: i32 = 10;
        // SAFETY: `setpriority` has this signature on Linux, reads no memory of ours and may be called from any thread;
        // 0 names the caller. If it is refused, the thread keeps its priority.
        unsafe {
            setpriority(PRIO_PROCESS, 0, NICENESS);
        }
    }
}
