//! Folders that appear whole or not at all: `checkpoints/step-N/`.
//!
//! A folder is written under a temporary name, every file is synced, a manifest of SHA-256 sums is written last, the
//! folder is renamed and its parent synced (T58). So a kill at any instant leaves the earlier checkpoints and at most
//! some rubbish under a temporary name, which the next save removes. Begin with [`Store::save`] and [`Store::newest`].

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

const MANIFEST: &str = "manifest.json";
/// Ends the name of a checkpoint that another of its step is about to replace.
const OLD: &str = ".old";

/// The checkpoints of one run.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    keep: usize,
}

/// The files of one checkpoint, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The newest checkpoint that is whole, and those newer ones that are not.
#[derive(Debug, Default)]
pub struct Newest {
    /// Step and files, if there is any good checkpoint.
    pub good: Option<(u64, Files)>,
    /// Damaged checkpoints passed over, newest first, with what is wrong.
    pub damaged: Vec<StoreError>,
}

/// What can go wrong with checkpoints on disk.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk is full, or a size limit reached.
    #[error("{}: {source}\n  hint: the disk is full or a size limit is reached; earlier checkpoints are intact, free some \
             space and continue with --resume", path.display())]
    Full {
        /// What was being written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The right to write is gone.
    #[error("{}: {source}\n  hint: earlier checkpoints are intact; give the right to write back (owner, mode, a mount that is \
             read-only) and continue with --resume", path.display())]
    Denied {
        /// What was being written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("{}: damaged, {found}; expected {expected}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What the manifest says.
        expected: String,
    },
}

impl StoreError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full { path, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { path, source }
            }
            _ => Self::Io { path, source },
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    files: BTreeMap<String, FileSum>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct FileSum {
    bytes: u64,
    sha256: String,
}

impl FileSum {
    fn of(bytes: &[u8]) -> Self {
        let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { bytes: bytes.len() as u64, sha256 }
    }
}

impl Store {
    /// The checkpoints in `folder`, of which the newest `keep` (at least 1) stay.
    pub fn new(folder: PathBuf, keep: usize) -> Self {
        Self { folder, keep: keep.max(1) }
    }

    /// Writes the checkpoint of `step`, then removes the oldest beyond what is kept.
    ///
    /// Errors: a full disk, missing permission; earlier checkpoints are then intact and nothing half-written stays.
    pub fn save(&self, step: u64, files: &Files) -> Result<PathBuf, StoreError> {
        fs::create_dir_all(&self.folder).map_err(|e| StoreError::io(&self.folder, e))?;
        self.remove_rubbish();
        let temporary = self.folder.join(format!(".step-{step}.partial"));
        let written = write_folder(&temporary, files).and_then(|()| {
            let place = self.folder.join(format!("step-{step}"));
            if place.exists() {
                // A step is written again once its validation is made. Should a kill come between the two renames,
                // `newest` takes the old one back.
                let old = self.folder.join(format!(".step-{step}{OLD}"));
                fs::rename(&place, &old).map_err(|e| StoreError::io(&place, e))?;
            }
            fs::rename(&temporary, &place).map_err(|e| StoreError::io(&place, e))?;
            sync(&self.folder)?;
            Ok(place)
        });
        match written {
            Ok(place) => {
                self.remove_rubbish();
                self.remove_old(step)?;
                Ok(place)
            }
            Err(error) => {
                // The first error is the one to report; what cannot be removed now is removed by the next save.
                let _ = fs::remove_dir_all(&temporary);
                Err(error)
            }
        }
    }

    /// The newest checkpoint whose every file is as its manifest says (G17).
    ///
    /// Errors: the folder itself cannot be read. A damaged checkpoint is no error: the one before it is used.
    pub fn newest(&self) -> Result<Newest, StoreError> {
        let mut newest = Newest::default();
        self.take_back();
        for (step, path) in self.steps()?.into_iter().rev() {
            match read_folder(&path) {
                Ok(files) => {
                    newest.good = Some((step, files));
                    break;
                }
                Err(error) => newest.damaged.push(error),
            }
        }
        Ok(newest)
    }

