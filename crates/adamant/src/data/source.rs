//! What a user names: `fashion-sample`, `fashion-mnist`, `idx:DIR` and so on.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use super::cifar::{self, Kind};
use super::dataset::{Dataset, Part};
use super::error::DataError;
use super::framing::Framing;
use super::{cache, cifar_pickle, folder, idx, npz, parquet, sample, shards, unlabelled};

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
    /// CIFAR-10, 50,000 + 10,000 photographs of ten classes.
    Cifar10,
    /// CIFAR-100, 50,000 + 10,000 photographs of a hundred classes.
    Cifar100,
    /// A folder of IDX files under their usual names.
    Idx(PathBuf),
    /// A CIFAR binary file, or a folder of them.
    Bin(PathBuf),
    /// A CIFAR archive for Python, a folder of its pickles, or one of them; read without running anything.
    Pickle(PathBuf),
    /// A numpy archive of images and labels.
    Npz(PathBuf),
    /// Class folders of pictures.
    Folder(PathBuf),
    /// Tar shards of pictures and labels: a folder of them, a pattern, or one.
    Shards(PathBuf),
    /// A folder of decoded pictures that `data prepare --cache` wrote.
    Cache(PathBuf),
    /// Pictures below a folder, without labels.
    Unlabelled(PathBuf),
    /// Parquet tables of pictures and labels: a folder of them, a pattern, or one.
    Parquet(PathBuf),
}

