//! A folder for the files that a target writes; in memory where the system has such a place.

use std::fs;
use std::path::{Path, PathBuf};

/// One folder a process, so that two targets may run at once.
pub fn folder() -> PathBuf {
    let shared = Path::new("/dev/shm");
    let base = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    let folder = base.join(format!("adamant-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for temporary files");
    folder
}