    /// All checkpoints, oldest first, whole or not.
    pub fn steps(&self) -> Result<Vec<(u64, PathBuf)>, StoreError> {
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        let mut steps: Vec<(u64, PathBuf)> = fs::read_dir(&self.folder)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(|e| StoreError::io(&self.folder, e))?
            .into_iter()
            .filter_map(|entry| {
                let step = entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?;
                Some((step, entry.path()))
            })
            .collect();
        steps.sort();
        Ok(steps)
    }

    fn remove_old(&self, newest: u64) -> Result<(), StoreError> {
        let mut steps = self.steps()?;
        // What seems to be of a later step is damaged, else the run would have gone on from there: it must not take the
        // place of a good one.
        for (_, path) in steps.extract_if(.., |(step, _)| *step > newest) {
            fs::remove_dir_all(&path).map_err(|e| StoreError::io(&path, e))?;
        }
        for (_, path) in &steps[..steps.len().saturating_sub(self.keep)] {
            fs::remove_dir_all(path).map_err(|e| StoreError::io(path, e))?;
        }
        Ok(())
    }

    /// A checkpoint that a killed save had put aside and not yet replaced.
    fn take_back(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let step = name.to_str().and_then(|n| n.strip_prefix('.')?.strip_suffix(OLD));
            let place = step.map(|step| self.folder.join(step));
            if let Some(place) = place.filter(|place| !place.exists()) {
                let _ = fs::rename(entry.path(), place);
            }
        }
    }

    /// What a killed save left; the run's lock guarantees that nobody is writing it.
    fn remove_rubbish(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|n| n.starts_with(".step-")) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Reads one checkpoint folder, checking every file against the manifest.
///
/// Errors: the manifest or a file is missing, truncated or changed.
pub fn read_folder(folder: &Path) -> Result<Files, StoreError> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).map_err(|e| StoreError::io(&path, e))
    };
    let manifest: Manifest = serde_json::from_slice(&read(MANIFEST)?).map_err(|error| {
        let path = folder.join(MANIFEST);
        StoreError::Damaged { path, found: error.to_string(), expected: "a manifest".into() }
    })?;
    let mut files = Files::new();
    for (name, expected) in manifest.files {
        let bytes = read(&name)?;
        let found = FileSum::of(&bytes);
        if found != expected {
            return Err(StoreError::Damaged {
                path: folder.join(name),
                found: format!("{} bytes with SHA-256 {}", found.bytes, found.sha256),
                expected: format!("{} bytes with SHA-256 {}", expected.bytes, expected.sha256),
            });
        }
        files.insert(name, bytes);
    }
    Ok(files)
}

fn write_folder(folder: &Path, files: &Files) -> Result<(), StoreError> {
    fs::create_dir_all(folder).map_err(|e| StoreError::io(folder, e))?;
    let sums = files.iter().map(|(name, bytes)| (name.clone(), FileSum::of(bytes))).collect();
    for (name, bytes) in files {
        write_synced(&folder.join(name), bytes)?;
    }
    let manifest = serde_json::to_vec_pretty(&Manifest { files: sums })
        .expect("a manifest holds only text and numbers");
    write_synced(&folder.join(MANIFEST), &manifest)?;
    sync(folder)
}

/// Replaces `path` by `bytes`, whole or not at all.
///
/// Errors: a full disk, missing permission; the old file is then intact.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().expect("a file to replace has a name"));
    name.push(".partial");
    let temporary = path.with_file_name(name);
    let written = write_synced(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path).map_err(|e| StoreError::io(path, e)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| StoreError::io(path, e))
}

/// A rename is on disk only once its directory is.
fn sync(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| StoreError::io(folder, e))
}

#[cfg(test)]
mod g17_kill_and_resume {
    use super::*;

    fn files(text: &str) -> Files {
        let one = |name: &str, n: usize| (name.to_string(), text.repeat(n).into_bytes());
        Files::from([one("model.safetensors", 100), one("state.json", 1)])
    }

    fn store(folder: &Path) -> Store {
        Store::new(folder.join("checkpoints"), 2)
    }