impl Source {
    /// All that [`Source::parse`] accepts, for messages and help.
    pub const VALID: [&str; 14] = [
        "fashion-sample",
        "fashion-mnist",
        "mnist",
        "cifar10",
        "cifar100",
        "idx:DIR",
        "bin:PATH",
        "pickle:PATH",
        "npz:FILE",
        "folder:PATH",
        "shards:PATH",
        "cache:PATH",
        "parquet:PATH",
        "unlabelled:PATH",
    ];

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
                "bin" => Ok(Self::Bin(path.into())),
                "pickle" => Ok(Self::Pickle(path.into())),
                "npz" => Ok(Self::Npz(path.into())),
                "folder" => Ok(Self::Folder(path.into())),
                "shards" => Ok(Self::Shards(path.into())),
                "cache" => Ok(Self::Cache(path.into())),
                "unlabelled" => Ok(Self::Unlabelled(path.into())),
                "parquet" => Ok(Self::Parquet(path.into())),
                _ => Err(unknown()),
            };
        }
        match written {
            "fashion-sample" => Ok(Self::FashionSample),
            "fashion-mnist" => Ok(Self::FashionMnist),
            "mnist" => Ok(Self::Mnist),
            "cifar10" => Ok(Self::Cifar10),
            "cifar100" => Ok(Self::Cifar100),
            _ => Err(unknown()),
        }
    }

    /// The folder of a named set of which both parts are here; `None` for the sample and for sources that are paths.
    ///
    /// Errors: `Absent` with the places looked at.
    pub fn locate(&self, search: &SearchPath) -> Result<Option<PathBuf>, DataError> {
        let name = self.to_string();
        let parts = [Part::Train, Part::Test];
        let has_idx = |folder: &Path| parts.iter().all(|&part| idx::is_present(folder, part));
        let has_cifar = |kind: Kind| {
            move |folder: &Path| parts.iter().all(|&part| has_cifar(folder, kind, part))
        };
        match self {
            Self::FashionMnist | Self::Mnist => find(&name, search, has_idx).map(Some),
            Self::Cifar10 => find(&name, search, has_cifar(Kind::Cifar10)).map(Some),
            Self::Cifar100 => find(&name, search, has_cifar(Kind::Cifar100)).map(Some),
            Self::FashionSample
            | Self::Idx(_)
            | Self::Bin(_)
            | Self::Pickle(_)
            | Self::Folder(_)
            | Self::Shards(_)
            | Self::Npz(_)
            | Self::Cache(_)
            | Self::Unlabelled(_)
            | Self::Parquet(_) => Ok(None),
        }
    }

    /// Loads one part; a source that knows no parts gives all it has, as [`Part::Whole`].
    ///
    /// Errors: `Absent` with the places looked at; what the format says about its files.
    pub fn load(&self, part: Part, search: &SearchPath) -> Result<Dataset, DataError> {
        self.load_framed(part, search, Framing::AsStored)
    }

    /// As [`Source::load_framed`], sets without labels included: to be looked at, counted and written, not learned from.
    ///
    /// Errors: as [`Source::load_framed`], without `Unlabelled`.
    pub fn load_to_look_at(
        &self,
        part: Part,
        search: &SearchPath,
        framing: Framing,
    ) -> Result<Dataset, DataError> {
        match self {
            Self::Unlabelled(path) => unlabelled::load(path, &self.to_string(), framing),
            _ => self.load_framed(part, search, framing),
        }
    }

    /// As [`Source::load`], each picture made an image as `framing` says.
    ///
    /// Errors: as [`Source::load`]; `Framing`.
    pub fn load_framed(
        &self,
        part: Part,
        search: &SearchPath,
        framing: Framing,
    ) -> Result<Dataset, DataError> {
        let name = self.to_string();
        let stored = match self {
            // Pictures of any size: an image's shape is the framing's.
            Self::Folder(path) => return folder::load(path, &name, part, framing),
            Self::Shards(path) => return shards::load(path, &name, part, framing),
            Self::Unlabelled(_) => return Err(DataError::Unlabelled { name }),
            Self::Cache(path) => return cache::load(path, &name, part, framing),
            Self::Parquet(path) => return parquet::load(path, &name, part, framing),
            Self::FashionSample => sample::load(part),
            Self::FashionMnist => load_idx(&name, search, part, &sample::FASHION_CLASSES),
            Self::Mnist => load_idx(&name, search, part, &idx::DIGITS),
            Self::Cifar10 => load_cifar(&name, search, Kind::Cifar10, part),
            Self::Cifar100 => load_cifar(&name, search, Kind::Cifar100, part),
            Self::Idx(folder) => idx::load(folder, &name, part, &[]),
            Self::Bin(path) => cifar::load_any(path, &name, part),
            Self::Npz(path) => npz::load(path, &name, part),
            Self::Pickle(path) => cifar_pickle::load(path, &name, part),
        };
        stored?.framed(framing)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FashionSample => f.write_str("fashion-sample"),
            Self::FashionMnist => f.write_str("fashion-mnist"),
            Self::Mnist => f.write_str("mnist"),
            Self::Cifar10 => f.write_str("cifar10"),
            Self::Cifar100 => f.write_str("cifar100"),
            Self::Idx(path) => write!(f, "idx:{}", path.display()),
            Self::Bin(path) => write!(f, "bin:{}", path.display()),
            Self::Pickle(path) => write!(f, "pickle:{}", path.display()),
            Self::Folder(path) => write!(f, "folder:{}", path.display()),
            Self::Shards(path) => write!(f, "shards:{}", path.display()),
            Self::Cache(path) => write!(f, "cache:{}", path.display()),
            Self::Unlabelled(path) => write!(f, "unlabelled:{}", path.display()),
            Self::Npz(path) => write!(f, "npz:{}", path.display()),
            Self::Parquet(path) => write!(f, "parquet:{}", path.display()),
        }
    }
}

fn load_idx(
    name: &str,
    search: &SearchPath,
    part: Part,
    class_names: &[&str],
) -> Result<Dataset, DataError> {
    let folder = find(name, search, |folder| idx::is_present(folder, part))?;
    idx::load(&folder, name, part, class_names)
}

