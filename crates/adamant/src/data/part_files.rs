//! Which of the files of a source that comes in many are which part: tar shards, parquet tables.
//!
//! A folder may hold `train-0000.tar`, `imagenet1k-validation-00.tar` and the like, or folders `train`, `test`, `val` of
//! them. A pattern such as `train-{0000..0146}.tar` names files one by one, as WebDataset writes it.

use std::fs;
use std::path::{Path, PathBuf};

use super::dataset::Part;
use super::error::DataError;

/// More files than any pattern means.
const MOST: u64 = 1_000_000;

/// The files of one source, those that name no part apart.
#[derive(Debug, Default)]
pub(super) struct PartFiles {
    pub train: Vec<PathBuf>,
    pub test: Vec<PathBuf>,
    pub whole: Vec<PathBuf>,
    /// Where a file `classes.txt` may lie.
    pub folder: PathBuf,
}

impl PartFiles {
    /// The files of a part, and which part they are: all of them where none is named for a part.
    pub(super) fn of(&self, part: Part) -> (&[PathBuf], Part) {
        if !self.whole.is_empty() {
            return (&self.whole, Part::Whole);
        }
        match part {
            Part::Train | Part::Whole => (&self.train, Part::Train),
            Part::Test => (&self.test, Part::Test),
        }
    }

    /// All files but `chosen`: of the other part.
    pub(super) fn others(&self, chosen: &[PathBuf]) -> Vec<PathBuf> {
        let all = self.train.iter().chain(&self.test).chain(&self.whole);
        all.filter(|file| !chosen.contains(file)).cloned().collect()
    }
}

/// Finds the files with that extension that `path` names: a folder, a pattern, or one file.
///
/// A folder that holds none itself may hold them in `data`, as a Hugging Face repository does.
/// Errors: `Layout` where there are none, or where some name a part and others do not; `Io`.
pub(super) fn find(path: &Path, extension: &str) -> Result<PartFiles, DataError> {
    let layout = |found: String, expected: &str| DataError::Layout {
        path: path.to_owned(),
        found,
        expected: expected.to_owned(),
    };
    if !path.is_dir() {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let whole = expand(path).map_err(|found| layout(found, "such as NAME-{000..146}"))?;
        return Ok(PartFiles { whole, folder, ..PartFiles::default() });
    }
    let mut files = PartFiles { folder: path.to_owned(), ..PartFiles::default() };
    let (mut test, mut validation) = (Vec::new(), Vec::new());
    for part in ["train", "test", "val", "validation"] {
        let inside = path.join(part);
        let found = if inside.is_dir() { listed(&inside, extension)? } else { Vec::new() };
        match part {
            "train" => files.train = found,
            "test" => test = found,
            _ => validation.extend(found),
        }
    }
    for file in listed(path, extension)? {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        let mut words = stem.split(|character: char| !character.is_alphabetic());
        match words.find(|word| ["train", "test", "val", "validation"].contains(word)) {
            Some("train") => files.train.push(file),
            Some("test") => test.push(file),
            Some(_) => validation.push(file),
            None => files.whole.push(file),
        }
    }
    // As with class folders, `test` judges where there are both.
    files.test = if test.is_empty() { validation } else { test };
    let named = files.train.len() + files.test.len();
    match (named, files.whole.first()) {
        (0, None) if path.join("data").is_dir() => find(&path.join("data"), extension),
        (0, None) => Err(layout(format!("no .{extension} files"), "some, such as train-0000")),
        (1.., Some(file)) => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let found = format!("{name} beside files that name a part");
            Err(layout(found, "train, test, val or validation in every name, or in none"))
        }
        _ => Ok(files),
    }
}

/// The error where a source has files, none of the part asked for.
pub(super) fn no_part(path: &Path, found: &PartFiles, extension: &str) -> DataError {
    let (train, test) = (found.train.len(), found.test.len());
    DataError::NoPart {
        path: path.to_owned(),
        found: format!("{train} files of the training part, {test} of the test part"),
        expected: format!("train-00000.{extension} and test-00000.{extension}"),
    }
}

/// The file that may say what classes are called, a name a line, label 0 first.
pub(super) const CLASS_FILE: &str = "classes.txt";