    #[test]
    fn the_newest_checkpoint_is_read_and_the_oldest_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        for step in [5, 10, 100] {
            store.save(step, &files(&step.to_string())).unwrap();
        }
        let newest = store.newest().unwrap();
        assert_eq!(newest.good, Some((100, files("100"))));
        assert!(newest.damaged.is_empty());
        assert_eq!(store.steps().unwrap().iter().map(|s| s.0).collect::<Vec<_>>(), [10, 100]);
    }

    #[test]
    fn a_truncated_changed_or_missing_file_falls_back_to_the_checkpoint_before() {
        let damages: [fn(&Path); 4] = [
            |f| fs::write(f.join("model.safetensors"), "10".repeat(99)).unwrap(),
            |f| fs::write(f.join("state.json"), "11").unwrap(),
            |f| fs::remove_file(f.join("model.safetensors")).unwrap(),
            |f| fs::write(f.join(MANIFEST), "{").unwrap(),
        ];
        for damage in damages {
            let folder = tempfile::tempdir().unwrap();
            let store = store(folder.path());
            store.save(5, &files("5")).unwrap();
            damage(&store.save(10, &files("10")).unwrap());
            let newest = store.newest().unwrap();
            assert_eq!(newest.good, Some((5, files("5"))));
            assert_eq!(newest.damaged.len(), 1);
            assert!(newest.damaged[0].to_string().contains("step-10"), "{}", newest.damaged[0]);
        }
    }

    #[test]
    fn a_half_written_folder_is_no_checkpoint_and_the_next_save_removes_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        store.save(5, &files("5")).unwrap();
        let partial = folder.path().join("checkpoints/.step-10.partial");
        fs::create_dir(&partial).unwrap();
        fs::write(partial.join("model.safetensors"), "1").unwrap();
        assert_eq!(store.newest().unwrap().good.unwrap().0, 5);
        store.save(15, &files("15")).unwrap();
        assert!(!partial.exists());
    }

    #[test]
    fn a_run_without_checkpoints_has_no_newest() {
        let folder = tempfile::tempdir().unwrap();
        let newest = store(folder.path()).newest().unwrap();
        assert!(newest.good.is_none() && newest.damaged.is_empty());
    }

    #[test]
    fn a_checkpoint_killed_between_its_two_renames_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let place = store.save(5, &files("5")).unwrap();
        store.save(5, &files("six")).unwrap();
        assert_eq!(store.newest().unwrap().good, Some((5, files("six"))));
        fs::rename(&place, place.with_file_name(".step-5.old")).unwrap();
        assert_eq!(store.newest().unwrap().good, Some((5, files("six"))));
        assert_eq!(fs::read_dir(folder.path().join("checkpoints")).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_later_checkpoint_never_takes_the_place_of_a_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("checkpoints"), 1);
        fs::write(store.save(10, &files("10")).unwrap().join(MANIFEST), "{").unwrap();
        store.save(7, &files("7")).unwrap();
        assert_eq!(store.newest().unwrap().good, Some((7, files("7"))));
    }

    /// A file where the folder should be stands for any write that the system refuses, whoever runs the test.
    #[test]
    fn a_failed_save_leaves_the_earlier_checkpoints_and_nothing_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        store.save(5, &files("5")).unwrap();
        let mut bad = files("10");
        bad.insert("absent-folder/state.json".into(), vec![1]);
        let error = store.save(10, &bad).unwrap_err();
        assert!(error.to_string().contains("absent-folder"), "{error}");
        let newest = store.newest().unwrap();
        assert_eq!(newest.good, Some((5, files("5"))));
        let names: Vec<_> = fs::read_dir(folder.path().join("checkpoints")).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn a_full_disk_is_told_apart_from_other_failures() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::FileTooLarge] {
            let error = StoreError::io(Path::new("runs/a/model"), kind.into()).to_string();
            assert!(
                error.starts_with("runs/a/model: ") && error.contains("hint: the disk is full")
            );
        }
    }

    #[test]
    fn a_replaced_file_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("best.safetensors");
        replace_file(&path, b"one").unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
