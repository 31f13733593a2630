//! One writer a run: the lock of its folder, and who holds it.
//!
//! The system gives the lock back when the process ends, however it ends, so a killed run leaves none behind. The file's
//! text names the holder for people; only the lock itself decides.

use super::run::RunError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Seek, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

const LOCK: &str = ".lock";

/// Who writes a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process, on its host; 0 where it has not said so.
    pub pid: u32,
    /// The host's name, empty where it has not said so.
    pub host: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            0 => Ok(()),
            pid => write!(f, ", process {pid} on {}", self.host),
        }
    }
}

/// Locks the run in `folder` for as long as the file lives.
///
/// Errors: `Locked`, naming the other process; the disk refuses.
pub(super) fn lock(folder: &Path) -> Result<File, RunError> {
    let path = folder.join(LOCK);
    let failed = |error| RunError::io(&path, error);
    // Not truncated before it is ours: it names the process that has it.
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let mut file = opened.map_err(failed)?;
    // `holder` below has the lock for a moment while it looks.
    let mut tries = 0;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if tries < 5 => {
                tries += 1;
                sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => {
                let (folder, holder) = (folder.to_path_buf(), written(&path));
                return Err(RunError::Locked { folder, holder });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    let us = Holder { pid: std::process::id(), host: host() };
    let text = serde_json::to_string(&us).expect("a holder is a number and a text");
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{text}")
    };
    // Who holds the lock is told for comfort; a full disk must not keep a run from being resumed.
    let _ = write(&mut file);
    Ok(file)
}

/// Who writes the run in `folder` now, if anybody does.
pub fn holder(folder: &Path) -> Option<Holder> {
    let path = folder.join(LOCK);
    let file = File::open(&path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(written(&path)),
        _ => None,
    }
}

fn written(path: &Path) -> Holder {
    let text = fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn host() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/hostname");
    let told = text.ok().or_else(|| std::env::var("HOSTNAME").ok());
    told.map_or_else(|| "an unknown host".to_string(), |name| name.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_told_who_the_first_is_and_a_dropped_lock_is_free() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(holder(folder.path()), None);
        let held = lock(folder.path()).unwrap();
        let error = lock(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {} on ", std::process::id())), "{error}");
        assert_eq!(holder(folder.path()).unwrap().pid, std::process::id());
        drop(held);
        assert_eq!(holder(folder.path()), None);
        lock(folder.path()).unwrap();
    }
}