/// What the classes are called: the lines of `classes.txt` in `folder`, else numbers as far as the largest label goes.
///
/// Errors: `WrongLabel` if that is so large that it must be a mistake.
pub(super) fn class_names(folder: &Path, largest: Option<u32>) -> Result<Vec<String>, DataError> {
    const MOST: u32 = 1 << 20;
    if let Ok(names) = fs::read_to_string(folder.join(CLASS_FILE)) {
        return Ok(names.lines().map(str::to_owned).collect());
    }
    match largest {
        Some(largest) if largest >= MOST => Err(DataError::WrongLabel {
            origin: format!("{}: the largest label", folder.display()),
            found: largest.to_string(),
            expected: format!("less than {MOST}"),
        }),
        largest => Ok((0..largest.map_or(0, |l| l + 1)).map(|class| class.to_string()).collect()),
    }
}

fn listed(folder: &Path, wanted: &str) -> Result<Vec<PathBuf>, DataError> {
    let io = |source| DataError::Io { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let is_wanted = path.extension().is_some_and(|extension| extension == wanted);
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if is_wanted && !name.starts_with(b".") && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// All paths that `{000..146}` stands for, every number as wide as the first; the path itself without braces.
fn expand(path: &Path) -> Result<Vec<PathBuf>, String> {
    let text = path.to_string_lossy();
    let Some((before, rest)) = text.split_once('{').filter(|_| !path.exists()) else {
        return Ok(vec![path.to_owned()]);
    };
    let range = rest.split_once('}').and_then(|(range, after)| {
        let (first, last) = range.split_once("..")?;
        Some((first, first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, after))
    });
    match range {
        Some((first, from, to, after))
            if from <= to && to - from < MOST && !after.contains('{') =>
        {
            let width = first.len();
            Ok((from..=to).map(|n| format!("{before}{n:0width$}{after}").into()).collect())
        }
        _ => Err("a pattern that is no range of numbers".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn names(paths: &[PathBuf]) -> Vec<String> {
        paths.iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn parts_are_told_by_names_or_by_folders() {
        let named = folder(&["x-train-1.tar", "x-train-0.tar", "x-validation-0.tar", "train.txt"]);
        let files = find(named.path(), "tar").unwrap();
        assert_eq!(names(&files.train), ["x-train-0.tar", "x-train-1.tar"]);
        assert_eq!(names(&files.test), ["x-validation-0.tar"]);
        assert_eq!(files.of(Part::Test).1, Part::Test);
        let folders = folder(&["train/0.tar", "val/0.tar", "test/1.tar", "test/.hidden.tar"]);
        let files = find(folders.path(), "tar").unwrap();
        assert_eq!(
            (names(&files.train), names(&files.test)),
            (vec!["0.tar".into()], vec!["1.tar".into()])
        );
        let plain = folder(&["b.tar", "a.tar"]);
        let files = find(plain.path(), "tar").unwrap();
        assert_eq!(files.of(Part::Test).1, Part::Whole);
        assert_eq!(names(files.of(Part::Test).0), ["a.tar", "b.tar"]);
    }

    #[test]
    fn files_that_name_no_part_beside_some_that_do_are_refused() {
        let mixed = folder(&["train-0.tar", "other.tar"]);
        let error = find(mixed.path(), "tar").unwrap_err().to_string();
        assert!(error.contains("other.tar beside files that name a part"), "{error}");
        let error = find(folder(&["x.txt"]).path(), "tar").unwrap_err().to_string();
        assert!(error.contains("no .tar files"), "{error}");
    }

    #[test]
    fn a_repository_holds_its_files_in_a_folder_of_data() {
        let repository = folder(&["README.md", "data/train-00000-of-00001.parquet"]);
        let files = find(repository.path(), "parquet").unwrap();
        assert_eq!(names(&files.train), ["train-00000-of-00001.parquet"]);
    }

    #[test]
    fn a_pattern_names_its_files_one_by_one() {
        let files = find(Path::new("/data/train-{008..011}.tar"), "tar").unwrap();
        assert_eq!(
            names(&files.whole),
            ["train-008.tar", "train-009.tar", "train-010.tar", "train-011.tar"]
        );
        for pattern in ["x-{a..b}.tar", "x-{3..1}.tar", "x-{0..99999999}.tar", "x-{0..1.tar"] {
            let error = find(Path::new(pattern), "tar").unwrap_err();
            assert!(matches!(error, DataError::Layout { .. }), "{pattern}: {error}");
        }
    }
}
