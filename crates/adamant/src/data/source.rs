//! What a user names: `fashion-sample`, `fashion-mnist`, `idx:DIR` and so on.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use super::dataset::{Dataset, Part};
use super::error::DataError;
use super::{idx, sample};

/// Where Debian's data set packages put their files.
const DEBIAN: &str = "/usr/share/datasets";

/// Folders in which a named set is looked for, each holding one folder per set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPath {
    /// In the order they are looked at; the first is where a fetched set goes.
    pub folders: Vec<PathBuf>,
}

impl SearchPath {
    /// `ADAMANT_DATA` if it is set, else `data` in the current folder; then Debian's place.
    pub fn from_environment() -> Self {
        let own = env::var_os("ADAMANT_DATA").map_or_else(|| PathBuf::from("data"), PathBuf::from);
        Self { folders: vec![own, PathBuf::from(DEBIAN)] }
    }
}

/// Where labelled images come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// 10,000 + 1,000 images of Fashion-MNIST inside the binary.
    FashionSample,
    /// Fashion-MNIST, 60,000 + 10,000 images of clothes.
    FashionMnist,
    /// MNIST, 60,000 + 10,000 digits.
    Mnist,
    /// A folder of IDX files under their usual names.
    Idx(PathBuf),
}

impl Source {
    /// All that [`Source::parse`] accepts, for messages and help.
    pub const VALID: [&str; 4] = ["fashion-sample", "fashion-mnist", "mnist", "idx:DIR"];

    /// Reads what a user wrote.
    ///
    /// Errors: `UnknownSource`, which lists the valid ones.
    pub fn parse(written: &str) -> Result<Self, DataError> {
        let unknown = || DataError::UnknownSource {
            found: written.to_owned(),
            valid: Self::VALID.map(str::to_owned).to_vec(),
        };
        if let Some((kind, path)) = written.split_once(':') {
            if path.is_empty() {
                return Err(unknown());
            }
            return match kind {
                "idx" => Ok(Self::Idx(path.into())),
                _ => Err(unknown()),
            };
        }
        match written {
            "fashion-sample" => Ok(Self::FashionSample),
            "fashion-mnist" => Ok(Self::FashionMnist),
            "mnist" => Ok(Self::Mnist),
            _ => Err(unknown()),
        }
    }

    /// Loads one part; a source that knows no parts gives all it has, as [`Part::Whole`].
    ///
    /// Errors: `Absent` with the places looked at; what the format says about its files.
    pub fn load(&self, part: Part, search: &SearchPath) -> Result<Dataset, DataError> {
        let name = self.to_string();
        match self {
            Self::FashionSample => sample::load(part),
            Self::FashionMnist => {
                let folder = find(&name, search, |folder| idx::is_present(folder, part))?;
                idx::load(&folder, &name, part, &sample::FASHION_CLASSES)
            }
            Self::Mnist => {
                let folder = find(&name, search, |folder| idx::is_present(folder, part))?;
                idx::load(&folder, &name, part, &idx::DIGITS)
            }
            Self::Idx(folder) => idx::load(folder, &name, part, &[]),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FashionSample => f.write_str("fashion-sample"),
            Self::FashionMnist => f.write_str("fashion-mnist"),
            Self::Mnist => f.write_str("mnist"),
            Self::Idx(path) => write!(f, "idx:{}", path.display()),
        }
    }
}

fn find(
    name: &str,
    search: &SearchPath,
    is_present: impl Fn(&Path) -> bool,
) -> Result<PathBuf, DataError> {
    let looked: Vec<PathBuf> = search.folders.iter().map(|folder| folder.join(name)).collect();
    if let Some(folder) = looked.iter().find(|folder| is_present(folder)) {
        return Ok(folder.clone());
    }
    let mut hint = format!("adamant data fetch {name}");
    if name == "fashion-mnist" {
        hint += ", or apt-get install dataset-fashion-mnist";
    }
    Err(DataError::Absent { name: name.to_owned(), looked, hint })
}