fn load_cifar(
    name: &str,
    search: &SearchPath,
    kind: Kind,
    part: Part,
) -> Result<Dataset, DataError> {
    let path = find(name, search, |path| has_cifar(path, kind, part))?;
    if cifar::is_present(&path, kind, part) {
        return cifar::load(&path, name, kind, part);
    }
    cifar_pickle::load(&path, name, part)
}

/// The binary files, the pickles, or the archive of pickles that torchvision leaves beside them.
fn has_cifar(path: &Path, kind: Kind, part: Part) -> bool {
    cifar::is_present(path, kind, part)
        || cifar_pickle::is_present(path, kind, part)
        || (path.extension().is_some_and(|extension| extension == "gz") && path.is_file())
}

/// The first place that holds the set, under our name or as torchvision and the upstream archives leave it.
fn find(
    name: &str,
    search: &SearchPath,
    is_present: impl Fn(&Path) -> bool,
) -> Result<PathBuf, DataError> {
    let places: &[&str] = match name {
        "fashion-mnist" => &["fashion-mnist", "FashionMNIST/raw"],
        "mnist" => &["mnist", "MNIST/raw"],
        "cifar10" => {
            &["cifar10", "cifar-10-batches-bin", "cifar-10-batches-py", "cifar-10-python.tar.gz"]
        }
        "cifar100" => {
            &["cifar100", "cifar-100-binary", "cifar-100-python", "cifar-100-python.tar.gz"]
        }
        _ => &[],
    };
    let places =
        |folder: &PathBuf| places.iter().map(|place| folder.join(place)).collect::<Vec<_>>();
    let looked: Vec<PathBuf> = search.folders.iter().flat_map(places).collect();
    if let Some(folder) = looked.iter().find(|folder| is_present(folder)) {
        return Ok(folder.clone());
    }
    let mut hint = format!("adamant data fetch {name}");
    if name == "fashion-mnist" {
        hint += ", or apt-get install dataset-fashion-mnist";
    }
    Err(DataError::Absent { name: name.to_owned(), looked, hint })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_parsed_prints_itself_back() {
        for written in Source::VALID {
            assert_eq!(Source::parse(written).unwrap().to_string(), written);
        }
    }

    #[test]
    fn an_unknown_source_lists_the_valid_ones() {
        for written in ["cifar-10", "", "folder:", "zip:x", "FASHION-SAMPLE"] {
            let error = Source::parse(written).unwrap_err().to_string();
            assert!(Source::VALID.iter().all(|valid| error.contains(valid)), "{error}");
            assert!(error.contains(&format!("{written:?}")), "{error}");
        }
    }

    #[test]
    fn an_absent_set_names_every_place_and_how_to_get_it() {
        let search = SearchPath { folders: vec!["/nowhere".into(), "/elsewhere".into()] };
        for part in [Part::Train, Part::Test] {
            let error = Source::FashionMnist.load(part, &search).unwrap_err().to_string();
            for word in [
                "/nowhere/fashion-mnist",
                "/elsewhere/fashion-mnist",
                "adamant data fetch fashion-mnist",
                "apt-get install dataset-fashion-mnist",
            ] {
                assert!(error.contains(word), "{error}");
            }
        }
        let error = Source::Cifar100.load(Part::Test, &search).unwrap_err().to_string();
        assert!(error.contains("adamant data fetch cifar100") && !error.contains("apt"), "{error}");
    }

    #[test]
    fn the_first_folder_that_holds_a_set_wins() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let search =
            SearchPath { folders: vec![first.path().to_owned(), second.path().to_owned()] };
        let folder = second.path().join("cifar-100-binary");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("test.bin"), vec![1; 3074]).unwrap();
        let set = Source::Cifar100.load(Part::Test, &search).unwrap();
        assert_eq!((set.name(), set.len(), set.part()), ("cifar100", 1, Part::Test));
        let folder = first.path().join("cifar100");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("test.bin"), vec![1; 2 * 3074]).unwrap();
        assert_eq!(Source::Cifar100.load(Part::Test, &search).unwrap().len(), 2);
    }
}
